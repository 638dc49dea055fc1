"""The service behind a real server, and a browser to look at it."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from browser import Page, find_chromium, open_page
from serving import serve

from app.actions import keys
from app.actions.work import Caller, Role
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
