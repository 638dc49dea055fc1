"""Readers of PostgreSQL."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog
from sqlalchemy.engine import URL

from app.errors import LeadgraphError, TookTooLong, Unavailable
from app.look_ups import LookUp, LookUps, Told
from app.readers import CheckedOut, Readers, Reading

logger = structlog.get_logger("leadgraph.database")

try:
    import asyncpg
except ModuleNotFoundError:  # the extra `postgres`; SQLite needs none of it
    asyncpg = None
    _LOST: tuple[type[Exception], ...] = ()
else:
    #: A connection that is of no use any more: closed by the server, hung up in the middle, or older than the tables.
    _LOST = (
        asyncpg.PostgresConnectionError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        asyncpg.OperatorInterventionError,
        asyncpg.InvalidCachedStatementError,
        OSError,
    )


class PostgresReaders(Readers):
    """Readers of PostgreSQL: statements are prepared once a connection."""

    postgres = True

    def __init__(self, url: URL, size: int, seconds: float) -> None:
        super().__init__(size, seconds)
        self._url = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._one_by_one = _OneByOne(self)
        #: Statements whose rows somebody will be told of.
        self._tasks: set[asyncio.Task[None]] = set()
        self.look_ups = LookUps(self._one_by_one.rows)

    def reading(self, *, snapshot: bool = False) -> AbstractAsyncContextManager[Reading]:
        """Check a connection out; what reads one statement at a time has one for as long as each takes."""
        return super().reading(snapshot=True) if snapshot else self._one_by_one

    def ask(self, sql: str, look_up: LookUp | None, binds: Sequence[Any], told: Told) -> bool:
        """Have somebody told of a statement's rows soon; look-ups go together."""
        if look_up is not None:
            self.look_ups.ask(look_up, binds, told)
            return True
        task = asyncio.create_task(self._tell(sql, binds, told))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _tell(self, sql: str, binds: Sequence[Any], told: Told) -> None:
        rows: list[Any] | None = None
        refused: LeadgraphError | None = None
        try:
            rows = await self._one_by_one.rows(sql, binds)
        except LeadgraphError as error:
            refused = error
        except Exception as error:  # noqa: BLE001  (who is told of nothing asks again, and tells what went wrong)
            logger.warning("statement.failed", error=type(error).__name__)
        told(rows, refused)

    async def take(self, *, snapshot: bool) -> "_PostgresReading":
        """Take an idle connection, or open one."""
        reading = await self._take()
        if snapshot:
            try:
                begin = reading.again_if_lost("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                await self.deadlines.within(self.seconds, begin)
            except BaseException:
                reading.connection.terminate()
                raise
        return reading

    async def give_back(self, reading: "_PostgresReading", *, snapshot: bool) -> None:
        """Put a connection back, unless it was lost."""
        try:
            if snapshot and not reading.connection.is_closed():
                await self.deadlines.within(self.seconds, reading.connection.execute("ROLLBACK"))
        finally:
            reading.in_snapshot = False
            if reading.connection.is_closed():
                reading.connection.terminate()
            else:
                self._idle.append(reading)

    async def _take(self) -> "_PostgresReading":
        while self._idle:
            reading: _PostgresReading = self._idle.pop()
            if not reading.connection.is_closed():
                return reading
        return _PostgresReading(await self.open(), self)

    async def open(self) -> Any:
        """Open one more connection; a server that is away is `Unavailable`."""
        try:
            connection = await asyncpg.connect(
                self._url,
                timeout=3,
                server_settings={"timezone": "UTC", "application_name": "leadgraph reader", "jit": "off"},
            )
            try:
                # The driver asks the server about a type when it first meets it: now, not in the middle of a request.
                await connection.prepare("SELECT $1::integer[], $2::text[]", timeout=self.seconds)
            except BaseException:
                connection.terminate()
                raise
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresConnectionError,
            asyncpg.TooManyConnectionsError,
            asyncpg.CannotConnectNowError,
        ) as error:
            raise Unavailable from error
        return connection

    async def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            await self._idle.pop().connection.close()


class _OneByOne:
    """Reads each statement through the connection that is free."""

    postgres = True
    __slots__ = ("_readers",)

    def __init__(self, readers: PostgresReaders) -> None:
        self._readers = readers

    async def __aenter__(self) -> Reading:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing was checked out."""

    async def rows(self, sql: str, binds: Sequence[Any]) -> list[Any]:
        async with CheckedOut(self._readers, snapshot=False) as reading:
            return await reading.rows(sql, binds)

    async def row(self, look_up: LookUp, binds: Sequence[Any]) -> list[Any]:
        return await self._readers.look_ups.rows(look_up, binds)


class _PostgresReading:
    postgres = True

    def __init__(self, connection: Any, pool: PostgresReaders) -> None:
        self.connection = connection
        self.in_snapshot = False
        self._pool = pool
        self._prepared: dict[str, Any] = {}
        # The root fields of a query are resolved side by side, a connection answers one after the other.
        self._turn = asyncio.Lock()

    async def again_if_lost(self, begin: str) -> None:
        try:
            await self.connection.execute(begin)
        except _LOST:
            await self._reopen()
            await self.connection.execute(begin)
        self.in_snapshot = True

    async def rows(self, sql: str, binds: Sequence[Any]) -> list[Any]:
        async with self._turn:
            try:
                return await self._pool.deadlines.within(self._pool.seconds, self._rows(sql, binds))
            except TimeoutError as error:
                raise TookTooLong from error

    async def row(self, look_up: LookUp, binds: Sequence[Any]) -> list[Any]:
        return await self.rows(look_up.one, binds)

    async def _rows(self, sql: str, binds: Sequence[Any]) -> list[Any]:
        try:
            return await self._fetch(sql, binds)
        except _LOST as error:
            if isinstance(error, asyncpg.QueryCanceledError):
                raise TookTooLong from error
            if self.in_snapshot:
                raise Unavailable from error
            await self._reopen()  # a read may simply be asked again
            return await self._fetch(sql, binds)

    async def _fetch(self, sql: str, binds: Sequence[Any]) -> list[Any]:
        statement = self._prepared.get(sql)
        if statement is None:
            if len(self._prepared) >= 500:
                self._prepared.clear()
            statement = self._prepared[sql] = await self.connection.prepare(sql)
        rows: list[Any] = await statement.fetch(*binds)
        return rows

    async def _reopen(self) -> None:
        self.connection.terminate()
        self._prepared.clear()
        self.connection = await self._pool.open()
