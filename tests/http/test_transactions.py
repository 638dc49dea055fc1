"""A request is one transaction, or one snapshot: what is written, what is not, what runs again, and what ends it."""

import asyncio
from contextlib import AsyncExitStack

import httpx2
import pytest
import sqlalchemy as sa
from small_graph import ATTEMPTS, SECRET, small_app
from talking import code

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"


async def test_several_root_fields_read_one_snapshot(post):
    assert (await post(query="{ snapshot }")).json()["data"] == {"snapshot": False}
    assert (await post(query="{ a: hello ...f } fragment f on Query { snapshot }")).json()["data"] == {"a": "Bonjour", "snapshot": True}


async def test_a_mutation_is_committed_when_it_is_answered(post, name):
    assert (await post(query='mutation { rename(name: "A") }')).json()["data"] == {"rename": "A"}
    assert await name() == "A"


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
async def test_a_mutation_with_an_error_writes_nothing_at_all(post, name, accept):
    answer = await post(query='mutation { rename(name: "B") fail(kind: "ours") }', accept=accept)
    assert (answer.status_code, answer.json()["data"], code(answer)) == (200, None, "CONFLICT")
    assert await name() == "Test"


async def test_a_mutation_whose_variables_do_not_fit_writes_nothing(post, name):
    answer = await post({"variables": {"name": 5}}, query="mutation ($name: String!) { rename(name: $name) }", accept=GRAPHQL)
    assert (answer.status_code, "data" in answer.json()) == (400, False)
    assert await name() == "Test"


async def test_a_deadlock_runs_the_whole_request_again(post, name):
    answer = await post(
        query='mutation { rename(name: "C") renameAtAttempt(attempt: 4, name: "D") }', **{"x-request-id": f"deadlock-{await name()}"}
    )
    assert answer.json()["data"] == {"rename": "C", "renameAtAttempt": 4}
    assert await name() == "D"
    ATTEMPTS.clear()


async def test_a_deadlock_is_given_up_after_three_reruns(post, name, log):
    answer = await post(query='mutation { rename(name: "C") renameAtAttempt(attempt: 5, name: "D") }', **{"x-request-id": "deadlocked"})
    assert (answer.json()["data"], code(answer)) == (None, "INTERNAL")
    assert ATTEMPTS.pop("deadlocked") == 4
    assert await name() == "Test"
    assert SECRET not in log.getvalue()


async def test_a_client_that_leaves_finds_the_mutation_done_whole(small, post, name):
    leaving = asyncio.create_task(post(query='mutation { renameSlowly(name: "E", seconds: 0.2) }'))
    await asyncio.sleep(0.1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await small.state.endpoint.close()
    assert await name() == "E"


async def test_a_request_that_takes_too_long_is_ended_and_writes_nothing(database, caller, name):
    small = small_app(database, caller, request_seconds=0.3)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(small), base_url="http://leadgraph.example") as http:
        for query in ("{ wait(seconds: 20) }", 'mutation { renameSlowly(name: "F", seconds: 20) }'):
            answer = await http.post("/graphql", json={"query": query}, headers={"authorization": "Bearer key"})
            assert (answer.status_code, code(answer), answer.json()["data"]) == (200, "TIMEOUT", None)
        assert await name() == "Test"
        answer = await http.post("/graphql", json={"query": 'mutation { rename(name: "G") }'}, headers={"authorization": "Bearer key"})
        assert answer.json()["data"] == {"rename": "G"}


async def test_a_request_that_finds_no_reader_in_time_may_be_tried_again(database, caller):
    small = small_app(database, caller, request_seconds=0.2)
    async with (
        AsyncExitStack() as busy,
        httpx2.AsyncClient(transport=httpx2.ASGITransport(small), base_url="http://leadgraph.example") as http,
    ):
        for _ in range(database.settings.readers):
            await busy.enter_async_context(database.readers.reading(snapshot=True))
        answer = await http.post("/graphql", json={"query": "{ hello again: hello }"}, headers={"authorization": "Bearer key"})
        assert (answer.status_code, code(answer), answer.headers["retry-after"]) == (200, "UNAVAILABLE", "1")


async def test_a_statement_that_runs_away_inside_a_mutation_is_ended(database, caller, name):
    small = small_app(database, caller, request_seconds=0.3)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(small), base_url="http://leadgraph.example") as http:
        answer = await http.post("/graphql", json={"query": "mutation { runAway }"}, headers={"authorization": "Bearer key"})
        assert code(answer) == "TIMEOUT"
    assert await name() == "Test"
    # The writer is whole again, at once or as soon as SQLite's thread is through.
    async with database.writing() as connection:
        assert await connection.scalar(sa.select(sa.literal(1))) == 1


async def test_keys_and_users_that_were_changed_are_looked_up_anew(post, small):
    await post(query='mutation { rename(name: "H") }')
    assert small.state.callers.forgotten == 0
    await post(query="mutation { userForget }")
    assert small.state.callers.forgotten == 1
