"""Cells that other programs write: moments without an offset."""

from datetime import UTC, datetime

from test_uploads import bring, rows, run, send  # noqa: F401  (fixtures)
from workbooks import cell, sheet, xlsx

from app.tables import Lead


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
