"""How SQLite writes JSON, and finds what is asked."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from app.column_types import moment_text
from schema.planner.dialects import Dialect, Expression, Fields, Kind, Leaf, number, text

#: SQLite's functions take 127 arguments.
_PAIRS = 63

#: What `json_each` calls the kinds of JSON values.
_SQLITE_TYPES = {
    "string": ("text",),
    "number": ("integer", "real"),
    "boolean": ("true", "false"),
    "array": ("array",),
    "object": ("object",),
}


class Sqlite(Dialect):
    """SQLite 3.40."""

    core = sqlite.dialect()

    def written(self, leaf: Leaf) -> Expression:
        """Give a leaf the form that `json_object` writes rightly."""
        value = leaf.expression
        if leaf.kind is Kind.MOMENT:
            return sa.func.replace(value, text(".000000Z"), text("Z"))
        if leaf.kind is Kind.BOOLEAN:
            return sa.func.json(sa.case((value, text("true")), (sa.not_(value), text("false"))))
        if leaf.kind is Kind.JSON:
            return sa.func.json(value)
        if leaf.kind is Kind.HUNDREDTHS:
            # `printf` of a null would be 0.
            shown = sa.func.printf(text("%d.%02d"), value.op("/")(number(100)), value.op("%")(number(100)))
            return sa.func.json(sa.case((value.is_not(None), shown)))
        return value

    def outermost(self, leaf: Leaf) -> Expression:
        return self.written(leaf)

    def inline(self, fields: Fields, row: sa.FromClause) -> Expression:
        return self._object(fields)

    def one(self, fields: Fields, query: sa.Select[Any], outer: sa.FromClause | None) -> Expression:
        return query.add_columns(self._object(fields)).correlate(outer).scalar_subquery()

    def items(self, fields: Fields, page: sa.FromClause) -> tuple[sa.FromClause, Expression]:
        return page, self._object(fields)

    def _object(self, fields: Fields) -> Expression:
        pairs = [(text(key), self.written(leaf)) for key, leaf in fields.items()]
        if len(pairs) <= _PAIRS:
            return sa.func.json_object(*[part for pair in pairs for part in pair])
        # Merged as text: `json_patch` would drop every null.
        whole: Expression = text("{")
        for start in range(0, len(pairs), _PAIRS):
            piece = sa.func.json_object(*[part for pair in pairs[start : start + _PAIRS] for part in pair])
            inner = sa.func.substr(piece, number(2), sa.func.length(piece) - number(2))
            whole = whole.concat(inner) if start == 0 else whole.concat(text(",")).concat(inner)
        return sa.func.json(whole.concat(text("}")))

    def gathered(self, items: Expression, keep: Expression | None = None) -> Expression:
        array: Any = sa.func.json_group_array(items)
        return array if keep is None else array.filter(keep)  # type: ignore[no-any-return]

    def read(self, written: Expression) -> Expression:
        return sa.func.json(written)

    def elements(self, column: Expression) -> tuple[sa.FromClause, Expression]:
        each = sa.func.json_each(column).table_valued("value", "key")
        each = each.alias()
        return each, each.c.value

    def member(self, element: Expression, name: str) -> Leaf:
        return Leaf(sa.func.json(element.op("->")(text(f"$.{name}"))), Kind.TREE)

    def list_of(self, type_: Any) -> Any:
        return sa.Text()

    def among(self, column: Expression, bind: Expression) -> Expression:
        return column.in_(sa.select(sa.literal_column("value")).select_from(sa.func.json_each(bind)))

    def attribute(self, column: Expression, key: Expression, kind: str | None, test: Callable[[Expression], Expression]) -> Expression:
        # `->` would read a key with a quote or a backslash in it, or a number, as a path.
        each = sa.func.json_each(column).table_valued("key", "value", "type").alias()
        types = [each.c.type.in_([text(name) for name in _SQLITE_TYPES[kind]])] if kind else []
        mine = sa.select(number(1)).select_from(each).where(each.c.key == key, *types, test(each.c.value))
        return mine.correlate(column.table).exists()

    def text_at(self, column: Expression, key: Expression) -> Expression:
        each = sa.func.json_each(column).table_valued("key", "value").alias()
        return sa.select(each.c.value).where(each.c.key == key).correlate(column.table).scalar_subquery()

    def number_meets(self, value: Expression, compare: Callable[[Any, Any], Any], bind: Callable[[str, Any], Expression]) -> Expression:
        return compare(value, bind("plain", None))  # type: ignore[no-any-return]

    def contains(self, column: Expression, piece: Expression) -> Expression:
        return sa.func.instr(column, piece) > number(0)

    def cursor(self, prefix: Expression, keys: Sequence[Leaf]) -> Expression:
        return sa.func.cursor_text(prefix, sa.func.json_array(*[key.expression for key in keys]))

    def looked_up(self, json_object: Expression, key: Expression) -> Expression:
        return json_object.op("->>")(key)

    def bound(self, value: Any) -> Any:
        if isinstance(value, list):
            return orjson.dumps(value).decode()
        return moment_text(value) if hasattr(value, "tzinfo") else value

    def words(self, lead: sa.FromClause, workspace: Expression, query: Expression) -> Expression:
        index, conditions = self._index(workspace, query)
        return lead.c.id.in_(sa.select(index.c.lead_id).where(*conditions))

    def hits(self, scope: Any, query: Expression) -> tuple[sa.FromClause, Expression, list[Expression]]:
        index, conditions = self._index(scope.workspace, query)
        return index, index.c.lead_id, conditions

    @staticmethod
    def _index(workspace: Expression, query: Expression) -> tuple[sa.FromClause, list[Expression]]:
        # FTS5 has a hidden column of the table's own name, and wants that before MATCH.
        index = sa.table("lead_search", sa.column("workspace_id"), sa.column("lead_id"), sa.column("lead_search")).alias()
        return index, [index.c.lead_search.op("MATCH")(query), index.c.workspace_id == workspace]

    def gated(self, query: sa.Select[Any], gate: Expression, size: Expression) -> sa.Select[Any]:
        # A condition would be asked again for each row; of none is nothing read.
        return query.limit(size if isinstance(gate, sa.True_) else sa.case((gate, size), else_=number(0)))

    def match(self, words: Sequence[str]) -> str:
        return "words : (" + " AND ".join(f'"{word}" *' for word in words) + ")"

    def greatest(self, *parts: Expression) -> Expression:
        return sa.func.max(*parts)


SQLITE = Sqlite()
