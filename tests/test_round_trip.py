"""What was exported and is imported again, unedited, changes nothing; what was edited in it changes that."""

import csv
import io
import json

import pytest
from importing import SUMMARY, counts_of
from program import leadgraph
from workbooks import sheet, xlsx

from schema.exports import COLUMNS

LEADS = [
    {"email": "ann@example.com", "firstName": "=cmd()", "lastName": "'=quoted already", "phone": "+33 6 12 34 56 78", "company": "-1"},
    {
        "email": "Ben@Example.com",
        "firstName": "''+twice",
        "notes": '=two\nlines, "quoted"; \ttabs',
        "optInAt": "2026-01-20T10:00:00.25Z",
    },
    {"crmId": "+007", "lastName": "@x", "status": "QUALIFIED", "website": "https://example.com/?a=1&b=2", "location": "'s-Hertogenbosch"},
    {"crmId": "long", "attributes": {"long": ["é" * 4_000] * 3, "=key": {"deep": [1, 2.5, True, None]}, "phone": "+49 30 1", "no": ""}},
]
OURS = ["qualityScore", "createdAt", "updatedAt", "lastActivityAt", "version"]


@pytest.fixture
async def command(api, database):
    slug = (await api("{ workspace { slug } }"))["workspace"]["slug"]

    def command(name, *arguments):
        ended = leadgraph(name, *arguments, "--workspace", slug, LEADGRAPH_DATABASE_URL=database.settings.database_url)
        assert ended.code == 0, ended.err
        return ended

    return command


@pytest.fixture
async def leads(api):
    done = await api("leads/upsert_many", input={"leads": LEADS})
    assert done["leadUpsertMany"]["summary"]["created"] == len(LEADS)
    await api("leads/create", input={"phone": "+49 89 123456", "attributes": {"nothing": {}}})  # known by its id alone
    return len(LEADS) + 1


def as_saved_by_excel(data):
    """The same table with the semicolons of another country."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=";").writerows(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    return out.getvalue().encode("utf-8-sig")


def as_workbook(data):
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    numbers = [COLUMNS.index("qualityScore"), COLUMNS.index("version")]
    for row in rows[1:]:
        for place in numbers:
            row[place] = float(row[place])
    return xlsx(sheet([(line, row) for line, row in enumerate(rows, start=1)]))


@pytest.mark.parametrize(("name", "saved"), [("a.csv", bytes), ("b.csv", as_saved_by_excel), ("c.xlsx", as_workbook)])
async def test_an_export_imported_again_changes_nothing(command, leads, folder, name, saved):
    exported, again = folder / "leads.csv", folder / name
    command("export", exported)
    before = command("export", "--format", "ndjson").out
    again.write_bytes(saved(exported.read_bytes()))
    ended = command("import", again, "--json")
    assert counts_of(ended) == dict.fromkeys(SUMMARY, 0) | {"total": leads, "unchanged": leads}
    assert ended.err.endswith(f"attributes → attributes, optInAt → optInAt; left out, as nobody can set them: {', '.join(OURS)}\n")
    assert command("export", "--format", "ndjson").out == before


async def test_what_was_edited_in_an_export_changes_and_nothing_else(command, leads, api, folder):
    file, rejected = folder / "leads.csv", folder / "rejected.csv"
    command("export", file, "--search", "ann")
    [row] = csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline=""))
    assert row["phone"] == "'+33 6 12 34 56 78"
    # Columns cut, moved and added; an attribute more; a status that is none.
    row = {"Shoe size": "38", **{name: row[name] for name in reversed(COLUMNS) if name not in ("createdAt", "notes")}}
    row |= {"attributes": '{"plan":"gold"}', "status": "Nouveau"}
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, row)
    writer.writeheader()
    writer.writerow(row)
    file.write_text(out.getvalue(), "utf-8")
    assert json.loads(command("import", file, "--json", "--rejected", rejected).out)["failed"] == 1
    rejected.write_text(rejected.read_text("utf-8").replace("Nouveau", "CONTACTED"), "utf-8")
    assert json.loads(command("import", rejected, "--json").out)["updated"] == 1
    found = await api('{ leads(search: "ann") { nodes { firstName lastName phone company status attributes version } } }')
    assert found["leads"]["nodes"] == [
        {key: LEADS[0][key] for key in ("firstName", "lastName", "phone", "company")}
        | {"status": "CONTACTED", "attributes": {"plan": "gold", "Shoe size": "38"}, "version": 2}
    ]


async def test_a_file_that_is_no_export_keeps_its_columns_and_its_apostrophes(command, api, folder):
    file = folder / "theirs.csv"
    file.write_text("email,phone,version,attributes\nann@example.com,'+33 6,7,x\n")
    command("import", file)
    found = await api("{ leads { nodes { phone attributes } } }")
    assert found["leads"]["nodes"] == [{"phone": "'+33 6", "attributes": {"version": "7", "attributes": "x"}}]
