"""The settings and the database that commands work with, or one line that says why they can't be had."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from app.commands.terminal import Failure
from app.database import Database, database_file
from app.errors import Unavailable, shown
from app.migrations import check
from app.settings import Settings

ELSEWHERE = "name another in LEADGRAPH_DATABASE_URL"
DRIVERS = ("sqlite+aiosqlite", "postgresql+asyncpg")
#: What the settings' library finds wrong with a value, in our words; of other kinds the setting says itself what it takes.
_RULES = {
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "greater_than": "must be more than {gt:g}",
}
#: What SQLite says of a file that can't be used, and what one may do about it.
_SQLITE = {
    "readonly": f"it is read-only: let this user write it and its folder, or {ELSEWHERE}",
    "not a database": f"it is no SQLite database: {ELSEWHERE}",
    "unable to open": f"it cannot be opened: let this user read and write it and its folder, or {ELSEWHERE}",
    "locked": "another program holds it locked: end that program, or try again later",
}


def read_settings(database_url: str | None = None) -> Settings:
    """Read the settings from the environment; the database may be another."""
    try:
        settings = Settings() if database_url is None else Settings(database_url=database_url)
        driver = make_url(settings.database_url).drivername
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        rule = _RULES.get(first["type"], f"must be {Settings.model_fields[name].description}").format(**first.get("ctx", {}))
        raise Failure(f"LEADGRAPH_{name.upper()} {shown(first['input'])}: {rule}") from error
    except ArgumentError as error:
        raise Failure(f"LEADGRAPH_DATABASE_URL is no URL: write {DRIVERS[0]}:///FILE or {DRIVERS[1]}://USER@HOST/NAME") from error
    if driver not in DRIVERS:
        raise Failure(f"LEADGRAPH_DATABASE_URL: {driver} is not among the drivers {' and '.join(DRIVERS)}")
    return settings


@asynccontextmanager
async def opened(settings: Settings, *, create: bool = False) -> AsyncIterator[Database]:
    """Open the database that the settings name, or fail with one line; a file that is not there is created where `create`."""
    url = make_url(settings.database_url)
    database = _connected(settings)
    file = database_file(url)
    if file is not None:
        _check_file(file, create=create)
    try:
        yield database
    except (Unavailable, DBAPIError) as error:
        raise Failure(_away(url, error)) from error
    finally:
        await database.close()


def _connected(settings: Settings) -> Database:
    try:
        return Database(settings)
    except ModuleNotFoundError as error:
        raise Failure(f"PostgreSQL needs the package {error.name}: install leadgraph[postgres]") from error
    except ValueError as error:
        raise Failure(str(error)) from error


def _check_file(file: Path, *, create: bool) -> None:
    """Try the file with the standard library first: it fails at once, and in words."""
    if not file.parent.is_dir():
        raise Failure(f"{file}: there is no folder {file.parent}: create it, or {ELSEWHERE}")
    if not create and not file.exists():
        raise Failure(f"{file}: there is no such database: {ELSEWHERE}, or let `leadgraph migrate` create it")
    try:
        mode = "rwc" if create else "rw"
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode={mode}", uri=True, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        advice = next((advice for words, advice in _SQLITE.items() if words in str(error)), f"{error}: {ELSEWHERE}")
        raise Failure(f"{file}: {advice}") from error


def _away(url: URL, error: Exception) -> str:
    cause: BaseException = error
    while isinstance(cause, Unavailable | DBAPIError) and cause.__cause__:
        cause = cause.__cause__
    words = str(cause).partition("\n")[0] or type(cause).__name__
    return f"{url.render_as_string(hide_password=True)}: {words}: see that the database is there and may be written to, or {ELSEWHERE}"


@asynccontextmanager
async def current() -> AsyncIterator[Database]:
    """Open the database that the environment names, with this version's tables."""
    async with opened(read_settings()) as database:
        await check(database)
        yield database
