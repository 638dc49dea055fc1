"""Pages of a connection: how many, from where, in which order; and the conditions of a keyset."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from app.errors import BadUserInput, InvalidCursor
from schema.planner.bindings import Order
from schema.planner.dialects import Expression

DEFAULT, MOST, DEEPEST = 50, 200, 10_000
#: The rows that a page may have: more than `MOST` for us alone, and never for who sends a query.
_most = ContextVar("_most", default=MOST)

#: Columns that no two rows of a list share: nothing needs to break a tie.
_UNIQUE = frozenset({"id", "sequence", "line", "position"})

#: The columns behind `orderBy`, by enum value: all but the log's are also in every cursor.
ORDERS: Mapping[str, Mapping[str, Order]] = {
    "LeadOrderField": {
        "CREATED_AT": Order("created_at"),
        "UPDATED_AT": Order("updated_at"),
        "LAST_ACTIVITY_AT": Order("last_activity_at", nullable=True),
        "QUALITY_SCORE": Order("quality_score", nullable=True, indexed=True),
        "EMAIL": Order("email_key", nullable=True, indexed=True),
        "LAST_NAME": Order("last_name_folded", nullable=True),
        "COMPANY": Order("company_folded", nullable=True),
    },
    "CampaignOrderField": {"CREATED_AT": Order("created_at"), "NAME": Order("name_folded")},
}


@dataclass(frozen=True, slots=True)
class Asked:
    """Which page the arguments ask for; their values come at run time."""

    backward: bool
    cursor: str | None  #: `after` or `before`, where one is given.
    offset: bool


def asked(args: Mapping[str, Any], path: str) -> Asked:
    """Read the page's arguments, or refuse those that contradict each other."""
    given = {name for name in ("first", "after", "last", "before", "offset") if args.get(name) is not None}
    for one, other in (("first", "last"), ("after", "before"), ("first", "before"), ("last", "after")):
        if {one, other} <= given:
            raise BadUserInput(f"{path}: `{one}` does not go with `{other}`", argument=f"{path}.{other}")
    if "offset" in given and given & {"after", "before", "last"}:
        raise BadUserInput(f"{path}: `offset` goes with `first` alone", argument=f"{path}.offset")
    cursor = next((name for name in ("after", "before") if name in given), None)
    return Asked(backward=bool(given & {"last", "before"}), cursor=cursor, offset="offset" in given)


@contextmanager
def at_most(rows: int) -> Iterator[None]:
    """Let the pages that are asked for inside have so many rows."""
    before = _most.set(rows)
    try:
        yield
    finally:
        _most.reset(before)


def size(path: str, *, more: int = 0) -> Callable[[Any], int]:
    """Make the bind of `first` or `last`, checked; `more` rows are read to know whether there are any."""

    def make(value: Any) -> int:
        most = _most.get()
        if not 1 <= value <= most:
            raise BadUserInput(f"{path} {value}: a page is of 1 to {most}", argument=path)
        return int(value) + more

    return make


def skipped(path: str) -> Callable[[Any], int]:
    """Make the bind of `offset`, checked."""

    def make(value: Any) -> int:
        if not 0 <= value <= DEEPEST:
            raise BadUserInput(f"{path} {value}: is not from 0 to {DEEPEST:,}; page with `after` to go deeper", argument=path)
        return int(value)

    return make


def ordered(default: Sequence[Order], order_by: Sequence[Mapping[str, Any]] | None, path: str) -> list[Order]:
    """Give the keys of a list: those asked for, or its own, and its id last, in the direction of the key before."""
    if not order_by:
        keys = list(default)
    elif len(order_by) > 3:
        raise BadUserInput(f"{path}: {len(order_by)} keys, at most 3", argument=path)
    else:
        keys = []
        for item in order_by:
            field = item["field"]
            known = ORDERS[type(field).__name__][field.value]
            keys.append(replace(known, descending=item["direction"].value == "DESC"))
        if len({key.column for key in keys}) < len(keys):
            raise BadUserInput(f"{path}: a field stands twice", argument=path)
    if keys[-1].column in _UNIQUE:
        return keys
    return [*keys, Order("id", keys[-1].descending)]


def _sorted(column: Expression, key: Order) -> Expression:
    return column.desc() if key.descending else column.asc()


class Columns(Protocol):
    """Something with columns by name: a table's alias, a subquery, a list."""

    @property
    def c(self) -> Any:
        """The columns."""


def sorted_nulls(row: Columns, keys: Sequence[Order], *, backward: bool) -> list[Expression]:
    """Give the ORDER BY of keys in the direction of travel."""
    out = []
    for key in keys:
        travelled = key.reversed if backward else key
        one = _sorted(row.c[key.column], travelled)
        out.append((one.nulls_first() if backward else one.nulls_last()) if key.nullable else one)
    return out


def beyond(
    row: Columns, keys: Sequence[Order], values: Sequence[Expression | None], *, backward: bool, inclusive: bool = False
) -> Expression:
    """Tell the rows beyond a cursor in the direction of travel; None stands for a null that the cursor holds.

    `inclusive`: the row of the cursor too.
    """
    plain = not any(key.nullable for key in keys) and len({key.descending for key in keys}) == 1
    descending = keys[0].descending != backward
    if plain and len(keys) > 1:
        # A comparison of rows is one range of the index.
        here = sa.tuple_(*[row.c[key.column] for key in keys])
        there = sa.tuple_(*[value for value in values if value is not None])
        if inclusive:
            return here <= there if descending else here >= there
        return here < there if descending else here > there
    found: list[Expression] = []
    before: list[Expression] = []
    bounds: list[Expression] = []
    if not keys[0].nullable and values[0] is not None:
        # Said twice, so that an index begins where the page does.
        column = row.c[keys[0].column]
        bounds.append(column <= values[0] if descending else column >= values[0])
    for key, value in zip(keys, values, strict=True):
        column = row.c[key.column]
        further = _further(column, key, value, backward=backward)
        if further is not None:
            found.append(sa.and_(*before, further))
        before.append(column.is_(None) if value is None else column == value)
    if inclusive:
        found.append(sa.and_(*before))
    return sa.and_(*bounds, sa.or_(sa.false(), *found))


def walks(
    row: Columns, keys: Sequence[Order], values: Sequence[Expression | None] | None, *, backward: bool
) -> Iterator[tuple[list[Order], list[Expression | None] | None, Expression]]:
    """Divide a page, sorted first by what may be null, into the rows that have a value there and those that have none.

    Gives for each part that a cursor leaves, in the order of travel: the keys and values that the keyset still is of (values None: all
    rows), and what the part is. A null cursor value stands for a cursor among those without.
    """
    column = row.c[keys[0].column]
    some = [replace(keys[0], nullable=False), *keys[1:]]
    valued = (some, None if values is None else list(values), column.is_not(None))
    without = (list(keys[1:]), None if values is None else list(values[1:]), column.is_(None))
    everything = {True: (some, None, column.is_not(None)), False: (list(keys[1:]), None, column.is_(None))}
    if values is None:
        yield from (everything[not backward], everything[backward])
    elif values[0] is not None:
        yield valued
        if not backward:
            yield everything[False]
    else:
        yield without
        if backward:
            yield everything[True]


def _further(column: Expression, key: Order, value: Expression | None, *, backward: bool) -> Expression | None:
    if value is None:
        return column.is_not(None) if backward else None
    compared = column < value if key.descending != backward else column > value
    return sa.or_(compared, column.is_(None)) if key.nullable and not backward else compared


def check_key(value: Any, column_type: Any, key: Order) -> None:
    """Refuse a cursor whose key is not of its column's kind: the check in a cursor is against mistakes, anybody can compute it."""
    if value is None and key.nullable:
        return
    if type(value) is not (int if isinstance(column_type, sa.Integer) else str):
        raise InvalidCursor
    if isinstance(value, str) and "\0" in value:  # no text of PostgreSQL holds one
        raise InvalidCursor
    if isinstance(value, int) and not 0 <= value < (2**63 if isinstance(column_type, sa.BigInteger) else 2**31):
        raise InvalidCursor
    if type(column_type).__name__ == "Moment":
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError as error:
            raise InvalidCursor from error
        if found.tzinfo is None:
            raise InvalidCursor


def key_value(value: Any, column_type: Any, *, postgres: bool) -> Any:
    """Give a cursor's key the form in which the driver takes it."""
    if postgres and type(column_type).__name__ == "Moment" and value is not None:
        return datetime.fromisoformat(value)
    return value
