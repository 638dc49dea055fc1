import csv
import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.attributes import read_attributes
from app.rules.fields import ErrorCode, FieldError
from app.rules.files import (
    FileRow,
    find_separator,
    raw_row,
    read_csv,
    rejected_header,
    rejected_row,
    row_reader,
    safe_cell,
    with_attributes,
)
from schema.exports import COLUMNS


def rows_of(data: bytes) -> list[tuple[int, list[str]]]:
    return [(row.line, row.cells) for row in read_csv(io.BytesIO(data)).rows()]


@pytest.mark.parametrize(
    ("data", "encoding", "guessed"),
    [
        ("name\nZoë\n".encode(), "utf-8", False),
        ("name\nZoë\n".encode("utf-8-sig"), "utf-8-sig", False),
        ("name\nZoë\n".encode("utf-16"), "utf-16", False),
        (b"\xfe\xff" + "name\nZoë\n".encode("utf-16-be"), "utf-16", False),
        ("name\nZoë\n".encode("cp1252"), "cp1252", True),
    ],
)
def test_the_encoding_is_found_and_a_guess_is_told(data: bytes, encoding: str, guessed: bool):
    table = read_csv(io.BytesIO(data))
    assert (table.encoding, table.guessed, table.columns) == (encoding, guessed, ["name"])
    assert rows_of(data) == [(2, ["Zoë"])]


def test_one_letter_of_another_encoding_far_down_the_file_is_seen():
    data = b"name\n" + b"Anna\n" * 50_000 + "Zoë\n".encode("cp1252")
    table = read_csv(io.BytesIO(data))
    assert (table.encoding, table.lines) == ("cp1252", 50_002)
    assert [row.cells for row in table.rows()][-1] == ["Zoë"]


@pytest.mark.parametrize(
    "data",
    [
        b"email\nann\x00@example.com\n",
        "email\nann@example.com\n".encode("utf-16-le"),
        b"\xff\xfe\x00\x00e\x00\x00\x00",
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\x01\x02",
        b"email\n\x81\x8d\n",
        b"\xff\xfee\x00m",  # half a character
        b"\xff\xfee\x00\x00\xd8x\x00",  # half a pair
    ],
)
def test_what_is_no_text_is_refused_in_one_line(data: bytes):
    with pytest.raises(ValueError, match="the file is no text") as refused:
        read_csv(io.BytesIO(data))
    assert str(refused.value) == "the file is no text: save it as CSV with the encoding UTF-8"


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b" \r\n \r\n", b",,,\n"])
def test_an_empty_file_is_refused(data: bytes):
    with pytest.raises(ValueError, match="the file is empty: its first line must name the columns"):
        read_csv(io.BytesIO(data))


def test_a_line_without_end_is_refused_and_not_held():
    with pytest.raises(ValueError, match="line 2 has more than 1,000,000 characters"):
        read_csv(io.BytesIO(b"email\n" + b"x" * 1_000_000))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_each_separator_is_found(separator: str):
    data = f"email{separator}name\nann@example.com{separator}Ann\n".encode()
    assert read_csv(io.BytesIO(data)).separator == separator
    assert rows_of(data) == [(2, ["ann@example.com", "Ann"])]


@pytest.mark.parametrize(
    ("sample", "separator"),
    [
        ("email\nann@example.com\n", ","),
        ("", ","),
        ("email;notes\na@example.com;one, two, three\nb@example.com;four, five\n", ";"),
        ('"Name, first";email\n"Lee, Ann";a@example.com\n', ";"),
        ("a,b;c\n", ","),
        ("email;first name;notes, other\na@example.com;Ann;x\n", ";"),
        ("Notes; other,E-Mail|Work\nx,a@example.com|b\n", ","),
    ],
)
def test_the_separator_is_one_that_the_header_has_and_the_comma_in_doubt(sample: str, separator: str):
    assert find_separator(sample) == separator


@pytest.mark.parametrize(("line", "separator"), [("sep=;", ";"), ('"SEP=,"', ","), ("sep=\t", "\t"), ("sep=|||", "|")])
def test_a_line_of_excel_s_that_names_the_separator_is_taken_as_that(line: str, separator: str):
    table = read_csv(io.BytesIO(f"{line}\r\n\r\nemail{separator}name\r\nann@example.com{separator}Ann\r\n".encode()))
    assert (table.separator, table.columns) == (separator, ["email", "name"])
    assert [(row.line, row.cells) for row in table.rows()] == [(4, ["ann@example.com", "Ann"])]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-8"])
def test_a_mark_is_no_part_of_the_first_name_whatever_the_encoding_is_called(encoding: str):
    table = read_csv(io.BytesIO("\ufeffemail,name\nann@example.com,Ann\n".encode(encoding)), encoding)
    assert table.columns == ["email", "name"]
    assert [row.cells for row in table.rows()] == [["ann@example.com", "Ann"]]


@pytest.mark.parametrize("line", ["sep=x", "sep=;x", "separator=;"])
def test_any_other_first_line_is_the_header(line: str):
    assert read_csv(io.BytesIO(f"{line}\nemail\n".encode())).columns == line.split(";")


@pytest.mark.parametrize("bait", ['"' * 4_000, '",;' * 1_300, '"a";' * 900 + '"', ",;" * 2_000, '","' * 600 + ";" * 600])
def test_guessing_the_separator_takes_no_time_on_a_baited_header(bait: str):
    started = time.thread_time()
    find_separator(f",;{bait}"[:4_000])
    assert time.thread_time() - started < 5


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_rows_know_the_line_they_begin_on_whatever_ends_a_line(ending: str):
    lines = ["email,notes", "a@example.com,one", "", 'b@example.com,"two', "", 'lines"', "   ", " , ", "c@example.com,three"]
    assert rows_of(ending.join(lines).encode()) == [
        (2, ["a@example.com", "one"]),
        (4, ["b@example.com", f"two{ending}{ending}lines"]),
        (9, ["c@example.com", "three"]),
    ]


def errors_of(data: bytes) -> list[tuple[int, list[tuple[str, str]]]]:
    return [(row.line, [(error.code.value, error.message) for error in row.errors]) for row in read_csv(io.BytesIO(data)).rows()]


def test_a_row_with_more_or_fewer_cells_than_the_header_is_that_row_s_error():
    assert errors_of(b"email,name\na@example.com\nb@example.com,B\nc@example.com,C,more\n") == [
        (2, [("INVALID", "the row has 1 cells, the header has 2")]),
        (3, []),
        (4, [("INVALID", "the row has 3 cells, the header has 2")]),
    ]


def test_a_cell_too_long_is_that_row_s_error_be_it_long_or_very_long():
    data = (
        "email,notes\na@example.com,"
        + "é" * 5_000
        + "\nb@example.com,"
        + "é" * 5_001
        + "\nc@example.com,"
        + "x" * 200_000
        + "\nd@example.com,ok\n"
    )
    fits, long, very_long, last = errors_of(data.encode())
    assert fits == (2, [])
    assert long == (3, [("TOO_LONG", "column 'notes': longer than 10,000 bytes")])
    assert very_long[0] == 4
    assert very_long[1][0][1].startswith("field larger than field limit (131072): ")
    assert last == (5, [])


def test_quotes_that_do_not_pair_are_told_and_never_guessed():
    (line, [(code, message)]), (after, errors) = errors_of(b'email,name\na@example.com,"Bob "the" Builder"\nb@example.com,B\n')
    assert (line, code, after, errors) == (2, "INVALID", 3, [])
    assert "write a quote inside a cell twice" in message
    [(line, [(code, message)])] = errors_of(b'email,name\na@example.com,"open to the end')
    assert (line, code) == (2, "INVALID")
    assert message.startswith("unexpected end of data: ")


def test_cells_become_fields_and_attributes_and_blank_ones_are_not_given():
    mapping = with_attributes(
        [("E-mail", "email"), ("Shoe size", None), ("Left out", None), ("", None), ("Name", "firstName")], {"Left out"}
    )
    assert mapping == [("E-mail", "email"), ("Shoe size", "attributes.Shoe size"), ("Left out", None), ("", None), ("Name", "firstName")]
    reader = row_reader([field for _, field in mapping])
    assert reader.read(["a@example.com", " 42 ", "x", "y", "Ann"]) == {
        "email": "a@example.com",
        "firstName": "Ann",
        "attributes": {"Shoe size": "42"},
    }
    assert reader.read(["a@example.com", " ", "x", "y", " \t "]) == {"email": "a@example.com"}


def test_a_raw_row_keeps_cells_beyond_the_header_and_misses_none_that_are_not_there():
    assert raw_row(["email", "name"], ["a", "b", "c"]) == {"email": "a", "name": "b", "column 3": "c"}
    assert raw_row(["email", "name"], ["a"]) == {"email": "a"}
    odd = ["column 2", "", "column 2 (nameless)"]
    assert raw_row(odd, ["a", "b", "c"]) == {"column 2": "a", "column 2 (nameless) (nameless)": "b", "column 2 (nameless)": "c"}


def test_rejected_rows_run_nothing_in_a_spreadsheet_and_come_back_as_they_were():
    columns = ["email", "=phone", "notes"]
    cells = [
        ["a@@example.com", "+33 6 12 34 56 78", '=HYPERLINK("http://example.com";"x")'],
        ["-1", "@cmd", "\ttab"],
        ["\rreturn", "'=quoted already", "''+twice"],
        ["plain", "'plain quote", ""],
        ["too", "many", "cells", "=here"],
        ["few"],
    ]
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=";")
    writer.writerow(rejected_header([("email", "email"), ("=phone", "phone"), ("notes", "notes")]))
    for line, row in enumerate(cells, start=7):
        writer.writerow(rejected_row(FileRow(line, row, []), [FieldError(ErrorCode.INVALID, "email: has no @", "email")]))
    text = out.getvalue()
    for record in csv.reader(io.StringIO(text, newline=""), delimiter=";"):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in record)

    table = read_csv(io.BytesIO(text.encode("utf-8-sig")))
    assert table.columns == columns
    assert [row.cells for row in table.rows()] == cells
    assert [bool(row.errors) for row in table.rows()] == [False, False, False, False, True, True]


@given(
    st.lists(
        st.lists(st.text(st.sampled_from("'=+-@\t\r\n\",;a é"), max_size=5), min_size=len(COLUMNS), max_size=len(COLUMNS)),
        min_size=1,
        max_size=4,
    )
)
def test_an_export_gives_back_the_cells_that_it_was_written_from(rows: list[list[str]]):
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    table = read_csv(io.BytesIO(out.getvalue().encode("utf-8-sig")))
    assert (table.exported, table.columns) == (True, list(COLUMNS))
    assert [row.cells for row in table.rows()] == [row for row in rows if any(cell.strip() for cell in map(safe_cell, row))]


def test_an_object_in_a_cell_is_the_lead_s_attributes_and_anything_else_is_left_for_its_field_to_refuse():
    reader = row_reader(["email", "attributes", "attributes.size"])
    assert reader.read(["a@example.com", '{"plan":"gold","size":1}', ""])["attributes"] == {"plan": "gold", "size": 1}
    assert reader.read(["a@example.com", '{"plan":"gold","size":1}', "2"])["attributes"] == {"plan": "gold", "size": "2"}
    assert reader.read(["a@example.com", "", "2"])["attributes"] == {"size": "2"}
    for cell in ("gold", "[1]", '"gold"'):
        assert reader.read(["a@example.com", cell, "2"])["attributes"] == cell


@pytest.mark.parametrize("digits", ["18446744073709551616", "-9223372036854775809", "9" * 300])
def test_a_whole_number_in_a_cell_is_never_another_one(digits: str):
    read = row_reader(["attributes"]).read
    with pytest.raises(ValueError, match="holds a text or number that JSON cannot carry"):
        read_attributes(read([f'{{"a":[{digits}]}}'])["attributes"])
    kept = '{"a":18446744073709551615,"b":"18446744073709551616","c":0.12345678901234567890}'
    assert read([kept])["attributes"] == {"a": 2**64 - 1, "b": "18446744073709551616", "c": 0.12345678901234568}
    deep = '{"a":' + "[" * 1_000 + digits + "]" * 1_000 + "}"
    assert isinstance(read([deep])["attributes"], str | dict)


@pytest.mark.parametrize(
    ("rows", "foreign"),
    [
        (["4711", "4712"], {"ID"}),
        (["", "4711"], {"ID"}),
        (["lead_IIDHIStmFcFQZZP0BRe99V1MCoXWz2PGCm6EDmR9v2O"], {"ID"}),
        (["cmp_00000000000000000000000000"], {"ID"}),
        (["4711", " lead_00000000000000000000000000"], set()),
        (["", " "], set()),
        ([], set()),
        ([""] * 100 + ["4711"], set()),
    ],
)
def test_a_column_is_an_id_of_ours_only_where_its_first_cells_are(rows: list[str], foreign: set[str]):
    table = read_csv(io.BytesIO("\n".join(["email,ID", *(f"a@example.com,{cell}" for cell in rows)]).encode()))
    assert table.head.foreign(table.first) == foreign
    again = read_csv(io.BytesIO("\n".join(["line,error,email,ID", *(f"2,x,a@example.com,{cell}" for cell in rows)]).encode()))
    assert again.head.foreign(again.first) == set()


def test_no_more_of_a_file_is_kept_than_tells_what_its_columns_hold():
    few = read_csv(io.BytesIO(b"email,notes\n" + f"a@example.com,{'x' * 90_000}\n".encode() * 50))
    many = read_csv(io.BytesIO(b"email\n" + b"a@example.com\n" * 500))
    assert (len(few.first), len(list(few.rows())), len(many.first), len(list(many.rows()))) == (6, 50, 100, 500)


def test_a_moment_of_a_file_without_an_offset_is_one_in_utc():
    read = row_reader(["email", "optInAt"]).read
    assert read(["a@example.com", "2025-01-02"])["optInAt"] == "2025-01-02T00:00:00Z"
    assert "optInAt" not in read(["a@example.com", " "])


@pytest.mark.parametrize("line", ['{"email":"a@example.com"}', ' {"id": 1, "attributes": {"a": "b"}} '])
def test_lines_of_json_are_called_what_they_are(line: str):
    with pytest.raises(ValueError, match=r"^the file is lines of JSON, which are not imported: export as CSV, or save it as CSV$"):
        read_csv(io.BytesIO(f"{line}\n{line}\n".encode()))
    assert read_csv(io.BytesIO(b"{email},name\na@example.com,Ann\n")).columns == ["{email}", "name"]


def test_only_our_own_files_lose_apostrophes():
    assert rows_of(b"email,phone\na@example.com,'+33 6\n") == [(2, ["a@example.com", "'+33 6"])]
