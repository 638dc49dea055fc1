"""Results as server-sent events: one operation a request ("distinct connections mode" of the GraphQL over SSE protocol).

A result is the event `next`, the end is `complete`. A stream that ends without `complete` was cut off, and may be asked for again.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.types import Receive, Send

from app.errors import LeadgraphError
from app.http import answers
from app.http.connections import Connections
from app.http.requests import Request

#: Bytes that one write holds at most, unless one event is larger.
WRITE = 65_536
#: Seconds that a client has to take the end of its stream.
LINGER = 5
COMPLETE = b"event: complete\ndata:\n\n"
HEARTBEAT = b":\n\n"

#: Results as JSON, some at a time.
Events = AsyncGenerator[tuple[bytes, ...], None]


def next_event(result: bytes) -> bytes:
    """Write one result: JSON, which has no line feed in it."""
    return b"event: next\ndata: " + result + b"\n\n"


async def answer_once(result: bytes, send: Send, request: str) -> None:
    """Send the one result of an operation that has no more."""
    await _start(send, request)
    await send({"type": "http.response.body", "body": next_event(result) + COMPLETE, "more_body": False})


class Stream:
    """A subscription on its way out."""

    def __init__(self, events: Events, request: Request, headers: Headers, connections: Connections, heartbeat: float) -> None:
        self._events, self._request, self._headers = events, request, headers
        self._connections, self._heartbeat = connections, heartbeat
        self._ended: asyncio.Future[LeadgraphError | None] = asyncio.get_running_loop().create_future()
        self._sent_at = asyncio.get_running_loop().time()

    async def send(self, receive: Receive, send: Send) -> None:
        """Send what comes until it ends, the client leaves, or the caller may no longer see it. Raises TooMany before anything is sent."""
        with self._connections.opened(self._headers, self._request.caller, self._end):
            await _start(send, self._request.id)
            sending, beating = asyncio.create_task(self._send(send)), asyncio.create_task(self._beat(send))
            leaving = asyncio.create_task(_left(receive))
            first: set[asyncio.Future[Any]] = {sending, leaving, self._ended}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            last = COMPLETE if sending.done() else b""
            for task in (sending, beating):
                task.cancel()
            await asyncio.wait({sending, beating})
            gone = leaving.done()
            leaving.cancel()
            if not sending.cancelled():
                sending.result()
            if self._ended.done() and (error := self._ended.result()) is not None:
                last = next_event(orjson.dumps({"errors": [answers.failure(error, self._request.id)], "data": None})) + COMPLETE
            if not gone:
                with suppress(TimeoutError):  # it does not read, and will not learn of it
                    async with asyncio.timeout(LINGER):
                        await send({"type": "http.response.body", "body": last, "more_body": False})

    def _end(self, error: LeadgraphError | None) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    async def _send(self, send: Send) -> None:
        async with aclosing(self._events) as found:
            async for events in found:
                for body in _writes(events):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    self._sent_at = asyncio.get_running_loop().time()

    async def _beat(self, send: Send) -> None:
        """Break a silence, so that neither end nor what is between them takes the other for gone."""
        while True:
            await asyncio.sleep(self._sent_at + self._heartbeat - asyncio.get_running_loop().time())
            if asyncio.get_running_loop().time() >= self._sent_at + self._heartbeat:
                await send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})
                self._sent_at = asyncio.get_running_loop().time()


async def _start(send: Send, request: str) -> None:
    headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),  # a proxy must not wait for the end
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", request.encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    # Something at once: some clients tell of a response when its first bytes are there.
    await send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _writes(events: tuple[bytes, ...]) -> Iterator[bytes]:
    """Put events together, so that a reader that catches up does not cost a write for each, nor much memory."""
    waiting: list[bytes] = []
    size = 0
    for event in events:
        if size + len(event) > WRITE and waiting:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(next_event(event))
        size += len(event)
    yield b"".join(waiting)
