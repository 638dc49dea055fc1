"""One page of a connection at the root of PostgreSQL: columns of the statement's own rows, which are shaped when they arrive."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from schema.planner import bindings as b
from schema.planner import pages, shapes
from schema.planner.compiler import Details, ahead
from schema.planner.connections import Connection, Finish
from schema.planner.dialects import Expression, Kind, Leaf, number
from schema.planner.origins import BindValues
from schema.planner.shapes import Page, Shape, shaper


class Columns(Connection):
    """Compiles a connection field to columns."""

    def columns(self) -> tuple[sa.Select[*tuple[Any, ...]], Finish]:
        """Give the page as columns of the statement's own rows, and what shapes them: the quicker way on PostgreSQL."""
        cut = self.cut(self.names(), more=int(self.looks_ahead))
        columns: list[Expression] = []
        made: dict[str, Callable[[list[Any], Page], Any]] = {}
        single = False
        for key, chosen in self.selected.items():
            name, at = chosen[0].node.name.value, f"{self.args.path}.{key}"
            if name == "nodes":
                made[key] = shapes.each(self._node_shaper(chosen, cut, at, columns))
            elif name == "edges":
                made[key] = shapes.each(self._edge_shaper(chosen, cut, at, columns))
            elif name == "pageInfo":
                single = single or bool(self.infos & {"hasPreviousPage", "hasNextPage"})
                made[key] = self._info_shaper(self.page_info[key], cut, columns)
            elif name == "totalCount":
                single = True
                made[key] = shapes.first(self._place_one(Leaf(self.total()), columns))
            else:
                made[key] = shapes.constant(self.type.name)
        single = single or bool(self.on.guards)
        here = next((place for place, column in enumerate(columns) if column is cut.c.id), None)
        if here is None:
            here = self._place_one(Leaf(cut.c.id), columns)
        guard = self._place_one(Leaf(sa.or_(*self.on.guards)), columns) if self.on.guards else None
        # A page without rows still has a count: one row at least.
        source = sa.select(number(1).label("one")).subquery().outerjoin(cut, sa.true()) if single else cut
        size = self.args.origin("last" if self.asked.backward else "first", pages.DEFAULT)
        given = self.args.origins[self.asked.cursor] if self.asked.cursor else None
        backward, guarded = self.asked.backward, self.on.guarded

        def finish(rows: list[Any], values: BindValues) -> Any:
            if guard is not None and rows[0][guard]:
                raise ahead(guarded)
            found = [] if single and rows[0][here] is None else rows
            most = size.get(values.variables)
            more_ahead = len(found) > most
            found = found[:most]
            if backward:
                found.reverse()
            page = Page(rows, more_ahead, given.get(values.variables) if given else None)
            return shapes.written({key: shape(found, page) for key, shape in made.items()})

        return sa.select(*[column.label(f"c{place}") for place, column in enumerate(columns)]).select_from(source), finish

    def _place_one(self, leaf: Leaf, columns: list[Expression]) -> int:
        columns.append(self.on.dialect.outermost(leaf))
        return len(columns) - 1

    def _node_shaper(self, details: Details, cut: b.Row, path: str, columns: list[Expression]) -> Shape:
        """Take an object's fields as columns; where some are written as JSON anyway, the whole object."""
        fields = self.on.fields(self.node_type, details, cut, path)
        if any(leaf.kind is Kind.TREE for leaf in fields.values()):
            return shapes.whole(self._place_one(Leaf(self.on.dialect.inline(fields, cut), Kind.TREE), columns))
        return shaper([(key, self._place_one(leaf, columns), leaf.is_json) for key, leaf in fields.items()])

    def _edge_shaper(self, details: Details, cut: b.Row, path: str, columns: list[Expression]) -> Shape:
        type_ = self._inner(self.type, "edges")
        made: dict[str, Shape] = {}
        for key, chosen in self.on.document.collect(type_, details).items():
            name = chosen[0].node.name.value
            if name == "node":
                made[key] = self._node_shaper(chosen, cut, f"{path}.{key}", columns)
            elif name == "cursor":
                made[key] = shapes.at(self._place_one(Leaf(self.cursor_of(cut)), columns))
            else:
                made[key] = shapes.always(type_.name)
        return lambda row: {key: shape(row) for key, shape in made.items()}

    def _info_shaper(self, fields: dict[str, Details], cut: b.Row, columns: list[Expression]) -> Callable[[list[Any], Page], Any]:
        cursor = self._place_one(Leaf(self.cursor_of(cut)), columns) if self.infos & {"startCursor", "endCursor"} else -1
        made: dict[str, Callable[[list[Any], Page], Any]] = {}
        for key, chosen in fields.items():
            name = chosen[0].node.name.value
            if name == self._ahead:
                made[key] = lambda _found, page: page.ahead
            elif name == self._behind:
                made[key] = shapes.first(self._place_one(Leaf(self.behind(), Kind.BOOLEAN), columns))
            elif name in ("startCursor", "endCursor"):
                made[key] = shapes.edge_of_page(cursor, 0 if name == "startCursor" else -1)
            else:
                made[key] = shapes.constant("PageInfo")
        return lambda found, page: {key: shape(found, page) for key, shape in made.items()}
