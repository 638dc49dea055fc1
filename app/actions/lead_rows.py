"""Rows of leads, new and changed: the values that a caller gives, and all that is kept beside them."""

from collections.abc import Mapping
from typing import Any

from app.actions.references import LEAD
from app.actions.scorer import UNSCORED
from app.actions.work import Work
from app.rules.fields import (
    LEAD_IDENTITY,
    ErrorCode,
    FieldError,
    LeadStatus,
    check_attributes,
    merge_attributes,
    missing_identity,
)
from app.rules.ids import new_id
from app.rules.lead_values import NAMES, columns_of, refold
from app.rules.texts import TooLongError
from app.rules.written import dumps

_NAME = dict(NAMES)
_NEW = {**dict.fromkeys(LEAD.c.keys()), **UNSCORED, "status": LeadStatus.NEW.value, "version": 1}


class Refused(Exception):
    """The values given break a rule that only the stored leads can tell: a row's result, or a mutation's error."""

    def __init__(self, code: ErrorCode, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.error = FieldError(code, message, field)


def new_lead(work: Work, fields: Mapping[str, Any], *, source: str, lead_id: str | None = None) -> dict[str, Any]:
    """Make the row of a new lead from the values given by column; one that names no source gets `source`, and an id unless it has one."""
    return {
        **_NEW,
        **columns_of(fields, source=source),
        "workspace_id": work.workspace,
        "id": lead_id or new_id("lead"),
        "created_at": work.now,
        "updated_at": work.now,
    }


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
    refold(row, changed)
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


def empty_only(lead: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of the values given those for which the lead has none, key by key for `attributes`."""
    kept = {name: value for name, value in fields.items() if value is not None and name in lead and lead[name] is None}
    new = {key: value for key, value in (fields.get("attributes") or {}).items() if key not in lead["attributes"]}
    return {**kept, "attributes": new} if new else kept
