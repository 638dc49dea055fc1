"""Conditions on the caller's own fields: by key at the top level, literally; values compare by their JSON kind."""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from math import isfinite
from operator import eq, ge, gt, le, lt
from typing import Any, Protocol

import sqlalchemy as sa

from app.errors import BadUserInput, shown
from app.rules.attributes import check_attributes
from app.rules.folding import fold
from app.rules.written import dumps
from schema.planner.bindings import Row
from schema.planner.dialects import Dialect, Expression
from schema.planner.origins import BindValues, Origin

_RANGES: Mapping[str, Callable[[Any, Any], Any]] = {"gt": gt, "gte": ge, "lt": lt, "lte": le}


class Binder(Protocol):
    """What these conditions need of the compiler."""

    dialect: Dialect

    def leaf(self, origin: Origin, make: Callable[[Any], Any], type_: Any = None) -> Expression:
        """Bind what `make` gives for the value of an origin."""

    def probe(self, look: Callable[[BindValues], tuple[Any, tuple[Any, ...]]]) -> tuple[Any, int]:
        """Look into a value whose content chooses SQL."""


def attribute_conditions(binder: Binder, row: Row, asked: Mapping[str, Any], origin: Origin, path: str) -> Iterator[Expression]:
    """Give the conditions on one key, all of which must hold."""
    made: list[Expression] = []

    def key() -> Expression:
        # The key is bound where it is first asked for, and is the same bind then.
        if not made:
            made.append(binder.leaf(origin.child("key"), checked_text(f"{path}.key"), sa.Text))
        return made[0]

    for operator, operand in asked.items():
        at, inner = f"{path}.{operator}", origin.child(operator)
        if operand is None:
            raise BadUserInput(f"{at}: null is no value to compare with; ask `exists`", argument=at)
        if operator == "eq":
            yield _equal(binder, row, key(), inner, at)
        elif operator in _RANGES:
            yield _number(binder, row, key(), inner, _finite(at), _RANGES[operator])
        elif operator == "contains":
            yield _contains(binder, row, key(), binder.leaf(inner, checked_text(at, fold), sa.Text))
        elif operator == "exists":
            there = binder.dialect.attribute(row.c.attributes, key(), None, lambda _value: sa.true())
            yield there if operand else sa.not_(sa.func.coalesce(there, sa.false()))
    key()


def _equal(binder: Binder, row: Row, key: Expression, origin: Origin, path: str) -> Expression:
    def look(values: BindValues) -> tuple[Any, tuple[Any, ...]]:
        return _kind_of(origin.get(values.variables), path), ()

    kind, _place = binder.probe(look)
    if kind == "number":
        return _number(binder, row, key, origin, _as_read, eq)
    bound = binder.leaf(origin, _written[kind], sa.Integer if kind == "boolean" else sa.Text)
    return binder.dialect.attribute(row.c.attributes, key, kind, lambda value: value == bound)


#: How a value is bound, by its kind.
_written: Mapping[str, Callable[[Any], Any]] = {"string": str, "boolean": int, "array": dumps, "object": dumps}


def _kind_of(value: Any, path: str) -> str:
    """Name the kind of a JSON value; one that no attribute can hold is refused."""
    try:
        check_attributes({"eq": value})
    except ValueError as error:
        raise BadUserInput(f"{path} {shown(value)}: {error}", argument=path) from error
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, int | float) else "array" if isinstance(value, list) else "object"


def _number(
    binder: Binder, row: Row, key: Expression, origin: Origin, read: Callable[[Any], int | float], compare: Callable[[Any, Any], Any]
) -> Expression:
    def bind(form: str, type_: Any) -> Expression:
        return binder.leaf(origin, lambda value: _forms[form](read(value)), type_)

    return binder.dialect.attribute(row.c.attributes, key, "number", lambda value: binder.dialect.number_meets(value, compare, bind))


def _finite(path: str) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        # A literal of the document may be too large for a double.
        if not isfinite(value):
            raise BadUserInput(f"{path} {shown(value)}: is not finite", argument=path)
        return float(value)

    return read


def _as_read(value: float) -> int | float:
    """Give a number as SQLite reads it from JSON: whole up to 64 bits with a sign, else a double."""
    return value if isinstance(value, float) or -(2**63) <= value < 2**63 else float(value)


def _real(value: float) -> float | None:
    # A whole number that no double is equals none.
    return value if isinstance(value, float) else float(value) if int(float(value)) == value else None


_forms: Mapping[str, Callable[[int | float], Any]] = {
    "plain": lambda value: value,
    "exact": lambda value: str(Decimal(value)),
    "real": _real,
}


def _contains(binder: Binder, row: Row, key: Expression, piece: Expression) -> Expression:
    """Look into the text as it was folded when it was written, where folding changed it."""
    return binder.dialect.attribute(
        row.c.attributes,
        key,
        "string",
        lambda value: binder.dialect.contains(sa.func.coalesce(binder.dialect.text_at(row.c.attributes_folded, key), value), piece),
    )


def checked_text(path: str, make: Callable[[str], str] = str) -> Callable[[Any], Any]:
    """Make the bind of a text, refused where it holds what no text can."""

    def checked(value: Any) -> Any:
        if "\0" in value:
            raise BadUserInput(f"{path} {shown(value)}: a NUL is in no text", argument=path)
        return make(value)

    return checked
