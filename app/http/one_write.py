"""The server's HTTP protocol, with each answer in one write: head and body would be two calls of the system, and wake the client twice.

An answer that is whole goes out at once, past the two messages of ASGI: an application finds what takes it in its scope
(`whole_answer`). And one timer looks after all connections that wait for their next request, where a timer for each would be set and
dropped with every request.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

#: Bytes that are held back at most until the loop has its turn.
MOST_HELD = 65_536
#: Bytes of messages that wait for a WebSocket's client before who sends them is made to wait: hundreds may never read, and what they all
#: are told is written for each of them. A client that reads has the system's own buffer before it, of megabytes.
SOCKET_HELD = 16_384
#: Requests of one piece of bytes that are answered at once: who sends hundreds without waiting lets others have their turn.
MOST_AT_ONCE = 8
#: Seconds between two looks at the connections that wait: so much later than it might a connection is closed.
TICK = 0.5
#: The names of our extensions of ASGI's scope.
WHOLE, HANG_UP = "leadgraph.whole", "leadgraph.hang_up"


class Whole(Protocol):
    """Writes an answer in one piece."""

    def __call__(self, status: int, head: bytes, body: bytes) -> bool:
        """Write it, or tell that it must go by ASGI's messages. `head`: lines that end in CRLF, with the body's length."""


def whole_answer(scope: Any) -> Whole | None:
    """Give what writes a whole answer, where the server has it."""
    found: Whole | None = scope.get("extensions", {}).get(WHOLE)
    return found


def hang_up(scope: Any) -> bool:
    """Close a connection at once, whatever it has not taken; False where the server can't."""
    found: Callable[[], None] | None = scope.get("extensions", {}).get(HANG_UP)
    if found is not None:
        found()
    return found is not None


class AnswersAtOnce(Protocol):
    """Answers a request whose body is there, now or soon, or calls `instead`, or tells that the request is to be begun."""

    def __call__(self, scope: Any, body: bytes, connection: Any, whole: Whole, instead: Callable[[], None]) -> bool:
        """Answer it, or not."""


class OneWrite(HttpToolsProtocol):
    """Uvicorn's protocol on a transport that gathers.

    An application may have an `at_once`: what it answers needs no task of its own.
    """

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._at_once: AnswersAtOnce | None = getattr(config.loaded_app, "at_once", None)
        #: What `at_once` remembers of this connection.
        self.remembered: Any = None
        #: A request whose body is still coming in, in the piece of bytes that is being read.
        self._begun: tuple[RequestResponseCycle, Any] | None = None
        self._reading = False
        #: Requests of that piece that were answered at once.
        self._answered = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection."""
        super().connection_made(Gathering(transport, self.loop))  # type: ignore[arg-type]

    def on_headers_complete(self) -> None:
        """Begin a request, which runs when the loop has its turn."""
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:  # it is no socket
            self.scope["extensions"] = {
                WHOLE: partial(_write_whole, self.cycle),  # type: ignore[dict-item]
                HANG_UP: partial(_hang_up, self.cycle),  # type: ignore[dict-item]
            }

    def data_received(self, data: bytes) -> None:
        """Read what came in; a request of which more is to come begins now."""
        self._reading, self._answered = self._at_once is not None, 0
        try:
            super().data_received(data)
        finally:
            self._reading = False
            self._begin_task()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._reading and cycle.more_body and cycle.keep_alive and not cycle.waiting_for_100_continue:
            self._begun = (cycle, app)  # its body may be here in a moment
        else:
            super()._start_asgi_task(cycle, app)

    def _begin_task(self) -> None:
        if self._begun is not None:
            (cycle, app), self._begun = self._begun, None
            super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        """End a request's body: answer it at once, or begin its task."""
        super().on_message_complete()
        begun = self._begun
        if begun is None or self._at_once is None or begun[0].more_body:
            return
        self._answered += 1
        if self._answered > MOST_AT_ONCE:
            self._begin_task()
            return
        cycle, app = begun
        whole = whole_answer(cycle.scope)
        if whole is None or not self._at_once(cycle.scope, bytes(cycle.body), self, whole, partial(self._begin_instead, cycle, app)):
            self._begin_task()
        else:
            self._begun = None

    def _begin_instead(self, cycle: RequestResponseCycle, app: Any) -> None:
        if not cycle.disconnected:
            super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """End a request: the next one of a pipeline, or wait for it."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            WAITING.begin(self, self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        WAITING.end(self)

    def handle_websocket_upgrade(self) -> None:
        """Hand a socket's connection on as it is: what goes over it is messages, one write each already."""
        if isinstance(self.transport, Gathering):
            self.transport = self.transport.bare()
        self.transport.set_write_buffer_limits(high=SOCKET_HELD)
        super().handle_websocket_upgrade()


class Gathering:
    """A transport that sends all that is written in one turn of the loop at the end of that turn, in one call."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Hold it until the loop has its turn; but not so much that whoever writes on and on could not be made to wait."""
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)
        self._size += len(data)
        if self._size > MOST_HELD:
            self._send()

    def close(self) -> None:
        """Send what is held, and close."""
        self._send()
        self._transport.close()

    def bare(self) -> asyncio.Transport:
        """Send what is held, and give the transport itself."""
        self._send()
        return self._transport

    def _send(self) -> None:
        if self._held:
            held, self._held, self._size = self._held, [], 0
            if not self._transport.is_closing():  # a client that left meanwhile has no use for it
                self._transport.writelines(held)


def _write_whole(cycle: RequestResponseCycle, status: int, head: bytes, body: bytes) -> bool:
    """Do at once what the cycle does for the two messages of an answer, where nothing about it is special."""
    transport = cycle.transport
    if (
        cycle.response_started
        or cycle.disconnected
        or cycle.access_log
        or not cycle.keep_alive
        or cycle.flow.write_paused
        or cycle.scope["method"] == "HEAD"
    ):
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    lines = [b"%s: %s\r\n" % header for header in cycle.default_headers]
    transport.write(b"".join((STATUS_LINE[status], *lines, head, b"\r\n", body)))
    cycle.scope["extensions"].clear()  # it leads back to the cycle: a ring for the collector
    cycle.message_event.set()
    cycle.on_response()
    return True


def _hang_up(cycle: RequestResponseCycle) -> None:
    cycle.disconnected = True  # its application has no more to send, and is not to be blamed for it
    cycle.transport.abort()  # to close it would wait for a client that takes nothing


class Waiting:
    """The connections that wait for their next request, and until when."""

    def __init__(self) -> None:
        #: In the order in which they began to wait.
        self._until: dict[OneWrite, float] = {}
        self._ticking: asyncio.AbstractEventLoop | None = None

    def begin(self, connection: OneWrite, seconds: float) -> None:
        """Let a connection wait so long."""
        loop = connection.loop
        self._until.pop(connection, None)
        self._until[connection] = loop.time() + seconds
        if self._ticking is not loop:
            self._ticking = loop
            loop.call_later(TICK, self._tick, loop)

    def end(self, connection: OneWrite) -> None:
        """Its next request has begun, or it is gone."""
        self._until.pop(connection, None)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection, until in list(self._until.items()):
            if until > now:
                break
            del self._until[connection]
            connection.timeout_keep_alive_handler()
        if self._until:
            loop.call_later(TICK, self._tick, loop)
        elif self._ticking is loop:
            self._ticking = None


#: Of this process.
WAITING = Waiting()
