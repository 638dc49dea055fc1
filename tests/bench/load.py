"""The load: so many connections, each of which asks again once it is answered. Little code: it shares its core with the database."""

import asyncio
import time
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import orjson

#: Seconds after which an answer is missed.
PATIENCE = 30


@dataclass(slots=True)
class Seen:
    """What one round saw."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    bytes: int = 0


def http_request(path: str, content: object, headers: dict[str, str]) -> bytes:
    """Write a POST request."""
    body = orjson.dumps(content)
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", "accept: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


class _Connection(asyncio.Protocol):
    """Asks, waits for the whole answer, asks again."""

    def __init__(self, load: "_Load") -> None:
        self.load = load
        self.transport: Any = None
        self.buffer = bytearray()
        self.end = 0
        self.asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._ask()

    def _ask(self) -> None:
        load = self.load
        self.asked = time.perf_counter()
        if self.asked >= load.until:
            load.leave()
            self.transport.close()
            return
        self.transport.write(next(load.requests))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.end:
            head = self.buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            self.end = _end(bytes(self.buffer[:head]).lower(), head + 4)
        if self.end > 0 and len(self.buffer) < self.end:
            return
        if self.end < 0 and not self.buffer.endswith(b"0\r\n\r\n"):
            return
        now = time.perf_counter()
        if b" 200 " not in self.buffer[:16] or b'"errors"' in self.buffer[:2_000]:
            self.load.fail(bytes(self.buffer[:2_000]))
            return
        self.load.seen.latencies.append(now - self.asked)
        self.load.seen.bytes += len(self.buffer)
        self.buffer.clear()
        self.end = 0
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.load.ended.done() and time.perf_counter() < self.load.until:
            self.load.fail(b"the server hung up: " + str(error).encode())


def _end(head: bytes, start: int) -> int:
    """Tell where the answer ends; -1 where it comes in chunks."""
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        return -1
    return start + int(head[at + 17 :].split(b"\r\n", 1)[0])


class _Load:
    def __init__(self, requests: list[bytes], concurrency: int) -> None:
        self.requests = cycle(requests)
        self.seen = Seen()
        self.until = 0.0
        self.left = concurrency
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        self.left -= 1
        if not self.left and not self.ended.done():
            self.ended.set_result(None)

    def fail(self, said: bytes) -> None:
        if not self.ended.done():
            self.ended.set_exception(RuntimeError(said.decode(errors="replace")))


async def put_load(port: int, requests: list[bytes], *, concurrency: int, seconds: float) -> Seen:
    """Ask for so many seconds; what is under way then is waited for, and counts. An answer with errors raises RuntimeError."""
    load = _Load(requests, concurrency)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    load.until = started + seconds
    for _ in range(concurrency):
        await loop.create_connection(lambda: _Connection(load), "127.0.0.1", port)
    await asyncio.wait_for(load.ended, seconds + PATIENCE)
    load.seen.seconds = time.perf_counter() - started
    return load.seen


async def ask_once(port: int, request: bytes) -> bytes:
    """Ask once and give the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace(b"\r\n", b"\r\nconnection: close\r\n", 1))
    whole = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    if b" 200 " not in head[:16]:
        raise RuntimeError(whole[:2_000].decode(errors="replace"))
    return b"".join(body.split(b"\r\n")[1::2]) if b"chunked" in head.lower() else body
