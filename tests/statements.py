"""Counts statements at the drivers, below SQLAlchemy and below the raw readers: nothing that reaches a database escapes.

SQLite tells every statement that it runs to the connection's trace callback; asyncpg sends every one through its protocol.
A statement that SQLite breaks off because it is too long for the loop's thread, and that runs to its end in another, counts once.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg.connection

from app.sqlite_readers import SqliteReaders

_CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA", "LISTEN", "NOTIFY", "--")
_lists: list[list[str]] = []
_talks: list[list[tuple[int, str]]] = []


def _seen(sql: str, connection: int = 0) -> None:
    for talk in _talks:
        talk.append((connection, sql))
    # What begins with --, or names the shadow tables of the search index, is a statement inside a statement.
    # Who asks is remembered for a second, and looked up and noted beside the request: no part of answering it.
    beside = "api_key.hash" in sql or sql.startswith("UPDATE api_key SET last_used_at")
    # Of PostgreSQL's: ";" asks whether a connection is alive, and a connection asks once what its types are, its compiler off meanwhile.
    beside = beside or sql == ";" or "pg_type" in sql or "set_config('jit'" in sql
    if not beside and not sql.lstrip().upper().startswith(_CONTROL) and "'main'.'lead_search_" not in sql:
        for statements in _lists:
            statements.append(sql)


class _Protocol:
    """asyncpg's protocol, with the four calls that run a statement told on."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._protocol, name)
        if name in ("query", "copy_in"):
            return _told(found, lambda query: query, id(self))
        if name in ("bind_execute", "bind_execute_many"):
            return _told(found, lambda state: state.query, id(self))
        return found


def _told(run: Any, text: Any, connection: int) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        _seen(text([*args, *kwargs.values()][0]), connection)
        return run(*args, **kwargs)

    return call


def watch_drivers() -> None:
    """Watch every connection that is opened from now on."""
    connect = sqlite3.connect

    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        number = id(connection)  # the callback would else keep its connection from going
        connection.set_trace_callback(lambda sql: _seen(sql, number))
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]
    start = asyncpg.connection.Connection.__init__

    def watched(self: Any, protocol: Any, *args: Any, **kwargs: Any) -> None:
        start(self, _Protocol(protocol), *args, **kwargs)

    asyncpg.connection.Connection.__init__ = watched
    try_at_once = SqliteReaders.try_at_once

    def counted_once(self: SqliteReaders, sql: str, binds: Any) -> list[Any] | None:
        before = [len(statements) for statements in _lists]
        rows = try_at_once(self, sql, binds)
        if rows is None:  # broken off without a row read: it is run, and counted, in a thread
            for statements, length in zip(_lists, before, strict=True):
                del statements[length:]
        return rows

    SqliteReaders.try_at_once = counted_once  # type: ignore[method-assign]


@contextmanager
def counted() -> Iterator[list[str]]:
    """Collect the statements that run inside the block."""
    statements: list[str] = []
    _lists.append(statements)
    try:
        yield statements
    finally:
        _lists[:] = [each for each in _lists if each is not statements]  # two that hold the same are still two


@contextmanager
def overheard() -> Iterator[list[tuple[int, str]]]:
    """Collect all that is said to the databases inside the block, BEGIN and COMMIT too, each with the connection that it was said on."""
    talk: list[tuple[int, str]] = []
    _talks.append(talk)
    try:
        yield talk
    finally:
        _talks.remove(talk)
