"""Connections that stay open: how many somebody may have, and that none outlives what it was let in by."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from starlette.datastructures import Headers

from app.actions.work import Caller
from app.errors import BadRequest, LeadgraphError, TooMany, Unauthenticated

#: Seconds between looks at who is connected; a caller is remembered for up to a second on top.
LOOK_EVERY = 0.25


class Identifies(Protocol):
    """Knows who asks."""

    async def identify(self, headers: Headers) -> Caller:
        """Tell who sends these headers, or raise Unauthenticated or BadRequest."""


@dataclass(eq=False, slots=True)
class Connection:
    """One that is open; `end` closes it, with what is wrong, or None where it may come again at once."""

    headers: Headers
    caller: Caller
    end: Callable[[LeadgraphError | None], None]


class Connections:
    """All that are open in this process. `run` ends those whose key was revoked, has expired, or is of another role by now."""

    def __init__(self, callers: Identifies, most: int) -> None:
        self._callers, self._most = callers, most
        self._open: dict[tuple[str, ...], set[Connection]] = defaultdict(set)
        self._count: Counter[str | None] = Counter()

    @contextmanager
    def opened(self, headers: Headers, caller: Caller, end: Callable[[LeadgraphError | None], None]) -> Iterator[None]:
        """Count a connection for as long as the block lasts; raises TooMany."""
        if self._count[caller.actor_id] >= self._most:
            raise TooMany
        connection, name = Connection(headers, caller, end), _credential(headers)
        self._count[caller.actor_id] += 1
        self._open[name].add(connection)
        try:
            yield
        finally:
            self._count[caller.actor_id] -= 1
            self._open[name].discard(connection)
            if not self._open[name]:
                del self._open[name]

    async def run(self) -> None:
        """Look who may stay, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for connections in list(self._open.values()):
                await self._look(list(connections))

    async def _look(self, connections: list[Connection]) -> None:
        """Look at connections that were let in by the same credential."""
        try:
            caller = await self._callers.identify(connections[0].headers)
        except (Unauthenticated, BadRequest):
            for connection in connections:
                connection.end(Unauthenticated())
        except Exception:  # noqa: BLE001  (the database is away: nothing is known of anybody)
            return
        else:
            for connection in connections:
                if connection.caller != caller:
                    connection.end(None)

    def end_all(self) -> None:
        """End all: the server goes, and another may be there already."""
        for connections in list(self._open.values()):
            for connection in list(connections):
                connection.end(None)


def _credential(headers: Headers) -> tuple[str, ...]:
    return tuple(value for name in ("authorization", "x-org-api-key", "x-workspace") for value in (name, *headers.getlist(name)))
