"""What is downloaded: leads as CSV and JSON lines, and the rows that an import rejected."""

import asyncio
import csv
import io
import json
import os
import re

import pytest
from program import PROGRAM, leadgraph

from app.actions import imports
from app.actions.batches import JobStatus
from app.actions.imports import Order
from app.actions.work import Work
from app.column_types import dumps
from app.worker import Worker
from schema import exports

PEOPLE = [
    {"email": "ann@example.com", "firstName": "=cmd()", "phone": "+33612345678", "status": "NEW", "attributes": {"b": 1, "a": "é"}},
    {"email": "ben@example.com", "firstName": "-1", "lastName": "@x", "notes": 'two\nlines, "quoted"', "optInAt": "2026-01-20T10:00:00Z"},
    {"crmId": "c-1", "firstName": "Cleo", "status": "QUALIFIED"},
]


@pytest.fixture
def get(client):
    async def get(api, path, **query):
        return await client.get(path, params=query, headers={"authorization": f"Bearer {api.key}"})

    return get


@pytest.fixture
async def people(api):
    await api("leads/upsert_many", input={"leads": PEOPLE})


@pytest.fixture
async def rejected(api, database):
    """An import with rows that it could not take."""
    file = b"email;Name;Notiz\na@@example.com;=1+1;x\nb@example.com;Ben\nc@example.com;Cleo;y\n"
    worker = Worker(database, database.settings)
    async with database.writing() as connection:
        ordered = await imports.order(Work(connection, api.caller), io.BytesIO(file), Order(file_name="leads.csv"), held=worker.hold())
    await worker.run_held(ordered.job, lambda _: None)
    return ordered.id


def table(answer):
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


async def test_leads_come_as_csv_newest_first_with_no_cell_that_a_spreadsheet_would_run(api, get, people):
    answer = await get(api, "/export/leads.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="leads.csv"'
    rows = {row["email"] or row["crmId"]: row for row in table(answer)}
    assert list(rows["c-1"]) == list(exports.COLUMNS)
    assert (rows["ann@example.com"]["firstName"], rows["ann@example.com"]["phone"]) == ("'=cmd()", "'+33612345678")
    assert rows["ann@example.com"]["attributes"] == '{"a":"é","b":1}'
    assert [rows["ben@example.com"][name] for name in ("firstName", "lastName", "notes")] == ["'-1", "'@x", 'two\nlines, "quoted"']
    assert rows["ben@example.com"]["optInAt"] == "2026-01-20T10:00:00Z"
    assert (rows["c-1"]["email"], rows["c-1"]["attributes"], rows["c-1"]["version"]) == ("", "", "1")


async def test_leads_come_as_json_lines_as_the_query_gives_them(api, get, people):
    answer = await get(api, "/export/leads.ndjson")
    assert answer.headers["content-type"] == "application/x-ndjson"
    asked = await api(f"{{ leads {{ nodes {{ {' '.join(exports.COLUMNS)} }} }} }}")
    assert [json.loads(line) for line in answer.text.splitlines()] == asked["leads"]["nodes"]


ODD = ("a\n\r\r\n\tb", 'say "\\" and \'', "\u2028\u2029\u00a0x", "é\U0001f600", "</script>&", "'=1", "''@x", "\t=1", "a,b;c", "x-1", "-")
ODD_ATTRIBUTES = {
    "é": [*ODD, "\u0001\u001f\b\f\u007f"],
    "n": [0.1, -0.0, 1e300, 5e-324, 2**63 - 1, -(2**63), True, None],
    "deep": {"z": {"b": [], "a": {}}},
    " ": "=",
}
MOMENTS = ("2026-01-20T10:00:00Z", "2026-01-20T10:00:00.5+02:00", "0001-01-01T00:00:00.000001Z", "9999-12-30T23:59:59.999999Z")


async def test_an_export_has_the_very_bytes_of_the_query_whatever_stands_in_a_lead(api, get, monkeypatch):
    monkeypatch.setattr(exports, "PAGE", 4)  # of twelve leads the last page is as long as it may be
    more = [{"company": f"={place}, x", "attributes": ODD_ATTRIBUTES, "optInAt": MOMENTS[place % 4]} for place in range(12)]
    leads = [{"email": f"p{place}@example.com", "notes": text, **more[place]} for place, text in enumerate([*ODD, "plain"])]
    answer = await api("leads/upsert_many", input={"leads": leads})
    assert answer["leadUpsertMany"]["summary"]["created"] == 12
    query = f"{{ leads {{ nodes {{ {' '.join(exports.COLUMNS)} }} }} }}"
    answer = await api.client.post("/graphql", json={"query": query}, headers={"authorization": f"Bearer {api.key}"})
    lines = (await get(api, "/export/leads.ndjson")).content
    assert answer.content.startswith(b'{"data":{"leads":{"nodes":[' + lines.rstrip(b"\n").replace(b"\n", b",") + b"]}}")
    nodes = answer.json()["data"]["leads"]["nodes"]
    for row, node in zip(table(await get(api, "/export/leads.csv")), nodes, strict=True):
        assert row["notes"] == (f"'{node['notes']}" if re.match("'*[=+@\t\r-]", node["notes"]) else node["notes"])
        assert (row["attributes"], row["optInAt"]) == (dumps(node["attributes"]), node["optInAt"])


async def test_an_export_of_nothing_is_a_file_all_the_same(api, get):
    assert (await get(api, "/export/leads.ndjson")).content == b""
    assert (await get(api, "/export/leads.csv")).content == b"\xef\xbb\xbf" + ",".join(exports.COLUMNS).encode() + b"\r\n"


async def test_a_page_of_an_export_is_one_statement(api, get, statements, monkeypatch):
    monkeypatch.setattr(exports, "PAGE", 4)
    await api("leads/upsert_many", input={"leads": [{"email": f"p{n}@example.com"} for n in range(10)]})
    with statements() as ran:
        assert len(table(await get(api, "/export/leads.csv"))) == 10
    assert [text.count("lead_1.workspace_id =") for text in ran if " FROM lead " in text.replace("\n", " ")] == [1, 1, 1]


async def test_the_filter_and_the_search_are_those_of_the_query(api, get, people):
    where = json.dumps({"or": [{"status": {"eq": "QUALIFIED"}}, {"attributes": [{"key": "a", "eq": "é"}]}]})
    assert {row["crmId"] or row["email"] for row in table(await get(api, "/export/leads.csv", where=where))} == {"c-1", "ann@example.com"}
    assert [row["crmId"] for row in table(await get(api, "/export/leads.csv", search="cle"))] == ["c-1"]
    assert table(await get(api, "/export/leads.csv", where='{"id": {"in": []}}')) == []


async def test_more_leads_than_a_page_come_whole_and_each_once(api, get, monkeypatch):
    monkeypatch.setattr(exports, "PAGE", 7)
    await api("leads/upsert_many", input={"leads": [{"email": f"p{n}@example.com"} for n in range(50)]})
    for search in (None, "example"):
        query = {} if search is None else {"search": search}
        rows = table(await get(api, "/export/leads.csv", **query))
        assert sorted(row["email"] for row in rows) == sorted(f"p{n}@example.com" for n in range(50))


async def test_an_export_is_one_snapshot(api, database, monkeypatch):
    monkeypatch.setattr(exports, "PAGE", 2)
    await api("leads/upsert_many", input={"leads": [{"email": f"p{n}@example.com"} for n in range(6)]})
    stream = exports.Exports(database).stream(api.caller, exports.Form.NDJSON)
    pieces = [await anext(stream)]
    await api("leads/upsert_many", input={"leads": [{"email": f"p{n}@example.com", "title": "New"} for n in range(9)]})
    pieces += [piece async for piece in stream]
    rows = [json.loads(line) for line in b"".join(pieces).splitlines()]
    assert (len(rows), {row["title"] for row in rows}) == (6, {None})


async def test_an_export_that_nobody_reads_on_leaves_its_reader_to_others(api, database, monkeypatch):
    monkeypatch.setattr(exports, "PAGE", 2)
    await api("leads/upsert_many", input={"leads": [{"email": f"p{n}@example.com"} for n in range(9)]})
    for form in [*exports.Form] * database.settings.readers:
        stream = exports.Exports(database).stream(api.caller, form)
        await anext(stream)
        await stream.aclose()
    whole = b"".join([piece async for piece in exports.Exports(database).stream(api.caller, exports.Form.NDJSON)])
    assert sorted(json.loads(line)["email"] for line in whole.splitlines()) == [f"p{n}@example.com" for n in range(9)]


async def test_a_page_of_an_export_is_longer_than_any_that_a_query_may_ask_for(api, get):
    await api("leads/upsert_many", input={"leads": [{"email": f"p{n}@example.com"} for n in range(600)]})
    assert len(table(await get(api, "/export/leads.csv"))) == len((await get(api, "/export/leads.ndjson")).text.splitlines()) == 600
    assert (await api.error("{ leads(first: 201) { nodes { id } } }"))["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ({"where": "{bad"}, "BAD_REQUEST", "The parameter `where` is not JSON in UTF-8: "),
        ({"where": '{"a": 12345678901234567890123}'}, "BAD_REQUEST", "An integer of the parameter `where` has more than 64 bits"),
        ({"where": "[" * 40 + "]" * 40}, "BAD_REQUEST", "The parameter `where` nests deeper"),
        ({"where": "[]"}, "BAD_REQUEST", "`where` must be an object"),
        ({"where": '{"nothing": 1}'}, "BAD_USER_INPUT", "nothing"),
        ({"where": '{"qualityScore": {"gt": 101}}'}, "BAD_USER_INPUT", ""),
        ({"where": '{"email": {"eq": "\\u0000"}}'}, "BAD_USER_INPUT", ""),
        ({"search": "a\0b"}, "BAD_USER_INPUT", ""),
        ({"order": "email"}, "BAD_REQUEST", "takes `where` and `search`"),
        ({"where": json.dumps({"or": [{"email": {"eq": "x"}}] * 301})}, "QUERY_TOO_COMPLEX", "more than 300 conditions"),
    ],
)
async def test_what_is_asked_for_wrongly_is_refused_by_name(api, get, query, code, words):
    answer = await get(api, "/export/leads.csv", **query)
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["extensions"]["code"]) == (400, code)
    assert words in error["message"]
    if not words.startswith("takes"):
        assert error["extensions"]["argument"].partition(".")[0] == next(iter(query))


async def test_rejected_rows_come_with_their_errors_and_go_in_once_they_are_mended(api, get, rejected, database):
    job = (await api("import_jobs/get", id=rejected))["node"]
    assert job["rejectedUrl"] == f"/imports/{rejected}/rejected.csv"
    text = (await get(api, job["rejectedUrl"])).content.decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(text, newline=""), delimiter=";")) == [
        ["line", "error", "email", "Name", "Notiz"],
        ["2", "email 'a@@example.com': has more than one @", "a@@example.com", "'=1+1", "x"],
        ["3", "the row has 2 cells, the header has 3", "b@example.com", "Ben"],
    ]
    mended = text.replace("@@", "@").replace("Ben", "Ben;z").encode("utf-8-sig")
    worker = Worker(database, database.settings)
    async with database.writing() as connection:
        ordered = await imports.order(Work(connection, api.caller), io.BytesIO(mended), Order(), held=worker.hold())
    await worker.run_held(ordered.job, lambda _: None)
    again = (await api("import_jobs/get", id=ordered.id))["node"]
    assert (again["status"], again["summary"]["created"], again["rejectedUrl"]) == (JobStatus.SUCCEEDED, 2, None)
    notes = await api('{ leads(where: {email: {eq: "a@example.com"}}) { nodes { notes attributes } } }')
    assert notes["leads"]["nodes"] == [{"notes": "x", "attributes": {"Name": "=1+1"}}]


async def test_rejected_rows_of_a_mapping_by_hand_go_where_they_went_and_need_no_mapping(api, get, database):
    header = ["Kontakt", "ID", "Konto", "email", "Firma", "Intern", "JSON", ""]
    rows = [["a@@example.com", "4711", "c-1", "x@example.com", "=Acme", "secret", '{"plan":"gold"}', "z"], ["b@example.com", "4712", "c-2"]]
    rows.append(["c@example.com", "4713", "c-3", "", "", "", "", "", "beyond"])
    given = {"Kontakt": "email", "Konto": "crmId", "email": None, "Firma": "attributes.Unternehmen", "Intern": None, "JSON": "attributes"}

    async def bring(text, **how):
        worker = Worker(database, database.settings)
        async with database.writing() as connection:
            ordered = await imports.order(Work(connection, api.caller), io.BytesIO(text.encode()), Order(**how), held=worker.hold())
        await worker.run_held(ordered.job, lambda _: None)
        return (await api("import_jobs/get", id=ordered.id))["node"]

    out = io.StringIO(newline="")
    csv.writer(out).writerows([header, *rows])
    job = await bring(out.getvalue(), given=given)
    text = (await get(api, job["rejectedUrl"])).content.decode("utf-8-sig")
    head, first, *others = csv.reader(io.StringIO(text, newline=""))
    assert head == ["line", "error", "email", "attributes.ID", "crmId", "", "attributes.Unternehmen", "", "attributes", ""]
    assert first[2:] == ["a@@example.com", "4711", "c-1", "x@example.com", "'=Acme", "secret", '{"plan":"gold"}', "z"]
    assert [row[2:] for row in others] == rows[1:]
    again = await bring(text.replace("@@", "@"))
    assert (again["summary"]["created"], again["summary"]["failed"]) == (1, 2)
    found = await api('{ leads(where: {crmId: {eq: "c-1"}}) { nodes { email company attributes } } }')
    attributes = {"ID": "4711", "Unternehmen": "=Acme", "plan": "gold"}
    assert found["leads"]["nodes"] == [{"email": "a@example.com", "company": None, "attributes": attributes}]
    assert (await get(api, again["rejectedUrl"])).content.decode("utf-8-sig").splitlines()[0] == text.splitlines()[0]


async def test_an_export_with_a_bad_row_is_an_export_still_when_that_row_is_mended(api, get, people, database):
    worker = Worker(database, database.settings)
    text = (await get(api, "/export/leads.csv")).content.decode("utf-8-sig").replace("ann@", "ann@@")
    for bad in (1, 0):
        async with database.writing() as connection:
            ordered = await imports.order(Work(connection, api.caller), io.BytesIO(text.encode()), Order(), held=worker.hold())
        await worker.run_held(ordered.job, lambda _: None)
        job = (await api("import_jobs/get", id=ordered.id))["node"]
        assert (job["summary"]["failed"], job["summary"]["updated"], job["summary"]["created"]) == (bad, 0, 0)
        if bad:
            text = (await get(api, job["rejectedUrl"])).content.decode("utf-8-sig")
            assert text.splitlines()[0] == ",".join(["line", "error", *exports.COLUMNS])
            text = text.replace("@@", "@")


async def test_files_are_for_who_belongs_to_the_workspace(api, client, stranger, get, people, rejected):
    for path in ("/export/leads.csv", "/export/leads.ndjson", f"/imports/{rejected}/rejected.csv"):
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers={"authorization": "Bearer lg_nobody"})).status_code == 401
    assert table(await get(stranger, "/export/leads.csv")) == []
    answers = [await get(stranger, f"/imports/{one}/rejected.csv") for one in (rejected, "imp_never", "a%00b")]
    assert {(answer.status_code, answer.json()["errors"][0]["message"]) for answer in answers} == {
        (404, "There is no such file in your workspace.")
    }


async def test_the_command_line_writes_the_same(api, get, people, database, folder):
    slug = (await api("{ workspace { slug } }"))["workspace"]["slug"]
    url = {"LEADGRAPH_DATABASE_URL": database.settings.database_url}
    file = folder / "leads.csv"
    assert leadgraph("export", file, "--workspace", slug, **url).code == 0
    assert file.read_bytes() == (await get(api, "/export/leads.csv")).content
    told = leadgraph("export", "--workspace", slug, "--format", "ndjson", "--search", "cleo", **url)
    assert [json.loads(line)["crmId"] for line in told.out.splitlines()] == ["c-1"]
    assert leadgraph("export", "-", "--workspace", slug, "--format", "ndjson", "--search", "cleo", **url) == told
    lines = folder / "leads.NDJSON"
    assert leadgraph("export", lines, "--workspace", slug, **url).code == 0
    assert lines.read_bytes() == (await get(api, "/export/leads.ndjson")).content
    assert "--where is no JSON" in leadgraph("export", "--workspace", slug, "--where", "{", **url).refusal
    assert "nothing" in leadgraph("export", "--workspace", slug, "--where", '{"nothing": 1}', **url).refusal


async def test_a_file_that_can_t_be_written_is_one_line_and_the_end(api, people, database, folder):
    slug = (await api("{ workspace { slug } }"))["workspace"]["slug"]
    command = [PROGRAM, "export", "--workspace", slug]
    where = {**os.environ, "LEADGRAPH_DATABASE_URL": database.settings.database_url}
    for file, code, words in (
        ("none/a.csv", 1, "none/a.csv: No such file or directory: name a file that can be written"),
        ("a.xlsx", 2, "a.xlsx: name a file that ends in .csv or .ndjson, or say --format csv or --format ndjson"),
    ):
        # In a process of its own: what may be left behind is a thread that keeps it from ending.
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, file, cwd=folder, env=where, stdout=pipe, stderr=pipe)
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert (process.returncode, out, err.count(b"\n")) == (code, b"", 1)
        assert words in err.decode()
    assert list(folder.iterdir()) == []
