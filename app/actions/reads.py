"""Look-ups outside a writing transaction: a statement of Core, compiled once a database and run on a reader's raw connection."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite

from app.readers import Reading

#: Whether it is PostgreSQL, and how that driver wants its statements.
_DIALECTS: dict[bool, Dialect] = {True: PGDialect_asyncpg(), False: SQLiteDialect_aiosqlite()}  # type: ignore[no-untyped-call]

_Processor = Callable[[Any], Any] | None


class Read:
    """One select: `rows` binds its values by name and gives dicts, each value as its column's type reads it."""

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement
        self._texts = {postgres: _Text(statement, dialect) for postgres, dialect in _DIALECTS.items()}

    async def rows(self, reading: Reading, **binds: Any) -> list[dict[str, Any]]:
        """Run it and give all its rows."""
        text = self._texts[reading.postgres]
        return [text.read(row) for row in await reading.rows(text.sql, text.bound(binds))]


class _Text:
    """The statement in one database's words."""

    def __init__(self, statement: sa.Select[Any], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.sql = str(compiled)
        self._constants = compiled.params
        self._binds: list[tuple[str, _Processor]] = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in compiled.positiontup or ()
        ]
        self._columns: list[tuple[str, _Processor]] = [
            (str(column.key), column.type.dialect_impl(dialect).result_processor(dialect, None)) for column in statement.selected_columns
        ]

    def bound(self, binds: dict[str, Any]) -> list[Any]:
        values = {**self._constants, **binds}
        return [values[name] if process is None else process(values[name]) for name, process in self._binds]

    def read(self, row: Any) -> dict[str, Any]:
        return {name: value if process is None else process(value) for (name, process), value in zip(self._columns, row, strict=True)}
