"""What a document and a body may ask for, measured and through the endpoint."""

import json
import time

import httpx2
import pytest
from graphql import get_introspection_query, parse
from hypothesis import given
from hypothesis import strategies as st
from small_graph import small_app

from app.errors import BadRequest, LeadgraphError
from app.http import limits
from app.http.bodies import nests_deeper, read_json
from app.settings import Settings

MOST = limits.Most.of(Settings())


@pytest.fixture
def app(database, caller):
    return small_app(database, caller)


@pytest.fixture
async def http(app):
    headers = {"authorization": "Bearer key"}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://leadgraph.example", headers=headers) as http:
        yield http


@pytest.fixture
def code(http):
    """The code of the answer to a document, None where it is data."""

    async def code(query, variables=None):
        answer = await http.post("/graphql", json={"query": query, "variables": variables})
        content = answer.json()
        return content["errors"][0]["extensions"]["code"] if "errors" in content else None

    return code


def refusal(query):
    found = limits.measure(parse(query), MOST).refusal
    return found and found.message


def aliases(count, field):
    return " ".join(f"a{index}: {field}" for index in range(count))


def nested(levels, leaf="id"):
    """A document of so many levels of fields."""
    return "{ tree " + "{ child " * (levels - 2) + "{ " + leaf + " }" + " }" * (levels - 1)


def bomb(levels, spread="...f{} ...f{}", leaf="id"):
    """A document whose every fragment spreads the next one twice."""
    fragments = [f"fragment f{level} on Tree{{{spread.format(level + 1, level + 1)}}}" for level in range(levels)]
    return "".join(["{tree{...f0}}", *fragments, f"fragment f{levels} on Tree{{{leaf}}}"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ tree { " + aliases(30, "id") + " } }", None),
        ("{ tree { " + aliases(31, "id") + " } }", "QUERY_TOO_COMPLEX"),
        ("{ " + aliases(20, "hello") + " }", None),
        ("{ " + aliases(21, "hello") + " }", "QUERY_TOO_COMPLEX"),
        ("{ tree { " + aliases(15, "id") + " ...f } } fragment f on Tree { " + aliases(15, "id") + " }", None),
        ("{ tree { " + aliases(15, "id") + " ...f } } fragment f on Tree { " + aliases(16, "id") + " }", "QUERY_TOO_COMPLEX"),
        (nested(12), None),
        (nested(13), "QUERY_TOO_COMPLEX"),
        (nested(11, "... on Tree { child { id } }"), None),
        (nested(11, "...f") + " fragment f on Tree { child { id } }", None),
        (nested(11, "...f") + " fragment f on Tree { child { child { id } } }", "QUERY_TOO_COMPLEX"),
        ("{" * 5_000, "GRAPHQL_PARSE_FAILED"),
        ("{a" * 5_000, "GRAPHQL_PARSE_FAILED"),
        ("{ tree { ...f } } fragment f on Tree { child { ...g } } fragment g on Tree { child { ...f } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ hello " + "@include(if: true) " * 51 + "}", "QUERY_TOO_COMPLEX"),
        ("{ hello " + "@unknown " * 10 + "}", "GRAPHQL_VALIDATION_FAILED"),
        ("{ hello }" * 9_000, "GRAPHQL_PARSE_FAILED"),
        ("{ things(where: {any: [" + '{name: "x"} ' * 1_000 + "]}) }", "QUERY_TOO_COMPLEX"),
        ("{ hello " + "#\n" * 3_000 + "}", "QUERY_TOO_COMPLEX"),
        (get_introspection_query(), None),
        ("{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }", "GRAPHQL_VALIDATION_FAILED"),
    ],
)  # fmt: skip
async def test_a_document_may_ask_for_so_much_and_no_more(code, query, expected):
    began = time.process_time()
    assert await code(query) == expected
    assert time.process_time() - began < 2  # a walk without a memo takes 19 s


@pytest.mark.parametrize(
    ("levels", "spread"),
    [(levels, "...f{} ...f{}") for levels in (20, 90, 180)]
    + [(levels, spread) for levels in (20, 90) for spread in ("id ...f{} ... on Tree{{...f{}}}", "child{{...f{}}} x:child{{...f{}}}")],
)
async def test_a_fragment_bomb_is_found_out_at_once(code, levels, spread):
    query = bomb(levels, spread)
    assert len(query) < 7_000
    began = time.process_time()
    assert await code(query) == "QUERY_TOO_COMPLEX"
    assert time.process_time() - began < 2  # a walk without a memo takes 19 s


async def test_a_bomb_that_comes_again_is_looked_up(code, app):
    query = bomb(180)
    await code(query)
    checks = app.state.endpoint.checks
    known = checks.of(query, None)
    assert known.refusal is not None
    assert checks.of(query, None) is known


def test_a_bombs_number_is_not_spelled_out():
    assert refusal(bomb(180)) == "The operation has over a million fields, with its fragments spread: at most 10000."


def test_every_operation_of_a_document_is_measured():
    assert (
        refusal("query A { hello } query B { " + aliases(21, "hello") + " }")
        == "The operation has 21 root fields, with its fragments spread: at most 20."
    )


@pytest.mark.parametrize(
    ("query", "variables", "counted"),
    [
        ('{ things(where: {name: "x"}) }', {}, 1),
        ('{ things(where: {any: [{name: "x"}, {any: [{name: "y"}]}]}) }', {}, 4),
        ("query ($w: Where) { things(where: $w) }", {"w": {"any": [{"name": "x"}, {}], "name": None}}, 3),
        ("query ($w: Where) { a: things(where: $w) b: things(where: {any: [$w]}) }", {"w": {"name": "x"}}, 3),
        ('query ($w: Where = {any: [{name: "x"}]}) { things(where: $w) }', {}, 2),
        ('query ($w: Where = {any: [{name: "x"}]}) { things(where: $w) }', {"w": None}, 0),
        ("query ($w: Where) { ...f ...f } fragment f on Query { things(where: $w) }", {"w": {"name": "x"}}, 2),
        ('query ($l: [L!]!) { write(rows: $l) { leads(where: {name: "x"}) } }', {"l": [{"name": "x"}] * 1_000}, 1),
    ],
)
def test_conditions_are_counted_in_literals_and_variables_together(query, variables, counted):
    assert limits.measure(parse(query), MOST).conditions(None, variables) == counted


async def test_a_filter_may_have_so_many_conditions_and_no_more(code):
    query = "query ($w: Where) { things(where: $w) }"
    assert await code(query, {"w": {"any": [{"name": "x"}] * 299}}) is None
    assert await code(query, {"w": {"any": [{"name": "x"}] * 300}}) == "QUERY_TOO_COMPLEX"
    half = "{any: [" + '{name: "x"} ' * 150 + "]}"
    assert await code("query ($w: Where) { a: things(where: " + half + ") b: things(where: $w) }", {"w": {"any": [{}] * 151}}) is None
    assert (
        await code("query ($w: Where) { a: things(where: " + half + ") b: things(where: $w) }", {"w": {"any": [{"name": "x"}] * 150}})
        == "QUERY_TOO_COMPLEX"
    )


async def test_a_value_in_a_document_may_nest_so_deep_and_no_deeper(code):
    def where(objects):
        return "{any: " * (objects - 1) + '{name: "x"}' + "}" * (objects - 1)

    assert await code("{ things(where: " + where(32) + ") }") is None
    assert await code("{ things(where: " + where(33) + ") }") == "QUERY_TOO_COMPLEX"
    assert await code("query ($w: Where = " + where(33) + ") { things(where: $w) }") == "QUERY_TOO_COMPLEX"


async def test_variables_may_nest_as_deep_as_the_body_lets_them(http):
    def body(deep):
        return {"query": "query ($w: Where) { things(where: $w) }", "variables": {"w": json.loads('{"any":' * deep + "{}" + "}" * deep)}}

    assert (await http.post("/graphql", json=body(29))).json()["data"] == {"things": []}
    answer = await http.post("/graphql", json=body(30))
    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (400, "The body nests deeper than 32 objects and lists.")


@pytest.mark.parametrize("text", ["# " + "x" * 1_000_000 + "\n{ hello }", "{ hello" + "," * 200_000 + " }", "query Q { hello } " * 20_000])
async def test_a_document_that_is_too_large_gets_413(http, text):
    began = time.process_time()
    answer = await http.post("/graphql", json={"query": text})
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (413, "LIMIT")
    assert time.process_time() - began < 2  # a walk without a memo takes 19 s


async def test_a_body_that_says_it_is_too_large_is_not_read(database, caller):
    app, sent = small_app(database, caller), []

    async def receive():
        assert sent, "the body was asked for before the answer"
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [
        (b"host", b"x"),
        (b"authorization", b"Bearer key"),
        (b"content-type", b"application/json"),
        (b"content-length", b"104857600"),
    ]
    await app(
        {"type": "http", "method": "POST", "path": "/graphql", "http_version": "1.1", "headers": headers, "query_string": b""},
        receive,
        send,
    )
    assert (sent[0]["status"], json.loads(sent[1]["body"])["errors"][0]["extensions"]["code"]) == (413, "LIMIT")


async def test_a_body_that_goes_on_and_on_is_cut_off(http):
    given = []

    async def chunks():
        for _ in range(40):
            given.append(100_000)
            yield b" " * 100_000

    answer = await http.post("/graphql", content=chunks(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (
        413,
        "The body is larger than 1048576 bytes, the most that this server takes.",
    )
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":18446744073709551615}', {"a": 2**64 - 1}),
        (b'{"a":-9223372036854775808}', {"a": -(2**63)}),
        (b'{"a":"99999999999999999999999"}', {"a": "9" * 23}),
        (b'{"a":0.12345678901234567890123}', {"a": 0.12345678901234567890123}),
        (b'{"a":12345678901234567890123.5}', {"a": 12345678901234567890123.5}),
        (b'["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "\\"{{{{", "\\\\", "]"]', ["[" * 46, '"{{{{', "\\", "]"]),
    ],
)
def test_json_is_read_as_it_is(body, value):
    assert read_json(body, 32) == value


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"a":18446744073709551616}', "An integer of the body has more than 64 bits: send it as a string."),
        (b'{"a":-9223372036854775809}', "An integer of the body has more than 64 bits: send it as a string."),
        (b"[1e400]", "The body is not JSON in UTF-8: number is infinity when parsed as double, at byte 1."),
        (b"[" * 33 + b"]" * 33, "The body nests deeper than 32 objects and lists."),
        (b'["\\\\",' + b'{"\\"":' * 32 + b"1" + b"}" * 32 + b"]", "The body nests deeper than 32 objects and lists."),
        (b"[" * 2_000, "The body is not JSON in UTF-8: depth limit exceeded, at byte 1025."),
        (b"[" * 33, "The body is not JSON in UTF-8: unexpected end of data, at byte 33."),
    ],
)
def test_json_that_would_not_be_read_as_it_is_gets_refused(body, message):
    with pytest.raises(BadRequest) as refused:
        read_json(body, 32)
    assert refused.value.message == message


TEXTS = st.text('[]{}"\\a', max_size=8)


@given(st.recursive(TEXTS, lambda inside: st.lists(inside, max_size=3) | st.dictionaries(TEXTS, inside, max_size=3)))
def test_depth_is_told_without_parsing_whatever_stands_in_strings(value):
    def depth(part):
        inside = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        return isinstance(part, dict | list) + max(map(depth, inside), default=0)

    body = json.dumps(value).encode()
    assert [nests_deeper(body, most) for most in range(8)] == [depth(value) > most for most in range(8)]


@pytest.mark.parametrize(
    "body", [b'"' + b'\\"' * 500_000, b"[" * 500_000 + b"]" * 500_000, b"[]" * 500_000, b"{[" * 9 + b'"' * 999_999, b"\\" * 1_000_000]
)
def test_a_megabyte_of_anything_is_looked_through_quickly(body):
    began = time.process_time()
    nests_deeper(body, 32)
    with pytest.raises(LeadgraphError):
        read_json(body, 32)
    assert time.process_time() - began < 2
