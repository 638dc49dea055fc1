"""A peer: the endpoint that one writes by hand without GraphQL. Starlette, orjson, the same SQL, a pool; no authentication, no limits.

`POST /W1` with `{"binds": [[...], ...]}`, a list for each statement. The rows become JSON by the planner's own functions, so that
the answers are the same.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
import asyncpg
import orjson
from filling import Data
from peers import read_data
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from statements_of import Statement, statements_of
from works import WORKS

from app.database import Database
from app.settings import Settings
from app.sqlite_readers import prepare_sqlite

POOL = 8


class OrjsonResponse(Response):
    """JSON, as orjson writes it."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Write it."""
        return orjson.dumps(content)


class PostgresPool:
    """asyncpg's own pool."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def answer(self, statements: list[Statement], binds: list[list[Any]]) -> dict[str, Any]:
        """Run the statements of a request on one connection."""
        async with self.pool.acquire() as connection:
            return {
                each.key: each.plan.finish(await connection.fetch(each.plan.sql, *values), each.values)
                for each, values in zip(statements, binds, strict=True)
            }


class SqlitePool:
    """As many connections of aiosqlite, last in, first out; a request takes one that is free."""

    def __init__(self, connections: list[aiosqlite.Connection]) -> None:
        self.idle = connections

    async def answer(self, statements: list[Statement], binds: list[list[Any]]) -> dict[str, Any]:
        """Run the statements of a request on one connection."""
        connection = self.idle.pop()
        try:
            return {
                each.key: each.plan.finish(list(await connection.execute_fetchall(each.plan.sql, values)), each.values)
                for each, values in zip(statements, binds, strict=True)
            }
        finally:
            self.idle.append(connection)


async def answer(request: Request) -> OrjsonResponse:
    """Answer one request."""
    body = orjson.loads(await request.body())
    statements = request.app.state.statements[request.path_params["work"]]
    return OrjsonResponse({"data": await request.app.state.pool.answer(statements, body["binds"])})


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Plan the statements, and open the pool."""
    data = read_data()
    url = os.environ["LEADGRAPH_DATABASE_URL"]
    database = Database(Settings(database_url=url))
    app.state.statements = {
        work.name: [each for each, _ in await statements_of(work, work.variables(data)[0], data, database)] for work in WORKS
    }
    await database.close()
    if database.is_postgres:
        async with asyncpg.create_pool(url.replace("+asyncpg", ""), min_size=POOL, max_size=POOL, server_settings={"jit": "off"}) as pool:
            app.state.pool = PostgresPool(pool)
            yield
        return
    connections = [await _opened(data) for _ in range(32)]
    app.state.pool = SqlitePool(connections)
    yield
    for connection in connections:
        await connection.close()


async def _opened(data: Data) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(f"file:{data.file}?mode=rw", uri=True, isolation_level=None, cached_statements=512)
    await prepare_sqlite(connection, writing=False)
    return connection


app = Starlette(routes=[Route("/{work}", answer, methods=["POST"])], lifespan=lifespan)
