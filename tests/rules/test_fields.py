from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.database import table_of
from app.rules import lead_values
from app.rules.fields import (
    LEAD_FIELDS,
    ROW_IDENTITY,
    ErrorCode,
    LeadStatus,
    missing_identity,
    read_input,
    read_row,
)
from app.tables import Lead

NAMES = [field.name for field in LEAD_FIELDS]


def only_error(row: dict[str, object], *, clearing: bool = False) -> tuple[ErrorCode, str, str | None]:
    _, errors = read_row(row, clearing=clearing)
    assert len(errors) == 1
    return errors[0]


def test_a_row_becomes_the_columns_that_it_sets():
    row = {
        "id": "lead_x",
        "crmId": 17,
        "email": " Ann@Example.com",
        "firstName": "Ann ",
        "website": "example.com",
        "source": "LinkedIn",
        "status": "contacted",
        "notes": "two\nlines",
        "attributes": {"plan": None},
        "optInAt": "2026-01-20T10:00:00+01:00",
    }
    assert read_row(row, clearing=False) == (
        {
            "id": "lead_x",
            "crm_id": "17",
            "email": "Ann@Example.com",
            "email_key": "ann@example.com",
            "first_name": "Ann",
            "website": "example.com",
            "source": "linkedin",
            "status": LeadStatus.CONTACTED,
            "notes": "two\nlines",
            "attributes": {"plan": None},
            "opt_in_at": datetime(2026, 1, 20, 9, tzinfo=UTC),
        },
        [],
    )


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0"])
def test_blank_is_not_given_in_any_field(blank: str):
    assert read_row(dict.fromkeys(["id", *NAMES], blank), clearing=True) == ({}, [])


def test_null_clears_where_it_may_and_else_is_not_given():
    assert read_row(dict.fromkeys(["id", *NAMES]), clearing=False) == ({}, [])
    columns, errors = read_row(dict.fromkeys(["id", *NAMES]), clearing=True)
    assert columns == dict.fromkeys([*(field.column for field in LEAD_FIELDS if field.clearable), "email_key"])
    assert errors == [(ErrorCode.BLANK, "status: a lead has a status, it cannot be cleared", "status")]


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (1, "1"), (-5, "-5"), (1.5, "1.5"), (123.0, "123"), (1e3, "1000"), (1e300, "1e+300"), (0.1, "0.1")],
)
def test_numbers_and_booleans_are_read_as_text(value: object, text: str):
    assert read_row({"crmId": value, "title": value}, clearing=False) == ({"crm_id": text, "title": text}, [])


@pytest.mark.parametrize(
    "value", [[], {}, ["x"], {"a": 1}, float("nan"), float("inf"), pytest.param(1 << 20_000, id="a number of 6,000 digits")]
)
def test_what_is_no_text_number_or_boolean_is_invalid_and_the_good_fields_are_read(value: object):
    columns, errors = read_row({"firstName": value, "lastName": "Lee"}, clearing=False)
    assert columns == {"last_name": "Lee"}
    assert [(error.code, error.field) for error in errors] == [(ErrorCode.INVALID, "firstName")]


def test_an_error_names_the_field_the_value_and_the_rule_on_one_line():
    assert only_error({"email": "bob"}) == (ErrorCode.INVALID, "email 'bob': has no @", "email")
    assert only_error({"firstName": "a\x00\r\nb"}) == (
        ErrorCode.INVALID,
        "firstName 'a\\x00\\r\\nb': holds a control character",
        "firstName",
    )
    assert only_error({"title": ["a"]}) == (ErrorCode.INVALID, "title is no text, number or boolean", "title")
    assert only_error({"nmae": 1}) == (ErrorCode.UNKNOWN_FIELD, "'nmae' is no field of a lead", "nmae")
    assert only_error({"status": "won"}).message == ("status 'won': is none of NEW, CONTACTED, REPLIED, QUALIFIED, CONVERTED, REJECTED")
    assert only_error({"attributes": "x"}).message == "attributes 'x': is no JSON object"
    assert only_error({"website": "javascript:x"}).message == "website 'javascript:x': has another scheme than http or https"


def test_a_long_value_is_shortened_in_its_error():
    code, message, _ = only_error({"firstName": "x" * 1_000_000})
    assert code is ErrorCode.TOO_LONG
    assert message == f"firstName '{'x' * 58}…: is longer than 10,000 bytes"


@pytest.mark.parametrize(
    ("field", "most", "over"),
    [
        ("firstName", "x" * 10_000, "x" * 10_001),
        ("company", "é" * 5_000, "é" * 5_001),
        ("notes", "é" * 5_000, "é" * 5_001),
        ("crmId", "é" * 256, "é" * 257),
        ("source", "x" * 100, "x" * 101),
        ("website", "example.com/" + "x" * 9_988, "example.com/" + "x" * 9_989),
        ("email", "a@" + ("b" * 61 + ".") * 4 + "comm", "a@" + ("b" * 61 + ".") * 4 + "commm"),
        ("attributes", {"a": "x" * 10_000}, {"a": "x" * 10_001}),
    ],
)
def test_a_field_takes_its_limit_and_no_more(field: str, most: object, over: object):
    assert read_row({field: most}, clearing=False)[1] == []
    assert only_error({field: over}).code is ErrorCode.TOO_LONG


@pytest.mark.parametrize("bad", ["\x00", "\x1b", "\x7f", "\ud800", "\n", "\t", "\r", "\u202e", "\u2066"])
def test_a_character_that_fools_a_terminal_or_a_reader_is_refused_in_a_line(bad: str):
    for field in ("id", "crmId", "firstName", "company", "phone", "source", "linkedinUrl", "email"):
        assert only_error({field: f"a{bad}b.example"}).code is ErrorCode.INVALID


def test_notes_take_lines_and_directions_but_nothing_worse():
    assert read_row({"notes": "a\r\n\tb\u202e"}, clearing=False) == ({"notes": "a\r\n\tb\u202e"}, [])
    for bad in ("\x00", "\x1b", "\ud800"):
        assert only_error({"notes": f"a{bad}"}).code is ErrorCode.INVALID


def test_an_input_is_read_like_a_row_but_for_what_stands_beside_the_fields():
    moment = datetime(2026, 1, 20, 10, tzinfo=timezone(timedelta(hours=2)))
    values = {"phone": "112", "status": LeadStatus.NEW, "optInAt": moment, "campaignIds": ["x"], "assignee": None, "autoScore": True}
    columns, errors = read_input(values, clearing=True)
    assert (columns, errors) == ({"phone": "112", "status": "NEW", "opt_in_at": moment}, [])
    assert columns["opt_in_at"].tzinfo is UTC
    assert read_input({"id": "lead_x"}, clearing=True)[1][0].code is ErrorCode.UNKNOWN_FIELD
    assert read_input({"optInAt": datetime(2026, 1, 20)}, clearing=True)[1][0].message.endswith("has no offset")  # noqa: DTZ001 - the refusal is the test


def test_a_lead_needs_an_address_a_crm_id_or_a_phone_and_a_row_an_id_instead_of_the_phone():
    assert missing_identity({})
    assert missing_identity({"email": None, "first_name": "Ann"})
    assert not missing_identity({"phone": "112"})
    assert missing_identity({"phone": "112"}, ROW_IDENTITY)
    assert not missing_identity({"id": "lead_x"}, ROW_IDENTITY)
    assert not missing_identity({"crm_id": "1"})


LOOSE = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()) | st.dictionaries(st.text(), st.text())
)


@given(st.dictionaries(st.sampled_from(["id", *NAMES, "nope"]), LOOSE), st.booleans())
def test_any_row_is_read_or_refused_field_by_field(row, clearing):
    columns, errors = read_row(row, clearing=clearing)
    assert {error.field for error in errors} <= row.keys()
    assert all("\n" not in error.message and len(error.message) < 250 for error in errors)
    again, none = read_row({field.name: columns[field.column] for field in LEAD_FIELDS if field.column in columns}, clearing=clearing)
    assert none == []
    assert again == {name: value for name, value in columns.items() if name != "id"}


def test_the_columns_that_stand_a_second_time_folded_are_those_of_the_table():
    columns = {column.name for column in table_of(Lead).columns}
    assert {*lead_values.FOLDED, "attributes"} == {name for name in columns if f"{name}_folded" in columns}
    assert {*lead_values.SEARCHED, *(column for column, _ in lead_values.NAMES)} <= columns
