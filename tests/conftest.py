"""Both databases for every test: one of each a session, and a workspace of its own for each test."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import httpx2
import hypothesis
import pytest
from graphql import FieldNode, OperationType, get_operation_ast, parse
from importing import Place, new_place
from postgres import create_postgres_database, drop_postgres_database
from starlette.applications import Starlette
from statements import counted, watch_drivers
from walls import unwalled, watch_compiler

from app import lane_worker, worker
from app.actions import keys, workspaces
from app.actions.work import Caller, Role, Work
from app.asgi import build
from app.database import Database
from app.http.live import Live
from app.migrations import upgrade
from app.settings import QUERIES, Settings

watch_drivers()
watch_compiler()
# Machines are shared: that one was slow says nothing of a test.
hypothesis.settings.register_profile("shared", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("shared")


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


def planned_roots(text: str, data: dict[str, Any]) -> int | None:
    """Count the root fields of a query that was answered, but for those that the schema itself answers; None for what is no query."""
    operation = get_operation_ast(parse(text), None)
    if operation is None or operation.operation is not OperationType.QUERY:
        return None
    fields = [each for each in operation.selection_set.selections if isinstance(each, FieldNode)]
    of_the_schema = {(each.alias or each.name).value for each in fields if each.name.value.startswith("__")}
    return len(data.keys() - of_the_schema)


#: Every hub of subscriptions, those of servers in other threads too.
_hubs: WeakSet[Live] = WeakSet()


def watch_hubs() -> None:
    """Know every hub that is made from now on."""
    begin = Live.__init__

    def known(self: Live, database: Database) -> None:
        begin(self, database)
        _hubs.add(self)

    Live.__init__ = known  # type: ignore[method-assign]


watch_hubs()


def others_at_work() -> bool:
    """Tell whether a worker runs in this loop, or somebody follows a log: they ask the database when they like."""
    codes = (getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks())
    working = any(code is not None and code.co_filename in (worker.__file__, lane_worker.__file__) for code in codes)
    return working or any(hub._logs for hub in list(_hubs))


@dataclass(eq=False)
class UnderWay:
    """A request, and whether it was alone so far: the drivers do not tell whose a statement is."""

    alone: bool


class Api:
    """Asks the service as a user does: a document of `queries/` by its name, or a text, with a key of one workspace."""

    _under_way: ClassVar[list[UnderWay]] = []

    def __init__(self, client: httpx2.AsyncClient, caller: Caller, key: str) -> None:
        self.client, self.caller, self.key = client, caller, key

    async def send(self, document: str, variables: dict[str, Any] | None = None) -> Any:
        """Give the whole answer, errors and all. Law 1 is held on the way: a query is one statement for each of its root fields."""
        text = document if "{" in document else (QUERIES / f"{document}.graphql").read_text()
        headers = {"authorization": f"Bearer {self.key}"}
        mine = UnderWay(alone=not self._under_way and not others_at_work())
        self._under_way.append(mine)
        for other in self._under_way[:-1]:
            other.alone = False
        try:
            with counted() as ran:
                answer = (await self.client.post("/graphql", json={"query": text, "variables": variables or {}}, headers=headers)).json()
        finally:
            self._under_way.remove(mine)
        if mine.alone and not others_at_work() and "errors" not in answer and (roots := planned_roots(text, answer["data"])) is not None:
            assert len(ran) == roots, "\n".join([f"{roots} root fields, {len(ran)} statements", *ran])
        return answer

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


@pytest.fixture
def place(database: Database) -> Place:
    """A workspace that the command line imports into."""
    return new_place(database)
