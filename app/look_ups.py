"""Look-ups that are asked for at the same time go to the database together: a round trip costs more than finding a row does.

Nobody waits for company: who comes first asks alone. Those who come while a statement of the kind is under way are found together by
the next one, so that a busier service does less for each request. It is the group commit of databases, for reading.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from app.errors import LeadgraphError

logger = structlog.get_logger("leadgraph.database")

#: Keys in one statement.
_MOST = 200

Run = Callable[[str, Sequence[Any]], Awaitable[list[Any]]]
#: A key, and who waits for its row: the rows of that key, or None where each has to ask alone.
_Waiting = tuple[Any, asyncio.Future[list[Any] | None]]


@dataclass(frozen=True, slots=True)
class LookUp:
    """How to find the one row that has a key, and those of many keys; the key is the last column of the latter.

    Both have the same two binds, of which the one at `place` is the key, or a list of keys.
    """

    one: str
    many: str
    place: int


class LookUps:
    """Runs look-ups by `run`; those of one kind, in one workspace, together."""

    def __init__(self, run: Run) -> None:
        self._run = run
        #: By kind of which a statement is under way, who waits for the next one.
        self._waiting: dict[tuple[str, Any], list[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def rows(self, look_up: LookUp, binds: Sequence[Any]) -> list[Any]:
        """Give the row that has the key, in a list, or an empty one."""
        kind = (look_up.many, binds[1 - look_up.place])  # the other bind is the workspace: a statement asks in one alone
        waiting = self._waiting.get(kind)
        if waiting is not None:
            mine: asyncio.Future[list[Any] | None] = asyncio.get_running_loop().create_future()
            waiting.append((binds[look_up.place], mine))
            found = await mine
            return await self._run(look_up.one, binds) if found is None else found
        self._waiting[kind] = []
        try:
            return await self._run(look_up.one, binds)
        finally:
            self._next(kind, look_up)

    def _next(self, kind: tuple[str, Any], look_up: LookUp) -> None:
        """Begin the next statement of a kind, for those who wait and are still there."""
        waiting = [each for each in self._waiting[kind] if not each[1].done()]
        if not waiting:
            del self._waiting[kind]
            return
        self._waiting[kind] = waiting[_MOST:]
        task = asyncio.create_task(self._together(kind, look_up, waiting[:_MOST]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _together(self, kind: tuple[str, Any], look_up: LookUp, asked: list[_Waiting]) -> None:
        found: dict[Any, Any] | None = None
        refused: LeadgraphError | None = None
        keys = [key for key, _ in asked]
        try:
            rows = await self._run(look_up.many, [keys, kind[1]] if look_up.place == 0 else [kind[1], keys])
            found = {row[-1]: row for row in rows}
        except LeadgraphError as error:
            refused = error
        except Exception as error:  # noqa: BLE001  (each asks alone then, and tells what went wrong)
            logger.warning("look_ups.failed", error=type(error).__name__, asked=len(asked))
        finally:
            for key, waiting in asked:
                if waiting.done():  # a client that left
                    continue
                if refused is not None:
                    waiting.set_exception(type(refused)(refused.message))
                else:
                    waiting.set_result(None if found is None else [found[key]] if key in found else [])
            self._next(kind, look_up)
