"""GraphQL over WebSocket: the protocol `graphql-transport-ws`, https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md.

Each operation is a request of its own, checked and run as one that came by POST. Who asks is settled by the handshake's headers or by
`connection_init`, before anything is run; a message that is no part of the protocol ends the socket.
"""

import asyncio
from contextlib import ExitStack, aclosing, suppress
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from app.actions.work import Caller
from app.errors import BadRequest, Code, LeadgraphError, TooMany, Unauthenticated
from app.http import answers
from app.http.answers import JSON, Answer
from app.http.bodies import read_json
from app.http.endpoint import GraphQLEndpoint
from app.http.heads import Heads
from app.http.requests import Request, read_parameters
from app.http.streams import Events

logger = structlog.get_logger("leadgraph.sockets")

PROTOCOL = "graphql-transport-ws"
#: Seconds that a client has to say who it is.
PATIENCE = 10
#: Seconds that a client has to take the end of its socket.
LINGER = 5
#: The longest id of an operation, in characters.
LONGEST_ID = 256
#: What may come in, and what is done with it.
HANDLERS = {"connection_init": "_init", "ping": "_ping", "pong": "_pong", "subscribe": "_subscribe", "complete": "_complete"}
#: What a browser cannot put into the handshake, and sends in `connection_init`.
CREDENTIALS = ("authorization", "x-org-api-key", "x-workspace")


class TooManyOperations(LeadgraphError):
    """This WebSocket has as many operations open as one may: complete one, or open another socket."""

    code = Code.LIMIT
    status = 429


class ForeignOrigin(LeadgraphError):
    """A page of another origin may not open a WebSocket here."""

    code = Code.FORBIDDEN
    status = 403


class _Closed(Exception):
    """The socket ends, with a code of the protocol."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Sockets:
    """The ASGI application behind WebSockets to `/graphql`."""

    def __init__(self, endpoint: GraphQLEndpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket to its end."""
        headers = Heads(scope)
        await receive()
        try:
            _check_origin(headers)
            caller = await self._endpoint.identify(headers) if any(name in headers for name in CREDENTIALS[:2]) else None
        except Exception as error:  # noqa: BLE001  (logged, and masked)
            request_id = answers.request_id(headers)
            named = error if isinstance(error, LeadgraphError) else answers.unexpected(error, request_id)
            await _deny(answers.refusal(named, request_id), receive, send)
            return
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL if PROTOCOL in scope["subprotocols"] else None})
        await Socket(self._endpoint, headers, caller, receive, send).run(known=PROTOCOL in scope["subprotocols"])


def _check_origin(headers: Headers) -> None:
    """Refuse pages of other origins: a browser lets any page open a socket to anywhere, and tells only here from where."""
    for origin in headers.getlist("origin"):
        if urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            raise ForeignOrigin


async def _deny(answer: Answer, receive: Receive, send: Send) -> None:
    fields = [(b"content-type", JSON.encode()), *[(name.encode(), value.encode()) for name, value in answer.headers.items()]]
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": fields})
    await send({"type": "websocket.http.response.body", "body": answer.body, "more_body": False})
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            # Until the connection is gone: the server takes who returns before for one that forgot to answer, and logs an error.
            await receive()
            await receive()


class Socket:
    """One WebSocket, and the operations on it."""

    def __init__(self, endpoint: GraphQLEndpoint, headers: Headers, caller: Caller | None, receive: Receive, send: Send) -> None:
        self._endpoint, self._settings = endpoint, endpoint.settings
        self._headers, self._caller = headers, caller
        self._receive, self._asgi_send = receive, send
        self._ready = self._closed = False
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._ended: asyncio.Future[LeadgraphError | None] = asyncio.get_running_loop().create_future()
        self._counted = ExitStack()
        self._sent_at = asyncio.get_running_loop().time()

    async def run(self, *, known: bool) -> None:
        """Read messages until the client leaves, breaks the protocol, or may no longer be here; `known` tells our subprotocol."""
        reading = asyncio.create_task(self._read(known=known))
        beating = asyncio.create_task(self._beat())
        first: set[asyncio.Future[Any]] = {reading, self._ended}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = [reading, beating, *self._operations.values()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._counted.close()
        await self._close(reading)

    async def _close(self, reading: asyncio.Task[None]) -> None:
        code, reason = 1000, ""
        if self._ended.done():
            # Who comes again at once finds a server that knows their new role, or the next server.
            gone = self._ended.result()
            code, reason = (1012, "Come again") if gone is None else (4401, "Unauthorized")
        elif not reading.cancelled() and isinstance(error := reading.exception(), _Closed):
            code, reason = error.code, error.reason
        elif not reading.cancelled() and error is not None:
            answers.unexpected(error, answers.request_id(self._headers))
            code, reason = 4500, "Internal server error"
        if not self._closed:
            with suppress(TimeoutError, OSError, RuntimeError):  # it is gone, or does not read
                async with asyncio.timeout(LINGER):
                    await self._asgi_send({"type": "websocket.close", "code": code, "reason": reason})

    async def _read(self, *, known: bool) -> None:
        if not known:
            raise _Closed(4406, "Subprotocol not acceptable")
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                async with asyncio.timeout_at(None if self._ready else deadline):
                    message = await self._receive()
            except TimeoutError:
                raise _Closed(4408, "Connection initialisation timeout") from None
            if message["type"] == "websocket.disconnect":
                self._closed = True
                return
            content = self._parsed(message)
            await getattr(self, HANDLERS[content["type"]])(content)

    def _parsed(self, message: Message) -> dict[str, Any]:
        """Read a message, or end the socket."""
        text = message.get("text")
        content: Any = None
        if text is None:
            fault: str | None = "it is binary"
        elif len(raw := text.encode()) > self._settings.max_message_bytes:
            raise _Closed(1009, "Message too big")
        else:
            try:
                content = read_json(raw, self._settings.max_json_depth + 1)
                fault = _fault(content)
            except BadRequest as error:
                fault = error.message
        if fault is not None:
            logger.info("socket.bad_message", fault=fault, request_id=answers.request_id(self._headers))
            raise _Closed(4400, "Invalid message")
        found: dict[str, Any] = content
        return found

    # What comes in

    async def _init(self, content: dict[str, Any]) -> None:
        if self._ready:
            raise _Closed(4429, "Too many initialisation requests")
        if (headers := _credentials(content.get("payload") or {})) is not None:
            self._headers, self._caller = headers, None
        try:
            self._caller = self._caller or await self._endpoint.identify(self._headers)
            self._counted.enter_context(self._endpoint.connections.opened(self._headers, self._caller, self._end))
        except (Unauthenticated, BadRequest):
            raise _Closed(4403, "Forbidden") from None
        except TooMany:
            raise _Closed(4429, "Too many connections") from None
        except LeadgraphError:
            raise _Closed(1013, "Try again later") from None
        self._ready = True
        await self._send(b'{"type":"connection_ack"}')

    def _end(self, error: LeadgraphError | None) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    async def _ping(self, content: dict[str, Any]) -> None:
        payload = content.get("payload")
        await self._send(orjson.dumps({"type": "pong", **({} if payload is None else {"payload": payload})}))

    async def _pong(self, content: dict[str, Any]) -> None:
        """Hear that it is there."""

    async def _complete(self, content: dict[str, Any]) -> None:
        task = self._operations.pop(content["id"], None)
        if task is not None:
            task.cancel()

    async def _subscribe(self, content: dict[str, Any]) -> None:
        name = content["id"]
        if self._caller is None or not self._ready:
            raise _Closed(4401, "Unauthorized")
        if name in self._operations:
            raise _Closed(4409, f"Subscriber for {name[:64]} already exists")
        request_id = answers.request_id(Headers())
        try:
            if len(self._operations) >= self._settings.max_subscriptions:
                raise TooManyOperations
            self._endpoint.rates.count(self._caller.workspace_id)
            given = read_parameters(content["payload"], self._endpoint.documents, known_only=self._settings.persisted_only)
        except LeadgraphError as error:
            await self._send(_message("error", name, orjson.dumps([answers.failure(error, request_id)])))
            return
        request = Request(request_id, self._caller, JSON, given.query, given.variables, given.operation_name, streams=True)
        begun = asyncio.Event()
        task = self._operations[name] = asyncio.create_task(self._operate(name, request, begun))
        task.add_done_callback(lambda done: self._done(name, done))
        # A subscription has begun before the next message is read: what the client does after it asked, it is told of.
        waiting = asyncio.create_task(begun.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        if self._operations.get(name) is task:
            del self._operations[name]
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, OSError):
            answers.unexpected(error, answers.request_id(self._headers))

    # What goes out

    async def _operate(self, name: str, request: Request, begun: asyncio.Event) -> None:
        """Run one operation, and send what it comes to."""
        try:
            if not self._endpoint.subscribes(request):
                begun.set()
            found = await self._endpoint.run(request)
        except LeadgraphError as error:
            found = answers.result(None, [answers.failure(error, request.id)], JSON, executed=False)
        begun.set()
        if isinstance(found, Answer):
            if not found.executed:
                await self._send(_message("error", name, orjson.dumps(orjson.loads(found.body)["errors"])))
                return
            await self._send(_message("next", name, found.body))
        else:
            await self._forward(name, found)
        await self._send(orjson.dumps({"type": "complete", "id": name}))

    async def _forward(self, name: str, events: Events) -> None:
        start = b'{"id":' + orjson.dumps(name) + b',"type":"next","payload":'
        async with aclosing(events) as found:
            async for some in found:
                for event in some:
                    await self._send(start + event + b"}")

    async def _beat(self) -> None:
        """Break a silence, so that neither end nor what is between them takes the other for gone."""
        clock = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._sent_at + self._settings.heartbeat_seconds - clock.time())
            if clock.time() >= self._sent_at + self._settings.heartbeat_seconds:
                if self._ready:
                    await self._send(b'{"type":"ping"}')
                self._sent_at = clock.time()

    async def _send(self, message: bytes) -> None:
        await self._asgi_send({"type": "websocket.send", "text": message.decode()})
        self._sent_at = asyncio.get_running_loop().time()


def _fault(content: Any) -> str | None:
    """Tell what makes a message none of the protocol."""
    if not isinstance(content, dict) or not isinstance(content.get("type"), str) or content["type"] not in HANDLERS:
        return "it has no type of the protocol"
    named, wants_query = content["type"] in ("subscribe", "complete"), content["type"] == "subscribe"
    if named and not (isinstance(content.get("id"), str) and 0 < len(content["id"]) <= LONGEST_ID):
        return f"its id is no text of 1 to {LONGEST_ID} characters"
    if not isinstance(content.get("payload"), dict if wants_query else dict | None):
        return "its payload is no object"
    return None


def _message(kind: str, name: str, payload: bytes) -> bytes:
    return b'{"id":' + orjson.dumps(name) + b',"type":"' + kind.encode() + b'","payload":' + payload + b"}"


def _credentials(payload: dict[str, Any]) -> Headers | None:
    """Give the headers that stand in `connection_init`: in its payload, or in `headers` there; None where there are none."""
    inner = payload.get("headers")
    given = {**(inner if isinstance(inner, dict) else {}), **payload}
    found = [(name.lower(), value) for name, value in given.items() if isinstance(value, str) and name.lower() in CREDENTIALS]
    if not any(name in CREDENTIALS[:2] for name, _ in found):
        return None
    return Heads({"headers": [(name.encode(), value.encode("latin-1", "replace")) for name, value in found]})
