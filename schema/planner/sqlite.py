"""How SQLite writes JSON, and finds what is asked."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.functions import Function
from sqlalchemy.sql.visitors import replacement_traverse

from app.rules.written import moment_text
from app.search_index import beginnings
from schema.planner.dialects import Dialect, Expression, Fields, Hits, Kind, Leaf, Search, number, text

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


#: Statements that may nest in an object before it is worth to spell it.
_SHALLOW = 1
#: Statements inside a statement.
_STATEMENTS = (sa.ScalarSelect, sa.Exists, sa.SelectBase)


def _nested(expression: Any) -> Iterator[Any]:
    """Give the statements in an expression, and not those in them."""
    if isinstance(expression, _STATEMENTS):
        yield expression
    else:
        for child in expression.get_children():
            yield from _nested(child)


def _spelled(expression: Any) -> Expression | None:
    """Give the text of an object that was spelled, before it is read as JSON."""
    inner = next(iter(expression.clauses)) if isinstance(expression, Function) and expression.name == "json" else None
    return inner if isinstance(inner, sa.ScalarSelect) and isinstance(inner.element, sa.CompoundSelect) else None


def _height(expression: Any, known: dict[int, int]) -> int:
    """Tell how many statements deep an expression nests. A subselect hangs below each column that is taken from it: looked at once."""
    if id(expression) not in known:
        below = max((_height(child, known) for child in expression.get_children()), default=0)
        known[id(expression)] = below + isinstance(expression, sa.ScalarSelect)
    return known[id(expression)]


def _hides(expression: Any) -> bool:
    """Tell whether there are statements in an expression that is none itself."""
    return not isinstance(expression, _STATEMENTS) and _spelled(expression) is None and any(True for _ in _nested(expression))


def _columns(expression: Any, page: sa.FromClause) -> Iterator[Any]:
    """Give the columns of a page in an expression, outside of the statements in it."""
    if isinstance(expression, sa.ColumnClause) and expression.table is page:
        yield expression
    elif not isinstance(expression, _STATEMENTS):
        for child in expression.get_children():
            yield from _columns(child, page)


class Sqlite(Dialect):
    """SQLite 3.40."""

    core = sqlite.dialect()

    def written(self, leaf: Leaf) -> Expression:
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

    def one(self, fields: Fields, query: sa.Select[Any], row: sa.FromClause | None, outer: sa.FromClause | None) -> Expression:
        query = query.correlate(outer)
        if row is not None and any(_hides(leaf.expression) for leaf in fields.values()):
            source, fields = self._flattened(query, row, fields, fields)
            query = sa.select().select_from(source).correlate(outer)
        elif outer is not None and any(_height(leaf.expression, {}) > _SHALLOW for leaf in fields.values()):
            return sa.func.json(self._spelled(fields, query))
        return query.add_columns(self._object(fields)).scalar_subquery()

    def first(self, objects: Sequence[Expression]) -> Expression:
        if not any(_spelled(each) is not None for each in objects):
            return super().first(objects)
        return sa.func.json(sa.func.coalesce(*[sa.func.nullif(each, text("null")) for each in objects]))

    def _spelled(self, fields: Fields, query: sa.Select[Any]) -> Expression:
        """Write the object of one row, or `null`, as text: an argument of a function leaves 5 on the parser's stack, a part of a text 2."""
        whole: Expression = text("{")
        for place, (key, leaf) in enumerate(fields.items()):
            value = _spelled(leaf.expression)
            if value is None:
                written, is_json = self.written(leaf), leaf.is_json or leaf.kind is Kind.BOOLEAN
                value = written if leaf.always else sa.func.ifnull(written, text("null")) if is_json else sa.func.json_quote(written)
            whole = whole.concat(text(("," if place else "") + orjson.dumps(key).decode() + ":")).concat(value)
        found = query.add_columns(whole.concat(text("}")).label("whole"))
        # "{" comes after "n".
        return sa.union_all(found, sa.select(text("null"))).order_by(sa.desc("whole")).limit(number(1)).scalar_subquery()

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

    def flattened(self, page: sa.FromClause, fields: Fields, below: Collection[str]) -> tuple[sa.FromClause, Fields]:
        return self._flattened(sa.select().select_from(page), page, fields, below)

    @staticmethod
    def _flattened(query: sa.Select[Any], page: sa.FromClause, fields: Fields, below: Collection[str]) -> tuple[sa.FromClause, Fields]:
        """Make columns of the statements in a page's objects: the objects then say their names.

        The parser has a stack of 100, on which all that is open before a parenthesis waits for what is in it: with each statement inside
        an argument of an argument, a nested page takes 18, and as a column 11. It is one and the same to the rest of SQLite, which
        looks through such a subselect.
        """
        nested = {id(each): each for key in fields if key in below for each in _nested(fields[key].expression)}
        if not nested:
            return page, fields
        names = {place: f"below {number_}" for number_, place in enumerate(nested)}
        columns = {part for leaf in fields.values() for part in _columns(leaf.expression, page)}
        wider = query.add_columns(*sorted(columns, key=str), *[each.label(names[place]) for place, each in nested.items()]).subquery()

        def moved(element: Any, **_: Any) -> Any:
            if isinstance(element, _STATEMENTS):
                return wider.c[names[id(element)]] if id(element) in names else element
            return wider.c[element.key] if isinstance(element, sa.ColumnClause) and element.table is page else None

        return wider, {key: replace(leaf, expression=replacement_traverse(leaf.expression, {}, moved)) for key, leaf in fields.items()}

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

    def words(self, lead: sa.FromClause, workspace: Expression, search: Search) -> Expression:
        index, conditions = self._index(workspace, search)
        return lead.c.id.in_(sa.select(index.c.lead_id).where(*conditions))

    def hits(self, scope: Any, search: Search) -> Hits:
        index, conditions = self._index(scope.workspace, search)
        return Hits(index, index.c.lead_id, conditions, {"created_at": index.c.created_at})

    def _index(self, workspace: Expression, search: Search) -> tuple[sa.FromClause, list[Expression]]:
        # FTS5 has a hidden column of the table's own name, and wants that before MATCH.
        names = ("workspace_id", "lead_id", "created_at", "words", "lead_search")
        index = sa.table("lead_search", *[sa.column(name, sa.Text) for name in names]).alias()
        found = index.c.lead_search.op("MATCH")(search.query)
        return index, [found, index.c.workspace_id == workspace, *self.begun(index.c.words, search.checks)]

    def gated(self, query: sa.Select[Any], gate: Expression, size: Expression) -> sa.Select[Any]:
        # A condition would be asked again for each row; of none is nothing read.
        return query.limit(size if isinstance(gate, sa.True_) else sa.case((gate, size), else_=number(0)))

    def match(self, words: Sequence[str], *, cut: bool) -> str:
        return " AND ".join(f'"{word}" *' for word in (beginnings(words) if cut else words))

    def greatest(self, *parts: Expression) -> Expression:
        return sa.func.max(*parts)


SQLITE = Sqlite()
