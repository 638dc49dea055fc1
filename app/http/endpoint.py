"""GraphQL over HTTP: a request in, bytes out, https://graphql.github.io/graphql-over-http/draft/ to the letter.

The order is a wall: who asks is settled before anything is read, what is read is bounded before it is parsed, what is parsed is
bounded before it is validated, and what is validated runs in one transaction (mutations) or on one snapshot (queries).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

import structlog
from graphql import OperationType
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from app.actions import idempotency
from app.actions.idempotency import Keyed, KeyReused
from app.actions.work import Caller, Work
from app.database import Database, lock_workspace
from app.database_errors import is_retryable
from app.deadlines import Deadlines
from app.errors import (
    BadRequest,
    LeadgraphError,
    MethodNotAllowed,
    MutationByGet,
    NotAcceptable,
    QueryTooComplex,
    TookTooLong,
    Unavailable,
    UnsupportedMediaType,
)
from app.http import answers
from app.http.answers import JSON, Answer
from app.http.bodies import BodyTooLarge, BodyTooSlow, ClientLeft, read_body, read_json
from app.http.checks import Checks, Document, Operation
from app.http.compression import pack
from app.http.connections import Connections
from app.http.heads import Heads
from app.http.one_write import whole_answer
from app.http.persisted import Persisted
from app.http.rates import Rates
from app.http.requests import EVENTS, Request, check_content_type, read_parameters, read_query_string, response_type, takes_events
from app.http.retries import REPLAYED, Turns, keyed, read_key
from app.http.root_fields import RootFields
from app.http.streams import Events, Stream, answer_once
from app.http.subscriptions import Subscriptions
from app.http.uploads import check_preflight, is_multipart, reading_upload
from app.rules.webhook_urls import Allowed
from app.settings import QUERIES, Settings
from schema.context import Context
from schema.scalars import WithFiles

logger = structlog.get_logger("leadgraph.http")

#: In a request's scope: it has been counted already; what its root fields came to already.
COUNTED, ANSWERED = "leadgraph.counted", "leadgraph.answered"
#: A deadlock or a serialization failure reruns the whole request: nothing has left the house yet.
RERUNS = 3
#: Seconds in which a client that sends too much may go on sending, so that it gets to read why it is refused.
LINGER = 5
#: Seconds between interrupting a statement of SQLite and cancelling whatever else a mutation waits for.
GRACE = 0.5


class Identifies(Protocol):
    """Knows who asks."""

    async def identify(self, headers: Headers) -> Caller:
        """Tell who sends these headers, or raise Unauthenticated or BadRequest."""

    def forget(self, api_key_id: str | None = None) -> None:
        """Drop what is remembered of callers."""


class NotStreamed(BadRequest):
    """A subscription has more than one answer: ask with `Accept: text/event-stream`, or over a WebSocket (graphql-transport-ws)."""


class _Refused(Exception):
    """A result with errors, on its way out of the transaction that it rolls back."""

    def __init__(self, result: Any) -> None:
        self.result = result


class GraphQLEndpoint:
    """The ASGI application behind `/graphql`."""

    def __init__(self, graph: Any, document: Callable[..., Document], database: Database, callers: Identifies, settings: Settings) -> None:
        self.graph = graph
        self.checks = Checks(graph.core, document, settings)
        self.documents = Persisted(QUERIES)
        self.database = database
        self.callers = callers
        self.rates = Rates(settings)
        self.deadlines = Deadlines()
        self.settings = settings
        self._webhooks_may_reach = Allowed.of(settings.webhook_private_hosts)
        self._turns = Turns()
        self._root_fields = RootFields(graph.core)
        self.subscriptions = Subscriptions(graph, database, settings)
        self.connections = Connections(callers, settings.max_connections)
        #: Transactions under way: they end even when nobody waits for them any more.
        self._writing: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve subscriptions for as long as the block lasts."""
        tasks = [asyncio.create_task(self.subscriptions.live.run()), asyncio.create_task(self.connections.run())]
        try:
            yield
        finally:
            self.connections.end_all()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Wait for the transactions that are still under way."""
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = Heads(scope)
        request_id = answers.request_id(headers)
        events = takes_events(headers)
        media_type = response_type(headers) or (EVENTS if events else None)
        try:
            answer = await self._answer(scope, receive, headers, request_id, media_type, events=events)
            if isinstance(answer, Stream):
                await answer.send(receive, send)
                return
            if media_type == EVENTS:
                await answer_once(answer.body, send, request_id)
                return
        except ClientLeft:
            return
        except BodyTooLarge as error:
            await _refuse_body(answers.refusal(error, request_id, _plain(media_type)), receive, send, request_id)
            return
        except BodyTooSlow as error:
            answer = answers.refusal(error, request_id, _plain(media_type))
        except (Unavailable, TookTooLong) as error:
            # GraphQL's own form, as when the same happens later: whoever asks finds it in one place.
            answer = answers.result(None, [answers.failure(error, request_id)], _plain(media_type), executed=True)
        except LeadgraphError as error:
            answer = answers.refusal(error, request_id, _plain(media_type))
        except Exception as error:  # noqa: BLE001  (logged, and masked)
            answer = answers.refusal(answers.unexpected(error, request_id), request_id, _plain(media_type))
        await pack(answer, headers)
        await answer.send(send, request_id, whole=whole_answer(scope))

    async def _answer(
        self, scope: Scope, receive: Receive, headers: Headers, request_id: str, media_type: str | None, *, events: bool
    ) -> Answer | Stream:
        by_get = scope["method"] == "GET"
        if not by_get and scope["method"] != "POST":
            raise MethodNotAllowed
        caller = await self.identify(headers)
        if COUNTED not in scope:
            self.rates.count(caller.workspace_id)
        if media_type is None:
            raise NotAcceptable
        if not by_get and is_multipart(headers):
            return await self._upload(headers, receive, caller, request_id, media_type)
        key = None
        if by_get:
            content = read_query_string(scope["query_string"], self.settings.max_json_depth)
        else:
            check_content_type(headers)
            key = read_key(headers)
            try:
                body = await self.deadlines.within(self.settings.request_seconds, read_body(headers, receive, self.settings.max_body_bytes))
            except TimeoutError:
                raise BodyTooSlow from None
            content = read_json(body, self.settings.max_json_depth)
        given = read_parameters(content, self.documents, known_only=self.settings.persisted_only)
        asked = (given.query, given.variables, given.operation_name)
        request = Request(request_id, caller, _plain(media_type), *asked, by_get, key, events, scope.get(ANSWERED))
        answer = await self.run(request)
        if isinstance(answer, Answer):
            return answer
        return Stream(answer, request, headers, self.connections, self.settings.heartbeat_seconds)

    async def _upload(self, headers: Headers, receive: Receive, caller: Caller, request_id: str, media_type: str) -> Answer:
        check_preflight(headers)
        key = read_key(headers)
        async with AsyncExitStack() as files:
            try:
                async with asyncio.timeout(self.settings.upload_seconds):
                    content = await files.enter_async_context(reading_upload(headers, receive, self.settings))
            except TimeoutError:
                raise BodyTooSlow from None
            given = read_parameters(content, self.documents, known_only=self.settings.persisted_only)
            asked = Request(request_id, caller, _plain(media_type), given.query, given.variables, given.operation_name, key=key)
            answer = await self.run(asked)
        if not isinstance(answer, Answer):
            raise UnsupportedMediaType
        return answer

    async def identify(self, headers: Headers) -> Caller:
        """Tell who asks, or raise what says why that is not known."""
        try:
            return await self.callers.identify(headers)
        except Exception as error:
            if (named := answers.expected(error)) is None:
                raise
            raise named from error

    def subscribes(self, request: Request) -> bool:
        """Tell whether a request is for a subscription; raises TooLarge."""
        operation = self.checks.of(request.query, request.operation_name).operation
        return operation is not None and operation.kind is OperationType.SUBSCRIPTION

    async def run(self, request: Request) -> Answer | Events:
        """Check the document and what it asks for, and run its operation: an answer, or a subscription's results as they come."""
        checked = self.checks.of(request.query, request.operation_name)
        operation = checked.operation
        if operation is None:
            if checked.refusal is not None:
                return _refused(checked.refusal, request)
            errors = answers.document_errors(checked.errors, request.id, parsed=checked.document.ast is not None)
            return answers.result(None, errors, request.media_type, executed=False)
        mutation, subscription = operation.kind is OperationType.MUTATION, operation.kind is OperationType.SUBSCRIPTION
        if mutation and request.reads_only:
            raise MutationByGet
        if subscription and not request.streams:
            return _refused(NotStreamed(), request)
        try:
            cost = operation.price(request.variables, self.settings)
        except QueryTooComplex as error:
            return _refused(error, request)
        if subscription:
            return await self.subscriptions.begin(request, operation.document, operation.node, cost)
        try:
            if mutation:
                return await self._mutate(request, operation, cost)
            result = await self._query(request, checked.document, operation)
        except KeyReused:
            raise
        except Exception as error:  # noqa: BLE001  (what a resolver raises is in the result: this is the database, or unexpected)
            return answers.result(None, [answers.failure(error, request.id)], request.media_type, executed=True)
        if isinstance(result, dict):
            return answers.result(result, (), request.media_type, executed=True, cost=cost)
        return _told(result, request, mutation=False, cost=cost)

    async def _query(self, request: Request, document: Document, operation: Operation) -> Any:
        """Give the data of a query that is answered by plans alone, or the library's result."""
        context = Context(caller=request.caller, request_id=request.id)
        try:
            return await self.deadlines.within(self.settings.request_seconds, self._read(request, document, operation, context))
        except TimeoutError:
            # Who never got a reader met a busy service, not a slow statement.
            raise (Unavailable if context.reading is None else TookTooLong) from None

    async def _read(self, request: Request, document: Document, operation: Operation, context: Context) -> Any:
        async with self.database.readers.reading(snapshot=operation.several) as context.reading:
            if request.answered is not None:
                context.answered.update(request.answered)
                return await self._execute(request, operation, context)
            data = await self.graph.short_way.answer(document, operation.name, request.variables, context)
            return data if data is not None else await self._execute(request, operation, context)

    async def _mutate(self, request: Request, operation: Operation, cost: int) -> Answer:
        # In a task of its own: a client that leaves, or a server that stops, finds it done whole or not at all.
        task = asyncio.create_task(self._transact(request, operation, cost))
        self._writing.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    def _written(self, task: asyncio.Task[Any]) -> None:
        self._writing.discard(task)
        if not task.cancelled():
            task.exception()  # seen, though nobody may wait for it any more

    async def _transact(self, request: Request, operation: Operation, cost: int) -> Answer:
        """Run a mutation when its turn has come, in one transaction, which a result with errors rolls back; again after a deadlock."""
        deadline = asyncio.get_running_loop().time() + self.settings.request_seconds
        sent = await self._ahead(request, operation, deadline)
        async with self._turns.of(request.caller, request.key, deadline):
            for rerun in range(RERUNS + 1):
                try:
                    async with self.database.writing() as connection:
                        answer = await self._write(request, operation, connection, sent, deadline, cost)
                except _Refused as refused:
                    if rerun == RERUNS or not any(is_retryable(answers.cause(error)) for error in refused.result.errors):
                        return _told(refused.result, request, mutation=True, cost=cost)
                except Exception as error:
                    if rerun == RERUNS or not is_retryable(error):
                        raise
                else:
                    if any(name.startswith(("apiKey", "user")) for name in operation.tally.root_names):
                        self.callers.forget()
                    return answer
                await asyncio.sleep(random.uniform(0, 0.02) * 2**rerun)  # noqa: S311  (so that two that met don't meet again)
        raise AssertionError("the last rerun returns or raises")

    async def _ahead(self, request: Request, operation: Operation, deadline: float) -> Keyed | None:
        """Do what needs no transaction before there is one, which may be the only one: read files, tell the request by its key."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._root_fields.do_ahead(request, operation)
                if request.key is None:
                    return None
                with_files = isinstance(request.variables, WithFiles)
                return await asyncio.to_thread(keyed, request.key, request) if with_files else keyed(request.key, request)
        except TimeoutError:
            raise TookTooLong from None

    async def _write(
        self, request: Request, operation: Operation, connection: AsyncConnection, sent: Keyed | None, deadline: float, cost: int
    ) -> Answer:
        """Give the answer that is kept under the request's key, or run it, and keep its answer in the same transaction."""
        work = Work(connection, request.caller, request.id)
        users_log_in = self.settings.jwt_secret is not None or self.settings.jwt_jwks_url is not None
        context = Context(
            caller=request.caller, request_id=request.id, work=work, users_log_in=users_log_in, webhooks_may_reach=self._webhooks_may_reach
        )
        async with _until(deadline, connection):
            if sent is not None:
                kept = await idempotency.begin(work, sent, timedelta(hours=self.settings.idempotency_hours))
                if kept is not None:
                    self._root_fields.check_role(request.caller, operation)  # the role may have been another then
                    return Answer(200, kept.encode(), request.media_type, {**REPLAYED})
            await lock_workspace(connection, work.workspace, alone=operation.several, many=operation.of_many)
            result = await self._execute(request, operation, context)
            if result.errors:
                raise _Refused(result)
            answer = _told(result, request, mutation=True, cost=cost)
            if sent is not None and not self._root_fields.shows_secret(operation):
                await idempotency.keep(work, sent, answer.body.decode())
        return answer

    async def _execute(self, request: Request, operation: Operation, context: Context) -> Any:
        return await self.graph.execute(
            request.query, variable_values=request.variables, context_value=context, operation_name=operation.name
        )


@asynccontextmanager
async def _until(deadline: float, connection: AsyncConnection) -> AsyncIterator[None]:
    """Raise TookTooLong when time is up.

    A statement of SQLite is interrupted first: were it cancelled, its thread would run on and its connection be closed with the
    transaction open, which holds the one writer. PostgreSQL's driver cancels at the server.
    """
    clock = asyncio.get_running_loop()
    alarm, grace = None, 0.0
    if connection.dialect.name == "sqlite":
        driver: Any = (await connection.get_raw_connection()).driver_connection
        alarm, grace = clock.call_at(deadline, driver._conn.interrupt), GRACE  # noqa: SLF001  (its own interrupt is a coroutine)
    try:
        async with asyncio.timeout_at(deadline + grace):
            yield
    except TimeoutError:
        raise TookTooLong from None
    finally:
        if alarm is not None:
            alarm.cancel()


def _told(result: Any, request: Request, *, mutation: bool, cost: int) -> Answer:
    errors = answers.result_errors(result.errors or (), request.id)
    # An error without a path is about the variables: nothing was run.
    executed = result.data is not None or any(error.path is not None for error in result.errors or ())
    # A mutation with errors was rolled back, whatever its other fields came to.
    data = None if mutation and errors else result.data
    return answers.result(data, errors, request.media_type, executed=executed, cost=cost)


def _refused(error: LeadgraphError, request: Request) -> Answer:
    return answers.result(None, [answers.failure(error, request.id)], request.media_type, executed=False)


def _plain(media_type: str | None) -> str:
    """Give the type in which one result is written, by itself or inside an event."""
    return JSON if media_type in (None, EVENTS) else media_type


async def _refuse_body(answer: Answer, receive: Receive, send: Send, request_id: str) -> None:
    """Refuse a request whose body goes on: answer at once, let the client finish writing what is thrown away, and hang up.

    Hanging up at once would reset the connection, and the client would lose the answer.
    """
    await answer.send(send, request_id, more=True)
    try:
        async with asyncio.timeout(LINGER):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        logger.debug("body.not_ended", request_id=request_id)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
