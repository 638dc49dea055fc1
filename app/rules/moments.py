"""Moments in time: RFC 3339 with an offset, read as given, kept in UTC."""

import re
from datetime import UTC, datetime, timedelta, timezone

_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))",
)
_WITHOUT_OFFSET = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt]([0-9]{2}:[0-9]{2})(:[0-9]{2}(?:\.[0-9]+)?)?)?")
#: Characters that a moment may have, a fraction of any length that somebody means included.
_LONGEST = 64

#: The driver of PostgreSQL writes these two as minus and plus infinity.
_ENDS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def read_datetime(text: str) -> datetime:
    """Read `2026-01-20T10:00:00+01:00` as its moment in UTC; digits behind the microsecond are cut.

    Raises ValueError with the rule: no offset, no such day, a leap second (which neither database can hold).
    """
    text = text.strip()
    match = _MOMENT.fullmatch(text) if len(text) <= _LONGEST else None
    if not match:
        raise ValueError("is no moment with an offset, as in 2026-01-20T10:00:00Z")
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    if second == 60:
        raise ValueError("is a leap second, which cannot be kept")
    fraction, sign, hours, minutes = match.group(7, 8, 9, 10)
    if sign and (int(hours) > 23 or int(minutes) > 59):
        raise ValueError("has an offset that is none")
    offset = timezone(int(f"{sign}1") * timedelta(hours=int(hours), minutes=int(minutes))) if sign else UTC
    microsecond = int(fraction[:6].ljust(6, "0")) if fraction else 0
    try:
        moment = datetime(year, month, day, hour, minute, second, microsecond, offset).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("is no moment of the calendar, year 1 to 9999") from error
    if moment in _ENDS:
        raise ValueError("is the first or last moment that there is, which databases take for infinity")
    return moment


def with_offset(text: str) -> str:
    """Write an ISO 8601 date, which is its midnight, or a date and time without an offset as a moment in UTC; any other text stays."""
    match = _WITHOUT_OFFSET.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if not match:
        return text
    day, minutes, seconds = match.groups()
    return f"{day}T{minutes or '00:00'}{seconds or ':00'}Z"
