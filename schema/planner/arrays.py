"""A page of a list as columns, each a JSON array of what its rows have there: for files of many rows, which are made of nothing else.

To write an object a row would take the database half as long again, and to read the objects takes three times as long as the arrays.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from schema.planner import bindings as b
from schema.planner import cursors
from schema.planner.compiler import Compiler, ListField
from schema.planner.connections import Connection
from schema.planner.dialects import Kind, Leaf
from schema.planner.origins import BindValues


class Columns(NamedTuple):
    """What the rows of a page have in the fields asked for, a list a field, and the cursor of the last row: None where no row follows."""

    cells: list[list[Any]]
    end: str | None


def columns(compiler: Compiler, field: ListField) -> tuple[sa.Select[*tuple[Any, ...]], Callable[[list[Any], BindValues], Columns]]:
    """Give the statement of a connection of which `nodes` alone is selected, with `first`, and what makes its columns of the row it gives.

    A page as long as it may be may be the last: the one behind it is then empty.
    """
    connection = Connection(compiler, field)
    dialect = compiler.dialect
    cut = connection.cut(connection.names(), more=0)
    [(key, chosen)] = connection.selected.items()
    fields = list(compiler.fields(connection.node_type, chosen, cut, f"{field.args.path}.{key}").values())
    # The keys of the last row say where to go on; an aggregate knows of no last, so they come as columns too, as they are kept.
    fields += [b.leaf(cut.c[order.column], Kind.PLAIN) for order in connection.keys]
    gathered = [
        dialect.outermost(Leaf(dialect.gathered(dialect.written(leaf)), Kind.TREE)).label(f"c{place}") for place, leaf in enumerate(fields)
    ]
    keys, size, prefix = len(connection.keys), field.args.origins["first"], connection.prefix

    def finish(rows: list[Any], values: BindValues) -> Columns:
        cells = [orjson.loads(text) for text in rows[0]]
        last = [column[-1] for column in cells[-keys:]] if len(cells[-1]) == size.get(values.variables) else None
        return Columns(cells[:-keys], None if last is None else cursors.encode(prefix(values), last))

    return sa.select(*gathered).select_from(cut), finish
