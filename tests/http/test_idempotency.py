"""Requests that are sent again under an `Idempotency-Key`: one effect, one answer."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from app.actions import idempotency
from app.actions.idempotency import Keyed, begin, keep
from app.actions.work import Work
from app.database import table_of
from app.tables import Activity, ApiKey, Idempotency
from app.worker import Worker

UPSERT = (
    "mutation($rows: [LeadRow!]!) { leadUpsertMany(input: {leads: $rows}) { summary { created updated } batch { id } results { leadId } } }"
)
CREATE = 'mutation { leadCreate(input: {email: "ann@example.com"}) { lead { id createdAt } } }'
KEPT, LOG = table_of(Idempotency), table_of(Activity)


@pytest.fixture
def send(client):
    async def send(api, query, variables=None, *, key="k-1", body=None, **headers):
        content = body or json.dumps({"query": query, "variables": variables or {}})
        sent = [("authorization", f"Bearer {api.key}"), ("content-type", "application/json"), *headers.items()]
        keys = key if isinstance(key, list) else [] if key is None else [key]
        return await client.post("/graphql", content=content, headers=[*sent, *(("idempotency-key", each) for each in keys)])

    return send


@pytest.fixture
def count(database, caller):
    async def count(table, *conditions):
        async with database.engine.connect() as connection:
            asked = sa.select(sa.func.count()).select_from(table).where(table.c.workspace_id == sa.bindparam("workspace"), *conditions)
            return await connection.scalar(asked, {"workspace": caller.workspace_id})

    return count


def told(answer):
    [error] = answer.json()["errors"]
    return answer.status_code, error["extensions"]["code"]


async def test_a_request_sent_again_does_nothing_again_and_gets_the_same_bytes(api, send, count):
    rows = [{"email": f"{n}@example.com"} for n in range(3)]
    first = await send(api, UPSERT, {"rows": rows})
    again = await send(api, UPSERT, {"rows": rows})
    assert first.json()["data"]["leadUpsertMany"]["summary"] == {"created": 3, "updated": 0}
    assert "idempotent-replay" not in first.headers
    assert again.headers["idempotent-replay"] == "true"
    assert (again.status_code, again.content) == (200, first.content)
    assert await count(LOG, LOG.c.lead_id.is_not(None)) == 3


async def test_of_fifty_at_once_one_runs_and_all_get_its_answer(api, send, count):
    rows = [{"email": f"{n}@example.com"} for n in range(20)]
    answers = await asyncio.gather(*[send(api, UPSERT, {"rows": rows}) for _ in range(50)])
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["data"]["leadUpsertMany"]["summary"] == {"created": 20, "updated": 0}
    assert [answer.headers.get("idempotent-replay") for answer in answers].count("true") == 49
    assert await count(LOG, LOG.c.lead_id.is_not(None)) == 20


async def test_of_two_servers_that_get_it_at_once_one_runs_it(api, send, database, caller):
    """Without a turn to wait for, as in two processes: the database itself makes the second wait."""
    if not database.is_postgres:
        pytest.skip("SQLite has one writer: nothing happens at once")
    keyed, inside = Keyed.of("k", b"request"), asyncio.Event()

    async def first():
        async with database.writing() as connection:
            work = Work(connection, caller)
            found = await begin(work, keyed, timedelta(hours=1))
            inside.set()
            await asyncio.sleep(0.2)  # by then the second waits
            await keep(work, keyed, "the answer")
            return found

    async def second():
        await inside.wait()
        async with database.writing() as connection:
            return await begin(Work(connection, caller), keyed, timedelta(hours=1))

    assert await asyncio.gather(first(), second()) == [None, "the answer"]


@pytest.mark.parametrize(
    ("query", "variables"),
    [(UPSERT, {"rows": [{"email": "b@example.com"}]}), (UPSERT, {"rows": [{"email": "a@example.com"}, {}]}), (CREATE, {})],
)
async def test_another_request_under_the_key_is_refused(api, send, count, query, variables):
    await send(api, UPSERT, {"rows": [{"email": "a@example.com"}]})
    assert told(await send(api, query, variables)) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert await count(LOG, LOG.c.lead_id.is_not(None)) == 1


async def test_another_operation_of_the_same_document_is_another_request(api, send):
    document = (
        'mutation A { leadCreate(input: {email: "a@example.com"}) { lead { email } } } '
        'mutation B { leadCreate(input: {email: "b@example.com"}) { lead { email } } }'
    )
    ran = await send(api, "", body=json.dumps({"query": document, "operationName": "A"}))
    assert ran.json()["data"]["leadCreate"]["lead"]["email"] == "a@example.com"
    assert told(await send(api, "", body=json.dumps({"query": document, "operationName": "B"}))) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_how_the_json_is_written_makes_no_other_request(api, send):
    first = await send(api, "", body=json.dumps({"query": UPSERT, "variables": {"rows": [{"email": "a@example.com", "title": "CTO"}]}}))
    other = json.dumps({"variables": {"rows": [{"title": "CTO", "email": "a@example.com"}]}, "query": UPSERT}, indent=2)
    again = await send(api, "", body=other)
    assert again.headers["idempotent-replay"] == "true"
    assert again.content == first.content


async def test_a_key_belongs_to_one_caller_of_one_workspace(api, api_of, caller, stranger, send, count):
    colleague = await api_of(caller)
    answers = [await send(who, UPSERT, {"rows": [{"email": "a@example.com"}]}) for who in (api, stranger, colleague)]
    assert ["idempotent-replay" in answer.headers for answer in answers] == [False, False, False]
    summaries = [answer.json()["data"]["leadUpsertMany"]["summary"] for answer in answers]
    assert summaries == [{"created": 1, "updated": 0}, {"created": 1, "updated": 0}, {"created": 0, "updated": 0}]
    assert await count(LOG, LOG.c.lead_id.is_not(None)) == 1
    assert told(await send(stranger, CREATE)) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_an_answer_with_errors_is_not_kept(api, send, count):
    first = await send(api, 'mutation { leadUpdate(lead: {crmId: "7"}, patch: {title: "CTO"}) { lead { title } } }')
    assert told(first) == (200, "NOT_FOUND")
    assert await count(KEPT) == 0
    await api('mutation { leadCreate(input: {crmId: "7"}) { lead { id } } }')
    again = await send(api, 'mutation { leadUpdate(lead: {crmId: "7"}, patch: {title: "CTO"}) { lead { title } } }')
    assert again.json()["data"]["leadUpdate"]["lead"]["title"] == "CTO"
    assert "idempotent-replay" not in again.headers


@pytest.mark.parametrize("key", ["", "two words", "k" * 256, "ünïcode".encode(), ["a", "b"], "tab\tin it"])
async def test_a_key_of_bad_form_is_refused_by_name(api, send, count, key):
    answer = await send(api, CREATE, key=key)
    assert told(answer) == (400, "BAD_REQUEST")
    [error] = answer.json()["errors"]
    assert error["extensions"]["argument"] == "Idempotency-Key"
    assert error["message"].startswith("Idempotency-Key")
    assert await count(LOG, LOG.c.lead_id.is_not(None)) == 0


async def test_a_query_takes_no_notice_of_a_key(api, send, count):
    assert (await send(api, "{ workspace { id } }")).json()["data"]["workspace"]["id"] == api.caller.workspace_id
    assert (await send(api, "{ viewer { role } }")).json()["data"]["viewer"]["role"] == "ADMIN"
    assert await count(KEPT) == 0


async def test_a_key_is_good_for_a_day(api, send, count, database, caller):
    query = "mutation { leadUpsertMany(input: {leads: [{crmId: 1}]}) { summary { created unchanged } } }"
    await send(api, query)
    async with database.engine.connect() as connection:
        mine = sa.select(KEPT.c.created_at, KEPT.c.expires_at).where(KEPT.c.workspace_id == sa.bindparam("workspace"))
        created, expires = (await connection.execute(mine, {"workspace": caller.workspace_id})).one()
    assert expires - created == timedelta(hours=24)
    await expire(database, caller)
    late = await send(api, query)
    assert late.json()["data"]["leadUpsertMany"]["summary"] == {"created": 0, "unchanged": 1}
    assert "idempotent-replay" not in late.headers
    assert (await send(api, query)).headers["idempotent-replay"] == "true"
    await expire(database, caller)
    assert (await send(api, CREATE)).json()["data"]["leadCreate"]["lead"]["id"].startswith("lead_")
    assert await count(KEPT) == 1


async def expire(database, caller):
    async with database.writing() as connection:
        mine = KEPT.c.workspace_id == sa.bindparam("workspace")
        await connection.execute(sa.update(KEPT).values(expires_at=datetime.now(UTC)).where(mine), {"workspace": caller.workspace_id})


async def test_the_worker_clears_what_has_expired(api, stranger, send, count, database, settings, caller):
    await send(api, CREATE)
    await send(api, UPSERT, {"rows": [{"crmId": 1}]}, key="k-2")
    await send(stranger, CREATE)
    await expire(database, caller)
    await expire(database, stranger.caller)
    await send(api, "mutation { leadUpsertMany(input: {leads: [{crmId: 2}]}) { summary { created } } }", key="k-3")
    stop = asyncio.Event()
    stop.set()
    await Worker(database, settings).run(stop)
    assert await count(KEPT) == 1
    async with database.readers.reading() as reading:
        assert not await idempotency.any_expired(reading, datetime.now(UTC))


async def test_an_answer_that_shows_a_secret_is_told_once(api, send, count):
    query = 'mutation { apiKeyCreate(input: {name: "script", role: VIEWER}) { key apiKey { id } } }'
    before = await count(table_of(ApiKey))
    first = await send(api, query)
    again = await send(api, query)
    assert told(again) == (200, "CONFLICT")
    assert "may not be shown again" in again.json()["errors"][0]["message"]
    assert await count(table_of(ApiKey)) == before + 1
    assert await count(KEPT, KEPT.c.response.is_(None)) == 1
    assert first.json()["data"]["apiKeyCreate"]["key"].startswith("lg_")


async def test_who_may_no_longer_do_it_gets_no_answer_either(app, api, send, database):
    first = await send(api, CREATE)
    assert "errors" not in first.json()
    async with database.writing() as connection:
        keys = table_of(ApiKey)
        mine = (keys.c.workspace_id == sa.bindparam("workspace"), keys.c.id == api.caller.api_key_id)
        await connection.execute(sa.update(keys).values(role="VIEWER").where(*mine), {"workspace": api.caller.workspace_id})
    app.state.callers.forget()
    answer = await send(api, CREATE)
    assert told(answer) == (200, "FORBIDDEN")
    assert answer.json()["data"] is None


async def test_a_request_of_several_fields_is_kept_whole(api, send, count):
    query = "mutation { __typename " + " ".join(f'l{n}: leadCreate(input: {{crmId: "{n}"}}) {{ lead {{ id }} }}' for n in range(5)) + " }"
    first, again = [await send(api, query) for _ in range(2)]
    assert again.content == first.content
    assert json.loads(first.content)["extensions"]["cost"] == json.loads(again.content)["extensions"]["cost"]
    assert await count(LOG, LOG.c.lead_id.is_not(None)) == 5


async def test_a_packed_answer_is_the_same_inside(api, send):
    rows = [{"crmId": n} for n in range(200)]
    first = await send(api, UPSERT, {"rows": rows}, **{"accept-encoding": "identity"})
    again = await send(api, UPSERT, {"rows": rows}, **{"accept-encoding": "gzip"})
    assert again.headers["content-encoding"] == "gzip"
    assert again.content == first.content
