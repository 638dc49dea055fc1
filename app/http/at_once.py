"""Queries that are known in every part are answered in the turn of the loop in which they came in, without a task of their own.

Known are: who asks, the document, its plan; and the statement is one that SQLite answers at once, or it goes to PostgreSQL, look-ups
together. All else, and whatever is wrong with a request, is left to the endpoint, which begins anew: until then nothing has
been done but reading. The checks are the endpoint's own, in its order.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from graphql import OperationType
from starlette.types import Scope

from app.errors import LeadgraphError
from app.http import answers
from app.http.answers import Answer
from app.http.bodies import read_json
from app.http.callers import Callers, named
from app.http.compression import SMALLEST, pack
from app.http.endpoint import ANSWERED, COUNTED, GraphQLEndpoint
from app.http.heads import Heads
from app.http.one_write import Whole
from app.http.requests import check_content_type, read_parameters, response_type
from app.http.wall import doubt
from schema.short_way import Planned

_LENGTH = b"content-length"
#: Headers with which a request is the endpoint's: what they say is not the same for every request of a connection.
_OWN = frozenset({"x-request-id", "idempotency-key"})


class Connection(Protocol):
    """A client's connection."""

    #: What its last request's headers came to.
    remembered: Any


@dataclass(frozen=True, slots=True)
class _Said:
    """What the headers of a request came to, which the next one on its connection probably has again."""

    #: All but the body's length.
    headers: list[tuple[bytes, bytes]]
    heads: Heads
    #: By what the caller is remembered; None where such a request is not answered at once.
    caller: bytes | None = None
    media_type: str = answers.JSON


class AtOnce:
    """Answers at once, or leaves it."""

    def __init__(self, endpoint: GraphQLEndpoint, callers: Callers) -> None:
        self.endpoint, self.callers = endpoint, callers
        self._packing: set[asyncio.Task[None]] = set()

    def __call__(self, scope: Scope, body: bytes, connection: Connection, whole: Whole, instead: Callable[[], None]) -> bool:
        """Tell whether the request is answered, now or soon, or `instead` called; else it is still to be begun."""
        try:
            return self._begin(scope, body, connection, whole, instead)
        except Exception:  # noqa: BLE001  (the endpoint meets it again, and tells it)
            return False

    def _begin(self, scope: Scope, body: bytes, connection: Connection, whole: Whole, instead: Callable[[], None]) -> bool:
        endpoint, settings = self.endpoint, self.endpoint.settings
        headers = [header for header in scope["headers"] if header[0] != _LENGTH]
        said: _Said | None = connection.remembered
        if said is None or said.headers != headers:
            said = connection.remembered = _read(scope, headers)
        if said.caller is None or len(scope["headers"]) - len(headers) != 1 or len(body) > settings.max_body_bytes:
            return False
        caller = self.callers.known(said.caller)
        if caller is None:
            return False
        endpoint.rates.count(caller.workspace_id)
        scope[COUNTED] = True
        given = read_parameters(read_json(body, settings.max_json_depth), endpoint.documents, known_only=settings.persisted_only)
        checked = endpoint.checks.of(given.query, given.operation_name)
        operation = checked.operation
        if operation is None or operation.kind is not OperationType.QUERY or operation.several:
            return False
        cost = operation.price(given.variables, settings)
        readers = endpoint.database.readers
        planned = endpoint.graph.short_way.plan(
            checked.document, operation.name, given.variables, caller, postgres=endpoint.database.is_postgres
        )
        if planned is None:
            return False
        binds = planned.plan.bound(planned.values)
        told = partial(self._told, scope, planned, cost, said, whole, instead)
        return readers.ask(planned.plan.sql, planned.plan.look_up, binds, told)

    def _told(
        self,
        scope: Scope,
        planned: Planned,
        cost: int,
        said: _Said,
        whole: Whole,
        instead: Callable[[], None],
        rows: list[Any] | None,
        refused: LeadgraphError | None,
    ) -> None:
        if refused is not None:
            scope[ANSWERED] = {planned.key: refused}  # the endpoint says so in its place, and does not ask again
        answer = None if rows is None else _answer(planned, rows, said.media_type, cost)
        if answer is None:
            instead()
        elif len(answer.body) < SMALLEST:
            if not answer.send_whole(whole, answers.new_request_id()):
                instead()
        else:
            task = asyncio.create_task(self._pack(answer, said.heads, whole, instead))
            self._packing.add(task)
            task.add_done_callback(self._packing.discard)

    async def _pack(self, answer: Answer, heads: Heads, whole: Whole, instead: Callable[[], None]) -> None:
        await pack(answer, heads)
        if not answer.send_whole(whole, answers.new_request_id()):
            instead()


def _answer(planned: Planned, rows: list[Any], media_type: str, cost: int) -> Answer | None:
    try:
        data = planned.data(rows)
        return None if data is None else answers.result(data, (), media_type, executed=True, cost=cost)
    except Exception:  # noqa: BLE001  (the endpoint meets it again, and tells it)
        return None


def _read(scope: Scope, headers: list[tuple[bytes, bytes]]) -> _Said:
    heads = Heads(scope)
    try:
        media_type = response_type(heads)
        if scope["method"] == "POST" and scope["path"] == "/graphql" and media_type and not doubt(scope["headers"], scope["http_version"]):
            check_content_type(heads)
            if not any(name in heads for name in _OWN):
                return _Said(headers, heads, named(heads)[0], media_type)
    except LeadgraphError:
        return _Said(headers, heads)  # the endpoint says what is wrong with it
    return _Said(headers, heads)
