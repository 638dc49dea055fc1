import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.moments import read_datetime, with_offset


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-20T10:00:00Z", datetime(2026, 1, 20, 10, tzinfo=UTC)),
        ("2026-01-20t10:00:00z", datetime(2026, 1, 20, 10, tzinfo=UTC)),
        (" 2026-01-20T10:00:00+05:30 ", datetime(2026, 1, 20, 4, 30, tzinfo=UTC)),
        ("2026-01-20T10:00:00-00:00", datetime(2026, 1, 20, 10, tzinfo=UTC)),
        ("2026-01-20T10:00:00.5-01:00", datetime(2026, 1, 20, 11, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-20T10:00:00.1234569Z", datetime(2026, 1, 20, 10, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_as_given_and_kept_in_utc(text: str, moment: datetime):
    assert read_datetime(text) == moment
    assert read_datetime(text).tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("2026-01-20T10:00:00", "is no moment with an offset, as in 2026-01-20T10:00:00Z"),
        ("2026-01-20", "is no moment with an offset, as in 2026-01-20T10:00:00Z"),
        ("2026-01-20 10:00:00Z", "is no moment with an offset, as in 2026-01-20T10:00:00Z"),
        ("1768903200000", "is no moment with an offset, as in 2026-01-20T10:00:00Z"),
        ("٢٠٢٦-01-20T10:00:00Z", "is no moment with an offset, as in 2026-01-20T10:00:00Z"),
        ("", "is no moment with an offset, as in 2026-01-20T10:00:00Z"),
        (f"2026-01-20T10:00:00.{38 * '0'}+00:00 and more", "is no moment with an offset, as in 2026-01-20T10:00:00Z"),
        ("2026-02-30T10:00:00Z", "is no moment of the calendar, year 1 to 9999"),
        ("2026-01-20T24:00:00Z", "is no moment of the calendar, year 1 to 9999"),
        ("0001-01-01T00:00:00+01:00", "is no moment of the calendar, year 1 to 9999"),
        ("0000-01-01T00:00:00Z", "is no moment of the calendar, year 1 to 9999"),
        ("9999-12-31T23:59:59-01:00", "is no moment of the calendar, year 1 to 9999"),
        ("2016-12-31T23:59:60Z", "is a leap second, which cannot be kept"),
        ("2026-01-20T10:00:00+24:00", "has an offset that is none"),
        ("2026-01-20T10:00:00+01:60", "has an offset that is none"),
    ],
)
def test_what_is_no_moment_is_refused_with_the_rule(text: str, rule: str):
    with pytest.raises(ValueError, match=f"^{re.escape(rule)}$"):
        read_datetime(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_python_writes_is_read_back(moment: datetime):
    assert read_datetime(moment.isoformat()) == moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-03-01T12:00:00", "2025-03-01T12:00:00Z"),
        (" 2025-03-01T12:00:00.250 ", "2025-03-01T12:00:00.250Z"),
        ("2025-03-01T12:00", "2025-03-01T12:00:00Z"),
        ("2025-01-02", "2025-01-02T00:00:00Z"),
    ],
)
def test_a_date_and_a_date_and_time_without_an_offset_are_given_utc(text: str, moment: str):
    assert with_offset(text) == moment


@pytest.mark.parametrize(
    "text", ["2025-01-02T10:00:00+01:00", "2025-01-02T10:00:00Z", "01/02/2025", "20250102", "45658", "2025-01-02 10:00:00"]
)
def test_any_other_text_stays_as_it_is(text: str):
    assert with_offset(text) == text
