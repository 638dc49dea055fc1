"""The whole service through its door: who may, what is refused before a statement runs, and what never gets out."""

import asyncio

import pytest
from graphql import get_introspection_query

from app.actions import leads
from app.actions.work import Role

SECRET = "hunter2-and-ada@example.com"
CREATE = "mutation ($email: String!) { leadCreate(input: {email: $email}) { lead { email } } }"
COUNT = "{ leads { totalCount } }"


def bomb(levels):
    fragments = [f"fragment f{level} on Lead{{...f{level + 1} ...f{level + 1}}}" for level in range(levels)]
    return "".join(["{leads{nodes{...f0}}}", *fragments, f"fragment f{levels} on Lead{{id}}"])


@pytest.mark.parametrize("key", [None, "lg_x", "Bearer", "eyJhbGciOiJub25lIn0.e30."])
@pytest.mark.parametrize("query", [get_introspection_query(), "{ viwer }", "{", bomb(180)])
async def test_without_a_valid_key_every_document_gets_the_same(client, key, query):
    headers = {"x-request-id": "r", **({"authorization": f"Bearer {key}"} if key else {})}
    answer = await client.post("/graphql", json={"query": query}, headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {
        "errors": [
            {
                "message": "Send a valid API key or token: `Authorization: Bearer KEY`.",
                "extensions": {"code": "UNAUTHENTICATED", "requestId": "r"},
            }
        ]
    }


async def test_a_key_may_come_in_either_header(client, key):
    for headers in ({"authorization": f"Bearer {key}"}, {"x-org-api-key": key}):
        answer = await client.post("/graphql", json={"query": "{ viewer { role } }"}, headers=headers)
        assert answer.json()["data"] == {"viewer": {"role": "ADMIN"}}


async def test_a_viewer_reads_and_writes_nothing(api_of, api, caller):
    viewer = await api_of(caller, Role.VIEWER)
    error = await viewer.error(CREATE, email="ada@example.com")
    assert error["extensions"]["code"] == "FORBIDDEN"
    assert await viewer(COUNT) == await api(COUNT) == {"leads": {"totalCount": 0}}


async def test_a_mutation_is_written_whole_or_not_at_all(api):
    field = "leadCreate(input: {email: $email}) { lead { email } }"
    twice = f"mutation ($email: String!) {{ a: {field} b: {field} }}"
    answer = await api.send(twice, {"email": "ada@example.com"})
    assert (answer["data"], answer["errors"][0]["extensions"]["code"]) == (None, "TAKEN")
    assert await api(COUNT) == {"leads": {"totalCount": 0}}
    assert await api(CREATE, email="ada@example.com") == {"leadCreate": {"lead": {"email": "ada@example.com"}}}
    assert await api(COUNT) == {"leads": {"totalCount": 1}}


async def test_several_root_fields_are_answered_together(api):
    await api(CREATE, email="ada@example.com")
    query = "{ " + " ".join(f"a{index}: leads {{ totalCount nodes {{ email }} }}" for index in range(10)) + " }"
    answer = await api(query)
    assert answer == {f"a{index}": {"totalCount": 1, "nodes": [{"email": "ada@example.com"}]} for index in range(10)}


async def test_many_requests_at_once_are_all_answered(api):
    await api(CREATE, email="ada@example.com")
    answers = await asyncio.gather(*(api("{ leads { totalCount } campaigns { totalCount } }") for _ in range(60)))
    assert answers == [{"leads": {"totalCount": 1}, "campaigns": {"totalCount": 0}}] * 60


async def test_introspection_is_answered(api):
    types = {each["name"] for each in (await api(get_introspection_query()))["__schema"]["types"]}
    assert {"Lead", "Campaign", "LeadWhere"} <= types


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        (bomb(20), {}, "QUERY_TOO_COMPLEX"),
        (bomb(180), {}, "QUERY_TOO_COMPLEX"),
        ("query ($w: LeadWhere) { leads(where: $w) { totalCount } }", {"w": {"or": [{"email": {"eq": "a"}}] * 1_000}}, "QUERY_TOO_COMPLEX"),
        ("{ leads(where: {or: [" + '{email: {eq: "a"}} ' * 1_000 + "]}) { totalCount } }", {}, "QUERY_TOO_COMPLEX"),
        ("{ leads(where: " + "{not: " * 32 + "{}" + "}" * 32 + ") { totalCount } }", {}, "QUERY_TOO_COMPLEX"),
        ("{ leads { nope } }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("query ($first: Int) { leads(first: $first) { totalCount } }", {"first": 2**31}, "BAD_USER_INPUT"),
        ("query A { leads { totalCount } } query B { viewer { role } }", {}, "BAD_REQUEST"),
        ("subscription { activityAdded { cursor } }", {}, "BAD_REQUEST"),
    ],
)
async def test_what_is_refused_costs_no_statement(api, statements, query, variables, code):
    with statements() as ran:
        assert (await api.send(query, variables))["errors"][0]["extensions"]["code"] == code
    assert ran == []


@pytest.mark.parametrize("first", [201, 0, -1, 2_147_483_647])
async def test_a_page_is_of_1_to_200(api, first):
    error = await api.error("query ($first: Int) { leads(first: $first) { totalCount } }", first=first)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_an_exception_with_a_password_in_it_stays_in_the_log(api, log, monkeypatch):
    async def fail(*_, **__):
        raise RuntimeError(f"cannot connect as {SECRET}")

    monkeypatch.setattr(leads, "create", fail)
    error = await api.error(CREATE, email="ada@example.com")
    assert error["message"] == "Something unexpected went wrong on our side; it has been logged under the request id."
    assert error["extensions"] == {"code": "INTERNAL", "requestId": error["extensions"]["requestId"]}
    assert SECRET in log.getvalue()
    assert error["extensions"]["requestId"] in log.getvalue()


async def test_the_log_of_ordinary_requests_holds_nothing_of_anybody(api, log):
    await api(CREATE, email="ada@example.com")
    await api.send(CREATE, {"email": "ada@example.com"})
    await api.send('{ leads(where: {email: {eq: "ada@example.com"}}) { nope } }')
    assert log.getvalue() == ""


async def test_a_revoked_key_is_refused_at_once_in_this_process(api_of, api, caller):
    other = await api_of(caller)
    viewer = await other("{ viewer { apiKey { id } } }")
    await api("mutation ($id: ID!) { apiKeyRevoke(id: $id) { apiKey { id } } }", id=viewer["viewer"]["apiKey"]["id"])
    assert (await other.error("{ viewer { role } }"))["extensions"]["code"] == "UNAUTHENTICATED"
