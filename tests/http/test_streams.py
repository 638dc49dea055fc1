"""Operations as server-sent events, and the choice between them and JSON."""

import io
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from serving import serve
from talking import streamed

from app.actions import imports, jobs
from app.actions.work import Role, Work
from app.asgi import build

WATCH = "subscription ($after: String) { activityAdded(after: $after) { cursor node { kind leadId } } }"
IMPORT = "subscription ($id: ID!) { importJobUpdated(id: $id) { id progress status summary { total created } } }"
CREATE = 'mutation { leadCreate(input: {email: "bob@example.com"}) { lead { id } } }'
LOG = "query ($after: String) { activities(after: $after) { edges { cursor node { kind leadId } } } }"
ROLE = "{ viewer { role } }"
URQL = "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed"


async def create(api, *names):
    await api("leads/upsert_many", input={"leads": [{"email": f"{name}@example.com"} for name in names]})


async def test_a_stream_tells_what_happens_and_is_resumed_without_a_gap(server_url, api):
    async with streamed(server_url, api.key, WATCH) as stream:
        assert (stream.response.status_code, stream.response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        await create(api, "a", "b")
        first = (await stream.data())["activityAdded"]
    await create(api, "c", "d")
    listed = await api(LOG, after=first["cursor"])
    async with streamed(server_url, api.key, WATCH, {"after": first["cursor"]}) as stream:
        told = [(await stream.data())["activityAdded"] for _ in listed["activities"]["edges"]]
    assert told == listed["activities"]["edges"]


async def test_a_query_is_answered_in_events_where_nothing_else_is_taken_and_in_json_otherwise(server_url, api):
    async with streamed(server_url, api.key, ROLE) as stream:
        assert await stream.event() == ("next", {"data": {"viewer": {"role": "ADMIN"}}, "extensions": {"cost": 1}})
        assert await stream.event() == ("complete", None)
        assert await stream.event() == ("end", None)
    async with httpx2.AsyncClient() as client:
        headers = {"accept": URQL, "authorization": f"Bearer {api.key}"}
        answer = await client.post(f"{server_url}/graphql", json={"query": ROLE}, headers=headers)
        assert answer.headers["content-type"].startswith("application/graphql-response+json")
        assert answer.json()["data"] == {"viewer": {"role": "ADMIN"}}
    async with streamed(server_url, api.key, WATCH, accept=URQL) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/event-stream;q=0, application/json"])
async def test_a_subscription_is_not_answered_in_one_piece(server_url, api, accept):
    async with httpx2.AsyncClient() as client:
        headers = {"accept": accept, "authorization": f"Bearer {api.key}"}
        answer = await client.post(f"{server_url}/graphql", json={"query": WATCH}, headers=headers)
    [error] = answer.json()["errors"]
    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert "Accept: text/event-stream" in error["message"]


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("{ nope }", {}, "GRAPHQL_VALIDATION_FAILED"),
        (WATCH, {"after": "nonsense"}, "INVALID_CURSOR"),
        (WATCH, {"after": 5}, "BAD_USER_INPUT"),
        (IMPORT, {"id": "imp_none"}, "NOT_FOUND"),
        (IMPORT, {"id": "lead_none"}, "NOT_FOUND"),
    ],
)
async def test_what_is_wrong_is_told_in_the_stream_that_then_completes(server_url, api, query, variables, code):
    async with streamed(server_url, api.key, query, variables) as stream:
        assert stream.response.status_code == 200
        name, result = await stream.event()
        assert (name, result["errors"][0]["extensions"]["code"]) == ("next", code)
        assert await stream.event() == ("complete", None)
        assert await stream.event() == ("end", None)


async def test_without_a_key_there_is_no_stream(server_url):
    async with streamed(server_url, None, "{") as stream:
        assert (stream.response.status_code, stream.response.headers["content-type"]) == (401, "application/json; charset=utf-8")


async def test_a_stream_by_get_reads_and_never_writes(server_url, api):
    headers = {"accept": "text/event-stream", "authorization": f"Bearer {api.key}"}
    async with httpx2.AsyncClient() as client:
        async with client.stream("GET", f"{server_url}/graphql", params={"query": WATCH}, headers=headers) as response:
            assert response.status_code == 200
            await create(api, "ada")
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    assert "LEAD_CREATED" in line
                    break
        refused = await client.get(f"{server_url}/graphql", params={"query": CREATE}, headers=headers)
    assert refused.status_code == 405
    assert await api("{ leads { totalCount } }") == {"leads": {"totalCount": 1}}


@pytest.fixture
async def ordered(database, caller):
    """An import of two pieces that nobody else carries out, and what carries out the next step of it."""
    file = io.BytesIO(b"email\n" + b"".join(b"n%d@example.com\n" % number for number in range(3_000)))
    async with database.writing() as connection:
        held = jobs.Hold("test", datetime.now(UTC) + timedelta(days=1))
        kept = await imports.order(Work(connection, caller), file, imports.Order(), held=held)

    async def step():
        async with database.writing() as connection:
            kept.job["checkpoint"], _ = await imports.step(Work(connection, caller), kept.job)

    return kept.id, step


async def test_an_import_is_followed_to_its_end(server_url, api, ordered):
    importing, step = ordered
    async with streamed(server_url, api.key, IMPORT, {"id": importing}) as stream:
        seen = [(await stream.data())["importJobUpdated"]]
        for _ in range(3):
            await step()
            seen.append((await stream.data())["importJobUpdated"])
        assert await stream.event() == ("complete", None)
    assert [(each["progress"], each["status"], each["summary"]["created"]) for each in seen] == [
        (0, "PENDING", 0),
        (0.5, "RUNNING", 2_000),
        (0.99, "RUNNING", 3_000),
        (1, "SUCCEEDED", 3_000),
    ]


async def test_an_import_of_another_workspace_is_not_there(server_url, stranger, ordered):
    importing, _ = ordered
    async with streamed(server_url, stranger.key, IMPORT, {"id": importing}) as stream:
        name, theirs = await stream.event()
    async with streamed(server_url, stranger.key, IMPORT, {"id": "imp_none"}) as stream:
        _, nobody_s = await stream.event()
    for result in (theirs, nobody_s):
        del result["errors"][0]["extensions"]["requestId"]
    assert (name, theirs) == ("next", nobody_s)


async def test_a_revoked_key_ends_its_stream_and_says_why(server_url, api, api_of, caller):
    other = await api_of(caller, Role.VIEWER)
    async with streamed(server_url, other.key, WATCH) as stream:
        await api("mutation ($id: ID!) { apiKeyRevoke(id: $id) { apiKey { id } } }", id=other.caller.api_key_id)
        name, result = await stream.event()
        assert (name, result["errors"][0]["extensions"]["code"]) == ("next", "UNAUTHENTICATED")
        assert await stream.event() == ("complete", None)
        assert await stream.event() == ("end", None)


async def test_a_key_has_so_many_streams_and_no_more(database, api):
    with serve(build(database.settings.model_copy(update={"max_connections": 1}))) as url:
        async with streamed(url, api.key, WATCH), streamed(url, api.key, WATCH) as second:
            assert second.response.status_code == 429
            await second.response.aread()
            assert second.response.json()["errors"][0]["extensions"]["code"] == "LIMIT"


async def test_silence_is_broken_by_comments_and_a_server_that_ends_leaves_no_complete(database, api):
    app = build(database.settings.model_copy(update={"heartbeat_seconds": 0.05}))
    with serve(app) as url:
        async with streamed(url, api.key, WATCH) as stream:
            for _ in range(3):
                assert await stream.event(heartbeats=True) == ("heartbeat", None)
            app.state.endpoint.connections.end_all()
            assert await stream.event() == ("end", None)
