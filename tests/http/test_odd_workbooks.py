"""Workbooks that would be the end of whoever reads them: refused by name or row by row, and the service serves on."""

import io
import zipfile

import pytest
from test_uploads import bring, code, rows, run, send  # noqa: F401  (fixtures)
from workbooks import cell, sheet, xlsx

from app.rules.workbook_reader import LONGEST

HEAD = sheet([(1, ["email", "firstName"])])


def with_styles(book, styles):
    """Add a part for the formats of cells."""
    out = io.BytesIO(book)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(
            "xl/styles.xml", f'<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{styles}</styleSheet>'
        )
    return out.getvalue()


@pytest.mark.parametrize(
    "far",
    [
        '<row r="999999999"><c t="inlineStr"><is><t>x</t></is></c></row>',
        *(f'<row r="2"><c r="{at}"><v>1</v></c></row>' for at in ("ZZZZZZZ2", "A4294967295", "ZZZZZ99999999", "XFD00000001048576")),
    ],
)
async def test_a_sheet_that_no_memory_holds_ends_its_reader_and_nothing_else(api, send, far):  # noqa: F811
    answer = await send(api, "leads/import_preview", xlsx(HEAD + far), "leads.xlsx")
    assert code(answer) == (200, "BAD_USER_INPUT")
    assert answer.json()["errors"][0]["message"].endswith("save it as CSV")
    assert (await api("import_jobs/list"))["importJobs"]["nodes"] == []


async def test_a_value_that_nothing_holds_is_told(api, send):  # noqa: F811
    period = '<row r="2"><c r="A2" s="1"><v>1e300</v></c></row>'
    book = with_styles(xlsx(HEAD + period), '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="46"/></cellXfs>')
    answer = await send(api, "leads/import", book, "leads.xlsx")
    assert code(answer) == (200, "BAD_USER_INPUT")
    assert "a value that cannot be read" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("document", ["leads/import_preview", "leads/import"])
async def test_a_workbook_that_breaks_off_is_refused_whole(api, send, document):  # noqa: F811
    # What is read comes some half a million characters at a time: the bad value is in the second part.
    long = "".join(cell(f"{letter}2", "x" * 130_000) for letter in "BCDEF")
    lines = f'<row r="2">{cell("A2", "ann@example.com")}{long}</row><row r="3"><c r="A3" s="1"><v>1e300</v></c></row>'
    book = with_styles(xlsx(HEAD + lines), '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="46"/></cellXfs>')
    answer = await send(api, document, book, "leads.xlsx")
    assert code(answer) == (200, "BAD_USER_INPUT")
    assert answer.json()["errors"][0]["extensions"]["argument"] == "input.file"
    assert (await api("import_jobs/list"))["importJobs"]["nodes"] == []


async def test_a_nul_and_a_cell_of_a_megabyte_are_refused_with_their_rows_and_kept_short(api, bring):  # noqa: F811
    table = [cell("A2", "ann@example.com") + cell("B2", "a_x0000_b"), cell("A3", "b@example.com") + cell("B3", "x" * 1_000_000)]
    good = cell("A4", "cleo@example.com") + cell("B4", "Cleo")
    lines = "".join(f'<row r="{line}">{cells}</row>' for line, cells in enumerate([*table, good], start=2))
    job = await bring(xlsx(HEAD + lines), "leads.xlsx")
    assert (job["status"], job["summary"]["created"], job["summary"]["failed"]) == ("SUCCEEDED", 1, 2)
    nul, long = job["rowErrors"]["nodes"]
    assert (nul["raw"]["firstName"], nul["errors"][0]["code"]) == ("a␀b", "INVALID")
    assert (len(long["raw"]["firstName"]), long["errors"][0]["code"]) == (LONGEST, "TOO_LONG")


async def test_a_long_whole_number_is_the_id_that_it_is_in_the_sheet(api, send):  # noqa: F811
    """Long ids are ordinary where leads come from; a double holds each whole number up to 2^53."""
    numbers = [123456789012, 1234567890123456, 2**53]
    table = [(1, ["crmId", "email"]), *((line, [number, f"{line}@example.com"]) for line, number in enumerate(numbers, 2))]
    answer = await send(api, "leads/import_preview", xlsx(sheet(table)), "leads.xlsx")
    assert [row[0] for row in answer.json()["data"]["leadImportPreview"]["rows"]] == [str(number) for number in numbers]
