"""The one list of a lead's fields. Rows of batches and files, inputs and patches are all read through it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from app.errors import shown
from app.rules.attributes import check_attributes, merge_attributes, read_attributes
from app.rules.emails import EmailAddress, parse_email
from app.rules.moments import read_datetime
from app.rules.texts import TooLongError, as_text, read_crm_id, read_line, read_lines, read_source
from app.rules.urls import parse_url

__all__ = [
    "LEAD_FIELDS",
    "LEAD_IDENTITY",
    "ROW_IDENTITY",
    "Draft",
    "ErrorCode",
    "FieldError",
    "LeadField",
    "LeadStatus",
    "check_attributes",
    "merge_attributes",
    "missing_identity",
    "read_attributes",
    "read_datetime",
    "read_draft",
    "read_input",
    "read_row",
    "read_source",
    "read_values",
]


class ErrorCode(StrEnum):
    """What is wrong with a field of a row."""

    BLANK = "BLANK"
    INVALID = "INVALID"
    TOO_LONG = "TOO_LONG"
    TAKEN = "TAKEN"
    NOT_FOUND = "NOT_FOUND"
    AMBIGUOUS_MATCH = "AMBIGUOUS_MATCH"
    CONFLICT = "CONFLICT"
    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    SUPPRESSED = "SUPPRESSED"


class LeadStatus(StrEnum):
    """How far a lead has come."""

    NEW = "NEW"
    CONTACTED = "CONTACTED"
    REPLIED = "REPLIED"
    QUALIFIED = "QUALIFIED"
    CONVERTED = "CONVERTED"
    REJECTED = "REJECTED"


class FieldError(NamedTuple):
    """One thing that is wrong with a row; `message` is one line that names the field, the value (shortened) and the rule."""

    code: ErrorCode
    message: str
    field: str | None


def read_email(value: object) -> EmailAddress | None:
    """Read an address; its identity comes with it."""
    text = value if isinstance(value, str) else as_text(value)
    return parse_email(text) if text.strip() else None


def read_url(value: object) -> str | None:
    """Read a web address."""
    line = read_line(value)
    return None if line is None else parse_url(line)


def read_status(value: object) -> LeadStatus | None:
    """Read a status by its name, in any case."""
    if isinstance(value, LeadStatus):
        return value
    text = read_line(value)
    if text is None:
        return None
    status = LeadStatus.__members__.get(text.upper())
    if status is None:
        raise ValueError(f"is none of {', '.join(LeadStatus)}")
    return status


def read_object(value: object) -> dict[str, object] | None:
    """Read a JSON object; an empty cell is none."""
    return None if isinstance(value, str) and not value.strip() else read_attributes(value)


def read_moment(value: object) -> datetime | None:
    """Read a moment: as text, or already as one."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("has no offset")
        return value.astimezone(UTC)
    text = read_line(value)
    return None if text is None else read_datetime(text)


@dataclass(frozen=True, slots=True)
class LeadField:
    """A field of a lead: the contract's name, the column, and how a loose value becomes one that is kept.

    `read` gives None for a blank value and raises ValueError with the rule that a bad one breaks.
    """

    name: str
    column: str
    read: Callable[[object], object] = read_line
    clearable: bool = True


LEAD_FIELDS: tuple[LeadField, ...] = (
    LeadField("crmId", "crm_id", read_crm_id),
    LeadField("email", "email", read_email),
    LeadField("firstName", "first_name"),
    LeadField("lastName", "last_name"),
    LeadField("company", "company"),
    LeadField("title", "title"),
    LeadField("phone", "phone"),
    LeadField("website", "website", read_url),
    LeadField("linkedinUrl", "linkedin_url", read_url),
    LeadField("location", "location"),
    LeadField("source", "source", read_source),
    LeadField("status", "status", read_status, clearable=False),
    LeadField("notes", "notes", read_lines),
    LeadField("attributes", "attributes", read_object),
    LeadField("optInAt", "opt_in_at", read_moment),
)

#: By one of these a row of a batch says which lead it is about.
ROW_IDENTITY = ("id", "email", "crm_id")
#: One of these a lead must have.
LEAD_IDENTITY = ("email", "crm_id", "phone")

_FIELDS: dict[str, tuple[str, Callable[[object], object], bool]] = {
    field.name: (field.column, field.read, field.clearable) for field in LEAD_FIELDS
}
_ID = {"id": ("id", read_line, False)}
_ROW_FIELDS = _FIELDS | _ID
#: What inputs and patches hold beside the lead's own fields; their readers are elsewhere.
_BESIDE = frozenset({"campaignIds", "assignee", "autoScore"})


def read_row(row: Mapping[str, object], *, clearing: bool) -> tuple[dict[str, object], list[FieldError]]:
    """Read a row of loose values, keyed by the contract's names, into the columns that it sets, and what is wrong with it.

    Blank is not given. None clears where `clearing`, else is not given either; `status` can't be cleared. `email` sets
    `email_key` too, and `id` is kept as text, well formed or not. A row with errors still gives its good fields.
    """
    return read_values(row, _ROW_FIELDS, clearing=clearing)


def read_input(values: Mapping[str, object], *, clearing: bool) -> tuple[dict[str, object], list[FieldError]]:
    """Read a typed input or patch as `read_row` does; what is beside the lead's own fields is passed over."""
    return read_values({name: value for name, value in values.items() if name not in _BESIDE}, _FIELDS, clearing=clearing)


def read_values(
    values: Mapping[str, object],
    fields: Mapping[str, tuple[str, Callable[[object], object], bool]],
    *,
    clearing: bool,
    of: str = "a lead",
) -> tuple[dict[str, object], list[FieldError]]:
    """Read values by the contract's names into columns, as `read_row` does; `fields` say column, reader, and whether None may clear."""
    columns: dict[str, object] = {}
    errors: list[FieldError] = []
    for name, value in values.items():
        if name not in fields:
            errors.append(FieldError(ErrorCode.UNKNOWN_FIELD, f"{shown(name)} is no field of {of}", name))
            continue
        column, read, clearable = fields[name]
        if value is None:
            if clearing and clearable:
                columns[column] = None
                if name == "email":
                    columns["email_key"] = None
            elif clearing and name == "status":
                errors.append(FieldError(ErrorCode.BLANK, "status: a lead has a status, it cannot be cleared", name))
            continue
        try:
            kept = read(value)
        except ValueError as error:
            errors.append(_field_error(name, value, error))
            continue
        if type(kept) is EmailAddress:
            columns["email"], columns["email_key"] = kept
        elif kept is not None:
            columns[column] = kept
    return columns, errors


def _field_error(name: str, value: object, error: ValueError) -> FieldError:
    code = ErrorCode.TOO_LONG if isinstance(error, TooLongError) else ErrorCode.INVALID
    # Whoever sent an object knows it, and a megabyte would be written out to show sixty characters.
    told = name if isinstance(value, dict | list) else f"{name} {shown(_showable(value))}:"
    return FieldError(code, f"{told} {error}", name)


def _showable(value: object) -> object:
    """Cut a text, to a length that `shown` still marks as cut; keep numbers from `repr` that have too many digits for it."""
    if isinstance(value, str):
        return value[:64]
    return "a number" if isinstance(value, int) and value.bit_length() > 1024 else value


class Draft(NamedTuple):
    """A row that was read: the columns that it sets, or what is wrong with it."""

    fields: dict[str, Any]
    errors: list[FieldError]


def read_draft(row: Mapping[str, Any], *, clearing: bool) -> Draft:
    """Read a row of loose values; one that says in no way which lead it is about is BLANK."""
    fields, errors = read_row(row, clearing=clearing)
    if not errors and missing_identity(fields, ROW_IDENTITY):
        errors = [FieldError(ErrorCode.BLANK, "a row needs one of id, email and crmId to say which lead it is about", None)]
    return Draft(fields, errors)


def missing_identity(fields: Mapping[str, object], keys: tuple[str, ...] = LEAD_IDENTITY) -> bool:
    """Tell whether none of the columns that could name a lead is there: of a row (`ROW_IDENTITY`), or of a lead as it would be kept."""
    return all(fields.get(key) is None for key in keys)
