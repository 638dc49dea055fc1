import codecs
import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from importing import EXCEL, PLAIN, SUMMARY, Place, counts_of, write_csv
from program import leadgraph
from workbooks import sheet, xlsx

from app.actions import campaigns
from app.actions.work import Caller, Work
from app.database import Database
from app.rules.people import MadeRow, make_people
from app.tables import Activity, Batch, CampaignLead, ImportJob, ImportRowError, Lead


def lines_of(rows: Sequence[MadeRow]) -> list[int]:
    return [line for line, row in enumerate(rows, start=2) if row.fault]


async def test_ten_thousand_rows_go_in_and_a_second_time_nothing_changes(place: Place, folder: Path):
    rows = list(make_people(10_000, repeated=0))
    file = write_csv(folder / "leads.csv", PLAIN, rows)
    bad = lines_of(rows)

    first = place.run(file, "--json")
    assert counts_of(first) == dict.fromkeys(SUMMARY, 0) | {"total": 10_000, "created": 10_000 - len(bad), "failed": len(bad)}
    assert [line.partition(":")[0] for line in first.err.splitlines() if not line.startswith("Columns")] == [f"line {line}" for line in bad]
    second = place.run(file, "--json")
    assert counts_of(second) == dict.fromkeys(SUMMARY, 0) | {"total": 10_000, "unchanged": 10_000 - len(bad), "failed": len(bad)}

    leads = await place.rows(Lead)
    assert len(leads) == 10_000 - len(bad)
    assert {lead["source"] for lead in leads} == {"csv"}
    assert all(lead["quality_score"] is not None for lead in leads)
    assert sum(lead["title"] is not None for lead in leads) == sum(bool(row.cells["title"].strip()) for row in rows if not row.fault)


async def test_a_spreadsheet_s_own_columns_separator_mark_and_line_ends_go_in_as_well(place: Place, folder: Path):
    rows = list(make_people(10_000, seed=2))
    file = write_csv(folder / "excel.csv", EXCEL, rows, separator=";", mark=codecs.BOM_UTF8, ending="\r\n")
    bad = lines_of(rows)
    repeats = sum(row.repeats is not None for row in rows)

    ended = place.run(file, "--json")
    counts = counts_of(ended)
    assert (counts["total"], counts["created"], counts["failed"]) == (10_000, 10_000 - len(bad) - repeats, len(bad))
    assert counts["updated"] + counts["unchanged"] == repeats
    assert [line.partition(":")[0] for line in ended.err.splitlines() if not line.startswith("Columns")] == [f"line {line}" for line in bad]
    again = counts_of(place.run(file, "--json"))
    assert (again["created"], again["failed"]) == (0, len(bad))
    assert len(await place.rows(Lead)) == counts["created"]


async def test_a_file_is_one_job_and_one_batch_and_its_bad_rows_are_kept_as_they_stood(place: Place, folder: Path):
    file = folder / "mixed.csv"
    file.write_text("E-Mail,Name,Shoe size\na@example.com,Ann,38\n\nb@@example.com,Ben,\n ,Cleo,\nd@example.com\n", encoding="utf-8")
    assert place.run(file, "--map", "Name=firstName").code == 0

    [job] = await place.rows(ImportJob)
    [batch] = await place.rows(Batch)
    counts = {"created": 1, "updated": 0, "unchanged": 0, "skipped": 0, "failed": 3, "deleted": 0}
    for row in (job, batch):
        assert {name: row[name] for name in counts} == counts
        assert (row["status"], row["progress"], row["error"], row["finished_at"] is None) == ("SUCCEEDED", 100, None, False)
    assert (batch["kind"], job["batch_id"], job["file_name"], job["dry_run"]) == ("IMPORT", batch["id"], "mixed.csv", False)
    assert job["mapping"] == [
        {"column": "E-Mail", "field": "email"},
        {"column": "Name", "field": "firstName"},
        {"column": "Shoe size", "field": "attributes.Shoe size"},
    ]
    bad = await place.rows(ImportRowError, "line")
    assert [(row["line"], row["errors"][0]["code"], row["errors"][0]["field"], row["raw"]) for row in bad] == [
        (4, "INVALID", "email", {"E-Mail": "b@@example.com", "Name": "Ben", "Shoe size": ""}),
        (5, "BLANK", None, {"E-Mail": " ", "Name": "Cleo", "Shoe size": ""}),
        (6, "INVALID", None, {"E-Mail": "d@example.com"}),
    ]
    assert {row["import_job_id"] for row in bad} == {job["id"]}
    [lead] = await place.rows(Lead)
    assert (lead["email"], lead["first_name"], lead["attributes"]) == ("a@example.com", "Ann", {"Shoe size": "38"})
    assert [(entry["kind"], entry["batch_id"]) for entry in await place.rows(Activity, "sequence")] == [("LEAD_CREATED", batch["id"])]


async def test_what_a_cell_leaves_blank_stays_and_the_caller_decides_what_a_match_does(place: Place, folder: Path):
    file = folder / "leads.csv"
    file.write_text("email,firstName,company\nann@example.com,Ann,Acme\n", encoding="utf-8")
    assert counts_of(place.run(file, "--json"))["created"] == 1
    file.write_text("email,firstName,company,title\nANN@example.com,,Other,CTO\n", encoding="utf-8")
    assert counts_of(place.run(file, "--json", "--on-match", "SKIP"))["skipped"] == 1
    failed = place.run(file, "--on-match", "fail")
    assert (failed.code, failed.err.splitlines()[0].partition(":")[0]) == (0, "line 2")
    assert counts_of(place.run(file, "--json", "--on-match", "FILL"))["updated"] == 1
    [lead] = await place.rows(Lead)
    assert [lead[name] for name in ("email", "first_name", "company", "title")] == ["ann@example.com", "Ann", "Acme", "CTO"]
    assert counts_of(place.run(file, "--json"))["updated"] == 1
    [lead] = await place.rows(Lead)
    assert [lead[name] for name in ("first_name", "company", "title")] == ["Ann", "Other", "CTO"]


async def test_a_dry_run_tells_the_same_and_writes_nothing(place: Place, folder: Path):
    rows = list(make_people(2_500, seed=3))
    file = write_csv(folder / "leads.csv", EXCEL, rows)
    trial = place.run(file, "--dry-run", "--json", "--rejected", folder / "trial.csv")
    for model in (Lead, Activity, Batch, ImportJob):
        assert await place.rows(model) == []
    assert await place.rows(ImportRowError, "line") == []
    deed = place.run(file, "--json", "--rejected", folder / "deed.csv")
    assert (trial.code, counts_of(trial), trial.err.replace("trial.csv", "deed.csv")) == (deed.code, counts_of(deed), deed.err)
    assert json.loads(trial.out)["batchId"] is None
    [batch] = await place.rows(Batch)
    assert json.loads(deed.out)["batchId"] == batch["id"]
    assert (folder / "trial.csv").read_bytes() == (folder / "deed.csv").read_bytes()
    said = place.run(file, "--dry-run").out
    assert re.fullmatch(r"Nothing was written. 2,500 rows: 0 created, .* \([\d.]+ s, [\d,]+ rows a second\)\n?", said)


async def test_rejected_rows_are_written_with_their_reasons_and_go_in_once_they_are_mended(place: Place, folder: Path):
    file = folder / "leads.csv"
    file.write_text('email;Telefon;Notiz\na@@example.com;+33 6 12 34 56 78;"=1+1"\nb@example.com;;\nc@example.com\n', encoding="utf-8")
    rejected = folder / "rejected.csv"
    assert counts_of(place.run(file, "--json", "--rejected", rejected)) == dict.fromkeys(SUMMARY, 0) | {
        "total": 3,
        "created": 1,
        "failed": 2,
    }
    head, first, second = csv.reader(io.StringIO(rejected.read_text(encoding="utf-8-sig"), newline=""), delimiter=";")
    assert head == ["line", "error", "email", "Telefon", "Notiz"]
    assert first == ["2", "email 'a@@example.com': has more than one @", "a@@example.com", "'+33 6 12 34 56 78", "'=1+1"]
    assert second == ["4", "the row has 1 cells, the header has 3", "c@example.com"]

    mended = rejected.read_text(encoding="utf-8").replace("a@@", "a@").replace("c@example.com", "c@example.com;;")
    rejected.write_text(mended, encoding="utf-8")
    assert counts_of(place.run(rejected, "--json", "--rejected", folder / "none.csv"))["created"] == 2
    assert (folder / "none.csv").read_text(encoding="utf-8-sig") == "line;error;email;Telefon;Notiz\n"
    leads = {lead["email"]: lead for lead in await place.rows(Lead)}
    assert (leads["a@example.com"]["phone"], leads["a@example.com"]["notes"]) == ("+33 6 12 34 56 78", "=1+1")
    assert leads["a@example.com"]["attributes"] == {}


async def test_rejected_rows_of_a_mapping_by_hand_need_no_mapping_again(place: Place, folder: Path):
    file, rejected = folder / "leads.csv", folder / "rejected.csv"
    file.write_text("Kontakt;Konto;Firma;Intern\na@@example.com;c-1;Acme;x\nb@example.com;c-2;;\n", encoding="utf-8")
    given = ("--map", "Kontakt=email", "--map", "Konto=crmId", "--map", "Firma=attributes.Unternehmen", "--map", "Intern=")
    ended = place.run(file, "--rejected", rejected, *given)
    assert "; kept as attributes: Firma → Unternehmen; left out: Intern\n" in ended.err
    text = rejected.read_text(encoding="utf-8-sig")
    assert text.splitlines()[0] == "line;error;email;crmId;attributes.Unternehmen;"
    rejected.write_text(text.replace("@@", "@"), encoding="utf-8")
    assert "one of rejected rows names its columns so that it needs no mapping" in place.run(rejected, *given).refusal
    ended = place.run(rejected)
    assert (
        ended.err
        == "Columns: email → email, crmId → crmId; kept as attributes: attributes.Unternehmen; left out, as they have no name: column 4\n"
    )
    leads = {lead["crm_id"]: (lead["email"], lead["company"], lead["attributes"]) for lead in await place.rows(Lead)}
    assert leads == {"c-1": ("a@example.com", None, {"Unternehmen": "Acme"}), "c-2": ("b@example.com", None, {})}


def test_columns_without_a_name_are_told_where_they_hold_something(place: Place, folder: Path):
    file = folder / "leads.csv"
    file.write_text("email,,,\na@example.com,,,\nb@example.com,x, ,\n", encoding="utf-8")
    assert place.run(file).err == "Columns: email → email; left out, as they have no name: column 2\n"
    file.write_bytes(xlsx(sheet([(1, ["email", "", "title"]), (2, ["a@example.com", "x", "CTO"])])))
    assert place.run(file).err == "Columns: email → email, title → title; left out, as they have no name: column 2\n"


async def test_ids_of_another_system_are_an_attribute(place: Place, folder: Path):
    file = folder / "leads.csv"
    file.write_text("ID,email\n4711,ann@example.com\n", encoding="utf-8")
    trial, deed = place.run(file, "--json", "--dry-run"), place.run(file, "--json")
    assert (counts_of(trial), trial.err) == (counts_of(deed), deed.err)
    assert counts_of(deed)["created"] == 1
    assert deed.err == "Columns: email → email; kept as attributes: ID\n"
    [lead] = await place.rows(Lead)
    assert lead["attributes"] == {"ID": "4711"}
    file.write_text(f"ID,email\n{lead['id']},anna@example.com\n", encoding="utf-8")
    assert counts_of(place.run(file, "--json"))["updated"] == 1
    file.write_text("ID,title\n4711,CTO\n", encoding="utf-8")
    assert "'ID' holds no ids of ours. Map it to `crmId` if they are another system's (--map " in place.run(file).refusal


async def test_leads_join_the_campaign_that_is_named_and_no_other_s(place: Place, folder: Path, database: Database, caller: Caller):
    file = folder / "leads.csv"
    file.write_text("email\nann@example.com\n", encoding="utf-8")
    async with place.work() as work:
        mine = await campaigns.create(work, {"name": "Mine"})
    async with database.writing() as connection:
        theirs = await campaigns.create(Work(connection, caller), {"name": "Theirs"})
    assert place.run(file, "--campaign", mine["id"]).code == 0
    assert [row["campaign_id"] for row in await place.rows(CampaignLead, "lead_id")] == [mine["id"]]
    words = {place.run(file, "--campaign", name).refusal.replace(name, "X") for name in (theirs["id"], "cmp_none")}
    assert words == {f"--campaign 'X': there is no such campaign in the workspace {place.slug}"}
    assert len(await place.rows(ImportJob)) == 1


def test_columns_are_mapped_by_hand_where_their_names_say_nothing(place: Place, folder: Path):
    file = folder / "leads.csv"
    file.write_text("Kontakt=1,Wer,Spalte\nann@example.com,Ann,x\n", encoding="utf-8")
    assert "--map COLUMN=FIELD says which field a column fills" in place.run(file).refusal
    assert "no column 'Kontakt'" in place.run(file, "--map", "Kontakt=email").refusal
    assert "no field 'e-mail'" in place.run(file, "--map", "Kontakt=1=e-mail").refusal
    for wrong in ("email", "=email"):
        refused = place.run(file, "--map", wrong)
        assert (refused.code, refused.refusal) == (2, f"Invalid value: --map {wrong}: write COLUMN=FIELD (--help tells more)")
    assert counts_of(place.run(file, "--json", "--map", "Kontakt=1=email", "--map", "Wer=firstName", "--map", "Spalte="))["created"] == 1


async def test_a_column_left_out_by_hand_fills_nothing(place: Place, folder: Path):
    file = folder / "leads.csv"
    file.write_text("email,Secret,Kept\nann@example.com,x,y\n", encoding="utf-8")
    assert place.run(file, "--map", "Secret=").code == 0
    [lead] = await place.rows(Lead)
    assert lead["attributes"] == {"Kept": "y"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty: its first line must name the columns"),
        (b"email\n\x00\n", "the file is no text: save it as CSV with the encoding UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "the file is an old Excel workbook (.xls), or one with a password: save it as .xlsx"),
        (b'{"email":"a@example.com"}\n', "the file is lines of JSON, which are not imported: export as CSV, or save it as CSV"),
        (b"PK\x03\x04", "the file is a broken zip archive, and no Excel workbook (.xlsx): save it again"),
        (b"Shoe size,Colour\n42,red\n", "No column says which lead a row is about: "),
        (b"email,email\na@example.com,b@example.com\n", "The column 'email' is there twice: rename one of them"),
        (b"email,E-Mail Address\na@example.com,b@example.com\n", "both fill `email`"),
        (b'"email\n', "the header cannot be read: unexpected end of data"),
    ],
)
async def test_a_file_that_can_t_be_read_is_refused_in_one_line_and_nothing_is_written(place: Place, folder: Path, data: bytes, words: str):
    file = folder / "bad.csv"
    file.write_bytes(data)
    ended = place.run(file)
    assert ended.code == 1
    assert words in ended.refusal
    assert str(file) in ended.refusal
    assert await place.rows(ImportJob) == []


def test_what_was_asked_for_wrongly_is_refused_in_one_line(place: Place, folder: Path):
    file = folder / "leads.csv"
    file.write_text("email\nann@example.com\n", encoding="utf-8")
    assert place.run(folder / "none.csv").code == 2
    assert "does not exist" in place.run(folder / "none.csv").refusal
    assert "is the file to be imported" in place.run(file, "--rejected", file).refusal
    assert "name a file that can be written" in place.run(file, "--rejected", folder / "none" / "x.csv").refusal
    assert place.run(file, "--on-match", "MERGE").code == 2
    elsewhere = leadgraph("import", file, "--workspace", "nobody", LEADGRAPH_DATABASE_URL=place.database.settings.database_url)
    assert (elsewhere.code, elsewhere.refusal) == (1, "There is no workspace 'nobody'.")


def test_a_guessed_encoding_is_told(place: Place, folder: Path):
    file = folder / "leads.csv"
    file.write_bytes("email,Name\nzoe@example.com,Zoë\n".encode("cp1252"))
    ended = place.run(file, "--json", "--map", "Name=firstName")
    assert counts_of(ended)["created"] == 1
    assert "read as Windows-1252" in ended.err
    assert "--encoding windows-1251" in ended.err
    cyrillic = "email,Имя\nzoe@example.com,Зоя\n".encode("cp1251")
    file.write_bytes(cyrillic)
    for name in ("utf-8", "UTF-8", "ascii"):
        words = f"the file is no text in the encoding '{name}': name another, or leave it out"
        assert words in place.run(file, "--encoding", name).refusal
    assert "Имя" in place.run(file, "--dry-run", "--encoding", "windows-1251").err


def test_a_whole_name_stays_an_attribute_and_one_is_told_where_names_go(place: Place, folder: Path):
    file = folder / "leads.csv"
    file.write_text("email,Full Name,Nachname\nann@example.com,Ann Lee,Lee\n", encoding="utf-8")
    told = "kept as attributes: Full Name; to be split or mapped, as names go to firstName and lastName: Full Name\n"
    assert place.run(file).err.endswith(told)
    refused = place.run(file, "--map", "Full Name=fullName").refusal
    assert "A lead has no field 'fullName': names go to firstName and lastName" in refused


def test_only_this_workspace_takes_the_file(place: Place, folder: Path, database: Database):
    other = replace(place, slug=f"{place.slug}-2")
    assert leadgraph("workspace", "create", other.slug, LEADGRAPH_DATABASE_URL=database.settings.database_url).code == 0
    file = folder / "leads.csv"
    file.write_text("email\nann@example.com\n", encoding="utf-8")
    assert counts_of(place.run(file, "--json"))["created"] == 1
    assert counts_of(other.run(file, "--json"))["created"] == 1
    assert counts_of(place.run(file, "--json"))["unchanged"] == 1


async def test_with_a_file_for_them_twenty_rejected_rows_are_told(place: Place, folder: Path):
    file, rejected = folder / "leads.csv", folder / "rejected.csv"
    file.write_text("email\n" + "".join(f"no{number}\n" for number in range(25)), encoding="utf-8")
    told = place.run(file, "--rejected", rejected).err.splitlines()
    assert [line.startswith("line ") for line in told] == [True] * 20 + [False] * 2
    assert told[20] == f"and 5 rows more: {rejected} has them all"
    assert len(rejected.read_text(encoding="utf-8-sig").splitlines()) == 26
    assert sum(line.startswith("line ") for line in place.run(file).err.splitlines()) == 25
