"""What the errors of the two databases mean, and how they are told without the values of people that they quote."""

import re
import sqlite3

from sqlalchemy.exc import DBAPIError, IntegrityError

#: SQLSTATEs after which the same request may simply run again: serialization failure, deadlock.
_AGAIN = {"40001", "40P01"}
#: The classes and states of a server that is away, full, or shutting down.
_AWAY = ("08", "53", "57P")
#: What a driver's exception says when SQLite has no room, no rights or no time.
_SQLITE_AWAY = (
    "database or disk is full",
    "disk I/O error",
    "attempt to write a readonly database",
    "database is locked",
    "unable to open database file",
)
#: SQLSTATEs of a value that another row has, or of a row that is gone: what another transaction may have brought about.
_RACED = {"23505", "23503"}
_SQLITE_RACED = {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_FOREIGNKEY"}
#: Where a message goes on to quote a value: `invalid input syntax for type integer: "ada@example.com"`, `error near '...'`.
_VALUE = re.compile(r"""(?::| near) ['"].*""")


def is_retryable(error: BaseException | None) -> bool:
    """Tell a deadlock or a serialization failure, after which the whole request may run again."""
    while error is not None:
        if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _AGAIN:
            return True
        error = error.__cause__ or error.__context__
    return False


def is_away(error: DBAPIError) -> bool:
    """Tell a database that cannot be reached or written to from a mistake of ours."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_AWAY)
    text = str(error.orig)
    return error.connection_invalidated or any(sign in text for sign in _SQLITE_AWAY)


def is_raced(error: IntegrityError) -> bool:
    """Tell a value or row that another transaction took from a mistake of ours, such as a null where none may be."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state in _RACED
    return isinstance(error.orig, sqlite3.Error) and error.orig.sqlite_errorname in _SQLITE_RACED


def is_of_driver(error: BaseException) -> bool:
    """Tell an error that quotes what a statement held: a driver's, or SQLAlchemy's around it."""
    return isinstance(error, DBAPIError | sqlite3.Error) or type(error).__module__.startswith("asyncpg.")


def told(error: BaseException) -> str:
    """Tell an error in one line, without the values that a database's message quotes in it and behind it."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    first = next(iter(str(cause).splitlines()), "")
    if is_of_driver(error):
        first = _VALUE.sub("", first)
    return f"{type(cause).__name__}: {first}"[:500]
