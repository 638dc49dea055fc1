"""What goes back: every error as JSON of one form, whatever it was, and every answer in one write.

`{"message", "locations", "path", "extensions": {"code", "argument", ..., "requestId"}}`. What nobody expected becomes INTERNAL with a
fixed text; what it was stands in the log alone, under the same request id.
"""

import itertools
import re
import secrets
import sqlite3
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from graphql import ArgumentNode, GraphQLError, ListValueNode, ObjectValueNode, ValueNode, Visitor, parse, visit
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.datastructures import Headers
from starlette.types import Send

from app.database_errors import is_away, is_of_driver, told
from app.errors import (
    BadUserInput,
    Code,
    Internal,
    LeadgraphError,
    MethodNotAllowed,
    ParseFailed,
    RateLimited,
    TookTooLong,
    Unauthenticated,
    Unavailable,
)
from app.http.bodies import BodyTooLarge, BodyTooSlow
from app.http.limits import cut_off
from app.http.one_write import Whole

logger = structlog.get_logger("leadgraph.http")

JSON = "application/json"
#: The longest message; a variable's value may be a megabyte, and the library quotes it.
LONGEST_MESSAGE = 500
#: Seconds after which a client may try again when the database was away.
RETRY_AFTER = 1

#: What stands above every answer.
_HEAD = (
    b"content-type: %s; charset=utf-8\r\ncontent-length: %d\r\n"
    b"cache-control: no-store\r\nx-content-type-options: nosniff\r\nx-request-id: %s\r\n"
)
#: A request's id is this process's number and the request's: a number of its own for each would be a call of the system's.
_PROCESS = secrets.token_hex(8)
_REQUESTS = itertools.count(secrets.randbelow(2**24))
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_VARIABLE = re.compile(r"Variable '\$(?P<name>\w+)' has invalid value(?: at (?P<path>(?:\.\w+|\[\d+\])+))?")
_FIELD = re.compile(r"(?:not to include unknown|to include required) field '(\w+)'")
_ARGUMENT = re.compile(r"Argument '(\w+)' ")
#: How the library's messages about an input of which just one field may be given begin, when it finds out at run time.
_ONE_OF = ("OneOf Input Object", "Value for member field")


class ValidationFailed(LeadgraphError):
    """The document does not fit the schema."""

    code = Code.GRAPHQL_VALIDATION_FAILED


def request_id(headers: Headers) -> str:
    """Give the request's id: the one it brings, if it is harmless to log and to send back, else a new one."""
    given = headers.get("x-request-id", "")
    return given if given and _REQUEST_ID.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    """Give a request's id where it brings none."""
    return f"req_{_PROCESS}{next(_REQUESTS):08x}"


@dataclass(slots=True)
class Answer:
    """A response that is written whole."""

    status: int
    body: bytes
    media_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    #: Whether GraphQL ran: what it came to is a result, whatever its errors.
    executed: bool = False

    def send_whole(self, whole: Whole, request: str) -> bool:
        """Write it in one piece, or tell that it must go by ASGI's messages."""
        if "connection" in self.headers:
            return False
        head = _HEAD % (self.media_type.encode(), len(self.body), request.encode())
        if self.headers:
            head += b"".join([b"%s: %s\r\n" % (name.encode(), value.encode()) for name, value in self.headers.items()])
        return whole(self.status, head, self.body)

    async def send(self, send: Send, request: str, *, more: bool = False, whole: Whole | None = None) -> None:
        """Write it, by `whole` where the server has it. With `more` the response is not ended yet, though all its bytes are out."""
        if whole is not None and self.send_whole(whole, request):
            return
        headers = [
            (b"content-type", b"%s; charset=utf-8" % self.media_type.encode()),
            (b"content-length", b"%d" % len(self.body)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", request.encode()),
            *[(name.encode(), value.encode()) for name, value in self.headers.items()],
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": more})


def refusal(error: LeadgraphError, request: str, media_type: str = JSON) -> Answer:
    """Answer a request that ended before GraphQL was reached."""
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = error.allowed
    if isinstance(error, Unavailable):
        headers["retry-after"] = str(RETRY_AFTER)
    if isinstance(error, RateLimited):
        headers["retry-after"] = str(error.retry_after)
    if isinstance(error, BodyTooLarge | BodyTooSlow):
        headers["connection"] = "close"  # what is left of the body is not read as the next request
    return Answer(error.status, orjson.dumps({"errors": [_entry(error, request)]}), media_type, headers)


def result(data: Any, errors: Iterable[dict[str, Any]], media_type: str, *, executed: bool, cost: int | None = None) -> Answer:
    """Answer with what GraphQL came to; `executed` tells a field's error, beside which there is data, from a refused request."""
    errors = list(errors)
    content: dict[str, Any] = {"errors": errors} if errors else {}
    if executed:
        content["data"] = data
    if cost is not None:
        content["extensions"] = {"cost": cost}
    # To a client that takes nothing but JSON, anything but 200 may come from a proxy.
    status = 200 if executed or media_type == JSON else 400
    away = any(error["extensions"]["code"] == Code.UNAVAILABLE for error in errors)
    return Answer(status, orjson.dumps(content), media_type, {"retry-after": str(RETRY_AFTER)} if away else {}, executed)


def document_errors(errors: Iterable[GraphQLError], request: str, *, parsed: bool) -> list[dict[str, Any]]:
    """Tell what is wrong with a document: what the parser or what validation found."""
    told = []
    for error in errors:
        named = expected(cause(error)) or (ValidationFailed(error.message) if parsed else cut_off(error) or ParseFailed(error.message))
        told.append(_entry(named, request, error))
    return told


def result_errors(errors: Iterable[GraphQLError], request: str) -> list[dict[str, Any]]:
    """Tell what went wrong with variables (those errors have no path) and in resolvers."""
    return [_entry(_named(error, request), request, error) for error in errors]


def failure(error: BaseException, request: str) -> dict[str, Any]:
    """Tell what ended a request as a whole."""
    return _entry(expected(error) or unexpected(error, request), request)


def expected(error: BaseException | None) -> LeadgraphError | None:
    """Name what may happen to anybody: our own errors, a database that is away, a deadline; None for all else."""
    if isinstance(error, LeadgraphError):
        return error
    if isinstance(error, sqlite3.Error) or getattr(error, "sqlstate", None):  # of a driver, as it is
        error = DBAPIError(None, None, orig=error)  # type: ignore[arg-type]
    if isinstance(error, TimeoutError) or (isinstance(error, DBAPIError) and str(error.orig) == "interrupted"):
        return TookTooLong()
    if isinstance(error, PoolTimeout | ConnectionError) or (isinstance(error, DBAPIError) and is_away(error)):
        return Unavailable()
    return None


def unexpected(error: BaseException, request: str) -> Internal:
    """Log what nobody expected, and give what is said of it."""
    if isinstance(error, StatementError):
        error.hide_parameters = True  # they are people's names and addresses
    if is_of_driver(error):
        # The frames alone: a database's message goes on to quote the row, which is somebody's.
        frames = "".join(traceback.format_tb(error.__traceback__))
        logger.error("unexpected", request_id=request, error=told(error), exception=frames)
    else:
        logger.error("unexpected", request_id=request, exc_info=error)
    return Internal()


def cause(error: GraphQLError) -> BaseException | None:
    """Give what was raised below the library's errors, None where they began it."""
    below: BaseException | None = error
    while isinstance(below, GraphQLError):
        below = below.original_error
    return below


def _named(error: GraphQLError, request: str) -> LeadgraphError:
    below = cause(error)
    if named := expected(below):
        return named
    if error.path is None:
        return BadUserInput(error.message)
    if below is None and error.message.startswith(_ONE_OF):
        return BadUserInput(error.message, argument=literal_path(error))
    if below is None and (argument := _ARGUMENT.match(error.message)):
        return BadUserInput(error.message, argument=argument[1])
    # The library's own errors print the document: their message will do.
    return unexpected(below or RuntimeError(error.message), request)


def literal_path(error: GraphQLError) -> str | None:
    """Name the place in the document's arguments at which a literal stands: `input.optInAt`, `where.or[0].createdAt.gt`."""
    node = error.nodes[0] if error.nodes else None
    if not isinstance(node, ValueNode) or node.loc is None:
        return None
    place = (node.loc.start, node.loc.end)
    found: list[str] = []

    class Find(Visitor):
        def enter_argument(self, argument: ArgumentNode, *_: Any) -> None:
            if _holds(argument.value, place):
                found.append(_path_to(place, argument.name.value, argument.value))

    visit(parse(node.loc.source), Find())
    return found[0] if found else None


def _path_to(place: tuple[int, int], path: str, value: ValueNode) -> str:
    if isinstance(value, ObjectValueNode):
        for field_ in value.fields:
            if _holds(field_.value, place):
                return _path_to(place, f"{path}.{field_.name.value}", field_.value)
    elif isinstance(value, ListValueNode):
        for index, item in enumerate(value.values):
            if _holds(item, place):
                return _path_to(place, f"{path}[{index}]", item)
    return path


def _holds(value: ValueNode, place: tuple[int, int]) -> bool:
    return value.loc is not None and value.loc.start <= place[0] and place[1] <= value.loc.end


def _variable(message: str) -> str | None:
    """Name the place in the variables that the library's message is about: `input.email`, `leads[3].attributes`."""
    found = _VARIABLE.match(message)
    if found is None:
        return None
    at_fault = _FIELD.search(message)
    # A number is the name of no field: who sends one means a place in a list.
    below = "" if at_fault is None else f"[{at_fault[1]}]" if at_fault[1].isdecimal() else f".{at_fault[1]}"
    return f"{found['name']}{found['path'] or ''}{below}"


def _entry(error: LeadgraphError, request: str, at: GraphQLError | None = None) -> dict[str, Any]:
    message = error.message.replace("not to be None.", "not to be null.")  # the library speaks Python there
    message = message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…"
    entry: dict[str, Any] = {"message": message}
    if at is not None and at.locations:
        entry["locations"] = [{"line": place.line, "column": place.column} for place in at.locations]
    if at is not None and at.path is not None:
        entry["path"] = at.path
    variable = None
    if at is not None and error.argument is None:
        variable = _variable(at.message) or (literal_path(at) if error.code is Code.BAD_USER_INPUT else None)
    entry["extensions"] = {**error.extensions, **({"argument": variable} if variable else {}), "requestId": request}
    return entry
