"""Health, and what stands around the endpoint: starting, stopping, pages that are not there, exceptions from outside GraphQL."""

import asyncio
import json
import secrets

import asyncpg
import httpx2
import pytest
from small_graph import SECRET
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import StreamingResponse
from starlette.routing import Route

from app.asgi import Wall, build
from app.database import Database
from app.errors import Unavailable
from app.http.health import health_routes, why_not_ready
from app.migrations import SchemaTooOld


@pytest.fixture
async def empty(database, settings, folder):
    """A database of the same kind without a table."""
    if database.is_postgres:
        server = await asyncpg.connect(settings.database_url.replace("+asyncpg", ""))
        name = f"leadgraph_test_{secrets.token_hex(6)}"
        await server.execute(f'CREATE DATABASE "{name}"')
        url = f"{settings.database_url.rpartition('/')[0]}/{name}"
    else:
        (folder / "empty.db").touch()
        url = f"sqlite+aiosqlite:///{folder / 'empty.db'}"
    empty = Database(settings.model_copy(update={"database_url": url}))
    yield empty
    await empty.close()
    if database.is_postgres:
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await server.close()


@pytest.fixture
def gone(database, settings, folder):
    """A database of the same kind that is not there."""
    url = "postgresql+asyncpg://postgres@127.0.0.1:1/none" if database.is_postgres else f"sqlite+aiosqlite:///{folder / 'none' / 'none.db'}"
    return Database(settings.model_copy(update={"database_url": url}))


async def get(routes, path):
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(Starlette(routes=routes)), base_url="http://leadgraph.example") as http:
        return await http.get(path)


async def test_a_service_with_its_database_lives_and_is_ready(client):
    for path in ("/livez", "/readyz"):
        answer = await client.get(path)
        assert (answer.status_code, answer.text, answer.headers["cache-control"]) == (200, "ok", "no-store")


async def test_readiness_takes_one_statement_and_no_writer(database, monkeypatch):
    asked = []
    async with database.readers.reading() as reading:
        rows = type(reading).rows

    async def counting(self, sql, binds):
        asked.append(sql)
        return await rows(self, sql, binds)

    monkeypatch.setattr(type(reading), "rows", counting)
    async with database.writing():
        assert (await get(health_routes(database), "/readyz")).status_code == 200
    assert asked == ["SELECT version_num FROM alembic_version"]


async def test_without_its_database_a_service_lives_and_is_not_ready(gone):
    assert (await get(health_routes(gone), "/livez")).status_code == 200
    answer = await get(health_routes(gone), "/readyz")
    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (503, "the database does not answer", "1")
    await gone.close()


async def test_a_database_without_tables_is_not_ready(empty):
    assert await why_not_ready(empty) == "the database's schema is not this version's: run `leadgraph migrate`"


async def test_a_database_that_thinks_for_long_is_not_ready(database, monkeypatch):
    async def forever(*_):
        await asyncio.sleep(60)

    async with database.readers.reading() as reading:
        monkeypatch.setattr(type(reading), "rows", forever)
    monkeypatch.setattr("app.http.health.PATIENCE", 0.05)
    assert await why_not_ready(database) == "the database does not answer"


async def test_a_schema_of_another_version_is_not_ready(database, monkeypatch):
    monkeypatch.setattr("app.migrations.newest", lambda: "9999")
    assert await why_not_ready(database) == "the database's schema is not this version's: run `leadgraph migrate`"


async def test_a_service_that_may_not_migrate_refuses_an_older_database(empty):
    app = build(empty.settings, migrate=False)
    with pytest.raises(SchemaTooOld):
        async with app.router.lifespan_context(app):
            pass


async def test_a_service_without_its_database_does_not_start(gone):
    app = build(gone.settings)
    with pytest.raises(Unavailable):
        async with app.router.lifespan_context(app):
            pass


async def test_the_worker_runs_while_the_service_does(database):
    app = build(database.settings.model_copy(update={"worker": True}))
    before = asyncio.all_tasks()
    async with app.router.lifespan_context(app):
        for _ in range(10):  # it runs in a task of a task of a task: each has to take its first step
            await asyncio.sleep(0)
        running = [task for task in asyncio.all_tasks() - before if "Worker.run" in repr(task)]
        assert running
    assert all(task.done() for task in running)


async def test_the_front_door_leads_to_the_explorer(client):
    answer = await client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/explorer")


@pytest.mark.parametrize(("method", "path"), [("GET", "/nope"), ("POST", "/graphql/"), ("POST", "/graphq"), ("GET", "/graphql/../x")])
async def test_what_is_not_there_is_a_json_error(client, method, path):
    answer = await client.request(method, path, headers={"x-request-id": "r-1"})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert answer.json() == {
        "errors": [
            {
                "message": "There is nothing here. GraphQL is at /graphql, the explorer at /explorer.",
                "extensions": {"code": "NOT_FOUND", "requestId": "r-1"},
            }
        ]
    }


async def test_a_page_is_asked_for_with_get(client):
    answer = await client.post("/livez")
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (405, "BAD_REQUEST")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_an_exception_outside_graphql_is_masked_and_logged(log):
    async def broken(_):
        raise RuntimeError(SECRET)

    app = Starlette(routes=[Route("/", broken)], middleware=[Middleware(Wall)])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://leadgraph.example") as http:
        answer = await http.get("/", headers={"x-request-id": "r-2"})
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]) == (500, {"code": "INTERNAL", "requestId": "r-2"})
    assert SECRET not in answer.text
    [line] = log.getvalue().splitlines()
    assert SECRET in json.loads(line)["exception"]


async def test_an_answer_that_breaks_off_is_not_patched_up(log):
    async def broken():
        yield b"half of"
        raise RuntimeError(SECRET)

    app = Starlette(routes=[Route("/", lambda _: StreamingResponse(broken()))], middleware=[Middleware(Wall)])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://leadgraph.example") as http:
        with pytest.raises(RuntimeError):
            await http.get("/")
    assert "unexpected" in log.getvalue()
