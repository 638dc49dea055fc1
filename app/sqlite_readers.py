"""Readers of a SQLite file."""

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiosqlite

from app.errors import QueryTooComplex, TookTooLong, Unavailable
from app.look_ups import LookUp, Told
from app.readers import CheckedOut, Readers, Reading, cursor_text

#: Steps of SQLite's machine that a statement may take in the loop's own thread: about a millisecond. A page of 50 rows takes some
#: thousands.
_STEPS_AT_ONCE = 50_000
#: How often it is counted. SQLite goes on counting where the last run of the same statement left off: a tick may come early.
_TICKS_AT_ONCE = 10
#: Each reader's own pages in memory, 4 MB: with 200,000 leads 16 were no quicker, for the system keeps the file's pages as well.
_READERS_CACHE = -4_000
#: Pages that the log of writes holds before they go to the file, 80 MB: a batch dirties thousands, mostly those of the batch before it,
#: and with SQLite's own 1,000 each of its commits would write them all twice. A thousand events of as many leads are 3,000; twice as
#: many pages here take 7 % off their processor time, three times as many no more.
_CHECKPOINT = 20_000
#: Long statements that are remembered.
_LONG_KEPT = 2_000


async def prepare_sqlite(raw: aiosqlite.Connection, *, writing: bool) -> None:
    """Set what a SQLite connection needs before its first statement."""
    await raw.create_function("cursor_text", 2, cursor_text, deterministic=True)
    await raw.execute("PRAGMA busy_timeout = 10000")
    if writing:
        await _keep_journal(raw)
        await raw.execute("PRAGMA synchronous = FULL")  # an acknowledged write survives a power cut
        await raw.execute("PRAGMA foreign_keys = ON")
        await raw.execute("PRAGMA cache_size = -16000")
        await raw.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
    else:
        await raw.execute("PRAGMA query_only = ON")
        await raw.execute(f"PRAGMA cache_size = {_READERS_CACHE}")


async def _keep_journal(raw: aiosqlite.Connection) -> None:
    """Set write-ahead logging. SQLite refuses, and does not wait, where two set it at once on a new file."""
    for patience in range(500, -1, -1):
        try:
            await raw.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or not patience:
                raise
            await asyncio.sleep(0.02)
        else:
            return


class SqliteReaders(Readers):
    """Readers of a SQLite file: a thread each, a statement that runs too long is interrupted.

    Going to another thread and back takes longer than most statements. So a statement is first tried at once, in the thread of the
    loop, for so many steps of SQLite's machine and no more; one that needs more goes to a thread from then on.
    """

    postgres = False

    def __init__(self, file: str, size: int, seconds: float) -> None:
        super().__init__(size, seconds)
        self.file = file
        self._at_once: sqlite3.Connection | None = None
        self._ticks = 0
        #: Statements that took too many steps, the latest last.
        self._long: OrderedDict[str, None] = OrderedDict()

    def reading(self, *, snapshot: bool = False) -> AbstractAsyncContextManager[Reading]:
        """Check a connection out; what reads one statement at a time needs none until the statement turns out to be long."""
        return super().reading(snapshot=True) if snapshot else _AtOnce(self)

    def try_at_once(self, sql: str, binds: Sequence[Any]) -> list[Any] | None:
        """Run a statement that is not known to be long; None where it came to no end in its steps."""
        if sql in self._long:
            return None
        if self._at_once is None:
            self._at_once = self._open_at_once()
        self._ticks = 0
        try:
            return self._at_once.execute(sql, binds).fetchall()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                return None  # a thread may wait for it
            if "interrupted" not in str(error):
                raise _named(error) from None
        self._long[sql] = None
        if len(self._long) > _LONG_KEPT:
            self._long.popitem(last=False)
        return None

    def ask(self, sql: str, look_up: LookUp | None, binds: Sequence[Any], told: Told) -> bool:
        """Tell a statement's rows now; False where it came to no end in its steps."""
        rows = self.try_at_once(sql, binds)
        if rows is None:
            return False
        told(rows, None)
        return True

    def _open_at_once(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(f"file:{self.file}?mode=rw", uri=True, isolation_level=None, cached_statements=512)
            connection.create_function("cursor_text", 2, cursor_text, deterministic=True)
            for setting in ("busy_timeout = 0", "query_only = ON", f"cache_size = {_READERS_CACHE}"):
                connection.execute(f"PRAGMA {setting}")
            connection.set_progress_handler(self._tick, _STEPS_AT_ONCE // _TICKS_AT_ONCE)
        except sqlite3.OperationalError as error:
            raise Unavailable from error
        return connection

    def _tick(self) -> bool:
        self._ticks += 1
        return self._ticks > _TICKS_AT_ONCE

    async def take(self, *, snapshot: bool) -> "_SqliteReading":
        """Take an idle connection, or open one."""
        connection = self._idle.pop() if self._idle else await self._open()
        if snapshot:
            try:
                await connection.execute("BEGIN")
            except BaseException:
                self._idle.append(connection)
                raise
        return _SqliteReading(connection, self.seconds)

    async def give_back(self, reading: "_SqliteReading", *, snapshot: bool) -> None:
        """Put a connection back."""
        try:
            if snapshot:
                await reading.connection.rollback()
        finally:
            self._idle.append(reading.connection)

    async def _open(self) -> aiosqlite.Connection:
        try:
            connection = await aiosqlite.connect(f"file:{self.file}?mode=rw", uri=True, isolation_level=None, cached_statements=512)
        except sqlite3.OperationalError as error:
            raise Unavailable from error
        await prepare_sqlite(connection, writing=False)
        return connection

    async def close(self) -> None:
        """Close every idle connection."""
        if self._at_once is not None:
            self._at_once.close()
            self._at_once = None
        while self._idle:
            await self._idle.pop().close()


class _AtOnce:
    """Reads without a connection of its own, as long as statements end at once."""

    postgres = False
    __slots__ = ("_readers",)

    def __init__(self, readers: SqliteReaders) -> None:
        self._readers = readers

    async def __aenter__(self) -> Reading:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing was checked out."""

    async def rows(self, sql: str, binds: Sequence[Any]) -> list[Any]:
        rows = self._readers.try_at_once(sql, binds)
        if rows is None:
            async with CheckedOut(self._readers, snapshot=False) as reading:
                return await reading.rows(sql, binds)
        return rows

    async def row(self, look_up: LookUp, binds: Sequence[Any]) -> list[Any]:
        return await self.rows(look_up.one, binds)


class _SqliteReading:
    postgres = False

    def __init__(self, connection: aiosqlite.Connection, seconds: float) -> None:
        self.connection = connection
        self._seconds = seconds

    async def rows(self, sql: str, binds: Sequence[Any]) -> list[Any]:
        running = asyncio.get_running_loop()
        alarm = running.call_later(self._seconds, self.connection._conn.interrupt)  # noqa: SLF001  (its own interrupt is a coroutine)
        try:
            return list(await self.connection.execute_fetchall(sql, binds))
        except asyncio.CancelledError:
            self.connection._conn.interrupt()  # noqa: SLF001  (the thread would run on, and the reader be taken for idle)
            raise
        except sqlite3.OperationalError as error:
            raise _named(error) from None
        finally:
            alarm.cancel()

    async def row(self, look_up: LookUp, binds: Sequence[Any]) -> list[Any]:
        return await self.rows(look_up.one, binds)


def _named(error: sqlite3.OperationalError) -> Exception:
    """Name what SQLite refuses; a mistake of ours stays what it is."""
    text = str(error)
    if "interrupted" in text:
        return TookTooLong()
    if "parser stack overflow" in text or "too large" in text:
        return QueryTooComplex("The query nests deeper than the database can read.")
    if "no such table" in text or "syntax" in text:
        return error
    return Unavailable()
