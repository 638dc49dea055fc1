import asyncio
import socket

import httpx2
import pytest
from serving import serve
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from app.http.one_write import MOST_HELD, Gathering


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
