"""Files that are downloaded: all leads that a filter finds, and the rows of an import that were rejected."""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from graphql import GraphQLError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from app.actions import imports
from app.actions.work import Caller
from app.database import Database
from app.errors import BadRequest, NotFound, QueryTooComplex
from app.http import answers
from app.http.bodies import read_json
from app.http.endpoint import Identifies
from app.http.limits import count_conditions
from app.http.rates import Rates
from app.rules.files import rejected_header, rejected_row
from app.settings import Settings
from schema.exports import Exports, Form

_TYPES = {Form.CSV: "text/csv; charset=utf-8", Form.NDJSON: "application/x-ndjson"}
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class FileNotThere(NotFound):
    """There is no such file in your workspace."""

    status = 404


def file_routes(database: Database, callers: Identifies, rates: Rates, settings: Settings) -> list[Route]:
    """`/export/leads.csv`, `/export/leads.ndjson` and `/imports/{id}/rejected.csv`, for who sends a key or a token."""
    exports = Exports(database)

    async def leads(request: Request, caller: Caller) -> Response:
        form = Form(request.url.path.rpartition(".")[2])
        where, search = _asked(request, settings)
        return await _streamed(exports.stream(caller, form, where, search), _TYPES[form], f"leads.{form}")

    async def rejected(request: Request, caller: Caller) -> Response:
        stream = _rejected(database, caller, request.path_params["id"])
        return await _streamed(stream, _TYPES[Form.CSV], "rejected.csv")

    def guarded(answer: Callable[[Request, Caller], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            request_id = answers.request_id(request.headers)
            try:
                caller = await callers.identify(Headers(scope=request.scope))
                rates.count(caller.workspace_id)
                return await answer(request, caller)
            except Exception as error:  # noqa: BLE001  (named, or logged and masked)
                below = answers.cause(error) if isinstance(error, GraphQLError) else error
                refused = answers.refusal(answers.expected(below) or answers.unexpected(error, request_id), request_id)
                return Response(refused.body, refused.status, {**refused.headers, **_HEADERS}, refused.media_type)

        return endpoint

    return [
        *(Route(f"/export/leads.{form}", guarded(leads)) for form in Form),
        Route("/imports/{id}/rejected.csv", guarded(rejected)),
    ]


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


async def _streamed(stream: AsyncIterator[bytes], media_type: str, name: str) -> Response:
    """Answer with a stream, once its first piece shows that there will be one."""
    first = await anext(stream)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in stream:
            yield piece

    headers = {**_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(whole(), 200, headers, media_type)


async def _rejected(database: Database, caller: Caller, import_id: str) -> AsyncIterator[bytes]:
    async with database.readers.reading(snapshot=True) as reading:
        try:
            found = await imports.told(reading, caller.workspace_id, import_id)
        except NotFound as error:
            raise FileNotThere from error
        separator = (found["options"] or {}).get("separator", ",")
        # The mark at its start tells spreadsheets that it is UTF-8.
        yield "\ufeff".encode() + _lines([rejected_header([each["column"] for each in found["mapping"]])], separator)
        async for rows in imports.rejected_rows(reading, found):
            yield _lines([rejected_row(row, row.errors) for row in rows], separator)


def _lines(rows: list[list[str]], separator: str) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator).writerows(rows)
    return out.getvalue().encode()
