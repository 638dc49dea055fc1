"""The service behind a real server, asked in bytes: requests that two readers might read in two ways, that never end, or are too large."""

import json
import resource
import socket
import time
from urllib.parse import urlsplit

import httpx2
import pytest
from serving import exchange, serve

from app.asgi import build

QUERY = b'{"query":"{ viewer { role } }"}'


@pytest.fixture
def send(server_url):
    """Send bytes, and give all that comes back until the server hangs up or has answered."""
    return lambda *parts, wait=0.0: exchange(server_url, *parts, wait=wait)


def head(key, *lines, length=31):
    """The head of a POST of `QUERY`, with further lines."""
    given = [
        f"Authorization: Bearer {key}".encode(),
        b"Content-Type: application/json",
        *([b"Content-Length: %d" % length] if length is not None else []),
    ]
    return b"\r\n".join([b"POST /graphql HTTP/1.1", *lines, *given]) + b"\r\n\r\n"


def status(answer):
    return int(answer.split(b" ", 2)[1])


def code(answer):
    return json.loads(answer.partition(b"\r\n\r\n")[2])["errors"][0]["extensions"]["code"]


def test_a_request_is_answered(send, key):
    answer = send(head(key, b"Host: x") + QUERY)
    assert status(answer) == 200
    assert answer.endswith(b'\r\n\r\n{"data":{"viewer":{"role":"ADMIN"}},"extensions":{"cost":1}}')


@pytest.mark.parametrize("lines", [[], [b"Host: x", b"Host: y"], [b"Host: x", b"Host: x"]])
def test_a_request_without_one_host_gets_400(send, key, lines):
    answer = send(head(key, *lines) + QUERY)
    assert (status(answer), code(answer)) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "lines",
    [
        [b"Transfer-Encoding: chunked"],
        [b"Content-Length: 31"],
        [b"Content-Length: 5"],
        [b"X-Name : value"],
        [b"X-Name: a\0b"],
        [b"X-Na\0me: ab"],
        [b"Content-Length: -1"],
        [b"Transfer-Encoding: chunked, identity"],
    ],
)
def test_a_request_that_can_be_read_in_two_ways_gets_400(send, key, lines):
    assert status(send(head(key, b"Host: x", *lines) + QUERY)) == 400


def test_a_megabyte_of_a_key_gets_401(send):
    answer = send(head("x" * 1_000_000, b"Host: x") + QUERY)
    assert (status(answer), code(answer)) == (401, "UNAUTHENTICATED")


def test_a_hundred_megabytes_are_refused_before_they_are_sent(send, key):
    answer = send(head(key, b"Host: x", length=104_857_600))
    assert (status(answer), code(answer)) == (413, "LIMIT")
    assert b"\r\nconnection: close\r\n" in answer


def test_a_client_that_sends_a_hundred_megabytes_all_the_same_reads_why_and_costs_no_memory(server_url, key):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "content-length": "104857600"}
    answer = httpx2.post(f"{server_url}/graphql", content=(b" " * 65_536 for _ in range(1_600)), headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (413, "LIMIT")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 5_000  # kB, the client's own with it


def test_a_body_in_chunks_is_read(send, key):
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (QUERY[:10], QUERY[10:])) + b"0\r\n\r\n"
    assert send(head(key, b"Host: x", b"Transfer-Encoding: chunked", length=None) + chunks).endswith(
        b'{"data":{"viewer":{"role":"ADMIN"}},"extensions":{"cost":1}}'
    )


def test_chunks_that_go_on_and_on_are_cut_off(send, key):
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    answer = send(head(key, b"Host: x", b"Transfer-Encoding: chunked", length=None), *[chunk] * 20)
    assert (status(answer), code(answer)) == (413, "LIMIT")


def test_a_body_in_dribs_and_drabs_is_read(send, key):
    assert status(send(head(key, b"Host: x"), QUERY[:5], QUERY[5:20], QUERY[20:], wait=0.05)) == 200


def test_a_body_that_does_not_come_is_not_waited_for(database, key):
    with serve(build(database.settings.model_copy(update={"request_seconds": 0.3}))) as url:
        began = time.monotonic()
        answer = exchange(url, head(key, b"Host: x"), QUERY[:5], until_closed=True)
        assert (status(answer), code(answer)) == (408, "TIMEOUT")
        assert time.monotonic() - began < 9  # a request may take ten seconds unless it is set


def test_a_client_that_hangs_up_in_the_middle_harms_nobody(server_url, send, key):
    address = urlsplit(server_url)
    for _ in range(20):
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(head(key, b"Host: x") + QUERY[:5])
    assert status(send(head(key, b"Host: x") + QUERY)) == 200


def test_answers_that_follow_a_refusal_on_the_same_connection_are_right(server_url, key):
    with httpx2.Client(base_url=server_url) as client:
        assert client.post("/graphql", content=b"x" * 100_000, headers={"content-type": "application/json"}).status_code == 401
        answer = client.post("/graphql", content=QUERY, headers={"content-type": "application/json", "authorization": f"Bearer {key}"})
        assert answer.json()["data"] == {"viewer": {"role": "ADMIN"}}
