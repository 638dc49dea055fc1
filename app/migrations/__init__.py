"""Alembic migrations, and the two ways to use them: `upgrade`, and the `check` of a server that is not to migrate.

Alembic itself is loaded by `upgrade` alone (it runs `env`): most commands only look at the version, and should not wait for it.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import Database
from app.errors import LeadgraphError

VERSIONS = Path(__file__).parent / "versions"
_AT: sa.Select[Any] = sa.select(sa.column("version_num", sa.String)).select_from(sa.table("alembic_version"))


class SchemaTooNew(LeadgraphError):
    """The database was written by a newer version of Leadgraph: install that version or a later one."""


class SchemaTooOld(LeadgraphError):
    """The database needs `leadgraph migrate` first."""


@cache
def known() -> tuple[str, ...]:
    """Name the versions of the schema, oldest first: each migration's file begins with its revision."""
    return tuple(sorted(path.stem.partition("_")[0] for path in VERSIONS.glob("[0-9]*.py")))


def newest() -> str:
    """Name the version of the schema that this program works with."""
    return known()[-1]


async def upgrade(database: Database, show: Callable[[float], None] = lambda _: None) -> None:
    """Bring the database to this version's tables, in one transaction; of two that start at once, the second waits.

    `show` is told how far it has come, from 0 to 1, after each migration.
    """
    async with database.writing() as connection:
        if database.is_postgres:
            await connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7310293847)")
        at = await _version(connection)
        _refuse_newer(at)
        if at != newest():
            await connection.run_sync(partial(_run, show=show))


async def check(database: Database) -> None:
    """Refuse a database whose tables are not this version's."""
    async with database.writing() as connection:
        at = await _version(connection)
    _refuse_newer(at)
    if at != newest():
        raise SchemaTooOld


def _run(connection: Connection, show: Callable[[float], None]) -> None:
    from alembic import command  # noqa: PLC0415  (see above)
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    config.attributes["show"] = lambda version: show((known().index(version) + 1) / len(known()))
    command.upgrade(config, "head")


async def _version(connection: AsyncConnection) -> str | None:
    if not await connection.run_sync(lambda sync: sa.inspect(sync).has_table("alembic_version")):
        return None
    found: Any = (await connection.execute(_AT)).scalar()
    return None if found is None else str(found)


def _refuse_newer(at: str | None) -> None:
    if at is not None and at not in known():
        raise SchemaTooNew
