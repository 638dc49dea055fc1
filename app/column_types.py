"""What a column holds, the same on both databases: moments, JSON kept as text, text that sorts by code points."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Dialect, Text, types
from sqlalchemy.dialects import postgresql

from app.rules.written import dumps, moment_text, parts_text

#: What a batch wrote has one moment, and a batch reads thousands of rows.
_moment = lru_cache(maxsize=1_024)(datetime.fromisoformat)


class Plain(types.TypeDecorator[str]):
    """Ids, folded text: sorted by code points. PostgreSQL would sort by the locale of the server, SQLite does so as it is."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> types.TypeEngine[Any]:
        """Choose the database's own type."""
        return dialect.type_descriptor(Text(collation="C") if dialect.name == "postgresql" else Text())


class Moment(types.TypeDecorator[datetime]):
    """A point in time with an offset: `timestamptz` on PostgreSQL, text of fixed width on SQLite."""

    impl = types.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> types.TypeEngine[Any]:
        """Choose the database's own type."""
        return dialect.type_descriptor(types.DateTime(timezone=True) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse a moment without an offset: it would mean another time on another machine."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value!r} has no offset")
        return value if value is None or dialect.name == "postgresql" else moment_text(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Read it back in UTC, in which the driver of PostgreSQL gives it."""
        if dialect.name == "postgresql":
            return None
        return lambda value: None if value is None else _moment(value)


class Json(types.TypeDecorator[Any]):
    """JSON as text, byte for byte as it was written (`json` on PostgreSQL, never `jsonb`, which would reorder it)."""

    impl = Text
    cache_ok = True
    write = staticmethod(dumps)
    read: Callable[[Any], Any] = staticmethod(orjson.loads)

    def load_dialect_impl(self, dialect: Dialect) -> types.TypeEngine[Any]:
        """Choose the database's own type."""
        return dialect.type_descriptor(postgresql.JSON() if dialect.name == "postgresql" else Text())

    def bind_processor(self, dialect: Dialect) -> Any:
        """Write with sorted keys; the driver of PostgreSQL takes `json` as text."""
        write = self.write
        return lambda value: None if value is None else write(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Read what either driver gives: text."""
        read = self.read
        return lambda value: read(value) if isinstance(value, str | bytes) else value


class Parts(Json):
    """A list of objects that the graph hands through as they stand: their members keep the contract's order."""

    cache_ok = True
    write = staticmethod(parts_text)


class SharedParts(Parts):
    """Such a list of which most rows have one of a few hundred: those that have the same share it, and nobody may change it."""

    cache_ok = True
    read = staticmethod(lru_cache(maxsize=1_024)(orjson.loads))
