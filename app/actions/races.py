"""Going round again when another transaction was faster."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import IntegrityError

from app.actions.work import Work
from app.database import queue_up
from app.database_errors import is_raced, told
from app.errors import Unavailable

logger = structlog.get_logger("leadgraph.actions")

Result = TypeVar("Result")

#: From the second on one is in turn, so that a round is lost only to somebody who is in the first: each was faster, and is done.
ROUNDS = 50


class AlwaysLost(Unavailable):
    """Others were writing the same leads at the same time, again and again: try again."""


class RaceLost(Exception):
    """Another transaction took a value that this one had decided by; the next round will see it."""


async def going_round(work: Work, attempt: Callable[[], Awaitable[Result]], *, keep: bool = True) -> Result:
    """Look, decide and write in a savepoint; where a race was lost, undo it and do it all again.

    Without `keep` it is undone in any case: the result is what would have been. The look-up belongs into `attempt`:
    undoing it lets go of its locks too, so that each round takes them in the order of the ids. Raises AlwaysLost
    where every round was lost.
    """
    most = ROUNDS if work.postgres else 2  # SQLite's one writer races with nobody
    for rounds in range(most):
        if rounds == 1:
            await queue_up(work.connection, work.workspace)
        try:
            async with work.connection.begin_nested() as savepoint:
                result = await attempt()
                if not keep:
                    await savepoint.rollback()
                return result
        except RaceLost as lost:
            error: Exception = lost
        except IntegrityError as broken:
            if not is_raced(broken):
                raise
            error = broken
    # Rare enough that it might be a mistake of ours after all.
    logger.warning("race.lost", rounds=most, error=told(error))
    raise AlwaysLost from error
