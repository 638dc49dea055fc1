"""Custom events as callers send them: what a row of a batch, or one event, must look like."""

from collections.abc import Callable, Mapping

from app.rules.fields import ErrorCode, FieldError, read_email, read_moment, read_object, read_values
from app.rules.texts import TooLongError, read_crm_id, read_line

#: Characters of an event's name, and of the id by which a second one is known as the same.
LONGEST_NAME = 256
LONGEST_DISTINCT_ID = 36


def read_name(value: object) -> str | None:
    """Read an event's name: exact, 256 characters at most."""
    return _line_of(value, LONGEST_NAME)


def read_distinct_id(value: object) -> str | None:
    """Read the id that the caller gave the event: exact, 36 characters at most."""
    return _line_of(value, LONGEST_DISTINCT_ID)


def _line_of(value: object, longest: int) -> str | None:
    text = read_line(value)
    if text is not None and len(text) > longest:
        raise TooLongError(f"is longer than {longest} characters")
    return text


_FIELDS: dict[str, tuple[str, Callable[[object], object], bool]] = {
    "leadId": ("id", read_line, False),
    "crmId": ("crm_id", read_crm_id, False),
    "email": ("email", read_email, False),
    "event": ("event", read_name, False),
    "distinctId": ("distinct_id", read_distinct_id, False),
    "attributes": ("attributes", read_object, False),
    "campaignId": ("campaign_id", read_line, False),
    "occurredAt": ("occurred_at", read_moment, False),
}
_IDENTITY = ("id", "email", "crm_id")


def read_event(values: Mapping[str, object], *, of_lead: bool = True) -> tuple[dict[str, object], list[FieldError]]:
    """Read the values given, by the contract's names, into columns, and what is wrong with them; blank and null are not given.

    `of_lead`: they also say which lead it is about, by `leadId`, `email` or `crmId`.
    """
    columns, errors = read_values(values, _FIELDS, clearing=False, of="an event")
    if not errors and columns.get("event") is None:
        errors.append(FieldError(ErrorCode.BLANK, "event: an event has a name", "event"))
    if not errors and of_lead and all(columns.get(name) is None for name in _IDENTITY):
        errors.append(FieldError(ErrorCode.BLANK, "an event needs one of leadId, email and crmId to say which lead it is about", None))
    return columns, errors
