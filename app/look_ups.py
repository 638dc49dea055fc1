"""Look-ups that are asked for at the same time go to the database together: a round trip costs more than finding a row does.

Nobody waits for company: what is asked for in one turn of the loop goes at its end. Those who come while a statement of the kind is
under way are found together by the next one, so that a busier service does less for each request. It is the group commit of databases,
for reading.
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
#: Told the rows of a key, or what was refused; of neither, that each had better ask alone.
Told = Callable[[list[Any] | None, LeadgraphError | None], None]


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
        #: By kind of which a statement is under way, or about to be, the keys of the next one and who wants to be told.
        self._waiting: dict[tuple[str, Any], list[tuple[Any, Told]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def rows(self, look_up: LookUp, binds: Sequence[Any]) -> list[Any]:
        """Give the row that has the key, in a list, or an empty one."""
        mine: asyncio.Future[list[Any] | None] = asyncio.get_running_loop().create_future()

        def told(rows: list[Any] | None, refused: LeadgraphError | None) -> None:
            if mine.done():  # a client that left
                return
            if refused is None:
                mine.set_result(rows)
            else:
                mine.set_exception(type(refused)(refused.message))

        self.ask(look_up, binds, told)
        found = await mine
        return await self._run(look_up.one, binds) if found is None else found

    def ask(self, look_up: LookUp, binds: Sequence[Any], told: Told) -> None:
        """Have somebody told of the row that has the key."""
        kind = (look_up.many, binds[1 - look_up.place])  # the other bind is the workspace: a statement asks in one alone
        waiting = self._waiting.get(kind)
        if waiting is None:
            self._waiting[kind] = [(binds[look_up.place], told)]
            task = asyncio.create_task(self._answer(kind, look_up))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            waiting.append((binds[look_up.place], told))

    async def _answer(self, kind: tuple[str, Any], look_up: LookUp) -> None:
        """Run statements of a kind, one after the other, for as long as somebody waits."""
        try:
            while waiting := self._waiting[kind]:
                self._waiting[kind] = waiting[_MOST:]
                await self._together(kind[1], look_up, waiting[:_MOST])
        finally:
            for _, told in self._waiting.pop(kind):  # cut off: there is nobody any more who would
                told(None, None)

    async def _together(self, other: Any, look_up: LookUp, asked: list[tuple[Any, Told]]) -> None:
        keys = [key for key, _ in asked]
        sql, bound = (look_up.many, keys) if len(keys) > 1 else (look_up.one, keys[0])
        found: dict[Any, list[Any]] | None = None
        refused: LeadgraphError | None = None
        try:
            rows = await self._run(sql, [bound, other] if look_up.place == 0 else [other, bound])
            found = {row[-1]: [row] for row in rows} if len(keys) > 1 else {keys[0]: rows}
        except LeadgraphError as error:
            refused = error
        except Exception as error:  # noqa: BLE001  (each asks alone then, and tells what went wrong)
            logger.warning("look_ups.failed", error=type(error).__name__, asked=len(asked))
        finally:
            for key, told in asked:
                told(None if found is None else found.get(key, []), refused)
