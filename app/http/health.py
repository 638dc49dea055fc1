"""Whether the process lives, and whether it can serve: for whatever starts, stops and sends requests to it."""

import asyncio

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app import migrations
from app.database import Database
from app.errors import LeadgraphError

logger = structlog.get_logger("leadgraph.health")

#: Seconds that the database has to answer one statement.
PATIENCE = 1.0
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def health_routes(database: Database) -> list[Route]:
    """`/livez`: the process answers, 200 whatever the database does. `/readyz`: 200 when requests can be answered, else 503."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok", headers=_HEADERS)

    async def readyz(_: Request) -> Response:
        if (reason := await why_not_ready(database)) is None:
            return PlainTextResponse("ok", headers=_HEADERS)
        return PlainTextResponse(reason, 503, headers={**_HEADERS, "Retry-After": "1"})

    return [Route("/livez", livez), Route("/readyz", readyz)]


async def why_not_ready(database: Database) -> str | None:
    """Ask the database for its schema's version in one reading statement, and say what is wrong with the answer."""
    at: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE), database.readers.reading() as reading:
            at = [row[0] for row in await reading.rows("SELECT version_num FROM alembic_version", [])]
    except (LeadgraphError, OSError) as error:  # a timeout is an OSError
        logger.warning("not_ready", error=type(error).__name__)
        return "the database does not answer"
    except Exception as error:  # noqa: BLE001  (it answers, but there is no such table)
        logger.warning("not_ready", error=type(error).__name__)
    return None if at == [migrations.newest()] else "the database's schema is not this version's: run `leadgraph migrate`"
