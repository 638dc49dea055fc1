"""Files that are downloaded: all leads that a filter finds, and the rows of an import that were rejected."""

import asyncio
import csv
import io
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qsl

import structlog
from graphql import GraphQLError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from app.actions import imports
from app.actions.work import Caller
from app.database import Database
from app.errors import BadRequest, LeadgraphError, NotFound, QueryTooComplex, TookTooLong
from app.http import answers
from app.http.bodies import read_json
from app.http.endpoint import Identifies
from app.http.limits import count_conditions
from app.http.one_write import hang_up
from app.http.rates import Rates
from app.rules.files import rejected_header, rejected_row
from app.settings import Settings
from app.turns import Turns
from schema.exports import Exports, Form

logger = structlog.get_logger("leadgraph.files")

#: Bytes that one write holds at most.
WRITE = 65_536
#: Seconds in which a client must take one write, as many as a file of its own may take to arrive. What it reads slowly is seen in bursts,
#: for the systems between hold megabytes: one that reads 100 kB a second may seem to take nothing for 40.
TAKEN_WITHIN = 60.0
#: Files of rejected rows that a process sends at once: each has a page of them in memory.
REJECTED_AT_ONCE = 8
_TYPES = {Form.CSV: "text/csv; charset=utf-8", Form.NDJSON: "application/x-ndjson"}
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class FileNotThere(NotFound):
    """There is no such file in your workspace."""

    status = 404


class NotTaken(TookTooLong):
    """The client took nothing of the file for too long."""


class Download(StreamingResponse):
    """A file on its way out.

    A client that takes nothing is hung up on, as is one whose file cannot be read on: there is no other way left to tell it. Whatever
    the end, its stream is closed at once, and gives back what it holds.
    """

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes], media_type: str, name: str) -> None:
        headers = {**_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(rest, 200, headers, media_type)
        self._first, self._rest = first, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            async with aclosing(self._rest):
                await super().__call__(scope, receive, _in_time(send))
        except Exception as error:
            named = _named(error)
            if named is None:
                raise
            logger.warning("download.broken_off", error=type(named).__name__)
            if not hang_up(scope):
                raise

    async def stream_response(self, send: Send) -> None:
        """Send head and body."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await _write(self._first, send)
        async for piece in self._rest:
            await _write(piece, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _in_time(send: Send) -> Send:
    async def sending(message: Message) -> None:
        try:
            async with asyncio.timeout(TAKEN_WITHIN):
                await send(message)
        except TimeoutError:
            raise NotTaken from None

    return sending


async def _write(piece: bytes, send: Send) -> None:
    # A piece may be megabytes, where leads are long: too much to be taken in one time.
    for start in range(0, len(piece), WRITE):
        await send({"type": "http.response.body", "body": piece[start : start + WRITE], "more_body": True})


def file_routes(database: Database, callers: Identifies, rates: Rates, settings: Settings) -> list[Route]:
    """`/export/leads.csv`, `/export/leads.ndjson` and `/imports/{id}/rejected.csv`, for who sends a key or a token."""
    exports = Exports(database)
    turns = Turns(REJECTED_AT_ONCE, settings.request_seconds)

    async def leads(request: Request, caller: Caller) -> Response:
        form = Form(request.url.path.rpartition(".")[2])
        where, search = _asked(request, settings)
        return await _download(exports.stream(caller, form, where, search), _TYPES[form], f"leads.{form}")

    async def rejected(request: Request, caller: Caller) -> Response:
        stream = _rejected(database, turns, caller, request.path_params["id"])
        return await _download(stream, _TYPES[Form.CSV], "rejected.csv")

    def guarded(answer: Callable[[Request, Caller], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            request_id = answers.request_id(request.headers)
            try:
                caller = await callers.identify(Headers(scope=request.scope))
                rates.count(caller.workspace_id)
                return await answer(request, caller)
            except Exception as error:  # noqa: BLE001  (named, or logged and masked)
                refused = answers.refusal(_named(error) or answers.unexpected(error, request_id), request_id)
                return Response(refused.body, refused.status, {**refused.headers, **_HEADERS}, refused.media_type)

        return endpoint

    return [
        *(Route(f"/export/leads.{form}", guarded(leads)) for form in Form),
        Route("/imports/{id}/rejected.csv", guarded(rejected)),
    ]


def _named(error: Exception) -> LeadgraphError | None:
    """Name what may happen to anybody, None for what nobody expected."""
    return answers.expected(answers.cause(error) if isinstance(error, GraphQLError) else error)


def _asked(request: Request, settings: Settings) -> tuple[dict[str, Any] | None, str | None]:
    try:
        pairs = parse_qsl(request.url.query, keep_blank_values=True, strict_parsing=True, errors="strict") if request.url.query else []
    except ValueError:
        raise BadRequest("The URL's query is not one of `name=value` in UTF-8: send `?where=...&search=...`.") from None
    given = dict(pairs)
    if len(given) < len(pairs) or given.keys() - {"where", "search"}:
        raise BadRequest("The URL's query takes `where` and `search`, each once.")
    where = read_json(given["where"].encode(), settings.max_json_depth, "where") if given.get("where") else None
    if not isinstance(where, dict | None):
        raise BadRequest("`where` must be an object, as in the query `leads`.", argument="where")
    if count_conditions(where) > settings.max_where_conditions:
        raise QueryTooComplex(f"The filter has more than {settings.max_where_conditions} conditions.", argument="where")
    return where, given.get("search")


async def _download(stream: AsyncGenerator[bytes], media_type: str, name: str) -> Response:
    """Answer with a stream, once its first piece shows that there will be one."""
    return Download(await anext(stream), stream, media_type, name)


async def _rejected(database: Database, turns: Turns, caller: Caller, import_id: str) -> AsyncGenerator[bytes]:
    async with turns.of(caller.workspace_id):
        async with database.readers.reading() as reading:
            try:
                found = await imports.told(reading, caller.workspace_id, import_id)
            except NotFound as error:
                raise FileNotThere from error
        separator = (found["options"] or {}).get("separator", ",")
        # The mark at its start tells spreadsheets that it is UTF-8.
        yield "\ufeff".encode() + _lines([rejected_header([(each["column"], each["field"]) for each in found["mapping"]])], separator)
        async for rows in imports.rejected_rows(database.readers, found):
            yield _lines([rejected_row(row, row.errors) for row in rows], separator)


def _lines(rows: list[list[str]], separator: str) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator).writerows(rows)
    return out.getvalue().encode()
