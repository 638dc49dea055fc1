"""Files sent to `leadImport`: what is refused before anything is kept, and what becomes of the rest."""

import asyncio
import io
import json
import threading
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from workbooks import sheet, xlsx

from app.actions import read_ahead
from app.actions.batches import JobStatus
from app.actions.jobs import JOB
from app.actions.work import Role, Work
from app.database import table_of
from app.http import root_fields
from app.rules.uploads import read_table, rows_of
from app.settings import QUERIES
from app.tables import Activity, ImportJob, ImportPiece, Lead
from app.worker import Worker

LEADS = "email,firstName,Shoe size\nann@example.com,Ann,38\nben@@example.com,Ben,44\ncleo@example.com,Cléo,\n"
HERE = sa.bindparam("workspace")
SUMMARY = ("total", "created", "updated", "unchanged", "skipped", "failed")


def text_of(document):
    return document if "{" in document else (QUERIES / f"{document}.graphql").read_text()


@pytest.fixture
def send(client):
    """Sends a document with a file, as a multipart request, and gives the whole response."""

    async def send(api, document, file, name="leads.csv", *, preflight="1", fields=None, key=None, **options):
        operations = {"query": text_of(document), "variables": {"input": {**options, "file": None}}}
        headers = {"authorization": f"Bearer {api.key}"}
        if preflight:
            headers["graphql-require-preflight"] = preflight
        if key:
            headers["idempotency-key"] = key
        data = fields or {"operations": json.dumps(operations), "map": '{"0": ["variables.input.file"]}'}
        content = file.encode() if isinstance(file, str) else file
        return await client.post("/graphql", data=data, files={"0": (name, content)}, headers=headers)

    return send


@pytest.fixture
def run(database, settings, caller):
    """Carries out the import jobs of the test's workspace that wait."""

    async def run():
        worker = Worker(database, settings)
        mine = (JOB.c.workspace_id == HERE, JOB.c.kind == "import", JOB.c.status == JobStatus.PENDING)
        held = {"status": JobStatus.RUNNING, "claimed_by": worker.name, "lease_until": datetime.now(UTC) + timedelta(hours=1)}
        async with database.writing() as connection:
            found = await Work(connection, caller).rows(sa.update(JOB).where(*mine).values(held).returning(JOB))
        for job in found:
            await worker.run_held(job, lambda _: None)
        return len(found)

    return run


@pytest.fixture
def rows(database, caller):
    async def rows(model):
        table = table_of(model)
        async with database.writing() as connection:
            return await Work(connection, caller).rows(sa.select(table).where(table.c.workspace_id == HERE))

    return rows


@pytest.fixture
def bring(api, send, run):
    """Imports a file to its end and gives the import as `import_jobs/get` shows it."""

    async def bring(file, name="leads.csv", **options):
        answer = (await send(api, "leads/import", file, name, **options)).json()
        assert "errors" not in answer, answer
        assert await run() == 1
        return (await api("import_jobs/get", id=answer["data"]["leadImport"]["importJob"]["id"]))["node"]

    return bring


def code(answer):
    [error] = answer.json()["errors"]
    return answer.status_code, error["extensions"]["code"]


async def test_a_file_is_kept_with_the_request_and_taken_by_the_job(api, send, run, rows):
    answer = (await send(api, "leads/import", LEADS)).json()
    job = answer["data"]["leadImport"]["importJob"]
    assert (job["status"], job["fileName"], job["dryRun"]) == ("PENDING", "leads.csv", False)
    assert [each["field"] for each in job["mapping"]] == ["email", "firstName", "attributes.Shoe size"]
    assert (len(await rows(ImportPiece)), len(await rows(Lead))) == (1, 0)
    await run()
    done = (await api("import_jobs/get", id=job["id"]))["node"]
    assert (done["status"], done["progress"], done["error"]) == ("SUCCEEDED", 1, None)
    assert [done["summary"][name] for name in SUMMARY] == [3, 2, 0, 0, 0, 1]
    assert done["rowErrors"]["nodes"] == [
        {
            "line": 3,
            "errors": [{"code": "INVALID", "message": "email 'ben@@example.com': has more than one @", "field": "email"}],
            "raw": {"Shoe size": "44", "email": "ben@@example.com", "firstName": "Ben"},
        }
    ]
    assert await rows(ImportPiece) == []
    assert {lead["first_name"]: lead["attributes"] for lead in await rows(Lead)} == {"Ann": {"Shoe size": "38"}, "Cléo": {}}
    log = await rows(Activity)
    told = [entry for entry in log if entry["kind"] == "LEAD_CREATED"]
    assert {(entry["batch_id"], entry["actor_id"]) for entry in told} == {(job["batch"]["id"], api.caller.api_key_id)}


@pytest.mark.parametrize("document", ["leads/import", "leads/import_preview"])
async def test_others_write_while_a_file_is_read(api, send, monkeypatch, document):
    begun, go_on = threading.Event(), threading.Event()

    def slowly(*args):
        begun.set()
        assert go_on.wait(30)
        return read_table(*args)

    monkeypatch.setattr(read_ahead, "read_table", slowly)
    sending = asyncio.create_task(send(api, document, LEADS))
    try:
        assert await asyncio.to_thread(begun.wait, 30)
        await api("leads/create", input={"email": "dora@example.com"})
        assert not sending.done()
    finally:
        go_on.set()
    assert "errors" not in (await sending).json()


async def test_two_files_are_read_at_once_and_the_others_after_them(api, send, monkeypatch):
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slowly(*args):
        begun.release()
        assert go_on.wait(30)
        return read_table(*args)

    monkeypatch.setattr(read_ahead, "read_table", slowly)
    sending = [asyncio.create_task(send(api, "leads/import_preview", LEADS)) for _ in range(4)]
    try:
        for _ in range(root_fields.AT_ONCE):
            assert await asyncio.to_thread(begun.acquire, timeout=30)
        await api("leads/create", input={"email": "dora@example.com"})
        assert not begun.acquire(blocking=False)
    finally:
        go_on.set()
    assert ["errors" in (await each).json() for each in sending] == [False] * 4


async def test_a_file_is_read_once_and_before_the_transaction_however_it_is_named(api, send, monkeypatch, rows):
    read = []
    monkeypatch.setattr(read_ahead, "read_table", lambda *args: read.append(args[1]) or read_table(*args))
    document = """mutation ($input: Upload!, $encoding: String) {
      ...two
      ok: __typename
    }
    fragment two on Mutation { leadImport(input: {file: $input, encoding: $encoding, dryRun: true}) { importJob { id } } }"""
    variables = {"input": None, "encoding": "utf-16"}
    fields = {"operations": json.dumps({"query": document, "variables": variables}), "map": '{"0": ["variables.input"]}'}
    answer = await send(api, document, LEADS.encode("utf-16"), fields=fields)
    assert "errors" not in answer.json()
    [piece] = await rows(ImportPiece)
    assert (read, [row.cells[0] for row in rows_of(piece["content"])]) == (
        ["utf-16"],
        [line.split(",")[0] for line in LEADS.splitlines()[1:]],
    )


async def test_what_is_wrong_with_a_request_comes_before_what_is_wrong_with_its_file(api, api_of, caller, send):
    viewer = await api_of(caller, Role.VIEWER)
    broken = b"PK\x03\x04 no workbook"
    assert code(await send(viewer, "leads/import", broken)) == (200, "FORBIDDEN")
    assert code(await send(api, "leads/import", broken, campaignId="cmp_none")) == (200, "NOT_FOUND")
    assert (await send(api, "leads/import", LEADS, key="k")).status_code == 200
    assert code(await send(api, "leads/import", broken, key="k")) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert code(await send(api, "leads/import", broken, key="another")) == (200, "BAD_USER_INPUT")
    # An answer with errors is not kept: the key is free.
    assert "errors" not in (await send(api, "leads/import", LEADS, key="another")).json()


async def test_a_dry_run_gives_the_same_report_and_writes_nothing_else(api, bring, rows):
    lines = [f"p{n % 1500}@example.com,c{n % 700},T{n % 3}" for n in range(2500)]
    file = "email,crmId,title\n" + "\n".join([*lines, "nobody,x,y", "p1@example.com,c2,z", ",,"]) + "\n"
    trial = await bring(file, dryRun=True)
    assert await rows(Lead) == []
    assert {entry["kind"] for entry in await rows(Activity)} <= {"ADMINISTERED"}
    deed = await bring(file)
    assert trial["summary"] == deed["summary"]
    assert trial["rowErrors"] == deed["rowErrors"]
    assert deed["summary"]["failed"] >= 1
    again = await bring(file, dryRun=True)
    assert (again["summary"]["created"], again["summary"]["total"]) == (0, deed["summary"]["total"])
    assert [job["batch_id"] is None for job in await rows(ImportJob)].count(True) == 2


async def test_an_import_can_be_stopped_and_what_is_in_stays(api, send, run, rows, database, caller):
    file = "email\n" + "".join(f"p{n}@example.com\n" for n in range(2500))
    job_id = (await send(api, "leads/import", file)).json()["data"]["leadImport"]["importJob"]["id"]
    worker = Worker(database, database.settings)
    async with database.writing() as connection:
        work = Work(connection, caller)
        values = {"status": JobStatus.RUNNING, "claimed_by": worker.name, "attempts": 1}
        [job] = await work.rows(sa.update(JOB).where(JOB.c.workspace_id == HERE, JOB.c.kind == "import").values(values).returning(JOB))
    await worker._step(job)
    stopped = (await api("import_jobs/cancel", id=job_id))["importJobCancel"]["importJob"]
    assert (stopped["status"], stopped["summary"]["created"]) == ("CANCELLED", 2000)
    await worker.run_held(job, lambda _: None)
    assert (len(await rows(Lead)), await rows(ImportPiece)) == (2000, [])
    again = await api.error("import_jobs/cancel", id=job_id)
    assert again["extensions"]["code"] == "CONFLICT"


async def test_another_workspace_can_neither_see_nor_stop_it(api, send, stranger, rows):
    job_id = (await send(api, "leads/import", LEADS)).json()["data"]["leadImport"]["importJob"]["id"]
    assert (await stranger("import_jobs/get", id=job_id))["node"] is None
    words = [(await stranger.error("import_jobs/cancel", id=one))["message"] for one in (job_id, "imp_never")]
    assert words == ["There is no such import in your workspace."] * 2
    assert [job["status"] for job in await rows(ImportJob)] == ["PENDING"]


async def test_a_file_sent_again_under_its_key_is_imported_once(api, send, rows):
    first = await send(api, "leads/import", LEADS, key="k1")
    again = await send(api, "leads/import", LEADS, key="k1")
    other = await send(api, "leads/import", LEADS + "dora@example.com,D,1\n", key="k1")
    assert (again.content, again.headers["idempotent-replay"]) == (first.content, "true")
    assert (other.status_code, other.json()["errors"][0]["extensions"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(await rows(ImportJob)) == 1


async def test_a_preview_shows_the_head_and_writes_nothing(api, send, rows):
    answer = await send(api, "leads/import_preview", LEADS.replace(",", ";").encode("cp1252"), mapping=[{"column": "Shoe size"}])
    assert answer.json()["data"]["leadImportPreview"] == {
        "encoding": "cp1252",
        "separator": ";",
        "columns": ["email", "firstName", "Shoe size"],
        "mapping": [
            {"column": "email", "field": "email"},
            {"column": "firstName", "field": "firstName"},
            {"column": "Shoe size", "field": None},
        ],
        "rows": [["ann@example.com", "Ann", "38"], ["ben@@example.com", "Ben", "44"], ["cleo@example.com", "Cléo", ""]],
    }
    assert await rows(ImportJob) == []


async def test_the_caller_decides_about_unknown_columns_the_source_and_the_encoding(bring, rows, send, api):
    done = await bring(LEADS.encode("utf-16"), unknownColumns="IGNORE", source="Trade Fair", encoding="utf-16")
    assert done["summary"]["created"] == 2
    assert {(lead["source"], str(lead["attributes"])) for lead in await rows(Lead)} == {("trade fair", "{}")}
    refused = await send(api, "leads/import", LEADS, unknownColumns="FAIL")
    [error] = refused.json()["errors"]
    assert (error["extensions"]["argument"], "'Shoe size'" in error["message"]) == ("input.mapping", True)
    for encoding, words in (("utf-7", "there is no encoding 'utf-7'"), ("ascii", "no text in the encoding 'ascii': name another")):
        [error] = (await send(api, "leads/import", LEADS, encoding=encoding)).json()["errors"]
        assert (error["extensions"]["argument"], words in error["message"]) == ("input.encoding", True)


async def test_a_workbook_goes_in_with_its_numbers_and_its_lines(bring, rows):
    table = [
        (2, ["E-Mail", "Vorname", "Umsatz"]),
        (3, ["ann@example.com", "Ann", 1200]),
        (5, ["nobody", "Ben", 0.5]),
        (6, ["cleo@example.com"]),
    ]
    done = await bring(xlsx(sheet(table)), "leads.xlsx")
    assert [done["summary"][name] for name in SUMMARY] == [3, 2, 0, 0, 0, 1]
    assert [each["line"] for each in done["rowErrors"]["nodes"]] == [5]
    assert {lead["email"]: lead["attributes"] for lead in await rows(Lead)} == {
        "ann@example.com": {"Umsatz": "1200"},
        "cleo@example.com": {},
    }


def wrong_zip():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("leads.csv", LEADS)
    return out.getvalue()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"", "the file is empty"),
        (b"\x00\x01\x02\x03" * 100, "the file is no text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "the file is no text"),
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "is an old Excel workbook (.xls), or one with a password: save it as .xlsx"),
        ('{"email":"a@example.com"}\n{"email":"b@example.com"}\n', "is lines of JSON, which are not imported: export as CSV"),
        (wrong_zip(), "is a zip archive, and no Excel workbook"),
        (xlsx(sheet([(1, ["email"])]))[:-60], "is a broken zip archive"),
        (xlsx("<row"), "is a zip archive, and no Excel workbook"),
        (xlsx(""), "the file is empty"),
        (
            xlsx(sheet([(1, ["email"])]) + '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'),
            "spans 16,384 columns and 1,048,576 rows",
        ),
        ("email,email\na@example.com,b@example.com\n", "The column 'email' is there twice"),
        (",".join(["email", *(f"c{n}" for n in range(9_999))]) + "\n", "the file has 10,000 columns, at most 1,000"),
        ("email\n" + "x" * 1_000_001 + "\n", "line 2 has more than 1,000,000 characters"),
        ("Shoe size\n42\n", "No column says which lead a row is about"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "file",
)
async def test_a_file_that_can_t_be_read_is_refused_by_name_and_nothing_is_kept(api, send, rows, file, words):
    answer = await send(api, "leads/import", file, "leads.csv")
    assert code(answer) == (200, "BAD_USER_INPUT")
    assert words in answer.json()["errors"][0]["message"]
    assert answer.json()["errors"][0]["extensions"]["argument"] in ("input.file", "input.mapping")
    assert (await rows(ImportJob), await rows(ImportPiece)) == ([], [])


@pytest.mark.parametrize(
    ("options", "at_fault", "codes"),
    [
        ({"mapping": [{"column": "email", "field": "e-mail"}]}, "input.mapping", "BAD_USER_INPUT"),
        ({"mapping": [{"column": "mail", "field": "email"}]}, "input.mapping", "BAD_USER_INPUT"),
        ({"mapping": [{"column": "email", "field": "email"}] * 2}, "input.mapping[1].column", "BAD_USER_INPUT"),
        ({"campaignId": "cmp_never"}, "input.campaignId", "NOT_FOUND"),
        ({"campaignId": "a\0b"}, "input.campaignId", "BAD_USER_INPUT"),
        ({"source": "x" * 10_241}, "input.source", "BAD_USER_INPUT"),
    ],
)
async def test_what_is_asked_for_wrongly_is_refused_by_name(api, send, rows, options, at_fault, codes):
    [error] = (await send(api, "leads/import", LEADS, **options)).json()["errors"]
    assert (error["extensions"]["code"], error["extensions"]["argument"]) == (codes, at_fault)
    assert await rows(ImportJob) == []


async def test_an_upload_without_a_header_that_asks_first_is_refused(api, send, rows):
    assert code(await send(api, "leads/import", LEADS, preflight=None)) == (403, "CSRF")
    assert await rows(ImportJob) == []


async def test_a_file_a_byte_too_large_is_refused_and_the_largest_goes_in(api, send, rows):
    most = 10_485_760
    for size, expected in ((most + 1, (413, "LIMIT")), (most + 2_000_000, (413, "LIMIT"))):
        answer = await send(api, "leads/import", b"x" * size)
        assert code(answer) == expected
        [error] = answer.json()["errors"]
        assert "10485760 bytes" in error["message"]
        assert "(LEADGRAPH_MAX_UPLOAD_BYTES)" in error["message"]
    assert await rows(ImportJob) == []
    padded = "email\na@example.com\n"
    file = padded + ("," * 9_999 + "\n") * ((most - len(padded)) // 10_000)
    file += "," * (most - len(file))
    assert (await send(api, "leads/import", file)).json()["data"]["leadImport"]["importJob"]["status"] == "PENDING"


OPERATIONS = json.dumps(
    {
        "query": "mutation ($input: LeadImportInput!) { leadImport(input: $input) { importJob { id } } }",
        "variables": {"input": {"file": None}},
    }
)


@pytest.mark.parametrize(
    "fields",
    [
        {"operations": OPERATIONS, "map": "[]"},
        {"operations": OPERATIONS, "map": '{"0": "variables.input.file"}'},
        {"operations": OPERATIONS, "map": '{"1": ["variables.input.file"]}'},
        {"operations": OPERATIONS, "map": '{"0": ["variables.file"]}'},
        {"operations": OPERATIONS, "map": '{"0": ["query"]}'},
        {"operations": OPERATIONS, "map": '{"0": ["variables.input.file.x"]}'},
        {"operations": OPERATIONS, "map": "{"},
        {"operations": OPERATIONS},
        {"map": '{"0": ["variables.input.file"]}'},
        {"operations": "[]", "map": '{"0": ["variables.input.file"]}'},
    ],
)
async def test_a_map_that_leads_nowhere_is_refused(api, send, fields):
    assert code(await send(api, "{}", LEADS, fields=fields)) == (400, "BAD_REQUEST")


async def test_a_thousand_and_one_parts_are_refused(api, client):
    files = {str(number): ("leads.csv", b"email\n") for number in range(1_001)}
    headers = {"authorization": f"Bearer {api.key}", "x-requested-with": "test"}
    answer = await client.post("/graphql", data={"operations": OPERATIONS, "map": "{}"}, files=files, headers=headers)
    assert code(answer) == (400, "BAD_REQUEST")


async def test_a_body_that_is_cut_off_is_refused(api, client, rows):
    body = (
        f'--b\r\ncontent-disposition: form-data; name="operations"\r\n\r\n{OPERATIONS}\r\n--b\r\ncontent-disposition: form-data; name="map"'
    )
    headers = {"authorization": f"Bearer {api.key}", "x-requested-with": "test", "content-type": "multipart/form-data; boundary=b"}
    parts = [
        body,
        f'{body}\r\n\r\n{{"0": ["variables.input.file"]}}\r\n--b\r\ncontent-disposition: form-data; name="0"; filename="a"\r\n\r\nemail\n',
    ]
    for cut in (*parts, ""):
        assert code(await client.post("/graphql", content=cut.encode(), headers=headers)) == (400, "BAD_REQUEST")
    assert code(await client.post("/graphql", content=b"x", headers={**headers, "content-type": "multipart/form-data"})) == (
        400,
        "BAD_REQUEST",
    )
    assert await rows(ImportJob) == []


async def test_text_where_a_file_belongs_is_refused(api):
    text = "mutation ($input: LeadImportInput!) { leadImport(input: $input) { importJob { id } } }"
    for file in ("leads.csv", 1, {}, None):
        error = await api.error(text, input={"file": file})
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
    error = await api.error('mutation { leadImport(input: {file: "x"}) { importJob { id } } }')
    assert error["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


async def test_a_viewer_may_not_import(api_of, caller, send, rows):
    viewer = await api_of(caller, "VIEWER")
    assert code(await send(viewer, "leads/import", LEADS)) == (200, "FORBIDDEN")
    assert await rows(ImportJob) == []


async def test_two_imports_of_the_same_people_at_once_end_with_each_once(api, send, rows, database, caller, settings):
    file = "email,title\n" + "".join(f"p{n}@example.com,T\n" for n in range(1500))
    for _ in range(2):
        assert "errors" not in (await send(api, "leads/import", file)).json()
    async with database.writing() as connection:
        asked = sa.select(JOB).where(JOB.c.workspace_id == HERE, JOB.c.kind == "import")
        jobs = await Work(connection, caller).rows(asked)
    workers = [Worker(database, settings) for _ in jobs]
    for job, worker in zip(jobs, workers, strict=True):
        mine = (JOB.c.workspace_id == HERE, JOB.c.id == job["id"])
        async with database.writing() as connection:
            await Work(connection, caller).run(sa.update(JOB).where(*mine).values(status="RUNNING", claimed_by=worker.name))
        job["claimed_by"] = worker.name
    await asyncio.gather(*[worker.run_held(job, lambda _: None) for job, worker in zip(jobs, workers, strict=True)])
    assert len(await rows(Lead)) == 1500
    counts = [(job["created"], job["unchanged"], job["failed"]) for job in await rows(ImportJob)]
    assert (sum(each[0] for each in counts), sum(each[1] for each in counts), sum(each[2] for each in counts)) == (1500, 1500, 0)
