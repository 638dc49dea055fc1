"""The server's HTTP protocol, with each answer in one write: head and body would be two calls of the system, and wake the client twice."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes that are held back at most until the loop has its turn.
MOST_HELD = 65_536


class OneWrite(HttpToolsProtocol):
    """Uvicorn's protocol on a transport that gathers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection."""
        super().connection_made(Gathering(transport, self.loop))  # type: ignore[arg-type]

    def handle_websocket_upgrade(self) -> None:
        """Hand a socket's connection on as it is: what goes over it is messages, one write each already."""
        if isinstance(self.transport, Gathering):
            self.transport = self.transport.bare()
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
