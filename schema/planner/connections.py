"""One page of a connection, as JSON; `columns` has the other way to give it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from graphql import GraphQLObjectType, get_named_type

from app.errors import InvalidCursor
from app.tables import WorkspaceCounter
from schema.planner import bindings as b
from schema.planner import cursors, pages
from schema.planner.compiler import LISTS, Compiler, Details, ListField
from schema.planner.dialects import Expression, Fields, Kind, Leaf, number, text
from schema.planner.lists import Way, listed
from schema.planner.origins import BindValues

#: What `finish` makes of the driver's rows.
Finish = Callable[[list[Any], BindValues], Any]


class Connection:
    """Compiles one connection field."""

    def __init__(self, compiler: Compiler, field: ListField) -> None:
        if not isinstance(field.spec, b.Many):
            raise TypeError(f"{field.args.path} is no connection")
        spec, type_, args, parent = field.spec, field.type, field.args, field.parent
        self.on, self.spec, self.args, self.parent = compiler, spec, args, parent
        self.type = type_
        self.selected = compiler.document.collect(type_, field.details)
        self.node_type = self._inner(type_, "nodes")
        self.asked = pages.asked(args.values, args.path)
        self.keys = self._keys()
        self.page_info = {
            key: compiler.document.collect(self._inner(type_, "pageInfo"), chosen)
            for key, chosen in self.selected.items()
            if chosen[0].node.name.value == "pageInfo"
        }
        self.infos = {chosen[0].node.name.value for fields in self.page_info.values() for chosen in fields.values()}
        self._ahead, self._behind = ("hasPreviousPage", "hasNextPage") if self.asked.backward else ("hasNextPage", "hasPreviousPage")
        self.looks_ahead = self._ahead in self.infos
        self.owner = field.owner
        self.prefix = self._prefix()
        # The filter first: a cursor is held against its values, and they must be fit for that.
        self.listed = listed(compiler, spec, args, parent)
        self.rows = self.listed.rows
        self._place = self._probe_cursor() if self.asked.cursor else -1

    @staticmethod
    def _inner(type_: GraphQLObjectType, name: str) -> GraphQLObjectType:
        inner = get_named_type(type_.fields[name].type)
        assert isinstance(inner, GraphQLObjectType)  # noqa: S101  (the schema says so; for the type checker)
        return inner

    # Order and cursors

    def _keys(self) -> list[b.Order]:
        if self.spec.log:
            return [b.Order("sequence", self.args.values["order"].value == "DESC")]
        return pages.ordered(self.spec.order, self.args.values.get("orderBy"), f"{self.args.path}.orderBy")

    def _prefix(self) -> Callable[[BindValues], str]:
        """Make the cursor's prefix at run time: it holds the values of the filter, a log's none."""
        if self.spec.log:
            return lambda values: cursors.prefix(values.workspace, b"log")
        origins = {name: self.args.origins[name] for name in ("where", "search") if self.args.values.get(name) is not None}
        order = [(key.column, key.descending) for key in self.keys]
        of = f"{self.owner}.{self.node_type.name}" if self.owner else self.node_type.name

        def make(values: BindValues) -> str:
            asked = {name: origin.get(values.variables) for name, origin in origins.items()}
            return cursors.list_prefix(values.workspace, of, order, asked)

        return make

    def _probe_cursor(self) -> int:
        name = self.asked.cursor or ""
        origin, length, path = self.args.origins[name], len(self.keys), f"{self.args.path}.{name}"
        types = [self.rows.c[key.column].type for key in self.keys]
        postgres = self.on.dialect.core.name == "postgresql"
        # By their names: a kept plan would hold the whole compilation with `self`.
        prefix, keys = self.prefix, self.keys

        def look(values: BindValues) -> tuple[Any, tuple[Any, ...]]:
            try:
                found = cursors.decode(origin.get(values.variables), prefix(values), length)
                for value, type_, key in zip(found, types, keys, strict=True):
                    pages.check_key(value, type_, key)
            except InvalidCursor as error:
                raise InvalidCursor(argument=path) from error
            typed = tuple(pages.key_value(value, type_, postgres=postgres) for value, type_ in zip(found, types, strict=True))
            return tuple(value is None for value in typed), typed

        self._nulls, place = self.on.probe(look)
        if self.spec.log:
            self._guard(place, path)
        return place

    def _guard(self, place: int, path: str) -> None:
        counter, inside = self.on.scope.table(WorkspaceCounter)
        last = sa.select(counter.c.sequence).where(inside).scalar_subquery()
        self.on.guards.append(self.on.found(place, 0, sa.BigInteger) > last)
        self.on.guarded.append(path)

    def _cursor_values(self) -> list[Expression | None]:
        return [
            None if null else self.on.found(self._place, index, self.rows.c[key.column].type)
            for index, (key, null) in enumerate(zip(self.keys, self._nulls, strict=True))
        ]

    def cursor_of(self, row: b.Row) -> Expression:
        """Write the cursor of a row of the page."""
        keys = [
            b.leaf(row.c[key.column], Kind.MOMENT if type(row.c[key.column].type).__name__ == "Moment" else Kind.PLAIN) for key in self.keys
        ]
        return self.on.dialect.cursor(self.on.bind(self.prefix, sa.Text), keys)

    # The cut

    def _size(self, more: int = 0) -> Expression:
        name = "last" if self.asked.backward else "first"
        return self.on.leaf(self.args.origin(name, pages.DEFAULT), pages.size(f"{self.args.path}.{name}", more=more), sa.Integer)

    def cut(self, names: set[str], more: int) -> sa.Subquery:
        """Give the rows of the page, and `more` beyond, in the direction of travel; only the columns that are needed."""
        columns = [self.rows.c[name] for name in sorted(names)]
        backward = self.asked.backward
        cursor = self._cursor_values() if self.asked.cursor else None
        # One walk for those with a first key, and one for those without; each by either way of a search.
        parts = (
            list(pages.walks(self.listed, self.keys, cursor, backward=backward)) if self._divided() else [(self.keys, cursor, sa.true())]
        )
        if self._divided() or self.listed.ways:
            # What a search finds is sorted by little, and looked up once it is cut.
            needed = [self.rows.c[name] for name in sorted({"id"} | {key.column for key in self.keys})] if self.listed.ways else columns
            walks: list[sa.Select[Any]] = [
                sa.select(*self._walk(needed, keys, values, more, only, way).subquery().c)
                for keys, values, only in parts
                for way in self.listed.ways or (Way(sa.true(), tuple(self.listed.where)),)
            ]
            both = (sa.union_all(*walks) if len(walks) > 1 else walks[0]).subquery()
            query = sa.select(both).order_by(*pages.sorted_nulls(both, self.keys, backward=backward)).limit(self._size(more))
            page = (query.offset(self._skipped()) if self.asked.offset else query).subquery()
            return self._looked_up(columns, page) if self.listed.ways else page
        if self.listed.cut_first(self.keys):
            return self._looked_up(columns, self._ended(self._beyond(self._places(), cursor), more).subquery())
        return self._ended(self._beyond(self.listed.select(*columns, parent=self.parent), cursor), more).subquery()

    def _beyond(self, query: sa.Select[Any], cursor: list[Expression | None] | None) -> sa.Select[Any]:
        return query if cursor is None else query.where(pages.beyond(self.listed, self.keys, cursor, backward=self.asked.backward))

    def _ended(self, query: sa.Select[Any], more: int) -> sa.Select[Any]:
        query = query.order_by(*pages.sorted_nulls(self.listed, self.keys, backward=self.asked.backward)).limit(self._size(more))
        return query.offset(self._skipped()) if self.asked.offset else query

    def _places(self) -> sa.Select[Any]:
        """Select the keys of the list from the table between alone."""
        keys = [self.listed.c[key.column].label(key.column) for key in self.keys]
        return sa.select(*keys).select_from(self.listed.least).where(*self.listed.counted).correlate(self.parent)

    def _looked_up(self, columns: Sequence[Expression], few: sa.Subquery) -> sa.Subquery:
        """Give the rows of a page that was cut in the table between."""
        found = few.join(self.rows, sa.and_(b.wall(self.rows, self.on.workspace), self.rows.c.id == few.c.id))
        order = pages.sorted_nulls(few, self.keys, backward=self.asked.backward)
        return sa.select(*columns).select_from(found).order_by(*order).subquery()

    def _walk(
        self,
        columns: Sequence[Expression],
        keys: list[b.Order],
        values: list[Expression | None] | None,
        more: int,
        only: Expression,
        way: Way,
    ) -> sa.Select[Any]:
        listed, where = self.listed, [*way.where, only]
        if way.found is not None and not self._divided() and all(str(column.key) in way.found.c for column in columns):
            listed, where = replace(listed, source=way.found, c=dict(way.found.c)), []
            columns = [way.found.c[str(column.key)] for column in columns]
        query = sa.select(*columns).select_from(listed.source).where(*where)
        if values is not None:
            query = query.where(pages.beyond(listed, keys, values, backward=self.asked.backward))
        order = [replace(self.keys[0], nullable=False), *self.keys[1:]] if self._divided() else self.keys
        size = self._size(more)
        query = query.order_by(*pages.sorted_nulls(listed, order, backward=self.asked.backward))
        return self.on.dialect.gated(query, way.gate, size + self._skipped() if self.asked.offset else size)

    def _skipped(self) -> Expression:
        return self.on.leaf(self.args.origins["offset"], pages.skipped(f"{self.args.path}.offset"), sa.Integer)

    def names(self) -> set[str]:
        """Name the columns that the page needs."""
        found = {"id"} | {key.column for key in self.keys}
        for chosen in self.selected.values():
            if chosen[0].node.name.value == "nodes":
                found |= self.on.needs(self.node_type, chosen, self.rows)
            elif chosen[0].node.name.value == "edges":
                for part in self.on.document.collect(self._inner(self.type, "edges"), chosen).values():
                    if part[0].node.name.value == "node":
                        found |= self.on.needs(self.node_type, part, self.rows)
        return found & set(self.rows.c.keys())

    def total(self) -> Expression:
        """Count the whole list."""
        found = listed(self.on, self.spec, self.args, self.parent)
        return found.count(sa.func.count(), parent=self.parent).scalar_subquery()

    def behind(self) -> Expression:
        """Tell whether there are rows on the side that the page came from."""
        if not self.asked.cursor and not self.asked.offset:
            return sa.false()
        found = listed(self.on, self.spec, self.args, self.parent)
        query = found.select(number(1), parent=self.parent)
        if not self.asked.cursor:
            return query.where(self._skipped() > number(0)).exists()
        back, values = not self.asked.backward, self._cursor_values()
        if not self._divided():
            return query.where(pages.beyond(found, self.keys, values, backward=back, inclusive=True)).exists()
        return sa.or_(
            *[
                query.where(only, *([] if left is None else [pages.beyond(found, keys, left, backward=back, inclusive=True)])).exists()
                for keys, left, only in pages.walks(found, self.keys, values, backward=back)
            ]
        )

    def _divided(self) -> bool:
        """Tell whether an index has rows without the first key at one end, and the list has them at the other or at the same."""
        whole = self.parent is None and self.listed.source is self.rows  # what hangs below a row is few, or has an index of its own
        return whole and self.keys[0].indexed and self.keys[0].nullable

    def _given_cursor(self) -> Expression:
        if not self.asked.cursor:
            return sa.null()
        return self.on.leaf(self.args.origins[self.asked.cursor], lambda value: value, sa.Text)

    # As JSON

    def nested(self) -> Expression:
        """Give the whole connection as one JSON object."""
        counts = self.infos & {"startCursor", "endCursor"}
        cut = self.cut(self.names(), more=int(self.looks_ahead))
        numbered = self.looks_ahead or counts or self.asked.backward
        page: b.Row = cut
        if numbered:
            # Cut first, number then: a window inside the cut would read the whole match.
            order = pages.sorted_nulls(cut, self.keys, backward=self.asked.backward)
            extra = [sa.func.row_number().over(order_by=order).label("rn")]
            if counts:
                extra.append(sa.func.count().over().label("rows_here"))
            query = sa.select(cut, *extra)
            page = (query.order_by(sa.desc("rn")) if self.asked.backward else query).subquery()
        keep = page.c.rn <= self._size() if self.looks_ahead else None
        source: sa.FromClause = page
        fields: dict[str, Leaf] = {}
        for key, chosen in self.selected.items():
            name, at = chosen[0].node.name.value, f"{self.args.path}.{key}"
            if name == "nodes":
                source, item = self._joined(source, page, self.on.fields(self.node_type, chosen, page, at))
                fields[key] = Leaf(self.on.dialect.gathered(item, keep), Kind.TREE)
            elif name == "edges":
                source, item = self._joined(source, page, self._edge(chosen, page, at))
                fields[key] = Leaf(self.on.dialect.gathered(item, keep), Kind.TREE)
            elif name == "pageInfo":
                fields[key] = Leaf(self.on.dialect.inline(self._info(self.page_info[key], page), page), Kind.TREE)
            elif name == "totalCount":
                fields[key] = Leaf(self.total())
            else:
                fields[key] = Leaf(text(self.type.name))
        names = {chosen[0].node.name.value for chosen in self.selected.values()}
        gathers = names & {"nodes", "edges"} or self.infos & {self._ahead, "startCursor", "endCursor"}
        below = [key for key, chosen in self.selected.items() if chosen[0].node.name.value in ("nodes", "edges")]
        flat: Fields = fields
        if source is page:
            source, flat = self.on.dialect.flattened(page, fields, below)
        # Without an aggregate there would be an object for each row of the page, and none for an empty one.
        return self.on.dialect.one(flat, sa.select().select_from(source) if gathers else sa.select(), None, self.parent)

    def _joined(self, source: sa.FromClause, page: b.Row, fields: dict[str, Leaf]) -> tuple[sa.FromClause, Expression]:
        origin, item = self.on.dialect.items(fields, page)
        if origin is page:
            return source, item
        lateral = origin.right  # type: ignore[attr-defined]
        return source.join(lateral, sa.true()), item

    def _edge(self, details: Details, page: b.Row, path: str) -> dict[str, Leaf]:
        type_ = self._inner(self.type, "edges")
        out: dict[str, Leaf] = {}
        for key, chosen in self.on.document.collect(type_, details).items():
            name = chosen[0].node.name.value
            if name == "cursor":
                out[key] = Leaf(self.cursor_of(page))
            elif name == "node":
                out[key] = Leaf(self.on.dialect.inline(self.on.fields(self.node_type, chosen, page, f"{path}.{key}"), page), Kind.TREE)
            else:
                out[key] = Leaf(text(type_.name))
        return out

    def _info(self, fields: dict[str, Details], page: b.Row) -> dict[str, Leaf]:
        near, far = ("endCursor", "startCursor") if self.asked.backward else ("startCursor", "endCursor")
        out: dict[str, Leaf] = {}
        for key, chosen in fields.items():
            name = chosen[0].node.name.value
            if name == self._ahead:
                out[key] = Leaf(sa.func.coalesce(sa.func.max(page.c.rn), number(0)) > self._size(), Kind.BOOLEAN)
            elif name == self._behind:
                out[key] = Leaf(self.behind(), Kind.BOOLEAN)
            elif name in (near, far):
                last = sa.case((page.c.rows_here > self._size(), self._size()), else_=page.c.rows_here)
                at = page.c.rn == (number(1) if name == near else last)
                found: Any = sa.func.max(self.cursor_of(page))
                out[key] = Leaf(sa.func.coalesce(found.filter(at), self._given_cursor()))
            else:
                out[key] = Leaf(text("PageInfo"))
        return out


def _nested(compiler: Compiler, field: ListField) -> Expression:
    return Connection(compiler, field).nested()


LISTS[b.Many] = _nested
