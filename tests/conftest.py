"""Both databases for every test: one of each a session, and a workspace of its own for each test."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from postgres import create_postgres_database, drop_postgres_database
from starlette.applications import Starlette
from statements import counted, watch_drivers
from walls import unwalled, watch_compiler

from app.actions import keys, workspaces
from app.actions.work import Caller, Role, Work
from app.asgi import build
from app.database import Database
from app.migrations import upgrade
from app.settings import QUERIES, Settings

watch_drivers()
watch_compiler()


@pytest.fixture(scope="session", autouse=True)
def _walls() -> Iterator[None]:
    """Law 4, for every statement of every test: what lacks a predicate fails the run when it ends."""
    yield
    assert unwalled == [], "\n".join(unwalled)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty database of each kind, for the whole session."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('database') / 'leadgraph.db'}"
        return
    url = create_postgres_database()
    yield url
    drop_postgres_database(url)


@pytest.fixture(scope="session")
def settings(database_url: str) -> Settings:
    """What the application under test is built with."""
    return Settings(
        database_url=database_url, worker=False, caller_cache_seconds=1, log_level="WARNING", rate_per_second=0, rate_per_minute=0
    )


@pytest.fixture(scope="session")
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The database with its tables."""
    database = Database(settings)
    await upgrade(database)
    yield database
    await database.close()


@pytest.fixture
def statements() -> Callable[[], AbstractContextManager[list[str]]]:
    """Counts what reaches the database, at the driver: `with statements() as ran`."""
    return counted


async def new_workspace(database: Database) -> Caller:
    """Make a workspace that nobody else knows, and its administrator."""
    async with database.writing() as connection:
        workspace = await workspaces.create(connection, slug=f"test-{secrets.token_hex(6)}", name="Test")
    return Caller(workspace_id=workspace["id"], role=Role.ADMIN, workspace_ids=(workspace["id"],))


@pytest.fixture
async def caller(database: Database) -> Caller:
    """An administrator of a workspace that no other test knows."""
    return await new_workspace(database)


@pytest.fixture
async def work(database: Database, caller: Caller) -> AsyncIterator[Work]:
    """A transaction in that workspace, for tests of verbs; it is committed at the end."""
    async with database.writing() as connection:
        yield Work(connection=connection, caller=caller, request_id="req_test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the test's own."""
    return tmp_path


@pytest.fixture(scope="session")
async def app(settings: Settings, database: Database) -> AsyncIterator[Starlette]:
    """The whole service on the session's database."""
    app = build(settings)
    async with app.router.lifespan_context(app):
        yield app


class Api:
    """Asks the service as a user does: a document of `queries/` by its name, or a text, with a key of one workspace."""

    def __init__(self, client: httpx2.AsyncClient, caller: Caller, key: str) -> None:
        self.client, self.caller, self.key = client, caller, key

    async def send(self, document: str, variables: dict[str, Any] | None = None) -> Any:
        """Give the whole answer, errors and all."""
        text = document if "{" in document else (QUERIES / f"{document}.graphql").read_text()
        headers = {"authorization": f"Bearer {self.key}"}
        answer = await self.client.post("/graphql", json={"query": text, "variables": variables or {}}, headers=headers)
        return answer.json()

    async def __call__(self, document: str, **variables: Any) -> Any:
        """Give the data; an answer with errors fails the test."""
        answer = await self.send(document, variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    async def error(self, document: str, **variables: Any) -> dict[str, Any]:
        """Give the one error; an answer without fails the test."""
        answer = await self.send(document, variables)
        assert len(answer.get("errors", ())) == 1, answer
        error: dict[str, Any] = answer["errors"][0]
        return error


@pytest.fixture
async def client(app: Starlette) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of it that sends no key."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://leadgraph.example") as client:
        yield client


@pytest.fixture
def api_of(client: httpx2.AsyncClient, database: Database) -> Callable[..., Any]:
    """Makes a client with a new key of a caller's workspace."""

    async def make(caller: Caller, role: Role = Role.ADMIN) -> Api:
        async with database.writing() as connection:
            row, key = await keys.create_key(connection, caller.workspace_id, "test", role)
        return Api(client, replace(caller, role=role, api_key_id=row["id"]), key)

    return make


@pytest.fixture
async def api(api_of: Callable[..., Any], caller: Caller, app: Starlette) -> Api:
    """The service, as the administrator of the test's workspace sees it; who asks is known already."""
    api: Api = await api_of(caller)
    await api("workspace/viewer")
    await asyncio.gather(*app.state.callers._noting)  # the use of the key is noted beside the request
    return api


@pytest.fixture
async def stranger(api_of: Callable[..., Any], database: Database) -> Api:
    """The administrator of another workspace."""
    stranger: Api = await api_of(await new_workspace(database))
    return stranger
