"""`leadgraph serve` under attack: documents that ask for too much, and requests that are hardly any.

Whatever is sent, it is answered with a status of its own and not with a 5xx, nothing of the inside gets out, `/livez` answers all the
while, memory comes back, and the next good request works.
"""

import itertools
import json
import re
import threading
import time

import httpx2
import pytest
from serving import exchange, started_program

from app.errors import Code

MB = 1_048_576
#: What an answer never tells: how the service is made.
INSIDE = re.compile(
    r"Traceback|sqlalchemy|asyncpg|sqlite|\.py\b|SELECT |<class|object at 0x|NoneType|Exception|Error\(|/app/|site-packages"
)
#: Seconds that one of these may take the processor: a walk of a bomb without a memo takes 19.
CPU = 3
#: Seconds in which `/livez` answers, however busy the machine is; a walk of a bomb would hold it up for longer.
PULSE = 15
GOOD = "{ viewer { role } }"
WRITE = 'mutation %s { leadCreate(input: {email: "ada@example.com"}) { lead { id } } }'


@pytest.fixture(scope="module")
def program(database, tmp_path_factory):
    """The program on the session's database, without its worker, at any pace."""
    settings = {
        "LEADGRAPH_DATABASE_URL": database.settings.database_url,
        "LEADGRAPH_WORKER": "false",
        "LEADGRAPH_RATE_PER_SECOND": "0",
        "LEADGRAPH_RATE_PER_MINUTE": "0",
    }
    folder = tmp_path_factory.mktemp("faults")
    with started_program(folder, **settings) as program, Pulse(program.url):
        yield program
    log = program.log.read_text()
    assert "Traceback" not in log
    assert '"unexpected"' not in log


class Pulse:
    """Asks `/livez` twenty times a second: it must answer each time, and soon."""

    def __init__(self, url):
        self.url, self.over, self.wrong, self.slowest = url, threading.Event(), [], 0.0
        self.thread = threading.Thread(target=self.beat, daemon=True)

    def beat(self):
        with httpx2.Client(base_url=self.url, timeout=20) as client:
            while not self.over.wait(0.05):
                begun = time.monotonic()
                try:
                    answer = client.get("/livez")
                    if (answer.status_code, answer.text) != (200, "ok"):
                        self.wrong.append(answer.text)
                except httpx2.TransportError as error:
                    self.wrong.append(repr(error))
                self.slowest = max(self.slowest, time.monotonic() - begun)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(30)
        assert self.wrong == []
        assert self.slowest < PULSE


@pytest.fixture(scope="module")
def wire(program):
    """A client of it that sends no key."""
    with httpx2.Client(base_url=program.url, timeout=60) as wire:
        yield wire


class Attacker:
    """Sends requests with a key, and holds every answer against what is always so."""

    def __init__(self, program, wire, key):
        self.program, self.wire, self.key = program, wire, key

    def send(self, method="POST", *, headers=None, **request):
        headers = {"authorization": f"Bearer {self.key}", **(headers or {})}
        return harmless(self.wire.request(method, "/graphql", headers=headers, **request))

    def post(self, content, **headers):
        return self.send(content=content, headers={"content-type": "application/json", **headers})

    def ask(self, query, variables=None, **more):
        return self.post(json.dumps({"query": query, "variables": variables, **more}).encode())

    def leads(self):
        return self.ask("{ leads { totalCount } }").json()["data"]["leads"]["totalCount"]

    def spent(self, query):
        """Ask, and give the answer and the seconds that it took the processor."""
        before = self.program.cpu()
        return self.ask(query), self.program.cpu() - before


def harmless(answer):
    """Hold an answer against what is always so."""
    assert answer.status_code < 500, answer.text
    assert not INSIDE.search(answer.text), answer.text
    if answer.status_code >= 400:
        refused(answer.status_code, answer.content)
    return answer


def refused(status, body):
    """Hold the body of a refusal against its one form, and give its code."""
    content = json.loads(body)
    assert content.keys() == {"errors"}
    for error in content["errors"]:
        assert error.keys() <= {"message", "locations", "extensions"}
        assert error["message"]
        assert Code(error["extensions"]["code"])
    return status, content["errors"][0]["extensions"]["code"]


def told(answer):
    """Give the status and the code of a refused request."""
    return refused(answer.status_code, answer.content)


def code(answer):
    """Give the one code of an answer in GraphQL's form, None where it is data alone."""
    content = answer.json()
    if "errors" not in content:
        return None
    assert not content.get("data") or set(content["data"].values()) == {None}
    [found] = {error["extensions"]["code"] for error in content["errors"]}
    return found


@pytest.fixture
def attacker(program, wire, key):
    """Whoever attacks; after the attack the service is what it was."""
    attacker = Attacker(program, wire, key)
    assert attacker.ask(GOOD).json()["data"] == {"viewer": {"role": "ADMIN"}}
    before = program.memory()
    yield attacker
    assert program.process.poll() is None
    assert attacker.ask(GOOD).json()["data"] == {"viewer": {"role": "ADMIN"}}
    assert attacker.leads() == 0  # whatever was asked for, nothing was written
    assert program.memory() - before < 50 * MB


# A. Documents


def aliases(count, field):
    return " ".join(f"a{index}: {field}" for index in range(count))


def nested(levels, innermost):
    """A query of so many levels of fields, the last of them of what is given."""
    steps = ["leads(first: 1)", "nodes", "campaigns(first: 1)", "nodes"]
    above = list(itertools.islice(itertools.cycle(steps), levels))
    return "{ " + " { ".join(above) + f" {{ {innermost} " + "} " * (levels + 1)


def bomb(levels):
    fragments = [f"fragment f{level} on Lead{{...f{level + 1} ...f{level + 1}}}" for level in range(levels)]
    return "".join(["{leads{nodes{...f0}}}", *fragments, f"fragment f{levels} on Lead{{id}}"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"{{ viewer {{ {aliases(30, 'role')} }} }}", None),
        (f"{{ viewer {{ {aliases(31, 'role')} }} }}", "QUERY_TOO_COMPLEX"),
        (f"{{ {aliases(20, 'viewer { role }')} }}", None),
        (f"{{ {aliases(21, 'viewer { role }')} }}", "QUERY_TOO_COMPLEX"),
    ],
    ids=["30 of a leaf", "31 of a leaf", "20 of a root field", "21 of a root field"],
)
def test_a1_aliases(attacker, query, expected):
    assert code(attacker.ask(query)) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (nested(11, "totalCount"), None),
        (nested(10, "id score { value }"), None),
        (nested(9, "totalCount pageInfo { hasNextPage endCursor } edges { node { id } }"), None),
        (nested(11, "nodes { id }"), "QUERY_TOO_COMPLEX"),
        (nested(12, "id"), "QUERY_TOO_COMPLEX"),
    ],
    ids=["12, a list", "12, a row", "12, edges", "13, a list", "13, a row"],
)
def test_a2_depth(attacker, query, expected):
    answer = attacker.ask(query)
    assert code(answer) == expected
    assert expected or answer.json()["data"] == {"leads": {"nodes": []}}


@pytest.mark.parametrize("braces", ["{" * 5_000, "{a" * 5_000, "{a" * 2_500 + "}" * 2_500])
def test_a3_braces(attacker, braces):
    answer, spent = attacker.spent(braces)
    assert code(answer) in ("GRAPHQL_PARSE_FAILED", "QUERY_TOO_COMPLEX" if "}" in braces else None)
    assert spent < CPU


@pytest.mark.parametrize("levels", [20, 90, 180])
def test_a4_a_bomb_of_fragments(attacker, levels):
    query = bomb(levels)
    assert len(query) < 7_000
    answer, spent = attacker.spent(query)
    assert code(answer) == "QUERY_TOO_COMPLEX"
    assert spent < CPU


@pytest.mark.parametrize(
    "fragments",
    [
        "fragment f on Lead { ...f }",
        "fragment f on Lead { ...g } fragment g on Lead { ...h } fragment h on Lead { ...f ...g }",
        "fragment f on Lead { campaigns { nodes { leads { nodes { ...f } } } } }",
    ],
)
def test_a5_a_cycle_of_fragments(attacker, fragments):
    assert code(attacker.ask(f"{{ leads {{ nodes {{ ...f }} }} }} {fragments}")) == "GRAPHQL_VALIDATION_FAILED"


@pytest.mark.parametrize("first", [201, 0, -1, 2_147_483_647])
def test_a6_pages(attacker, first):
    for query, variables in (
        (f"{{ leads(first: {first}) {{ nodes {{ id }} }} }}", None),
        ("query ($first: Int) { leads(first: $first) { nodes { id } } }", {"first": first}),
        (f"{{ leads(first: 1) {{ nodes {{ campaigns(first: {first}) {{ nodes {{ id }} }} }} }} }}", None),
        (f"{{ leads(last: {first}) {{ nodes {{ id }} }} }}", None),
    ):
        assert code(attacker.ask(query, variables)) == "BAD_USER_INPUT"


def pages(first):
    return f"{{ leads({first}) {{ nodes {{ campaigns({first}) {{ nodes {{ leads({first}) {{ nodes {{ id }} }} }} }} }} }} }}"


def test_a7_pages_within_pages(attacker):
    for query, variables in ((pages("first: 100"), None), ("query ($n: Int) " + pages("first: $n"), {"n": 100})):
        answer = attacker.ask(query, variables)
        assert code(answer) == "QUERY_TOO_COMPLEX"
        assert answer.json()["errors"][0]["extensions"]["cost"] > 10_000


async def test_a7_pages_within_pages_cost_no_statement(api, statements):
    with statements() as ran:
        assert (await api.error(pages("first: 100")))["extensions"]["code"] == "QUERY_TOO_COMPLEX"
        assert (await api.error("query ($n: Int) " + pages("first: $n"), n=100))["extensions"]["code"] == "QUERY_TOO_COMPLEX"
    assert ran == []


@pytest.mark.parametrize(
    ("directives", "expected"),
    [
        ("@include(if: true)", None),
        ("@include(if: true) " * 51, "QUERY_TOO_COMPLEX"),
        ("@unknown " * 51, "QUERY_TOO_COMPLEX"),
        ("@unknown " * 10, "GRAPHQL_VALIDATION_FAILED"),
    ],
)
def test_a8_directives(attacker, directives, expected):
    assert code(attacker.ask(f"{{ viewer {directives} {{ role }} }}")) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"#{'x' * MB}\n{GOOD}", (413, "LIMIT")),
        (f"{',' * 5 * MB}{GOOD}", (413, "LIMIT")),
        (f"{',' * 900_000}{GOOD}", (413, "LIMIT")),
        ("{a}" * 20_000, (200, "GRAPHQL_PARSE_FAILED")),
        (" ".join(f"query Q{number}{{viewer{{role}}}}" for number in range(20_000)), (413, "LIMIT")),
    ],
    ids=["a comment of 1 MB", "5 MB of commas", "0.9 MB of commas", "20,000 operations", "20,000 named ones"],
)
def test_a9_long_documents(attacker, query, expected):
    answer, spent = attacker.spent(query)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == expected
    assert spent < CPU


def test_a10_two_operations_and_no_name(attacker):
    two = WRITE % "A" + " " + WRITE % "B"
    for more in ({}, {"operationName": None}, {"operationName": ""}, {"operationName": "C"}):
        assert code(attacker.ask(two, **more)) == "BAD_REQUEST"
    assert code(attacker.ask(WRITE % "A" + " { viewer { role } }")) in ("BAD_REQUEST", "GRAPHQL_VALIDATION_FAILED")


# B. HTTP and JSON


@pytest.mark.parametrize(
    "body", [b"null", b'"x"', b"1", b"true", b"[]", b"[1]", b"", b" ", b"{}", b'{"query":1}', b'{"query":"{ __typename }"']
)
def test_b1_bodies_that_are_no_request(attacker, body):
    assert told(attacker.post(body)) == (400, "BAD_REQUEST")


def test_b2_an_array_of_operations(attacker):
    assert told(attacker.post(json.dumps([{"query": WRITE % ""}] * 10).encode())) == (400, "BATCHING_DISABLED")


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"query": GOOD}).encode("utf-16"),
        json.dumps({"query": GOOD}).encode("utf-16-le"),
        b'{"query":"{ viewer { role } } #\xff"}',
        b'{"query":"{ viewer { role } } #\xed\xa0\x80"}',
        b'{"query":"{ viewer { role } } #\xc0\xaf"}',
        b"\xef\xbb\xbf" + json.dumps({"query": GOOD}).encode(),
    ],
    ids=["UTF-16", "UTF-16 without a mark", "FF", "a surrogate", "an overlong slash", "a BOM"],
)
def test_b3_what_is_no_utf_8(attacker, body):
    assert told(attacker.post(body)) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "deep", ["[" * 1_024 + "]" * 1_024, '{"a":' * 1_024 + "1" + "}" * 1_024, "[" * 100_000, "[" * 500_000 + "]" * 500_000]
)
def test_b4_json_1024_deep(attacker, deep):
    for body in (deep, f'{{"query":"{GOOD}","variables":{{"a":{deep}}}}}'):
        assert told(attacker.post(body.encode())) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1" * 5_000, "-" + "9" * 5_000, "1e999", "0x10", "01"])
def test_b5_numbers_that_are_none(attacker, number):
    query = 'mutation ($a: JSONObject) { leadCreate(input: {crmId: "b5", attributes: $a}) { lead { id } } }'
    assert told(attacker.post(f'{{"query":{json.dumps(query)},"variables":{{"a":{{"a":{number}}}}}}}'.encode())) == (400, "BAD_REQUEST")


def head(key, *lines, length, host=b"Host: x"):
    """The head of a POST with further lines."""
    given = [
        b"Authorization: Bearer " + key.encode(),
        b"Content-Type: application/json",
        *([b"Content-Length: %d" % length] if length else []),
    ]
    return b"\r\n".join([b"POST /graphql HTTP/1.1", *([host] if host else []), *lines, *given]) + b"\r\n\r\n"


def raw(answer):
    """Give status, headers and body of an answer in bytes."""
    top, _, body = answer.partition(b"\r\n\r\n")
    return int(top.split(b" ", 2)[1]), top.lower(), body


def test_b6_a_hundred_megabytes_are_refused_before_they_are_read(attacker):
    attacker.program.forget_the_most()
    before = attacker.program.memory(most=True)
    status, headers, body = raw(exchange(attacker.program.url, head(attacker.key, length=100 * MB)))
    assert refused(status, body) == (413, "LIMIT")
    assert b"\r\nconnection: close" in headers
    # And with all of them on their way, with a length and without.
    sent = (b" " * 65_536 for _ in range(1_600))
    headers = {"content-type": "application/json", "content-length": str(100 * MB)}
    assert told(attacker.send(content=sent, headers=headers)) == (413, "LIMIT")
    assert told(attacker.send(content=(b" " * 65_536 for _ in range(1_600)), headers={"content-type": "application/json"})) == (
        413,
        "LIMIT",
    )
    assert attacker.program.memory(most=True) - before < 5 * MB


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND"])
def test_b7_other_methods(attacker, method):
    headers = {"authorization": f"Bearer {attacker.key}"}
    answer = attacker.wire.request(method, "/graphql", json={"query": WRITE % ""}, headers=headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    if method != "HEAD":
        assert told(answer) == (405, "BAD_REQUEST")


def test_b8_a_mutation_by_get(attacker):
    answer = attacker.send("GET", params={"query": WRITE % ""})
    assert (told(answer), answer.headers["allow"]) == ((405, "BAD_REQUEST"), "POST")
    for more in ({"operationName": "B"}, {"documentId": "leads/create"}):
        assert attacker.send("GET", params={"query": WRITE % "B", **more}).status_code in (400, 405)


@pytest.mark.parametrize(
    ("host", "lines"),
    [
        (b"Host: x", [b"Transfer-Encoding: chunked"]),
        (b"Host: x", [b"Content-Length: %(length)d"]),
        (b"Host: x", [b"Content-Length: 5"]),
        (b"Host: x", [b"X-Name : value"]),
        (b"Host: x", [b"Content-Length : 5"]),
        (b"Host: x", [b"X-Name: a\0b"]),
        (b"", []),
        (b"Host: x", [b"Host: y"]),
        (b"Host: x", [b"Host: x"]),
    ],
    ids=[
        "a length and chunks",
        "a length twice",
        "two lengths",
        "a space",
        "a space and a length",
        "a NUL",
        "no host",
        "two hosts",
        "twice a host",
    ],
)
def test_b9_requests_that_two_readers_read_in_two_ways(attacker, host, lines):
    body = json.dumps({"query": WRITE % ""}).encode()
    lines = [line % {b"length": len(body)} if b"%(" in line else line for line in lines]
    status, _, answer = raw(exchange(attacker.program.url, head(attacker.key, *lines, length=len(body), host=host) + body))
    assert status == 400
    assert not INSIDE.search(answer.decode())


@pytest.mark.parametrize(
    "accept", ["application/xml", "text/html", "application/graphql-response+json;q=0", "x" * 10_000, "application/json;q=nan"]
)
def test_b10_nothing_that_it_takes(attacker, accept):
    answer = attacker.post(json.dumps({"query": WRITE % ""}).encode(), accept=accept)
    assert told(answer) == (406, "BAD_REQUEST")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "text/plain",
        None,
        "",
        "application/json; charset=utf-16",
        "multipart/mixed; boundary=x",
        "json",
    ],
)
def test_b11_another_content_type(attacker, content_type):
    headers = {} if content_type is None else {"content-type": content_type}
    answer = attacker.send(content=json.dumps({"query": WRITE % ""}).encode(), headers=headers)
    assert told(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")


# All of them together


def test_no_number_of_different_documents_fills_the_memory(attacker):
    """What is kept of documents has a bound: these are the largest there are, each another one."""
    before = attacker.program.memory()
    for number in range(60):
        fields = " ".join(f"x{number}y{index}" for index in range(1_900))
        assert code(attacker.ask(f"{{ viewer {{ {fields} }} }}")) == "GRAPHQL_VALIDATION_FAILED"
    assert attacker.program.memory() - before < 50 * MB
