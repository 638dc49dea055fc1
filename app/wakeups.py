"""Waking up: whoever waits is told that something was committed, in this process or in another; nothing more, so whoever wakes looks.

In the process it is an event. From process to process it is NOTIFY on PostgreSQL, sent after the commit and not inside it: there,
commits that notify queue up behind one lock. On SQLite it is `PRAGMA data_version`, looked at fifty times a second. A wake-up may be
lost with the process that was to send it, so whoever waits also looks by itself now and then.
"""

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from typing import Any

import structlog

from app.postgres_readers import PostgresReaders

logger = structlog.get_logger("leadgraph.wakeups")

#: PostgreSQL's channel.
CHANNEL = "leadgraph_commit"
#: Seconds in which a burst of commits is one NOTIFY.
BURST = 0.005
#: Seconds between looks at SQLite's version of the data.
LOOK_EVERY = 0.02
#: Seconds before listening is tried again after it failed.
AGAIN = 1.0


class Wakeups(ABC):
    """Of one database and process. What is committed elsewhere is heard while `listen` runs."""

    def __init__(self) -> None:
        #: Set by the next wake-up, and then another: take it before you look, wait for it after.
        self.committed = asyncio.Event()

    def ring(self) -> None:
        """Tell everybody, here and elsewhere, that this process committed something."""
        self.wake()

    def wake(self) -> None:
        """Tell whoever waits in this process."""
        self.committed.set()
        self.committed = asyncio.Event()

    async def listen(self) -> None:
        """Hear the other processes until cancelled, whatever becomes of the database meanwhile."""
        while True:
            try:
                await self._hear()
            except Exception as error:  # noqa: BLE001  (whatever it is, it is tried again)
                logger.warning("wakeups.not_heard", error=type(error).__name__)
            await asyncio.sleep(AGAIN)

    @abstractmethod
    async def _hear(self) -> None:
        """Hear the other processes for as long as that goes well."""


class PostgresWakeups(Wakeups):
    """NOTIFY, on a connection of its own, heard and sent."""

    def __init__(self, readers: PostgresReaders) -> None:
        super().__init__()
        self._readers = readers
        self._untold = asyncio.Event()
        #: The number of our own process there: kept, since what was heard may be told after the connection has ended.
        self._own = 0

    def ring(self) -> None:
        """Tell everybody here, and the other processes as soon as may be."""
        super().ring()
        self._untold.set()

    async def _hear(self) -> None:
        connection = await self._readers.open()
        try:
            self._own = connection.get_server_pid()
            connection.add_termination_listener(lambda _connection: self._untold.set())
            await connection.add_listener(CHANNEL, self._heard)
            self.wake()  # for what was committed before anybody listened
            while not connection.is_closed():
                await self._untold.wait()
                self._untold.clear()
                await connection.execute(f"NOTIFY {CHANNEL}", timeout=self._readers.seconds)
                await asyncio.sleep(BURST)
        finally:
            connection.terminate()

    def _heard(self, _connection: Any, sender: int, _channel: str, _payload: str) -> None:
        if sender != self._own:
            self.wake()


class SqliteWakeups(Wakeups):
    """A look at the version of the data, which rises with every commit of another connection."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file

    async def _hear(self) -> None:
        connection = sqlite3.connect(f"file:{self._file}?mode=rw", uri=True, isolation_level=None)
        try:
            connection.execute("PRAGMA busy_timeout = 0")
            seen = None
            while True:
                [version] = connection.execute("PRAGMA data_version").fetchone()
                if version != seen:
                    self.wake()
                    seen = version
                await asyncio.sleep(LOOK_EVERY)
        finally:
            connection.close()
