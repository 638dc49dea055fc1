"""The engine, the writing transaction and the readers, and what differs between SQLite and PostgreSQL when writing.

Writing goes through one SQLAlchemy transaction a request. Reading goes through raw driver connections (`readers.py` and its two kinds):
SQLAlchemy's own cost more than the statements do.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel import SQLModel

from app.column_types import Json, Moment
from app.database_errors import is_away
from app.errors import Unavailable
from app.postgres_readers import PostgresReaders
from app.readers import Readers
from app.rules.written import copy_line, moment_text
from app.settings import Settings
from app.sqlite_readers import SqliteReaders, prepare_sqlite
from app.wakeups import PostgresWakeups, SqliteWakeups, Wakeups

try:
    import asyncpg
except ModuleNotFoundError:  # the extra `postgres`; SQLite needs none of it
    asyncpg = None


class Database:
    """One database: `sqlite+aiosqlite:///FILE` or `postgresql+asyncpg://USER@HOST/NAME`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url: URL = make_url(settings.database_url)
        self.is_postgres = self.url.get_backend_name() == "postgresql"
        self.engine = _postgres_engine(self.url, settings) if self.is_postgres else _sqlite_engine(self.url, settings)
        self.readers: Readers = (
            PostgresReaders(self.url, settings.readers, settings.statement_seconds)
            if self.is_postgres
            else SqliteReaders(str(self.url.database), settings.readers, settings.statement_seconds)
        )
        self.wakeups: Wakeups = (
            PostgresWakeups(self.readers) if isinstance(self.readers, PostgresReaders) else SqliteWakeups(str(self.url.database))
        )

    async def close(self) -> None:
        """Close every connection."""
        await self.readers.close()
        await self.engine.dispose()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Open the one transaction of a mutation: committed at the end of the block, rolled back when the block raises.

        On SQLite it waits its turn for the one writer. A database that is away is `Unavailable`.
        """
        try:
            async with self.engine.begin() as connection:
                yield connection
        except PoolTimeout as error:
            raise Unavailable from error
        except DBAPIError as error:
            if is_away(error):
                raise Unavailable from error
            raise
        except OSError as error:
            raise Unavailable from error
        self.wakeups.ring()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Hear what other processes commit, for as long as the block lasts."""
        listening = asyncio.create_task(self.wakeups.listen())
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.wait([listening])


def _sqlite_engine(url: URL, settings: Settings) -> AsyncEngine:
    if not url.database or url.database == ":memory:":
        raise ValueError("LEADGRAPH_DATABASE_URL must name a file: readers and the writer have connections of their own")
    # One writer at a time: SQLite would answer SQLITE_BUSY, and a queue here is fairer than its retries.
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=settings.request_seconds, hide_parameters=True)

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver would begin transactions of its own
        connection.run_async(lambda raw: prepare_sqlite(raw, writing=True))

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgres_engine(url: URL, settings: Settings) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=settings.writers,
        max_overflow=0,
        pool_timeout=settings.request_seconds,
        pool_pre_ping=True,
        hide_parameters=True,  # an error of the driver would tell the values of a row
        json_deserializer=orjson.loads,  # a third of the library's time
        connect_args={"timeout": 3, "server_settings": {"timezone": "UTC", "application_name": "leadgraph"}},
    )


def database_file(url: URL) -> Path | None:
    """Name the file of a SQLite database."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


#: A plan that PostgreSQL kept while a table held a dozen leads looks each of thousands up in any index: an import took 17 times as long.
#: Planned anew for each transaction's statements, small ones take a fifth longer; so only those that may touch many rows are.
_PLAN_ANEW = sa.func.set_config(*map(sa.literal_column, ("'plan_cache_mode'", "'force_custom_plan'", "true")))


async def lock_workspace(connection: AsyncConnection, workspace: str, *, alone: bool, many: bool = False) -> None:
    """Take the workspace's lock until the transaction ends: shared for one root field, alone for more.

    Two requests of several root fields could otherwise wait for each other's leads in a circle. SQLite has one writer anyway.
    `many`: the transaction may touch thousands of rows.
    """
    if connection.dialect.name == "postgresql":
        lock = sa.func.pg_advisory_xact_lock if alone else sa.func.pg_advisory_xact_lock_shared
        await _lock(connection, lock, workspace, *([_PLAN_ANEW] if many else ()))


async def queue_up(connection: AsyncConnection, workspace: str) -> None:
    """Wait for a turn among those of the workspace who lost a race, and have it until the transaction ends."""
    if connection.dialect.name == "postgresql":
        await _lock(connection, sa.func.pg_advisory_xact_lock, f"races of {workspace}")


async def _lock(connection: AsyncConnection, lock: Callable[..., Any], name: str, *beside: sa.ColumnElement[Any]) -> None:
    number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)
    await connection.execute(sa.select(lock(sa.bindparam("number", number, sa.BigInteger)), *beside))


def table_of(model: type[SQLModel]) -> sa.Table:
    """Give the Core table of a model."""
    return model.__table__  # type: ignore[attr-defined, no-any-return]


def packed(table: sa.Table, rows: Iterable[dict[str, Any]], names: Sequence[str], *, postgres: bool) -> str:
    """Write rows as the one JSON text that `unpacked` reads, each value the way its column keeps it.

    PostgreSQL reads members by name; SQLite reads them by place in half the time.
    """
    chosen = _chosen(table, rows, names, fragments=postgres)
    out = [dict(zip(names, row, strict=True)) for row in chosen] if postgres else [*chosen]
    return orjson.dumps(out, option=orjson.OPT_PASSTHROUGH_DATETIME, default=_plain).decode()


def _chosen(table: sa.Table, rows: Iterable[dict[str, Any]], names: Sequence[str], *, fragments: bool) -> Iterator[list[Any]]:
    """Give these columns of the rows, their JSON as text."""
    json_types = [(place, kind, dict[int, Any]()) for place, name in enumerate(names) if isinstance(kind := table.c[name].type, Json)]
    for row in rows:
        chosen = [row[name] for name in names]
        for place, kind, written in json_types:
            if (value := chosen[place]) is not None:
                # Leads that are alike share the very list of what their score is made of.
                text = written.get(id(value))
                if text is None:
                    text = kind.write(value)
                    text = written[id(value)] = orjson.Fragment(text) if fragments else text
                chosen[place] = text
        yield chosen


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment_text(value)
    raise TypeError(f"cannot store {type(value).__name__}")


def unpacked(table: sa.Table, names: Sequence[str], *, postgres: bool) -> sa.FromClause:
    """Rows in a statement, from one JSON text bound once as `:rows`: any number of rows, one statement, one bind."""
    rows = sa.bindparam("rows", type_=sa.Text)
    if postgres:
        columns = [sa.column(name, table.c[name].type) for name in names]
        return (
            sa.func.json_to_recordset(sa.cast(rows, postgresql.JSON)).table_valued(*columns).render_derived(name="given", with_types=True)
        )
    each = sa.func.json_each(rows).table_valued("value").alias("each")
    members = [
        sa.type_coerce(sa.func.json_extract(each.c.value, sa.literal_column(f"'$[{place}]'")), table.c[name].type).label(name)
        for place, name in enumerate(names)
    ]
    return sa.select(*members).subquery("given")


#: From so many rows on it pays to look for what they have in common; with fewer, each kind of them would be a statement of its own.
MANY = 50


def alike(table: sa.Table, rows: Sequence[dict[str, Any]], names: Iterable[str]) -> tuple[str, ...]:
    """Tell in which of these columns all rows have one value, which then need not stand in each: a batch has one moment, for one."""
    if len(rows) < MANY:
        return ()
    found = []
    for name in names:
        first = rows[0][name]
        # To Python, 1, 1.0 and True are equal: what JSON holds is not compared, unless it is empty.
        if first and isinstance(table.c[name].type, Json):
            continue
        if all(row[name] == first for row in rows):
            found.append(name)
    return tuple(found)


def _once(table: sa.Table, names: Iterable[str]) -> dict[str, sa.ColumnElement[Any]]:
    return {name: sa.bindparam(f"all_{name}", type_=table.c[name].type) for name in names}


@lru_cache(maxsize=500)
def _insert(
    table: sa.Table, names: tuple[str, ...], same: tuple[str, ...], returning: tuple[str, ...], *, postgres: bool, ignore: bool
) -> sa.Insert:
    given = unpacked(table, names, postgres=postgres)
    once = _once(table, same)
    # SQLite would read the ON of "on conflict" as a join's, were there no WHERE.
    chosen = sa.select(*[given.c[name] for name in names], *once.values()).where(sa.literal_column("1 = 1"))
    insert = (postgresql.insert if postgres else sqlite.insert)(table).from_select([*names, *once], chosen, include_defaults=False)
    if ignore:
        insert = insert.on_conflict_do_nothing()
    return insert.returning(*[table.c[name] for name in returning]) if returning else insert


async def insert_rows(
    connection: AsyncConnection,
    table: sa.Table,
    rows: Sequence[dict[str, Any]],
    *,
    ignore: bool = False,
    returning: Sequence[str] = (),
    in_blocks: bool = False,
) -> list[sa.Row[Any]]:
    """Insert all rows in one statement, many on PostgreSQL by `COPY`; every row names the same columns.

    With `ignore`, rows that meet a unique value are left out, and `returning` tells which went in. `in_blocks`: many, of which each
    has an id, may be a statement for each hundred on SQLite.
    """
    if not rows:
        return []
    postgres = connection.dialect.name == "postgresql"
    # A column without a value in any row is null as it is: leads have many such columns, and each costs time.
    some = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    same = alike(table, rows, some)
    names = tuple(name for name in some if name not in same)
    if same and not ignore and not returning and (postgres or in_blocks):
        # Nothing is read from JSON: where a log is written that was half of PostgreSQL's time, and is a third of SQLite's.
        await insert_written(connection, table, names, written(connection, table, rows, names), {name: rows[0][name] for name in same})
        return []
    statement = _insert(table, names, same, tuple(returning), postgres=postgres, ignore=ignore)
    binds = {"rows": packed(table, rows, names, postgres=postgres), **{f"all_{name}": rows[0][name] for name in same}}
    result = await connection.execute(statement, binds)
    return list(result.all()) if returning else []


def written(connection: AsyncConnection, table: sa.Table, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[Any]:
    """Write each row as `insert_written` takes it."""
    chosen = [*_chosen(table, rows, names, fragments=False)]
    if connection.dialect.name == "postgresql":
        return [copy_line(row) for row in chosen]
    moments = [place for place, name in enumerate(names) if isinstance(table.c[name].type, Moment)]
    for place in moments:
        for row in chosen:
            if row[place] is not None:
                row[place] = moment_text(row[place])
    return chosen


#: Rows of one statement on SQLite, each of their values a bind. Read from JSON, a lead took it twice the time; with a statement a row its
#: thread would ask for the interpreter's lock at each.
BLOCK = 100
#: Rows that go into one statement where there may be no more than one: a thousand leads are 32,000 binds, of 32,766 that SQLite takes.
MOST_AT_ONCE = 1_000
#: Rows that such a statement may have: each text of one is kept prepared, a thousand leads in 3 MB, so there are few.
_SIZES = (100, 250, 500, MOST_AT_ONCE)


async def insert_written(
    connection: AsyncConnection,
    table: sa.Table,
    names: Sequence[str],
    rows: Sequence[Any],
    same: Mapping[str, Any],
    *,
    at_once: bool = False,
) -> None:
    """Insert rows that are `written` already: the columns `names`, beside those in which all are the `same`. There are some of both.

    By `COPY` on PostgreSQL; on SQLite, where one of the names is `id`, each hundred a statement, or a thousand, if it is to be done
    `at_once`. Raises IntegrityError where a row meets a unique value.
    """
    if not rows:
        return
    [alike] = written(connection, table, [dict(same)], [*same])
    if connection.dialect.name == "postgresql":
        end = b"\t%b\n" % alike
        await _copy(connection, table, [*names, *same], end.join(rows) + end)
    else:
        # Rows without an id, which are left out, make up for those that are missing.
        size = next((size for size in _SIZES if size >= len(rows)), MOST_AT_ONCE) if at_once else BLOCK
        nobody = [(None,) * len(names)] * (-len(rows) % size)
        every = [*rows, *nobody]
        blocks = [(*alike, *chain.from_iterable(every[start : start + size])) for start in range(0, len(every), size)]
        await connection.exec_driver_sql(_block(table, tuple(names), tuple(same), size), blocks if len(blocks) > 1 else blocks[0])


async def _copy(connection: AsyncConnection, table: sa.Table, names: Sequence[str], lines: bytes) -> None:
    """Copy lines into a table. What the driver raises is made into what SQLAlchemy would raise, for all who look at that."""
    raw: Any = (await connection.get_raw_connection()).driver_connection
    if not raw.is_in_transaction():
        await connection.execute(sa.select(1))  # the library begins with its own first statement, and this is none
    try:
        # As a view: bytes would be the name of a file, and of a file the driver leaves a cycle that holds it.
        await raw.copy_to_table(table.name, source=memoryview(lines), columns=names)
    except asyncpg.IntegrityConstraintViolationError as error:
        raise IntegrityError("COPY", None, error, hide_parameters=True) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DBAPIError("COPY", None, error, hide_parameters=True) from error


@lru_cache(maxsize=200)
def _block(table: sa.Table, names: tuple[str, ...], same: tuple[str, ...], size: int) -> str:
    once = ", ".join(f"?{number}" for number in range(1, len(same) + 1))
    row = f"({', '.join('?' * len(names))})"
    columns = ", ".join([*same, *names])
    given = f"(VALUES {', '.join([row] * size)}) AS given"
    return f"INSERT INTO {table.name} ({columns}) SELECT {once}, given.* FROM {given} WHERE given.column{names.index('id') + 1} IS NOT NULL"


@lru_cache(maxsize=500)
def _update(table: sa.Table, keys: tuple[str, ...], names: tuple[str, ...], same: tuple[str, ...], *, postgres: bool) -> sa.Update:
    given: Any = unpacked(table, (*keys, *names), postgres=postgres)
    if not postgres:
        # Without a limit SQLite would make the table the outer loop, and read the whole text again for each of its rows.
        given = sa.select(given).limit(sa.literal_column("-1")).subquery("given")
    mine = [table.c[key] == given.c[key] for key in keys]
    values = {**{name: given.c[name] for name in names}, **_once(table, same)}
    return sa.update(table).values(values).where(table.c.workspace_id == sa.bindparam("workspace"), *mine)


async def update_rows(
    connection: AsyncConnection,
    table: sa.Table,
    workspace: str,
    rows: Sequence[dict[str, Any]],
    *,
    keys: Sequence[str] = ("id",),
    columns: Sequence[str] | None = None,
) -> None:
    """Write all the rows' columns but the keys, or those of them that are named, where the keys are equal, in one statement."""
    if not rows:
        return
    postgres = connection.dialect.name == "postgresql"
    some = [name for name in columns or rows[0] if name not in keys]
    same = alike(table, rows, some)
    names = tuple(name for name in some if name not in same)
    statement = _update(table, tuple(keys), names, same, postgres=postgres)
    text = packed(table, rows, (*keys, *names), postgres=postgres)
    await connection.execute(statement, {"rows": text, "workspace": workspace, **{f"all_{name}": rows[0][name] for name in same}})


def among(column: sa.ColumnElement[Any], name: str, *, postgres: bool) -> sa.ColumnElement[bool]:
    """Tell whether a text column is in a list that is one bind, `name`: the statement is the same for any number of values.

    Bind what `listed` gives.
    """
    if postgres:
        # Not `= ANY`: PostgreSQL may take that for a filter, and compare each row of a batch with each name of a chunk.
        given = sa.func.unnest(sa.bindparam(name, type_=postgresql.ARRAY(sa.Text))).table_valued("value").render_derived("given")
        return column.in_(sa.select(given.c.value))
    each = sa.func.json_each(sa.bindparam(name, type_=sa.Text)).table_valued("value")
    return column.in_(sa.select(each.c.value))


def listed(values: Iterable[str], *, postgres: bool) -> Any:
    """Give a list the form in which `among` binds it."""
    return list(values) if postgres else orjson.dumps(list(values)).decode()
