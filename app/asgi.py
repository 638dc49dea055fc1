"""A door: the service as one ASGI application. `uvicorn app.asgi:build --factory`."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app import logs, migrations
from app.database import Database
from app.errors import BadRequest, Code, LeadgraphError
from app.http import answers
from app.http.at_once import AtOnce
from app.http.callers import Callers
from app.http.endpoint import GraphQLEndpoint
from app.http.files import file_routes
from app.http.health import health_routes
from app.http.pages import explorer_routes
from app.http.sockets import Sockets
from app.http.wall import Wall
from app.settings import QUERIES, Settings
from app.worker import work
from schema.graph import document, graph


class PageNotFound(LeadgraphError):
    """There is nothing here. GraphQL is at /graphql, the explorer at /explorer."""

    code = Code.NOT_FOUND
    status = 404


class WrongMethod(BadRequest):
    """Ask for this page with GET."""

    status = 405


def build(settings: Settings | None = None, *, migrate: bool = True) -> Starlette:
    """Build the service; without `settings`, from the environment.

    When it starts it brings the database to this version's tables, or, without `migrate`, refuses one that is not.
    """
    settings = settings or Settings()
    logs.configure(settings.log_level)
    database = Database(settings)
    callers = Callers(database, settings)
    graph.plans.size = settings.plan_cache_size
    endpoint = GraphQLEndpoint(graph, document, database, callers, settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            await (migrations.upgrade if migrate else migrations.check)(database)
            async with database.listening(), endpoint.running(), _working(database, settings):
                with _told_to_end(endpoint.connections.end_all):
                    yield
            await endpoint.close()
            await callers.close()
        finally:
            await database.close()

    app = Service(
        Wall(endpoint),
        Sockets(endpoint),
        AtOnce(endpoint, callers),
        routes=[
            Route("/", lambda _: RedirectResponse("/explorer")),
            *explorer_routes(QUERIES),
            *health_routes(database),
            *file_routes(database, callers, endpoint.rates, settings),
        ],
        middleware=[Middleware(Wall)],
        exception_handlers={HTTPException: _not_served},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.database = database
    app.state.callers = callers
    app.state.endpoint = endpoint
    return app


@asynccontextmanager
async def _working(database: Database, settings: Settings) -> AsyncIterator[None]:
    """Run due jobs beside the requests; on the way out let the worker finish the step it is in."""
    if not settings.worker:
        yield
        return
    stop = asyncio.Event()
    task = asyncio.create_task(work(database, settings, stop))
    try:
        yield
    finally:
        stop.set()
        await task


@contextmanager
def _told_to_end(end: Callable[[], None]) -> Iterator[None]:
    """Call `end` as soon as a signal ends the process: the server would wait for streams that have no end of their own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, handlers = asyncio.get_running_loop(), {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

    def heard(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(end)
        handler = handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for each, handler in handlers.items():
        if callable(handler):
            signal.signal(each, heard)
    try:
        yield
    finally:
        for each, handler in handlers.items():
            if callable(handler):
                signal.signal(each, handler)


async def _not_served(request: Request, error: Exception) -> Response:
    wrong = WrongMethod() if isinstance(error, HTTPException) and error.status_code == WrongMethod.status else PageNotFound()
    answer = answers.refusal(wrong, answers.request_id(request.headers))
    headers = {**answer.headers, **(getattr(error, "headers", None) or {})}
    return Response(answer.body, answer.status, headers, answer.media_type)


class Service(Starlette):
    """The application: GraphQL, and around it the pages.

    What goes to `/graphql` passes by Starlette's routes and middleware, which take longer than some answers.
    """

    def __init__(self, graphql: ASGIApp, sockets: ASGIApp, at_once: AtOnce, **options: Any) -> None:
        super().__init__(**options)
        self.graphql, self.sockets = graphql, sockets
        #: What our server asks first (`OneWrite`); behind another one nobody does.
        self.at_once = at_once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] == "/graphql":
            await self.graphql(scope, receive, send)
        elif scope["type"] == "websocket" and scope["path"] == "/graphql":
            await self.sockets(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)
