"""The service behind a real server, and a browser to look at it."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from io import StringIO
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from browser import Page, find_chromium, open_page
from serving import serve
from small_graph import small_app
from starlette.applications import Starlette

from app import logs
from app.actions import keys
from app.actions.work import Caller, Role
from app.actions.workspaces import WORKSPACE
from app.asgi import build
from app.database import Database
from app.ui import BUILT, SOURCES
from app.ui.build import find_npm, is_current


@pytest.fixture(scope="session")
def server_url(database: Database) -> Iterator[str]:
    """The service behind uvicorn, on the session's database."""
    with serve(build(database.settings)) as url:
        yield url


@pytest.fixture
async def key(database: Database, caller: Caller) -> str:
    """An administrator's key of the test's workspace."""
    async with database.writing() as connection:
        _, key = await keys.create_key(connection, caller.workspace_id, "test", Role.ADMIN)
    return key


@pytest.fixture
def small(database: Database, caller: Caller) -> Starlette:
    """The endpoint with a small graph behind it."""
    return small_app(database, caller)


@pytest.fixture
async def http(small: Starlette) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the small graph."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(small), base_url="http://leadgraph.example") as http:
        yield http


@pytest.fixture
def post(http: httpx2.AsyncClient) -> Callable[..., Awaitable[httpx2.Response]]:
    """Posts a query, or a body as it is, to the small graph."""

    async def post(
        content: Any = None,
        *,
        query: str | None = None,
        key: str | None = "key",
        accept: str | None = "application/json",
        content_type: str | None = "application/json",
        **more: str,
    ) -> httpx2.Response:
        body = content if isinstance(content, bytes) else json.dumps({"query": query, **(content or {})}).encode()
        headers = {"accept": accept, "content-type": content_type, **({"authorization": f"Bearer {key}"} if key else {}), **more}
        return await http.post("/graphql", content=body, headers={name: value for name, value in headers.items() if value is not None})

    return post


@pytest.fixture
def name(database: Database, caller: Caller) -> Callable[[], Awaitable[Any]]:
    """Reads the one thing that the small graph writes: the workspace's name."""

    async def name() -> Any:
        async with database.engine.connect() as connection:
            mine = sa.select(WORKSPACE.c.name).where(WORKSPACE.c.id == sa.bindparam("workspace"))
            return await connection.scalar(mine, {"workspace": caller.workspace_id})

    return name


@pytest.fixture
def log() -> Iterator[StringIO]:
    """All that is logged meanwhile."""
    lines = StringIO()
    logs.configure("INFO", lines)
    yield lines
    logs.configure("WARNING")


@pytest.fixture(scope="session")
def graphiql() -> None:
    """Build GraphiQL where that is due and can be done."""
    if not is_current() and find_npm():
        subprocess.run([sys.executable, "-m", "app.ui.build", "--quiet"], cwd=SOURCES.parents[1], check=True, timeout=180)
    if not (BUILT / "index.html").exists():
        skip_or_fail("there is no build of the explorer, and no Node 20.19 or newer to make one with")


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a browser that reaches no other host."""
    chromium = find_chromium()
    if not chromium:
        skip_or_fail("Chromium is not installed")
    async with open_page(chromium) as opened:
        yield opened


def skip_or_fail(reason: str) -> None:
    # In CI everything is installed: a test that skips there would never run.
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
