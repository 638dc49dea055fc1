"""What is answered without a task of its own is what the endpoint answers, byte for byte; and all else is the endpoint's."""

import gzip
import json
import re
import secrets
import socket
from contextlib import contextmanager

import httpx2
import pytest
from serving import serve

from app import postgres_readers, sqlite_readers
from app.actions import keys, workspaces
from app.actions.work import Role
from app.asgi import build
from app.errors import TookTooLong
from app.http.one_write import MOST_AT_ONCE

LEAD = "query ($by: LeadRef!) { lead(by: $by) { id email firstName score { components { kind points } } } }"
LIST = "query ($first: Int!) { leads(first: $first) { nodes { id email } totalCount pageInfo { endCursor hasNextPage } } }"


class Served:
    """The service behind its own server, one connection to it, and which requests were answered at once."""

    def __init__(self, connection, key, taken):
        self.socket, self.key, self.taken = connection, key, taken
        self.rest = b""

    def write(self, content, key=None, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        lines = {
            "host": "x",
            "content-type": "application/json",
            "authorization": f"Bearer {key or self.key}",
            "content-length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return b"POST /graphql HTTP/1.1\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in lines.items()) + b"\r\n" + body

    def read(self):
        while b"\r\n\r\n" not in self.rest:
            self.rest += self._more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        while len(self.rest) < length:
            self.rest += self._more()
        body, self.rest = self.rest[:length], self.rest[length:]
        return head, body

    def _more(self):
        more = self.socket.recv(65_536)
        assert more, "the server hung up"
        return more

    def ask(self, content, key=None, **headers):
        self.socket.sendall(self.write(content, key, **headers))
        return self.read()

    def data(self, document, **variables):
        _, body = self.ask({"query": document, "variables": variables})
        answer = json.loads(body)
        assert "errors" not in answer, answer
        return answer["data"]


@pytest.fixture
def serving(settings):
    @contextmanager
    def start(key, **changed):
        app, taken = build(settings.model_copy(update=changed)), []
        at_once = app.at_once

        def watched(*arguments):
            taken.append(at_once(*arguments))
            return taken[-1]

        app.at_once = watched
        with serve(app) as url:
            address = httpx2.URL(url)
            with socket.create_connection((address.host, address.port), timeout=20) as connection:
                yield Served(connection, key, taken)

    return start


@pytest.fixture
async def leads(api):
    rows = [{"email": f"p{place}@example.com", "firstName": f"Zoë {place}", "crmId": f"C{place}"} for place in range(40)]
    made = await api(
        "mutation ($input: LeadUpsertManyInput!) { leadUpsertMany(input: $input) { results { leadId } } }", input={"leads": rows}
    )
    return [each["leadId"] for each in made["leadUpsertMany"]["results"]]


def same(body):
    """Take out what differs from request to request."""
    return re.sub(rb'"requestId":"[^"]*"', b"", body)


async def test_what_it_answers_is_what_the_endpoint_answers(serving, api, leads, statements):
    lookups = [
        {"query": LEAD, "variables": {"by": {"id": leads[3]}}},
        {"query": LEAD, "variables": {"by": {"email": "P4@example.com"}}},
        {"query": LEAD, "variables": {"by": {"crmId": "nobody's"}}},
        {"query": "query One($by: LeadRef!) { found: lead(by: $by) { ...F } } fragment F on Lead { email ... @skip(if: true) { id } }",
         "variables": {"by": {"id": leads[5]}}, "operationName": "One"},
    ]  # fmt: skip
    others = [
        {"query": LIST, "variables": {"first": 2}},
        {"query": LIST, "variables": {"first": 40}},
        {"query": "{ leadStats { count averageScore } }"},
        {"documentId": "leads/list", "variables": {"first": 3}},
    ]
    headers = {"authorization": f"Bearer {api.key}"}
    with serving(api.key) as served:
        served.data("{ viewer { role } }")
        for content in lookups + others:
            expected = (await api.client.post("/graphql", json=content, headers=headers)).content
            served.taken.clear()
            for _ in range(3):
                with statements() as ran:
                    head, body = served.ask(content)
                assert body == expected
                assert len(ran) == 1, ran
                assert head.startswith(b"HTTP/1.1 200 OK\r\n")
                assert head.count(b"x-request-id: req_") == 1
                assert (b"vary: accept-encoding" in head) == (len(body) >= 1_024)
            # The plan may be known already, to this process; from the second on it is.
            assert served.taken[1:] == [True] * 2


async def test_what_is_wrong_with_a_request_the_endpoint_says(serving, api, leads):
    good = {"query": LIST, "variables": {"first": 2}}
    lead = {"query": LEAD, "variables": {"by": {"id": leads[0]}}}
    wrong = [
        b"",
        b"{",
        b"[" * 300,
        {"query": "{"},
        {"query": "{ nothing }"},
        {"query": LIST, "variables": {"first": "two"}},
        {"query": LIST, "variables": {"first": 100_000}},
        {"query": LEAD, "variables": {"by": {"id": "\0"}}},
        {"query": LEAD, "variables": {"by": {"id": "a", "email": "b@example.com"}}},
        {"query": LEAD, "variables": {}},
        {"query": "query ($a: String) { leads(after: $a) { nodes { id } } }", "variables": {"a": "edited by hand"}},
        {"query": LEAD, "variables": {"by": {"id": "a"}}, "documentId": "leads/list"},
        {"query": "{ a: leads { totalCount } b: leads { totalCount } }"},
        {"query": "{ __typename }"},
        {"query": "subscription { activityAdded { id } }"},
        {"query": "mutation ($id: ID!) { leadDelete(input: {by: {id: $id}}) { lead { id } } }", "variables": {"id": "lead_none"}},
        [good],
    ]
    headers = {"authorization": f"Bearer {api.key}", "content-type": "application/json"}
    with serving(api.key) as served:
        for content in wrong:
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            expected = await api.client.post("/graphql", content=raw, headers=headers)
            for around in (good, lead):
                served.ask(around)
                served.taken.clear()
                head, body = served.ask(raw)
                assert (int(head.split()[1]), same(body)) == (expected.status_code, same(expected.content)), content
                assert not any(served.taken[-1:]), content


async def test_headers_count_for_their_own_request_alone(serving, api, leads, database):
    async with database.writing() as connection:
        other = await workspaces.create(connection, slug=f"other-{secrets.token_hex(6)}", name="Other")
        _, stranger = await keys.create_key(connection, other["id"], "test", Role.ADMIN)
    content = {"query": LEAD, "variables": {"by": {"id": leads[0]}}}
    with serving(api.key) as served:
        for _ in range(3):
            assert json.loads(served.ask(content)[1])["data"]["lead"]["id"] == leads[0]
            assert json.loads(served.ask(content, stranger)[1])["data"] == {"lead": None}
            assert served.ask(content, "lg_nobody")[0].startswith(b"HTTP/1.1 401")
            assert b"x-request-id: mine\r\n" in served.ask(content, x_request_id="mine")[0] + b"\r\n"
            assert served.ask(content, content_type="text/plain")[0].startswith(b"HTTP/1.1 415")
            assert served.ask(content, accept="text/html")[0].startswith(b"HTTP/1.1 406")
            head, body = served.ask(content, accept="application/graphql-response+json")
            assert b"content-type: application/graphql-response+json; charset=utf-8\r\n" in head
            assert json.loads(body)["data"]["lead"]["id"] == leads[0]
        assert True in served.taken


async def test_a_long_answer_is_packed_for_whoever_takes_it_so(serving, api, leads):
    content = {"query": LIST, "variables": {"first": 40}}
    with serving(api.key) as served:
        plain = served.ask(content)[1]
        for _ in range(2):
            head, body = served.ask(content, accept_encoding="gzip")
            assert b"content-encoding: gzip" in head
            assert gzip.decompress(body) == plain
            assert served.ask(content)[1] == plain


async def test_a_request_is_counted_once(serving, api, leads, monkeypatch, database):
    lead = {"query": LEAD, "variables": {"by": {"id": leads[0]}}}
    with serving(api.key, rate_per_minute=12) as served:
        for _ in range(12):
            assert served.ask(lead)[0].startswith(b"HTTP/1.1 200")
        head, body = served.ask(lead)
        assert head.startswith(b"HTTP/1.1 429")
        assert json.loads(body)["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
    monkeypatch.setattr(sqlite_readers, "_STEPS_AT_ONCE", 10)  # every statement of SQLite is long, and goes to a thread
    with serving(api.key, rate_per_minute=12) as served:
        for _ in range(12):
            assert served.ask(lead)[0].startswith(b"HTTP/1.1 200")
        assert served.ask(lead)[0].startswith(b"HTTP/1.1 429")


async def test_what_takes_too_long_is_told_in_its_place_and_not_asked_again(serving, api, leads, database, monkeypatch):
    asked = []

    async def never(self, sql, binds):
        asked.append(sql)
        raise TookTooLong

    lists, lead = {"query": LIST, "variables": {"first": 2}}, {"query": LEAD, "variables": {"by": {"id": leads[0]}}}
    with serving(api.key) as served:
        for content in (lists, lead):
            served.ask(content)
            served.ask(content)
        if not database.is_postgres:
            return  # what SQLite does at once ends at once
        monkeypatch.setattr(postgres_readers._PostgresReading, "rows", never)
        for content in (lists, lead):
            asked.clear()
            head, body = served.ask(content)
            [error] = json.loads(body)["errors"]
            assert (error["extensions"]["code"], error["path"]) == ("TIMEOUT", ["leads" if content is lists else "lead"])
            assert head.startswith(b"HTTP/1.1 200")
            assert len(asked) == 1


async def test_a_key_that_is_revoked_is_known_no_more(serving, api, leads, database, caller):
    async with database.writing() as connection:
        row, key = await keys.create_key(connection, caller.workspace_id, "short-lived", Role.VIEWER)
    content = {"query": LEAD, "variables": {"by": {"id": leads[0]}}}
    with serving(key) as served:
        for _ in range(3):
            assert served.ask(content)[0].startswith(b"HTTP/1.1 200")
        revoke = {"query": "mutation ($id: ID!) { apiKeyRevoke(id: $id) { apiKey { id } } }", "variables": {"id": row["id"]}}
        assert b'"errors"' not in served.ask(revoke, api.key)[1]
        assert served.ask(content)[0].startswith(b"HTTP/1.1 401")


async def test_requests_come_in_any_pieces(serving, api, leads):
    contents = [{"query": LEAD, "variables": {"by": {"id": each}}} for each in leads[:30]]
    with serving(api.key) as served:
        served.ask(contents[0])
        for cut in (1, 60, -1):  # in the middle of the head, of the body
            whole = served.write(contents[0])
            served.socket.sendall(whole[:cut])
            assert not select_readable(served.socket)
            served.socket.sendall(whole[cut:])
            assert json.loads(served.read()[1])["data"]["lead"]["id"] == leads[0]
        served.taken.clear()
        served.socket.sendall(b"".join(map(served.write, contents)))  # each before the answer to the one before
        assert [json.loads(served.read()[1])["data"]["lead"]["id"] for _ in contents] == leads[:30]
        assert len(served.taken) <= MOST_AT_ONCE * 2  # it came in two pieces at the most; the others have tasks
        chunked = served.write(contents[1]).partition(b"\r\n\r\n")
        head = re.sub(rb"content-length: \d+", b"transfer-encoding: chunked", chunked[0])
        served.socket.sendall(head + b"\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(chunked[2]), chunked[2]))
        assert json.loads(served.read()[1])["data"]["lead"]["id"] == leads[1]
        served.socket.sendall(served.write(contents[2], connection="close"))
        assert json.loads(served.read()[1])["data"]["lead"]["id"] == leads[2]
        assert served.socket.recv(1) == b""


async def test_clients_that_leave_take_nobody_with_them(serving, api, leads):
    contents = [{"query": LEAD, "variables": {"by": {"id": each}}} for each in leads]
    with serving(api.key) as served:
        served.ask(contents[0])
        for content in contents:
            with socket.create_connection(served.socket.getpeername()) as leaving:
                leaving.sendall(served.write(content))
            assert json.loads(served.ask(content)[1])["data"]["lead"]["id"] == content["variables"]["by"]["id"]


def select_readable(connection):
    """Tell whether an answer came within a moment."""
    connection.settimeout(0.05)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
    finally:
        connection.settimeout(20)
