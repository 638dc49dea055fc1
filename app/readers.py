"""Readers: raw driver connections, last in first out, each with a deadline for its statement.

A `Reading` is what one request reads through. All statements of one reading with `snapshot=True` see the same snapshot.
"""

import asyncio
import base64
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from app.deadlines import Deadlines
from app.errors import Unavailable
from app.look_ups import LookUp, Told

#: How long a request waits for a free reader before it is told that the service is busy.
_PATIENCE = 10.0


class Reading(Protocol):
    """What a request reads through."""

    postgres: bool

    async def rows(self, sql: str, binds: Sequence[Any]) -> list[Any]:
        """Run one statement to its end and give its rows."""

    async def row(self, look_up: LookUp, binds: Sequence[Any]) -> list[Any]:
        """Find a row by a key that no other has; others may be found by the same statement."""


class Readers(ABC):
    """A pool of raw connections."""

    postgres: bool

    def __init__(self, size: int, seconds: float) -> None:
        self.seconds = seconds
        self._idle: list[Any] = []
        self._free = asyncio.Semaphore(size)
        self.deadlines = Deadlines()

    def reading(self, *, snapshot: bool = False) -> AbstractAsyncContextManager[Reading]:
        """Check a connection out; with `snapshot`, all its statements see the same state of the database."""
        return CheckedOut(self, snapshot=snapshot)

    async def wait_for_turn(self) -> None:
        """Wait until a connection is free."""
        if not self._free.locked():  # nobody waits: this returns at once, and needs no clock
            await self._free.acquire()
            return
        try:
            await self.deadlines.within(_PATIENCE, self._free.acquire())
        except TimeoutError as error:
            raise Unavailable from error

    @abstractmethod
    def ask(self, sql: str, look_up: LookUp | None, binds: Sequence[Any], told: Told) -> bool:
        """Have somebody told of a statement's rows, now or soon; False where nobody will be."""

    def end_turn(self) -> None:
        """Let the next one in."""
        self._free.release()

    @abstractmethod
    async def take(self, *, snapshot: bool) -> Any:
        """Take an idle connection, or open one."""

    @abstractmethod
    async def give_back(self, reading: Any, *, snapshot: bool) -> None:
        """Put a connection back."""

    @abstractmethod
    async def close(self) -> None:
        """Close every idle connection."""


class CheckedOut:
    """`async with` a connection of the pool. A class, for a generator takes three times as long to go in and out."""

    __slots__ = ("_readers", "_reading", "_snapshot")

    def __init__(self, readers: Readers, *, snapshot: bool) -> None:
        self._readers, self._snapshot = readers, snapshot
        self._reading: Any = None

    async def __aenter__(self) -> Reading:
        await self._readers.wait_for_turn()
        try:
            self._reading = await self._readers.take(snapshot=self._snapshot)
        except BaseException:
            self._readers.end_turn()
            raise
        reading: Reading = self._reading
        return reading

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._readers.give_back(self._reading, snapshot=self._snapshot)
        finally:
            self._readers.end_turn()


def cursor_text(prefix: str, payload: str) -> str:
    """Write a cursor: where it belongs, the position in that list, and a check of both, in base64url without padding.

    PostgreSQL writes the same text by itself (`schema/planner/postgres.py`).
    """
    check = hashlib.sha256((prefix + payload).encode()).hexdigest()[:16]
    return base64.urlsafe_b64encode((check + prefix + payload).encode()).rstrip(b"=").decode()


class WritingReading:
    """Reads through the connection of a writing transaction: what it has written, it sees."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.postgres = connection.dialect.name == "postgresql"

    async def rows(self, sql: str, binds: Sequence[Any]) -> list[Any]:
        """Run one statement to its end and give its rows."""
        driver = (await self._connection.get_raw_connection()).driver_connection
        if driver is None:
            raise Unavailable
        if self.postgres:
            rows: list[Any] = await driver.fetch(sql, *binds)
            return rows
        return list(await driver.execute_fetchall(sql, binds))

    async def row(self, look_up: LookUp, binds: Sequence[Any]) -> list[Any]:
        """Find a row by a key that no other has."""
        return await self.rows(look_up.one, binds)
