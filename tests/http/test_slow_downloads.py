"""Files whose clients stop reading: nobody else waits for them without end."""

import asyncio
import csv
import io
import json
import logging
import socket
import threading
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx2
import pytest
import sqlalchemy as sa
from serving import serve
from starlette.applications import Starlette
from starlette.routing import Route

from app import readers
from app.actions import imports
from app.actions.imports import Order
from app.actions.work import Work
from app.asgi import build
from app.database import Database, table_of
from app.errors import Conflict
from app.http import files
from app.tables import ImportRowError
from app.turns import Turns
from app.worker import Worker
from schema import exports

PATHS = ("/export/leads.csv", "/export/leads.ndjson", "/imports/{rejected}/rejected.csv")
ROWS = 9
WRONG = table_of(ImportRowError)


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch):
    """Several pages of a few rows, and a reader that nobody waits for."""
    monkeypatch.setattr(exports, "PAGE", 2)
    monkeypatch.setattr(imports, "REJECTED", 2)
    monkeypatch.setattr(readers, "_PATIENCE", 1)


@asynccontextmanager
async def service(settings, **changed):
    """The service with settings of its own."""
    app = build(settings.model_copy(update=changed))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def with_one_reader(settings, database):
    """The service, and one reader for everybody: whoever keeps it keeps it from all."""
    async with service(settings, readers=1) as app:
        yield app


@pytest.fixture
async def rejected(api, database):
    """A workspace with leads, and an import of which every row was rejected."""
    await api("leads/upsert_many", input={"leads": [{"email": f"p{n}@example.com"} for n in range(ROWS)]})
    file = b"email\n" + b"".join(b"a@@%d.example.com\n" % n for n in range(ROWS))
    worker = Worker(database, database.settings)
    async with database.writing() as connection:
        ordered = await imports.order(Work(connection, api.caller), io.BytesIO(file), Order(), held=worker.hold())
    await worker.run_held(ordered.job, lambda _: None)
    return ordered.id


class Client:
    """An ASGI client that takes so many messages, and then nothing more; `ended` once the service has given it up."""

    def __init__(self, app, path, key, takes):
        self.takes, self.messages, self.stalled = takes, [], asyncio.Event()
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"leadgraph.example"), (b"authorization", f"Bearer {key}".encode())],
            "extensions": {"leadgraph.hang_up": self.hang_up},
        }
        self.hung_up = False
        self.task = asyncio.create_task(app(self.scope, self.receive, self.send))

    async def receive(self):
        await asyncio.Event().wait()

    async def send(self, message):
        if len(self.messages) == self.takes:
            self.stalled.set()
            await asyncio.Event().wait()
        self.messages.append(message)

    def hang_up(self):
        self.hung_up = True


@asynccontextmanager
async def stalled(app, path, key, takes=1):
    """A client of a file that takes some messages, the head first, and waits."""
    client = Client(app, path, key, takes)
    try:
        async with asyncio.timeout(20):
            await client.stalled.wait()
        yield client
    finally:
        client.task.cancel()
        with suppress(asyncio.CancelledError):
            await client.task


async def get(app, path, key):
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://leadgraph.example") as client:
        return await client.get(path, headers={"authorization": f"Bearer {key}"})


@pytest.mark.parametrize("takes", [0, 1, 3])
async def test_rejected_rows_keep_no_reader_while_their_client_takes_none(api, with_one_reader, rejected, takes):
    async with (
        stalled(with_one_reader, PATHS[2].format(rejected=rejected), api.key, takes),
        with_one_reader.state.database.readers.reading(snapshot=True) as reading,
    ):
        assert [tuple(row) for row in await reading.rows("SELECT 1", [])] == [(1,)]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("takes", [0, 2])
async def test_a_client_that_takes_nothing_is_hung_up_on_and_its_turn_and_reader_are_others(
    api, with_one_reader, rejected, monkeypatch, log, path, takes
):
    path = path.format(rejected=rejected)
    with monkeypatch.context() as patched:
        patched.setattr(files, "TAKEN_WITHIN", 0.05)
        async with stalled(with_one_reader, path, api.key, takes) as client:
            await asyncio.wait_for(client.task, 20)
    assert client.hung_up
    assert len(client.messages) == takes
    assert json.loads(log.getvalue().splitlines()[-1])["error"] == "NotTaken"
    answer = await get(with_one_reader, path, api.key)
    assert (answer.status_code, len(answer.text.splitlines())) == (200, ROWS + path.endswith(".csv"))


@pytest.mark.parametrize("path", PATHS)
async def test_a_stalled_file_stops_those_of_its_workspace_for_a_while_and_nobody_elses(settings, api, stranger, rejected, path):
    path = path.format(rejected=rejected)
    async with service(settings, request_seconds=0.2) as app, stalled(app, path, api.key):
        for _ in range(2):
            answer = await get(app, path, api.key)
            [error] = answer.json()["errors"]
            assert (answer.status_code, error["extensions"]["code"], answer.headers["retry-after"]) == (503, "UNAVAILABLE", "1")
            assert error["message"].startswith("Another file of your workspace is on its way")
        assert (await get(app, "/export/leads.csv", stranger.key)).status_code == 200


async def test_as_many_exports_as_run_at_once_make_others_wait_for_a_while(settings, api, stranger, rejected, monkeypatch):
    monkeypatch.setattr(exports, "AT_ONCE", 1)
    async with service(settings, request_seconds=0.2) as app:
        async with stalled(app, "/export/leads.csv", api.key):
            assert (await get(app, "/export/leads.csv", stranger.key)).status_code == 503
            assert (await get(app, f"/imports/{rejected}/rejected.csv", api.key)).status_code == 200
        assert (await get(app, "/export/leads.csv", stranger.key)).status_code == 200


async def test_who_writes_an_export_to_a_slow_pipe_has_all_the_time_it_takes(settings, api, database, rejected):
    impatient = Database(settings.model_copy(update={"request_seconds": 0.01}))
    pieces = []
    async for piece in exports.Exports(impatient).stream(api.caller, exports.Form.NDJSON):
        pieces.append(piece)
        await asyncio.sleep(0.02)
    await impatient.close()
    assert len(b"".join(pieces).splitlines()) == ROWS


async def test_a_long_piece_goes_out_in_writes_that_a_slow_client_can_take_in_time(api, with_one_reader, rejected, monkeypatch):
    monkeypatch.setattr(files, "WRITE", 100)
    whole = await get(with_one_reader, "/export/leads.ndjson", api.key)
    client = Client(with_one_reader, "/export/leads.ndjson", api.key, takes=-1)
    await asyncio.wait_for(client.task, 20)
    writes = [message["body"] for message in client.messages if message["type"] == "http.response.body"]
    assert max(map(len, writes)) == 100
    assert b"".join(writes) == whole.content


def lines(pieces):
    return [row[0] for row in csv.reader(io.StringIO(b"".join(pieces).decode("utf-8-sig"), newline=""))][1:]


async def test_rejected_rows_of_an_import_that_goes_on_are_those_that_it_had_when_they_were_asked_for(api, database, rejected):
    stream = files._rejected(database, Turns(1, 1), api.caller, rejected)
    pieces = [await anext(stream)]
    async with database.writing() as connection:
        mine = {"workspace_id": api.caller.workspace_id, "import_job_id": rejected}
        await connection.execute(sa.insert(WRONG), {**mine, "line": 99, "errors": [], "raw": {"email": "late"}})
    pieces += [piece async for piece in stream]
    assert lines(pieces) == [str(2 + n) for n in range(ROWS)]


async def test_rejected_rows_of_a_trial_that_begins_anew_do_not_pass_for_all(api, database, rejected):
    stream = files._rejected(database, Turns(1, 1), api.caller, rejected)
    pieces = [await anext(stream), await anext(stream)]
    async with database.writing() as connection:
        await imports._forget(Work(connection, api.caller), {"import": rejected})
    with pytest.raises(Conflict, match="begun anew"):
        await anext(stream)
    assert lines(pieces) == ["2", "3"]


async def endless(closed):
    try:
        while True:
            yield b"x" * files.WRITE
    finally:
        closed.set()


def test_the_connection_of_a_client_that_takes_nothing_is_closed_and_its_file_is_not_whole(monkeypatch, caplog):
    monkeypatch.setattr(files, "TAKEN_WITHIN", 0.2)
    closed = threading.Event()

    async def download(_):
        return await files._download(endless(closed), "text/plain", "endless.txt")

    with caplog.at_level(logging.ERROR), serve(Starlette(routes=[Route("/", download)])) as url:
        address = urlsplit(url)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.settimeout(20)
            client.connect((address.hostname, address.port))
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert closed.wait(20)
            taken = b""
            with suppress(ConnectionError):
                while piece := client.recv(1_000_000):
                    taken += piece
    assert taken.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not taken.endswith(b"0\r\n\r\n")
    assert "ASGI" not in caplog.text
