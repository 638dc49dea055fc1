"""GraphQL over HTTP, with a small graph behind the endpoint: statuses, forms, transactions, and what never gets out."""

import json

import pytest
from small_graph import SECRET
from talking import code

from app.errors import BadRequest, Unavailable

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"


async def test_a_query_is_answered_in_json(post):
    answer = await post(query="{ hello tree { id } finished { id } }")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert answer.json()["data"] == {"hello": "Bonjour", "tree": {"id": "t"}, "finished": [{"id": "from the database"}]}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (GRAPHQL, GRAPHQL),
        (f"{GRAPHQL}; charset=utf-8, {JSON}; charset=utf-8", GRAPHQL),
        (f"{JSON}, {GRAPHQL}", JSON),
        (f"{JSON};q=0.5, {GRAPHQL};q=0.9", GRAPHQL),
        (f"text/event-stream, {GRAPHQL};q=0, {JSON};q=0.1", JSON),
        (f"{GRAPHQL}, application/graphql+json, {JSON}, text/event-stream, multipart/mixed", GRAPHQL),
    ],
)
async def test_the_answer_is_of_the_type_that_the_client_likes_best(http, accept, expected):
    headers = {"accept": accept} if accept else {}
    request = http.build_request("POST", "/graphql", json={"query": "{ hello }"}, headers={"authorization": "Bearer key", **headers})
    if accept is None:
        del request.headers["accept"]
    answer = await http.send(request)
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{expected}; charset=utf-8")


@pytest.mark.parametrize(
    "accept", ["application/xml", "text/html", f"{JSON};q=0", f"{JSON}; charset=latin1", "x" * 5_000, f"{JSON};q=high"]
)
async def test_a_client_that_takes_neither_type_gets_406(post, accept):
    answer = await post(query="{ hello }", accept=accept)
    assert (answer.status_code, code(answer), answer.headers["content-type"]) == (406, "BAD_REQUEST", "application/json; charset=utf-8")


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/graphql", f"{JSON}; charset=utf-16", "multipart/mixed"],
)
async def test_a_body_of_another_type_gets_415(post, content_type):
    answer = await post(query="{ hello }", content_type=content_type)
    assert (answer.status_code, code(answer)) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_a_compressed_body_gets_415(post):
    assert code(await post(query="{ hello }", **{"content-encoding": "gzip"})) == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize("content_type", [JSON, "Application/JSON", 'application/json; charset="UTF-8"', "application/json;charset=utf-8"])
async def test_json_in_utf_8_is_taken_however_it_is_named(post, content_type):
    answer = await post(query='{ required(text: "Zoë 🏃") }', content_type=content_type)
    assert answer.json()["data"] == {"required": "Zoë 🏃"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_gets_405_and_is_told_which(http, name, method):
    answer = await http.request(
        method, "/graphql", params={"query": 'mutation { rename(name: "by GET") }'}, headers={"authorization": "Bearer key"}
    )
    assert (answer.status_code, answer.headers["allow"], code(answer)) == (405, "GET, POST", "BAD_REQUEST")
    assert await name() == "Test"


NO_REQUESTS = (
    *(
        b"null",
        b'"x"',
        b"1",
        b"true",
        b"[]",
        b"[1]",
        b"",
        b"{",
        b'{"query":',
        b"{}",
        b'{"query":1}',
        b'{"query":null}',
        b'{"qeury":"{hello}"}',
    ),
    *(b'{"query":"{hello}","variables":[7]}', b'{"query":"{hello}","operationName":{}}', b'{"query":"{hello}","extensions":"x"}'),
    *(b'{"query":"{hello}","variables":{"x":NaN}}', b'{"query":"{hello}","variables":{"x":-Infinity}}', b'{"x":' + b"9" * 5_000 + b"}"),
    *(b'{"query":"\xff"}', b'{"query":"\\ud800"}', '{"query":"{hello}"}'.encode("utf-16")),
    *(b"[" * 1_024 + b"]" * 1_024, b'{"a":' * 40 + b"1" + b"}" * 40),
)


@pytest.mark.parametrize("body", NO_REQUESTS)
@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
async def test_a_body_that_is_no_request_gets_400(post, body, accept):
    answer = await post(body, accept=accept)
    assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST")
    assert answer.headers["content-type"] == f"{accept}; charset=utf-8"
    assert "data" not in answer.json()


async def test_a_batch_runs_nothing(post, name):
    operation = b'{"query":"mutation { rename(name: \\"batched\\") }"}'
    answer = await post(b"[" + b",".join([operation] * 10) + b"]")
    assert (answer.status_code, code(answer)) == (400, "BATCHING_DISABLED")
    assert await name() == "Test"


@pytest.mark.parametrize(
    "content", [{"variables": None, "operationName": None, "extensions": None}, {"extensions": {"some": "value"}}, {"operationName": ""}]
)
async def test_parameters_may_be_null_or_unknown(post, content):
    assert (await post(content, query="{ hello }")).json()["data"] == {"hello": "Bonjour"}


@pytest.mark.parametrize(
    ("query", "variables", "expected"),
    [
        ("{", None, "GRAPHQL_PARSE_FAILED"),
        ("", None, "GRAPHQL_PARSE_FAILED"),
        ("{ nope }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("{ tree { ...f } } fragment f on Tree { ...f }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("query A { hello } query B { hello }", None, "BAD_REQUEST"),
        ("query ($id: Int!) { things(count: $id) }", {"id": None}, "BAD_USER_INPUT"),
        ("query ($id: Int!) { things(count: $id) }", {"id": 2**31}, "BAD_USER_INPUT"),
        ("subscription { ticks }", None, "BAD_REQUEST"),
        ("fragment f on Tree { id }", None, "GRAPHQL_VALIDATION_FAILED"),
    ],
)
async def test_a_refused_request_is_200_in_json_and_400_in_the_type_that_is_graphqls_own(post, query, variables, expected):
    for accept, status in ((JSON, 200), (GRAPHQL, 400)):
        answer = await post({"variables": variables}, query=query, accept=accept)
        assert (answer.status_code, code(answer)) == (status, expected)
        assert "data" not in answer.json()


async def test_of_several_operations_the_one_named_runs(post):
    query = "query A { hello } query B { tree { id } } query A2 { hello }"
    assert (await post({"operationName": "B"}, query=query)).json()["data"] == {"tree": {"id": "t"}}
    answer = await post({"operationName": "C"}, query=query)
    assert answer.json()["errors"][0]["extensions"]["argument"] == "operationName"
    assert "'C'" in answer.json()["errors"][0]["message"]


async def test_a_validation_error_says_where_and_suggests(post):
    answer = await post(query="{ helo }", **{"x-request-id": "r-1"})
    assert answer.json() == {
        "errors": [
            {
                "message": "Cannot query field 'helo' on type 'Query'. Did you mean 'hello'?",
                "locations": [{"line": 1, "column": 3}],
                "extensions": {"code": "GRAPHQL_VALIDATION_FAILED", "requestId": "r-1"},
            }
        ]
    }


@pytest.mark.parametrize(
    ("declared", "variables", "argument"),
    [
        ("$where: Where", {"where": {"name": 5}}, "where.name"),
        ("$where: Where", {"where": {"any": [{}, {"name": 5}]}}, "where.any[1].name"),
        ("$where: Where", {"where": {"nme": "x"}}, "where.nme"),
        ("$where: Where!", {}, "where"),
    ],
)
async def test_a_variable_that_does_not_fit_is_named_by_its_path(post, declared, variables, argument):
    answer = await post({"variables": variables}, query=f"query ({declared}) {{ things(where: $where) }}")
    extensions = answer.json()["errors"][0]["extensions"]
    assert (extensions["code"], extensions["rule"], extensions["argument"]) == ("BAD_USER_INPUT", "INVALID", argument)


async def test_a_scalars_own_refusal_keeps_its_words_in_variables_and_literals(post):
    for query, variables in (("query ($at: Moment!) { at(moment: $at) }", {"at": "noon"}), ('{ at(moment: "noon") }', None)):
        [error] = (await post({"variables": variables}, query=query)).json()["errors"]
        assert (error["message"], error["extensions"]["code"], error["extensions"]["rule"]) == (
            "'noon' is no moment",
            "BAD_USER_INPUT",
            "INVALID",
        )
    answer = await post({"variables": {"where": {"at": "noon"}}}, query="query ($where: Where) { things(where: $where) }")
    assert answer.json()["errors"][0]["extensions"]["argument"] == "where.at"


async def test_a_null_where_a_value_is_due_is_the_clients_mistake(post):
    answer = await post({"variables": {"text": None}}, query="query ($text: String) { required(text: $text) }")
    extensions = answer.json()["errors"][0]["extensions"]
    assert (extensions["code"], extensions["argument"]) == ("BAD_USER_INPUT", "text")


async def test_a_megabyte_in_a_variable_is_not_sent_back(post):
    answer = await post({"variables": {"id": "x" * 900_000}}, query="query ($id: Int!) { things(count: $id) }")
    assert code(answer) == "BAD_USER_INPUT"
    assert len(answer.content) < 1_000


async def test_our_own_error_keeps_its_code_beside_the_other_fields(post):
    answer = await post(query='{ hello fail(kind: "ours") }', **{"x-request-id": "r.2"}, accept=GRAPHQL)
    assert answer.status_code == 200
    assert answer.json() == {
        "data": {"hello": "Bonjour", "fail": None},
        "extensions": {"cost": 0},
        "errors": [
            {
                "message": "It is at version 3.",
                "locations": [{"line": 1, "column": 9}],
                "path": ["fail"],
                "extensions": {"code": "CONFLICT", "currentVersion": 3, "requestId": "r.2"},
            }
        ],
    }


@pytest.mark.parametrize("query", ['{ fail(kind: "bug") }', "{ nothing }", '{ fail(kind: "statement") }', 'mutation { fail(kind: "bug") }'])
async def test_what_nobody_expected_is_masked_and_stands_in_the_log_alone(post, log, query):
    answer = await post(query=query, **{"x-request-id": "r-3"})
    assert (answer.status_code, code(answer)) == (200, "INTERNAL")
    assert answer.json()["errors"][0]["message"] == "Something unexpected went wrong on our side; it has been logged under the request id."
    assert answer.json()["errors"][0]["extensions"]["requestId"] == "r-3"
    [line] = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["event"], line["request_id"], line["level"]) == ("unexpected", "r-3", "error")
    assert (SECRET in line["exception"]) == ("bug" in query)
    assert query not in log.getvalue()


@pytest.mark.parametrize("kind", ["away", "full", "reset", "driver", "unavailable"])
async def test_a_database_that_is_away_is_unavailable_and_may_be_tried_again(post, log, kind):
    for operation in ("query", "mutation"):
        answer = await post({"variables": {"kind": kind}}, query=f"{operation} ($kind: String!) {{ fail(kind: $kind) }}")
        assert (answer.status_code, code(answer), answer.headers["retry-after"]) == (200, "UNAVAILABLE", "1")
        assert answer.json()["data"] in ({"fail": None}, None)
    assert log.getvalue() == ""


async def test_clients_mistakes_are_not_logged(post, log):
    for query in ("{", "{ nope }", '{ fail(kind: "ours") }', "query ($id: Int!) { things(count: $id) }"):
        assert "errors" in (await post(query=query)).json()
    assert log.getvalue() == ""


@pytest.mark.parametrize("given", ["a", "A-z.0_9" * 9, "x" * 64])
async def test_a_request_keeps_the_id_it_brings(post, given):
    assert (await post(query="{ hello }", **{"x-request-id": given})).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "é".encode(), "<script>"])
async def test_a_request_with_an_odd_id_gets_another(post, given):
    answer = await post(query="{", **{"x-request-id": given})
    made = answer.headers["x-request-id"]
    assert made.startswith("req_")
    assert answer.json()["errors"][0]["extensions"]["requestId"] == made


@pytest.mark.parametrize("content", [{"query": "{ hello }"}, {"query": "{"}, {}])
async def test_no_answer_is_kept_or_guessed_at(post, content):
    headers = (await post(content)).headers
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


@pytest.mark.parametrize(
    "body",
    [
        b'{"query":"{ __schema { types { name } } }"}',
        b'{"query":"{ helo }"}',
        b'{"query":"{' + b"{" * 5_000 + b'"}',
        b"\xff",
        b"[" * 9_999,
        b"",
    ],
)
async def test_a_stranger_learns_nothing_but_that(post, body):
    answer = await post(body, key=None, **{"x-request-id": "r"}, content_type="text/plain", accept="text/html")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json() == {
        "errors": [
            {
                "message": "Send a valid API key or token: `Authorization: Bearer KEY`.",
                "extensions": {"code": "UNAUTHENTICATED", "requestId": "r"},
            }
        ]
    }


async def test_who_asks_is_settled_before_the_body_is_read(small):
    read = []

    async def receive():
        read.append(1)
        return {"type": "http.request", "body": b"{}"}

    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/graphql", "http_version": "1.1", "headers": [(b"host", b"x")], "query_string": b""}
    await small(scope, receive, send)
    assert (sent[0]["status"], read) == (401, [])
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


async def test_whoever_looks_callers_up_may_fail_too(post, small, log):
    small.state.callers.failure = Unavailable()
    answer = await post(query="{ hello }")
    assert (answer.status_code, code(answer), answer.headers["retry-after"], answer.json()["data"]) == (200, "UNAVAILABLE", "1", None)
    small.state.callers.failure = BadRequest("Name one in X-Workspace.")
    answer = await post(query="{ hello }")
    assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST")
    small.state.callers.failure = RuntimeError(SECRET)
    answer = await post(query="{ hello }")
    assert (answer.status_code, code(answer)) == (500, "INTERNAL")
    assert SECRET not in answer.text
    assert SECRET in log.getvalue()
