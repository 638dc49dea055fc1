"""Rows of leads: what is kept beside the values that a caller gives, and what differs between two states of one."""

from collections.abc import Mapping
from typing import Any

from app.actions.activities import change
from app.actions.references import LEAD
from app.actions.scorer import UNSCORED
from app.actions.work import Work
from app.column_types import dumps
from app.rules.attributes import folded_texts
from app.rules.fields import (
    LEAD_FIELDS,
    LEAD_IDENTITY,
    ErrorCode,
    FieldError,
    LeadStatus,
    check_attributes,
    merge_attributes,
    missing_identity,
)
from app.rules.folding import fold, search_text
from app.rules.ids import new_id
from app.rules.texts import TooLongError

#: Text that stands a second time in its row, folded; `attributes` hold several.
_FOLDED = tuple(
    (name, f"{name}_folded")
    for name in LEAD.c.keys()  # noqa: SIM118 -- columns, no dict
    if f"{name}_folded" in LEAD.c and name != "attributes"
)
#: The text that `search` looks in.
_SEARCHED = ("email", "first_name", "last_name", "company")
#: The contract's name of each column that a caller may give, in the contract's order, but for `attributes`: those count one by one.
NAMES = tuple((field.column, field.name) for field in LEAD_FIELDS if field.column in LEAD.c and field.column not in ("id", "attributes"))
_NAME = dict(NAMES)
_EMPTY: dict[str, Any] = dict.fromkeys(LEAD.c.keys())
_NEW = {**_EMPTY, **UNSCORED, "status": LeadStatus.NEW.value, "version": 1}


class Refused(Exception):
    """The values given break a rule that only the stored leads can tell: a row's result, or a mutation's error."""

    def __init__(self, code: ErrorCode, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.error = FieldError(code, message, field)


def new_lead(work: Work, fields: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Make the row of a new lead from the values given by column; one that names no source gets `source`."""
    row = {
        **_NEW,
        **{name: value for name, value in fields.items() if value is not None},
        "workspace_id": work.workspace,
        "id": new_id("lead"),
        "attributes": merge_attributes({}, fields.get("attributes") or {}),
        "created_at": work.now,
        "updated_at": work.now,
    }
    if row["source"] is None:
        row["source"] = source
    for name, folded in _FOLDED:
        if (value := row[name]) is not None:
            row[folded] = fold(value)
    row["attributes_folded"] = folded_texts(row["attributes"])
    row["search_text"] = _search_text(row)
    return row


def changed_lead(work: Work, lead: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give the lead's row with these values set, its version risen; the very same object where they change nothing.

    None clears a field. `attributes` merge by key, None drops a key, or all of them. Raises Refused where the outcome breaks a rule that
    the values alone do not: nothing left to know the lead by, or too many attributes together.
    """
    changed = {name: value for name, value in fields.items() if name not in ("id", "attributes") and lead[name] != value}
    if "attributes" in fields:
        merged = _merged(lead["attributes"], fields["attributes"])
        if dumps(merged) != dumps(lead["attributes"]):  # as JSON: to Python, 1, 1.0 and True are equal
            changed["attributes"] = merged
    if not changed:
        return lead
    if missing_identity(row := {**lead, **changed}):
        cleared = next(name for name in LEAD_IDENTITY if name in changed)
        raise Refused(ErrorCode.BLANK, f"{_NAME[cleared]}: a lead needs an e-mail address, a CRM id or a phone", _NAME[cleared])
    row |= {"version": lead["version"] + 1, "updated_at": work.now}
    for name, folded in _FOLDED:
        if name in changed:
            row[folded] = None if row[name] is None else fold(row[name])
    if "attributes" in changed:
        row["attributes_folded"] = folded_texts(row["attributes"])
    if not changed.keys().isdisjoint(_SEARCHED):
        row["search_text"] = _search_text(row)
    if "status" in changed:
        row["last_activity_at"] = max(lead["last_activity_at"] or work.now, work.now)
    return row


def _merged(stored: dict[str, Any], given: dict[str, Any] | None) -> dict[str, Any]:
    merged = {} if given is None else merge_attributes(stored, given)
    try:
        check_attributes(merged)
    except ValueError as error:
        code = ErrorCode.TOO_LONG if isinstance(error, TooLongError) else ErrorCode.INVALID
        raise Refused(code, f"attributes, with those that the lead has: {error}", "attributes") from error
    return merged


def _search_text(row: Mapping[str, Any]) -> str:
    return search_text(*[row[name] for name in _SEARCHED if row[name]])


def empty_only(lead: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of the values given those for which the lead has none, key by key for `attributes`."""
    kept = {name: value for name, value in fields.items() if value is not None and name in lead and lead[name] is None}
    new = {key: value for key, value in (fields.get("attributes") or {}).items() if key not in lead["attributes"]}
    return {**kept, "attributes": new} if new else kept


def field_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Tell what differs between two states of a lead, in the contract's names; None is no lead at all."""
    before, after = before or _EMPTY, after or _EMPTY
    changes = [
        # Not `change`, which looks for moments: this is asked for every row of a batch, and one field alone holds one.
        {"field": name, "before": before[column], "after": after[column]}
        if column != "opt_in_at"
        else change(name, before[column], after[column])
        for column, name in NAMES
        if before[column] != after[column]
    ]
    return changes + attribute_changes(before["attributes"] or {}, after["attributes"] or {})


def attribute_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tell which of the caller's own fields differ, a change for each key."""
    if before is after or not (before or after):
        return []
    keys = sorted({*before, *after})
    return [change(f"attributes.{key}", before.get(key), after.get(key)) for key in keys if dumps(before.get(key)) != dumps(after.get(key))]
