"""Furnished workspaces, and a client for the whole session."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest
import tenants
from starlette.applications import Starlette
from tenants import Tenant

from app.database import Database

# As the program does: looking for cycles every 700 objects is a tenth of all the time.
gc.set_threshold(50_000, 20, 50)


@pytest.fixture(scope="session")
async def wire(app: Starlette) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the service that sends no key."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://leadgraph.example") as client:
        yield client


@pytest.fixture(scope="session")
def furnish(database: Database, wire: httpx2.AsyncClient) -> Callable[[], Awaitable[Tenant]]:
    """Makes workspaces with one of everything in them."""
    return lambda: tenants.furnish(database, wire)


@pytest.fixture(scope="session")
async def owner(furnish: Callable[[], Awaitable[Tenant]]) -> Tenant:
    """A workspace that others try to see and to change, and that nobody changes."""
    return await furnish()


@pytest.fixture(scope="session")
def rows_of(database: Database) -> Callable[..., Awaitable[dict[str, list[str]]]]:
    """Reads all that the database holds of a workspace, by table."""

    async def read(tenant: Tenant, *, but: tuple[str, ...] = ()) -> dict[str, list[str]]:
        return await tenants.rows_of(database, tenant.workspace, but=but)

    return read


@pytest.fixture(scope="session")
async def target(furnish: Callable[[], Awaitable[Tenant]]) -> Tenant:
    """A workspace that is sent what it must refuse, and keeps none of it."""
    return await furnish()


@pytest.fixture
def refused(rows_of: Callable[..., Awaitable[dict[str, list[str]]]]) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Sends what must be refused, and gives the extensions of the one error; the workspace holds what it held."""

    async def send(to: Tenant, document: str, variables: dict[str, Any]) -> dict[str, Any]:
        before = await rows_of(to)
        [error] = await to.admin.errors(document, variables)
        assert await rows_of(to) == before
        extensions: dict[str, Any] = error["extensions"]
        return extensions

    return send
