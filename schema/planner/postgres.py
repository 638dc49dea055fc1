"""How PostgreSQL writes JSON, and finds what is asked."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect

from app.search_index import BEGINNING, OTHERS, beginnings, lexemes
from app.tables import Lead
from schema.planner.dialects import Dialect, Expression, Fields, Hits, Kind, Leaf, Search, number, text

#: PostgreSQL cuts longer names off.
_NAME = 63


def _big(value: int) -> Expression:
    return sa.literal_column(f"{value}::numeric" if value >= 0 else f"({value})::numeric", sa.Numeric)


class Postgres(Dialect):
    """PostgreSQL 15."""

    core = asyncpg_dialect.dialect()  # type: ignore[no-untyped-call]

    def moment(self, value: Expression) -> Expression:
        """Write a moment in UTC, always with its microseconds."""
        return sa.func.to_char(value.op("AT TIME ZONE")(text("UTC")), text('YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))

    def written(self, leaf: Leaf) -> Expression:
        if leaf.kind is Kind.MOMENT:
            return sa.func.replace(self.moment(leaf.expression), text(".000000Z"), text("Z"))
        if leaf.kind is Kind.HUNDREDTHS:
            return sa.cast(sa.cast(leaf.expression, sa.Numeric) / sa.cast(number(100), sa.Numeric), sa.Numeric(12, 2))
        return leaf.expression

    def inline(self, fields: Fields, row: sa.FromClause) -> Expression:
        if _spells(fields):
            return self._spelled(fields)
        whole = sa.select(*self._labelled(fields)).correlate(row).subquery(_row_name())
        return sa.select(sa.func.row_to_json(whole.table_valued())).scalar_subquery()

    def one(self, fields: Fields, query: sa.Select[Any], row: sa.FromClause | None, outer: sa.FromClause | None) -> Expression:
        if _spells(fields):
            return query.add_columns(self._spelled(fields)).correlate(outer).scalar_subquery()
        found = query.add_columns(*self._labelled(fields)).correlate(outer).subquery(_row_name())
        return sa.select(sa.func.row_to_json(found.table_valued())).scalar_subquery()

    def items(self, fields: Fields, page: sa.FromClause) -> tuple[sa.FromClause, Expression]:
        if _spells(fields):
            return page, self._spelled(fields)
        row = sa.select(*self._labelled(fields)).correlate(page).lateral(_row_name())
        return page.join(row, sa.true()), row.table_valued()

    def _labelled(self, fields: Fields) -> list[sa.Label[Any]]:
        return [self.written(leaf).label(key) for key, leaf in fields.items()]

    def _spelled(self, fields: Fields) -> Expression:
        """Write an object whose names are too long for columns, as text."""
        whole: Expression = text("{")
        for place, (key, leaf) in enumerate(fields.items()):
            written = self.written(leaf)
            if getattr(written, "is_literal", False):
                written = sa.cast(written, written.type)  # a bare constant has no type of its own there
            value = sa.func.coalesce(sa.cast(sa.func.to_json(written), sa.Text), text("null"))
            whole = whole.concat(text(("," if place else "") + orjson.dumps(key).decode() + ":")).concat(value)
        return sa.cast(whole.concat(text("}")), postgresql.JSON)

    def gathered(self, items: Expression, keep: Expression | None = None) -> Expression:
        # `json_agg` would put ", " and line feeds between them, which somebody would have to take out again. Objects that were spelled
        # out are JSON already, and an array of such is not joined by commas alone either.
        spelled = isinstance(items.type, postgresql.JSON)
        array: Any = sa.func.string_agg(sa.cast(items, sa.Text), text(",")) if spelled else sa.func.array_agg(items)
        if keep is not None:
            array = array.filter(keep)
        array = sa.cast(text("[").concat(array).concat(text("]")), postgresql.JSON) if spelled else sa.func.array_to_json(array)
        return sa.func.coalesce(array, sa.literal_column("'[]'::json"))

    def read(self, written: Expression) -> Expression:
        return sa.cast(written, postgresql.JSON)

    def elements(self, column: Expression) -> tuple[sa.FromClause, Expression]:
        each = sa.func.json_array_elements(column).table_valued("value").render_derived()
        return each, each.c.value

    def member(self, element: Expression, name: str) -> Leaf:
        return Leaf(element.op("->")(text(name)), Kind.TREE)

    def outermost(self, leaf: Leaf) -> Expression:
        # JSON as text, whatever codec the connection has; moments and booleans come as orjson wants them.
        if leaf.is_json:
            return sa.cast(self.written(leaf), sa.Text)
        return leaf.expression

    def list_of(self, type_: Any) -> Any:
        return postgresql.ARRAY(sa.Integer if isinstance(type_, sa.Integer) else sa.Text)

    def among(self, column: Expression, bind: Expression) -> Expression:
        return column == sa.any_(bind)

    def attribute(self, column: Expression, key: Expression, kind: str | None, test: Callable[[Expression], Expression]) -> Expression:
        value = column.op("->", return_type=sa.Text())(key)
        as_text: Expression = column.op("->>", return_type=sa.Text())(key)
        if kind is None:
            return sa.and_(value.is_not(None), test(as_text))
        if kind == "boolean":
            as_text = sa.case((as_text == text("true"), number(1)), else_=number(0))
        # No AND: the test may cast what is of this kind alone.
        return sa.case((sa.func.json_typeof(value) == text(kind), test(as_text)), else_=sa.false())

    def text_at(self, column: Expression, key: Expression) -> Expression:
        return column.op("->>", return_type=sa.Text())(key)

    def number_meets(self, value: Expression, compare: Callable[[Any, Any], Any], bind: Callable[[str, Any], Expression]) -> Expression:
        whole = sa.cast(value, sa.Numeric)
        is_whole = sa.and_(value.op("~")(text("^-?[0-9]+$")), whole.between(_big(-(2**63)), _big(2**63 - 1)))
        exactly = compare(whole, sa.cast(bind("exact", sa.Text), sa.Numeric))
        return sa.case((is_whole, exactly), else_=compare(sa.cast(value, sa.Double), bind("real", sa.Double)))

    def contains(self, column: Expression, piece: Expression) -> Expression:
        return sa.func.strpos(column, piece) > number(0)

    def cursor(self, prefix: Expression, keys: Sequence[Leaf]) -> Expression:
        parts = [
            sa.func.coalesce(
                sa.cast(sa.func.to_json(self.moment(key.expression) if key.kind is Kind.MOMENT else key.expression), sa.Text), text("null")
            )
            for key in keys
        ]
        payload: Expression = text("[")
        for place, part in enumerate(parts):
            payload = payload.concat(part) if place == 0 else payload.concat(text(",")).concat(part)
        said = sa.cast(prefix, sa.Text).concat(payload.concat(text("]")))
        check = sa.func.left(sa.func.encode(sa.func.sha256(sa.func.convert_to(said, text("UTF8"))), text("hex")), number(16))
        encoded = sa.func.encode(sa.func.convert_to(check.concat(said), text("UTF8")), text("base64"))
        return sa.func.rtrim(sa.func.translate(encoded, sa.literal_column(r"E'+/\n'"), text("-_")), text("="))

    def looked_up(self, json_object: Expression, key: Expression) -> Expression:
        return sa.cast(json_object, postgresql.JSON).op("->>", return_type=sa.Text())(key)

    def bound(self, value: Any) -> Any:
        return value

    def words(self, lead: sa.FromClause, workspace: Expression, search: Search) -> Expression:
        query = sa.cast(sa.cast(search.query, sa.Text), postgresql.TSQUERY)
        return sa.and_(lexemes(lead.c.search_text).op("@@")(query), *self.begun(lead.c.search_text, search.checks))

    def hits(self, scope: Any, search: Search) -> Hits:
        lead, inside = scope.table(Lead)
        return Hits(lead, lead.c.id, [inside, self.words(lead, scope.workspace, search)], dict(lead.c))

    def match(self, words: Sequence[str], *, cut: bool) -> str:
        asked = beginnings(words) if cut else words
        return " & ".join(f"('{word}' | '{OTHERS}')" if cut and len(word) == BEGINNING else f"'{word}':*" for word in asked)


_numbers = count()


def _row_name() -> str:
    """Name a row that is turned into JSON whole: as no response key can be named, or PostgreSQL would take the key's column for it."""
    return f"row {next(_numbers)}"


def _spells(fields: Fields) -> bool:
    return any(len(key.encode()) > _NAME for key in fields)


POSTGRES = Postgres()
