import asyncio
import gc
import socket
import weakref
from contextlib import suppress

import httpx2
import pytest
from serving import serve
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import connect

from app.http import one_write
from app.http.one_write import MOST_HELD, SOCKET_HELD, Gathering, Waiting, whole_answer


class Noted:
    """A transport that notes what is called."""

    def __init__(self):
        self.calls = []
        self.gone = False

    def is_closing(self):
        return self.gone

    def writelines(self, pieces):
        self.calls.append(b"".join(pieces))

    def close(self):
        self.calls.append("close")

    def get_extra_info(self, name):
        return f"the {name}"


@pytest.fixture
def noted():
    return Noted()


async def test_what_is_written_in_one_turn_goes_out_in_one_call(noted):
    gathering = Gathering(noted, asyncio.get_running_loop())
    gathering.write(b"head ")
    gathering.write(b"body")
    assert noted.calls == []
    await asyncio.sleep(0)
    assert noted.calls == [b"head body"]
    gathering.write(b"more")
    await asyncio.sleep(0)
    assert noted.calls == [b"head body", b"more"]


async def test_much_goes_out_at_once_with_what_was_held(noted):
    gathering = Gathering(noted, asyncio.get_running_loop())
    gathering.write(b"head ")
    gathering.write(b"x" * MOST_HELD)
    assert noted.calls == [b"head " + b"x" * MOST_HELD]
    await asyncio.sleep(0)
    assert len(noted.calls) == 1


async def test_closing_sends_what_is_held_first(noted):
    gathering = Gathering(noted, asyncio.get_running_loop())
    gathering.write(b"last words")
    gathering.close()
    await asyncio.sleep(0)
    assert noted.calls == [b"last words", "close"]


async def test_what_is_held_for_a_client_that_left_is_dropped(noted):
    gathering = Gathering(noted, asyncio.get_running_loop())
    gathering.write(b"nobody reads this")
    noted.gone = True
    await asyncio.sleep(0)
    assert noted.calls == []


async def test_the_bare_transport_is_given_when_nothing_is_held_back_any_more(noted):
    gathering = Gathering(noted, asyncio.get_running_loop())
    gathering.write(b"101")
    assert gathering.bare() is noted
    assert noted.calls == [b"101"]
    assert gathering.get_extra_info("peername") == "the peername"


def test_a_real_answer_comes_in_one_piece_and_a_stream_whole():
    async def pieces():
        for number in range(2_000):
            yield b"%04d" % number * 100

    routes = [
        Route("/small", lambda _: PlainTextResponse("small")),
        Route("/stream", lambda _: StreamingResponse(pieces())),
    ]
    with serve(Starlette(routes=routes)) as url:
        address = httpx2.URL(url)
        with socket.create_connection((address.host, address.port), timeout=10) as connection:
            connection.sendall(b"GET /small HTTP/1.1\r\nhost: x\r\n\r\n")
            assert connection.recv(65_536).endswith(b"\r\n\r\nsmall")
        whole = httpx2.get(f"{url}/stream").content
        assert whole == b"".join(b"%04d" % number * 100 for number in range(2_000))


def asked(url, *heads):
    """Send requests over one connection, each when the one before was answered, and give the answers as they came."""
    address = httpx2.URL(url)
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        for head in heads:
            connection.sendall(head)
            yield connection.recv(65_536)


async def in_one_piece(scope, _receive, send):
    """Answer by the server's own way where there is one."""
    if scope["type"] == "lifespan":
        return
    head = b"content-length: 5\r\n"
    if not whole_answer(scope)(200, head, b"whole"):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5"), (b"x-by", b"messages")]})
        await send({"type": "http.response.body", "body": b"whole"})


def test_a_whole_answer_goes_out_at_once_and_what_is_special_by_messages():
    with serve(in_one_piece) as url:
        get, head = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n"
        last = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        first, second, third = asked(url, get, get, head)
        for answer in (first, second):
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\ncontent-length: 5\r\n\r\nwhole")
            assert b"x-by: messages" not in answer
        assert third.endswith(b"x-by: messages\r\n\r\n")
        [only] = asked(url, last)
        assert only.endswith(b"connection: close\r\n\r\nwhole")


def test_an_answered_request_leaves_nothing_to_the_collector_of_rings():
    cycles = []

    async def answer(scope, receive, send):
        if scope["type"] == "http":
            cycles.append(weakref.ref(whole_answer(scope).args[0]))
        await in_one_piece(scope, receive, send)

    get = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    gc.collect()
    gc.disable()
    try:
        with serve(answer) as url:
            list(asked(url, get, get, get))
            assert [cycle() for cycle in cycles[:2]] == [None, None]
    finally:
        gc.enable()


async def test_who_sends_over_a_socket_is_made_to_wait_before_much_is_held_for_a_client_that_does_not_read():
    sent = []

    async def talk(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        await receive()
        await send({"type": "websocket.accept"})
        with suppress(OSError):  # the client is gone
            while True:
                await send({"type": "websocket.send", "text": "x" * 1_000})
                sent.append(1)

    with serve(talk) as url:
        async with connect(url.replace("http", "ws"), compression=None, max_queue=1, close_timeout=0) as raw:
            before = -1
            while before != len(sent):  # it still takes more: the system's own buffers are not full
                before = len(sent)
                await asyncio.sleep(0.2)
            [there] = [each for each in gc.get_objects() if issubclass(type(each), WebSocketsSansIOProtocol) and not each.disconnected]
            assert there.transport.get_write_buffer_size() < SOCKET_HELD + 2_000
            raw.transport.abort()


class Connection:
    """A connection that notes when it is closed for having waited too long."""

    def __init__(self):
        self.loop, self.closed = asyncio.get_running_loop(), asyncio.Event()

    def timeout_keep_alive_handler(self):
        self.closed.set()


async def test_a_connection_that_waits_too_long_for_its_next_request_is_closed_and_no_other(monkeypatch):
    monkeypatch.setattr(one_write, "TICK", 0.001)
    waiting, idle, busy, patient = Waiting(), Connection(), Connection(), Connection()
    waiting.begin(busy, 0)
    waiting.begin(idle, 0)
    waiting.begin(patient, 100)
    waiting.end(busy)
    await asyncio.wait_for(idle.closed.wait(), 10)
    again = Connection()
    waiting.end(patient)
    await asyncio.sleep(0.01)  # it looks once more, finds nothing, and rests
    waiting.begin(again, 0)
    await asyncio.wait_for(again.closed.wait(), 10)
    assert not busy.closed.is_set()
    assert not patient.closed.is_set()
