"""Cells that other programs write: ids of theirs, and moments without an offset."""

from datetime import UTC, datetime

import pytest
from test_uploads import bring, rows, run, send  # noqa: F401  (fixtures)
from workbooks import cell, sheet, xlsx

from app.tables import ImportJob, Lead

ELSEWHERE = [["ID", "E-Mail"], ["4711", "ann@example.com"], ["", "ben@example.com"], ["4712", "cleo@example.com"]]


@pytest.mark.parametrize(
    "file",
    ["\n".join(map(",".join, ELSEWHERE)), xlsx(sheet(list(enumerate(ELSEWHERE, 1))))],
    ids=["csv", "xlsx"],
)
async def test_ids_of_another_system_are_an_attribute_in_the_preview_the_trial_and_the_deed(api, send, bring, rows, file):  # noqa: F811
    shown = (await send(api, "leads/import_preview", file)).json()["data"]["leadImportPreview"]
    assert shown["mapping"] == [{"column": "ID", "field": "attributes.ID"}, {"column": "E-Mail", "field": "email"}]
    assert shown["rows"] == ELSEWHERE[1:]
    trial, deed = await bring(file, dryRun=True), await bring(file)
    assert [job["mapping"] for job in await rows(ImportJob)] == [shown["mapping"]] * 2
    assert trial["summary"] == deed["summary"]
    assert deed["summary"]["created"] == 3
    assert {lead["email"]: lead["attributes"] for lead in await rows(Lead)} == {
        "ann@example.com": {"ID": "4711"},
        "ben@example.com": {},
        "cleo@example.com": {"ID": "4712"},
    }


async def test_ids_of_another_system_are_taken_as_the_caller_says(api, send, bring, rows):  # noqa: F811
    file = "\n".join(map(",".join, ELSEWHERE))
    assert (await bring(file, unknownColumns="IGNORE"))["summary"]["created"] == 3
    assert [lead["attributes"] for lead in await rows(Lead)] == [{}] * 3
    [error] = (await send(api, "leads/import", file, unknownColumns="FAIL")).json()["errors"]
    assert "'ID'" in error["message"]
    assert (await bring(file, mapping=[{"column": "ID", "field": "crmId"}]))["summary"]["updated"] == 2
    assert (await bring(file, mapping=[{"column": "ID", "field": "id"}]))["summary"]["failed"] == 2
    ours = {lead["email"]: lead["id"] for lead in await rows(Lead)}
    named = f"Lead ID,title\n{ours['ann@example.com']},CTO\n4711,CEO\n"
    done = await bring(named)
    assert (done["summary"]["updated"], done["summary"]["failed"]) == (1, 1)
    [error] = (await send(api, "leads/import", "ID,title\n4711,CTO\n")).json()["errors"]
    assert "'ID' holds no ids of ours. Map it to `crmId` if they are another system's." in error["message"]


async def test_every_row_of_a_workbook_goes_in_though_its_first_were_looked_at_before(bring, rows):  # noqa: F811
    table = [(line, ["ID", "email"] if line == 1 else [str(line), f"p{line}@example.com"]) for line in range(1, 400)]
    assert (await bring(xlsx(sheet(table)), "leads.xlsx"))["summary"]["created"] == 398
    assert {lead["email"]: lead["attributes"]["ID"] for lead in await rows(Lead)} == {f"p{n}@example.com": str(n) for n in range(2, 400)}


async def test_a_moment_of_a_file_may_be_without_an_offset_and_is_one_in_utc(api, bring, rows):  # noqa: F811
    moments = ["2025-03-01T12:00:00", "2025-01-02", "2025-01-02T10:00:00+02:00", "01/02/2025", "2025-02-30"]
    done = await bring("\n".join(["email,optInAt", *(f"p{n}@example.com,{moment}" for n, moment in enumerate(moments))]))
    assert [each["errors"][0]["message"] for each in done["rowErrors"]["nodes"]] == [
        "optInAt '01/02/2025': is no moment with an offset, as in 2026-01-20T10:00:00Z",
        "optInAt '2025-02-30T00:00:00Z': is no moment of the calendar, year 1 to 9999",
    ]
    assert {lead["email"]: lead["opt_in_at"] for lead in await rows(Lead)} == {
        "p0@example.com": datetime(2025, 3, 1, 12, tzinfo=UTC),
        "p1@example.com": datetime(2025, 1, 2, tzinfo=UTC),
        "p2@example.com": datetime(2025, 1, 2, 8, tzinfo=UTC),
    }
    report = (await api("leads/upsert_many", input={"leads": [{"email": "q@example.com", "optInAt": "2025-01-02"}]}))["leadUpsertMany"]
    assert report["summary"]["failed"] == 1


async def test_a_date_of_a_workbook_is_a_moment_in_utc(bring, rows):  # noqa: F811
    head = sheet([(1, ["email", "optInAt"])])
    date = f'<row r="2">{cell("A2", "a@example.com")}<c r="B2" t="d"><v>2025-03-01T12:00:00</v></c></row>'
    assert (await bring(xlsx(head + date), "leads.xlsx"))["summary"]["created"] == 1
    assert [lead["opt_in_at"] for lead in await rows(Lead)] == [datetime(2025, 3, 1, 12, tzinfo=UTC)]
