"""`where` arguments as conditions.

A comparison with nothing is false, and `ne`, `notIn` and `not` are the exact complements: so a condition may be null while
it is asked for, and `_complement` reads null as false.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from app.errors import BadUserInput, shown
from app.rules.emails import fold_email
from app.rules.folding import fold
from app.tables import Activity, CampaignLead
from schema.planner.attributes import Binder as AttributeBinder
from schema.planner.attributes import attribute_conditions, checked_text
from schema.planner.bindings import Row, Scope
from schema.planner.dialects import Expression, number
from schema.planner.origins import Origin


class Binder(AttributeBinder, Protocol):
    """What conditions need of the compiler."""

    scope: Scope


#: The text of a column, how a value is made comparable with it, and the operators that compare the text as given.
@dataclass(frozen=True, slots=True)
class Text:
    """A text column: compared folded, unless an operator is one of `exactly`."""

    folded: str
    fold: Callable[[str], str] = fold
    exact: str | None = None
    exactly: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plain:
    """Ids, enums, numbers and moments: compared as they are, numbers within bounds."""

    column: str
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Membership:
    """The campaigns that a lead is in."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """The caller's own fields."""


@dataclass(frozen=True, slots=True)
class Happened:
    """What the log tells of a lead."""


Filter = Text | Plain | Membership | Attributes | Happened
_EXACT = frozenset({"eq", "ne", "in", "notIn"})

FILTERS: Mapping[str, Mapping[str, Filter]] = {
    "lead": {
        "id": Plain("id"),
        "crmId": Text("crm_id_folded", exact="crm_id", exactly=_EXACT),
        "email": Text("email_key", fold=fold_email),
        "firstName": Text("first_name_folded"),
        "lastName": Text("last_name_folded"),
        "company": Text("company_folded"),
        "title": Text("title_folded"),
        "location": Text("location_folded"),
        "source": Text("source_folded"),
        "phone": Text("phone_folded"),
        "status": Plain("status"),
        "qualityScore": Plain("quality_score", low=0, high=100),
        "campaignId": Membership(),
        "assigneeId": Plain("assignee_id"),
        "createdAt": Plain("created_at"),
        "updatedAt": Plain("updated_at"),
        "lastActivityAt": Plain("last_activity_at"),
        "optInAt": Plain("opt_in_at"),
        "attributes": Attributes(),
        "activity": Happened(),
    },
    "campaign": {"id": Plain("id"), "name": Text("name_folded"), "status": Plain("status")},
    "activity": {
        "kind": Plain("kind"),
        "status": Plain("status"),
        "actorId": Plain("actor_id"),
        "event": Text("event_folded", exact="event", exactly=_EXACT),
        "leadId": Plain("lead_id"),
        "campaignId": Plain("campaign_id"),
        "batchId": Plain("batch_id"),
        "occurredAt": Plain("occurred_at"),
        "recordedAt": Plain("recorded_at"),
    },
    "queued": {"status": Plain("status")},
    "email": {
        "status": Plain("status"),
        "leadId": Plain("lead_id"),
        "campaignId": Plain("campaign_id"),
        "scheduledAt": Plain("scheduled_at"),
    },
}


def conditions(binder: Binder, row: Row, of: str, value: Mapping[str, Any], origin: Origin, path: str) -> list[Expression]:
    """Give the conditions of a `where`, all of which must hold."""
    return [condition for _depth, condition in _asked(binder, row, of, value, origin, path, holds=True)]


#: A condition, and how deep ANDs and ORs nest in it.
_Nested = tuple[int, Expression]


def _asked(binder: Binder, row: Row, of: str, value: Mapping[str, Any], origin: Origin, path: str, *, holds: bool) -> Iterator[_Nested]:
    """Give conditions, all of which must hold; or where `holds` is false, one of which must fail: those that then hold.

    `not` is carried down to the single comparisons: what is left nests as the ANDs and ORs do, and no deeper.
    """
    for key, asked in value.items():
        at = f"{path}.{key}"
        if asked is None:
            raise BadUserInput(f"{at}: null asks nothing; leave it out, or ask `isNull`", argument=at)
        inner = origin.child(key)
        if key == "not":
            parts = _asked(binder, row, of, asked, inner, at, holds=not holds)
            yield _any(parts) if holds else _all(parts)
        elif key in ("and", "or"):
            each = [
                list(_asked(binder, row, of, part, inner.child(place), f"{at}[{place}]", holds=holds)) for place, part in enumerate(asked)
            ]
            # What must hold of one part: all of its conditions, or where it must fail, any.
            together = [_all(parts) if holds else _any(parts) for parts in each]
            yield _all(together) if (key == "and") is holds else _any(together)
        else:
            for condition in _leaves(binder, row, of, key, asked, inner, at):
                yield 0, condition if holds else _complement(condition)


def _all(parts: Iterable[_Nested]) -> _Nested:
    return _joined(parts, sa.and_, sa.true())


def _any(parts: Iterable[_Nested]) -> _Nested:
    return _joined(parts, sa.or_, sa.false())


def _joined(parts: Iterable[_Nested], join: Callable[..., Expression], nothing: Expression) -> _Nested:
    # The deepest first: SQLite's parser keeps all that stands before a parenthesis until that is closed.
    found = sorted(parts, key=lambda part: -part[0])
    if not found:
        return 0, nothing
    return found[0][0] + (len(found) > 1), join(*[condition for _depth, condition in found])


def _complement(condition: Expression) -> Expression:
    return sa.not_(sa.func.coalesce(condition, sa.false()))


def _leaves(binder: Binder, row: Row, of: str, key: str, asked: Any, origin: Origin, path: str) -> Iterator[Expression]:
    """Give the comparisons of one field of a `where`."""
    column = FILTERS[of][key]
    if isinstance(column, Attributes):
        for place, part in enumerate(asked):
            yield from attribute_conditions(binder, row, part, origin.child(place), f"{path}[{place}]")
        return
    for operator, operand in asked.items():
        here, inner = f"{path}.{operator}", origin.child(operator)
        if operand is None:
            raise BadUserInput(f"{here}: null is no value to compare with; ask `isNull`", argument=here)
        if isinstance(column, Happened):
            yield _happened(binder, row, operator, operand, inner, here)
        else:
            yield _compared(binder, row, column, operator, operand, inner, here)


def _happened(binder: Binder, row: Row, operator: str, operand: Mapping[str, Any], origin: Origin, path: str) -> Expression:
    told, inside = binder.scope.table(Activity)
    where = [inside, told.c.lead_id == row.c.id, *conditions(binder, told, "activity", operand, origin, path)]
    found = sa.select(number(1)).select_from(told).where(*where).correlate(row).exists()
    return found if operator == "some" else sa.not_(found)


def _compared(
    binder: Binder, row: Row, column: Text | Plain | Membership, operator: str, operand: Any, origin: Origin, path: str
) -> Expression:
    if isinstance(column, Membership):
        return _member(binder, row, operator, operand, origin, path)
    if isinstance(column, Text):
        as_given = operator in column.exactly and column.exact is not None
        where = row.c[column.exact if as_given and column.exact else column.folded]
        make = checked_text(path, str if as_given else column.fold)
    else:
        where, make = row.c[column.column], _checked(path, column)
    return _operator(binder, where, operator, operand, origin, make)


def _operator(binder: Binder, column: Expression, operator: str, operand: Any, origin: Origin, make: Callable[[Any], Any]) -> Expression:
    if operator == "isNull":
        return column.is_(None) if operand else column.is_not(None)
    if operator in ("in", "notIn"):
        values = binder.leaf(origin, lambda items: [make(item) for item in items], binder.dialect.list_of(column.type))
        found = binder.dialect.among(column, values)
        return found if operator == "in" else _complement(found)
    value = binder.leaf(origin, make, column.type)
    simple: dict[str, Callable[[], Expression]] = {
        "eq": lambda: column == value,
        "ne": lambda: column.is_distinct_from(value),
        "gt": lambda: column > value,
        "gte": lambda: column >= value,
        "lt": lambda: column < value,
        "lte": lambda: column <= value,
        "contains": lambda: binder.dialect.contains(column, value),
        "startsWith": lambda: binder.dialect.starts(column, value),
    }
    return simple[operator]()


def _member(binder: Binder, row: Row, operator: str, operand: Any, origin: Origin, path: str) -> Expression:
    places, inside = binder.scope.table(CampaignLead)
    mine = sa.select(number(1)).select_from(places).where(inside, places.c.lead_id == row.c.id).correlate(row)
    if operator == "isNull":
        return sa.not_(mine.exists()) if operand else mine.exists()
    positive = {"ne": "eq", "notIn": "in"}.get(operator, operator)
    found = mine.where(_operator(binder, places.c.campaign_id, positive, operand, origin, _checked(path, Plain("campaign_id")))).exists()
    return sa.not_(found) if operator != positive else found


def checked_id(path: str) -> Callable[[Any], Any]:
    """Make the bind of an id that a filter names."""
    return _checked(path, Plain("id"))


def _checked(path: str, column: Plain) -> Callable[[Any], Any]:
    def make(value: Any) -> Any:
        value = _plain(value)
        if isinstance(value, str) and "\0" in value:
            raise BadUserInput(f"{path} {shown(value)}: a NUL is in no text", argument=path)
        if column.low is not None and column.high is not None and not column.low <= value <= column.high:
            raise BadUserInput(f"{path} {value}: is not from {column.low} to {column.high}", argument=path)
        return value

    return make


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)
