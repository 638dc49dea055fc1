"""Counts and averages of a list of leads, all from one walk through them."""

from collections.abc import Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from graphql import GraphQLObjectType, get_named_type
from sqlalchemy.sql.elements import Grouping

from app.rules.fields import LeadStatus
from schema.planner import bindings as b
from schema.planner.compiler import LISTS, Compiler, Details, ListField
from schema.planner.dialects import Expression, Kind, Leaf, number, text
from schema.planner.lists import Listed, listed

_STATUSES = [(f"s{place}", status.value) for place, status in enumerate(LeadStatus)]
#: The bounds of the histogram's buckets; 100 falls into the last, a lead without a score into none.
_BUCKETS = [(f"b{place}", place * 10, place * 10 + 9 if place < 9 else 100) for place in range(10)]
#: The column that a figure is of.
_OF = {"averageScore": "quality_score", "scoreHistogram": "quality_score", "byStatus": "status", "bySource": "source"}


class Statistics:
    """Compiles one field of type `LeadStats`.

    The leads are counted by source where that is asked for, in one group else, each group with all its figures; these are added up.
    """

    def __init__(self, compiler: Compiler, field: ListField) -> None:
        if not isinstance(field.spec, b.Stats):
            raise TypeError(f"{field.args.path} is no statistics")
        self.on, self.spec, self.args, self.parent = compiler, field.spec, field.args, field.parent
        self.type = field.type
        self.selected = compiler.document.collect(field.type, field.details)
        self.names = {chosen[0].node.name.value for chosen in self.selected.values()}

    def whole(self) -> Expression:
        """Give the whole object as JSON."""
        if self.names == {"__typename"}:
            return self.on.dialect.one(dict.fromkeys(self.selected, Leaf(text(self.type.name))), sa.select(), None, self.parent)
        sums = self._sums()
        fields: dict[str, Leaf] = {}
        for key, chosen in self.selected.items():
            name = chosen[0].node.name.value
            if name == "__typename":
                fields[key] = Leaf(text(self.type.name))
            elif name == "count":
                fields[key] = Leaf(sums.c.count)
            elif name == "averageScore":
                fields[key] = Leaf(self._average(sums), Kind.HUNDREDTHS)
            elif name == "bySource":
                fields[key] = Leaf(sums.c[f"by {key}"], Kind.JSON)
            elif name == "byStatus":
                counted = [({"status": value}, sums.c[column]) for column, value in _STATUSES]
                fields[key] = self._listed(chosen, name, counted, none_too=False)
            else:
                buckets = [({"from": low, "to": high}, sums.c[column]) for column, low, high in _BUCKETS]
                fields[key] = self._listed(chosen, name, buckets, none_too=True)
        return self.on.dialect.one(fields, sa.select().select_from(sums), None, self.parent)

    def _figures(self, rows: Listed) -> dict[str, Expression]:
        """Give what is counted of the leads, by the name of its column."""
        figures: dict[str, Expression] = {"count": sa.func.count()}
        if "averageScore" in self.names:
            figures |= {"scored": sa.func.count(rows.c["quality_score"]), "points": sa.func.sum(rows.c["quality_score"])}
        if "byStatus" in self.names:
            figures |= {column: sa.func.count().filter(rows.c["status"] == text(value)) for column, value in _STATUSES}
        if "scoreHistogram" in self.names:
            score = rows.c["quality_score"]
            figures |= {column: sa.func.count().filter(score.between(number(low), number(high))) for column, low, high in _BUCKETS}
        return figures

    def _sums(self) -> sa.Subquery:
        """Give the one row of all figures, and the list of sources under each response key that asks for one."""
        found = listed(self.on, self.spec, self.args, self.parent)
        rows = found.rows
        figures = self._figures(found)
        select = found.count if found.counts(*[_OF[name] for name in self.names if name in _OF]) else found.select
        query = select(*[figure.label(name) for name, figure in figures.items()], parent=self.parent)
        if "bySource" not in self.names:
            return query.subquery()
        groups = query.add_columns(rows.c.source).group_by(rows.c.source).order_by(rows.c.source.asc().nulls_last()).subquery()
        source: sa.FromClause = groups
        # The sum of the databases' own 64 bits is wider on PostgreSQL.
        columns = [sa.cast(sa.func.coalesce(sa.func.sum(groups.c[name]), number(0)), sa.BigInteger).label(name) for name in figures]
        for key, chosen in self.selected.items():
            if chosen[0].node.name.value == "bySource":
                fields = self._members(chosen, "bySource", {"source": Leaf(groups.c.source), "count": Leaf(groups.c.count)})
                origin, item = self.on.dialect.items(fields, groups)
                source = source if origin is groups else source.join(origin.right, sa.true())  # type: ignore[attr-defined]
                columns.append(self.on.dialect.gathered(item).label(f"by {key}"))
        return sa.select(*columns).select_from(source).subquery()

    def _inner(self, name: str) -> GraphQLObjectType:
        inner = get_named_type(self.type.fields[name].type)
        assert isinstance(inner, GraphQLObjectType)  # noqa: S101  (the schema says so; for the type checker)
        return inner

    def _members(self, details: Details, name: str, of: dict[str, Any]) -> dict[str, Any]:
        type_ = self._inner(name)
        named = {**of, "__typename": Leaf(text(type_.name))}
        return {key: named[chosen[0].node.name.value] for key, chosen in self.on.document.collect(type_, details).items()}

    @staticmethod
    def _average(sums: b.Row) -> Expression:
        """Hundredths, half up, from integers: the same digits from both databases."""
        doubled = sums.c.points * number(200) + sums.c.scored
        return Grouping(doubled).op("/")(sa.func.nullif(sums.c.scored * number(2), number(0)))

    def _listed(self, details: Details, name: str, counted: Sequence[tuple[dict[str, Any], Expression]], *, none_too: bool) -> Leaf:
        """Write a list of known members, each with its count, as text; without those that count nothing, unless `none_too`."""
        type_ = self._inner(name)
        array: Expression = text("")
        for known, count in counted:
            members = {**known, "__typename": type_.name}
            piece: Expression = text(",{")
            for place, (key, chosen) in enumerate(self.on.document.collect(type_, details).items()):
                asked = chosen[0].node.name.value
                before = ("," if place else "") + orjson.dumps(key).decode() + ":"
                piece = piece.concat(text(before)).concat(count) if asked == "count" else piece.concat(text(before + _json(members[asked])))
            piece = piece.concat(text("}"))
            array = array.concat(piece if none_too else sa.case((count > number(0), piece), else_=text("")))
        return Leaf(self.on.dialect.read(text("[").concat(sa.func.substr(array, number(2))).concat(text("]"))), Kind.TREE)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _counted(compiler: Compiler, field: ListField) -> Expression:
    return Statistics(compiler, field).whole()


LISTS[b.Stats] = _counted
