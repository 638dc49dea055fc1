"""What a column holds, the same on both databases: moments, JSON kept as text, text that sorts by code points."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Dialect, Text, types
from sqlalchemy.dialects import postgresql


class Plain(types.TypeDecorator[str]):
    """Ids, folded text: sorted by code points. PostgreSQL would sort by the locale of the server, SQLite does so as it is."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> types.TypeEngine[Any]:
        """Choose the database's own type."""
        return dialect.type_descriptor(Text(collation="C") if dialect.name == "postgresql" else Text())


def dumps(value: Any) -> str:
    """Write JSON the one way that it is stored and shown: sorted keys, no spaces."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z).decode()


@lru_cache(maxsize=1_024)  # a transaction has one moment, and writes it thousands of times
def moment_text(value: datetime) -> str:
    """Write a moment as SQLite keeps it: UTC, 27 characters, so that text order is time order."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


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

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read it back in UTC."""
        if value is None or dialect.name == "postgresql":
            return value if value is None else value.astimezone(UTC)
        return datetime.fromisoformat(value)


def parts_text(value: Any) -> str:
    """Write a list of objects with their members as they come: in the order of the contract; what is inside is sorted."""
    text = orjson.dumps(value).decode()
    if text.count("{") == len(value):
        return text  # no object inside another: nothing to sort
    fragment = orjson.Fragment
    return orjson.dumps(
        [{key: fragment(dumps(part)) if isinstance(part, dict | list) else part for key, part in item.items()} for item in value]
    ).decode()


class Json(types.TypeDecorator[Any]):
    """JSON as text, byte for byte as it was written (`json` on PostgreSQL, never `jsonb`, which would reorder it)."""

    impl = Text
    cache_ok = True
    write = staticmethod(dumps)

    def load_dialect_impl(self, dialect: Dialect) -> types.TypeEngine[Any]:
        """Choose the database's own type."""
        return dialect.type_descriptor(postgresql.JSON() if dialect.name == "postgresql" else Text())

    def bind_processor(self, dialect: Dialect) -> Any:
        """Write with sorted keys; the driver of PostgreSQL takes `json` as text."""
        write = self.write
        return lambda value: None if value is None else write(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Read what either driver gives: text."""
        return lambda value: orjson.loads(value) if isinstance(value, str | bytes) else value


class Parts(Json):
    """A list of objects that the graph hands through as they stand: their members keep the contract's order."""

    cache_ok = True
    write = staticmethod(parts_text)
