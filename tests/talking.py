"""A client of `graphql-transport-ws` that says exactly what a test wants, and one of event streams."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PROTOCOL = "graphql-transport-ws"
#: Seconds that a busy machine may take for what takes milliseconds.
SOON = 30


class Socket:
    """One WebSocket: what is sent is text or a message, what comes is parsed; heartbeats are left out."""

    def __init__(self, raw: ClientConnection) -> None:
        self.raw = raw

    async def send(self, message: Any) -> None:
        await self.raw.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def receive(self, *, heartbeats: bool = False) -> dict[str, Any]:
        while True:
            message: dict[str, Any] = json.loads(await asyncio.wait_for(self.raw.recv(), SOON))
            if heartbeats or message["type"] != "ping":
                return message

    async def subscribe(self, query: str, variables: dict[str, Any] | None = None, name: str = "1") -> None:
        await self.send({"type": "subscribe", "id": name, "payload": {"query": query, "variables": variables or {}}})

    async def ask(self, query: str, variables: dict[str, Any] | None = None, name: str = "ask") -> dict[str, Any]:
        """Run one operation that has one result, and nothing beside it."""
        await self.subscribe(query, variables, name)
        message = await self.receive()
        assert (message["id"], message["type"]) == (name, "next"), message
        assert await self.receive() == {"type": "complete", "id": name}
        return message["payload"]

    async def data(self, name: str = "1") -> Any:
        """Give the next result of an operation."""
        message = await self.receive()
        assert (message["id"], message["type"]) == (name, "next"), message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]

    async def closed(self) -> tuple[int, str]:
        """Wait until the server has closed, and give its code and reason."""
        async with asyncio.timeout(SOON):
            with suppress(ConnectionClosed):  # whichever way it was closed, the code is looked at
                async for _message in self.raw:
                    """What came before the end is not looked at."""
            await self.raw.wait_closed()
        assert self.raw.close_code is not None
        return self.raw.close_code, self.raw.close_reason or ""


@asynccontextmanager
async def opened(url: str, key: str | None = None, *, init: bool = True, **options: Any) -> AsyncIterator[Socket]:
    """Open a socket, and with `init` tell the key there (unless it is None) and wait for the answer."""
    # With a bounded queue, a client that leaves what came unread would wait ten seconds for the server's farewell behind it.
    options = {"subprotocols": [PROTOCOL], "compression": None, "max_queue": None, **options}
    async with connect(f"{url.replace('http', 'ws')}/graphql", **options) as raw:
        socket = Socket(raw)
        if init:
            await socket.send({"type": "connection_init", "payload": {"authorization": f"Bearer {key}"} if key else {}})
            assert await socket.receive() == {"type": "connection_ack"}
        yield socket


def code(answer: httpx2.Response) -> str:
    """Give the code of an answer's one error."""
    [error] = answer.json()["errors"]
    found: str = error["extensions"]["code"]
    return found


class Stream:
    """The events of one response."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def event(self, *, heartbeats: bool = False) -> tuple[str, Any]:
        """Give the next event and its data; the end of the stream is `end`."""
        name, data = "", ""
        while True:
            try:
                line = await asyncio.wait_for(anext(self._lines), SOON)
            except StopAsyncIteration:
                return "end", None
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data:"):
                data = line.removeprefix("data:").strip()
            elif line == ":" and heartbeats:
                return "heartbeat", None
            elif line == "" and name:
                return name, json.loads(data) if data else None

    async def data(self) -> Any:
        """Give the next result."""
        name, result = await self.event()
        assert name == "next", name
        assert "errors" not in result, result
        return result["data"]


@asynccontextmanager
async def streamed(url: str, key: str | None, query: str, variables: dict[str, Any] | None = None, **headers: str) -> AsyncIterator[Stream]:
    """Ask for an operation's results as events."""
    sent = {"accept": "text/event-stream", **({"authorization": f"Bearer {key}"} if key else {}), **headers}
    async with (
        httpx2.AsyncClient(timeout=SOON) as client,
        client.stream("POST", f"{url}/graphql", json={"query": query, "variables": variables or {}}, headers=sent) as response,
    ):
        yield Stream(response)
