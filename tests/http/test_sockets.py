"""Operations over a WebSocket: the protocol, who may, what is refused, and what follows of the log."""

import asyncio
import json
from contextlib import suppress

import pytest
from serving import serve
from talking import SOON, opened
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.actions.work import Role
from app.asgi import build
from app.http import sockets
from app.settings import QUERIES

WATCH = (
    "subscription ($after: String, $where: ActivityWhere) { activityAdded(after: $after, where: $where) { cursor node { kind leadId } } }"
)
CREATE = 'mutation { leadCreate(input: {email: "ada@example.com"}) { lead { id } } }'
BY_NAME = "mutation ($e: String!) { leadCreate(input: {email: $e}) { lead { email } } }"
ROLE = "{ viewer { role } }"


async def create(api, *names):
    await api("leads/upsert_many", input={"leads": [{"email": f"{name}@example.com"} for name in names]})


async def test_what_happens_after_the_subscription_is_told_in_order(server_url, api):
    await create(api, "before")
    async with opened(server_url, api.key) as socket:
        await socket.subscribe(WATCH, {"where": {"kind": {"eq": "LEAD_CREATED"}}})
        await socket.ask(ROLE)  # answered after the subscription has begun
        await create(api, "a", "b", "c")
        told = [(await socket.data())["activityAdded"] for _ in range(3)]
    listed = (await api("{ activities(where: {kind: {eq: LEAD_CREATED}}) { edges { cursor node { kind leadId } } } }"))["activities"][
        "edges"
    ]
    assert told == listed[1:]


async def test_every_document_of_a_subscription_is_answered(server_url, api):
    async with opened(server_url, api.key) as socket:
        await socket.subscribe((QUERIES / "activities/watch.graphql").read_text())
        await socket.ask(ROLE)
        await create(api, "ada")
        node = (await socket.data())["activityAdded"]["node"]
        assert (node["kind"], node["lead"]["email"]) == ("LEAD_CREATED", "ada@example.com")
        known = {"documentId": "import_jobs/watch", "variables": {"id": "imp_none"}}
        await socket.send({"type": "subscribe", "id": "2", "payload": known})
        message = await socket.receive()
        assert (message["id"], message["type"], message["payload"]["data"]) == ("2", "next", None)
        [error] = message["payload"]["errors"]
        assert (error["extensions"]["code"], error["path"]) == ("NOT_FOUND", ["importJobUpdated"])
        assert await socket.receive() == {"type": "complete", "id": "2"}


async def test_a_resumed_subscription_misses_nothing_and_doubles_nothing(server_url, api):
    await create(api, *(f"n{number}" for number in range(30)))
    edges = (await api("{ activities(first: 200) { edges { cursor node { id } } } }"))["activities"]["edges"]
    query = "subscription ($after: String) { activityAdded(after: $after) { cursor node { id } } }"
    told, after = [], edges[0]["cursor"]
    for stretch in (1, 7, 30):
        async with opened(server_url, api.key) as socket:
            await socket.subscribe(query, {"after": after})
            for _ in range(min(stretch, len(edges) - 1 - len(told))):
                told.append((await socket.data())["activityAdded"])
                after = told[-1]["cursor"]
    assert told == edges[1:]


async def test_a_viewer_does_not_see_what_is_for_administrators(server_url, api, api_of, caller):
    viewer = await api_of(caller, Role.VIEWER)
    async with opened(server_url, viewer.key) as socket, opened(server_url, api.key) as admin:
        for each in (socket, admin):
            await each.subscribe(WATCH)
            await each.ask(ROLE)
        await api("api_keys/create", input={"name": "another", "role": "VIEWER"})
        await create(api, "ada")
        assert (await admin.data())["activityAdded"]["node"]["kind"] == "ADMINISTERED"
        assert (await socket.data())["activityAdded"]["node"]["kind"] == "LEAD_CREATED"


async def test_another_workspace_s_log_is_neither_told_nor_resumed(server_url, api, stranger):
    await create(api, "ada")
    theirs = (await api("{ activities { pageInfo { endCursor } } }"))["activities"]["pageInfo"]["endCursor"]
    async with opened(server_url, stranger.key) as socket:
        answer = await socket.ask(WATCH, {"after": theirs})
        assert answer["data"] is None
        assert (answer["errors"][0]["extensions"]["code"], answer["errors"][0]["path"]) == ("INVALID_CURSOR", ["activityAdded"])
        await socket.subscribe(WATCH)
        await socket.ask(ROLE)
        await create(api, "bob")
        await create(stranger, "eve")
        lead = (await stranger("{ leads { nodes { id } } }"))["leads"]["nodes"][0]["id"]
        assert (await socket.data())["activityAdded"]["node"]["leadId"] == lead


async def test_names_of_another_workspace_tell_nothing_of_it(server_url, api, stranger):
    made = await api("leads/upsert_many", input={"leads": [{"email": "ada@example.com"}]})
    campaign = (await api("campaigns/create", input={"name": "Theirs"}))["campaignCreate"]["campaign"]["id"]
    lead, batch = made["leadUpsertMany"]["results"][0]["leadId"], made["leadUpsertMany"]["batch"]["id"]
    theirs = {"leadId": lead, "campaignId": campaign, "batchId": batch, "actorId": api.caller.api_key_id}
    async with opened(server_url, stranger.key) as socket:
        for name, value in theirs.items():
            await socket.subscribe(WATCH, {"where": {name: {"eq": value}}}, name)
        await socket.subscribe(WATCH, name="all")
        await socket.ask(ROLE)
        await api("campaigns/add_leads", id=campaign, leads=[{"id": lead}])
        await create(stranger, "eve")
        assert (await socket.data("all"))["activityAdded"]["node"]["leadId"] != lead
        await socket.ask(ROLE)  # and nothing has come before its answer


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        (WATCH, {"after": "nonsense"}, "INVALID_CURSOR"),
        (WATCH, {"where": {"event": {"eq": "\0"}}}, "BAD_USER_INPUT"),
        ('subscription { importJobUpdated(id: "a\\u0000") { id } }', {}, "BAD_USER_INPUT"),
        ("subscription ($no: Boolean!) { activityAdded @include(if: $no) { cursor } }", {"no": False}, "GRAPHQL_VALIDATION_FAILED"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_subscription_is_told_and_ends_it(server_url, api, query, variables, code):
    async with opened(server_url, api.key) as socket:
        await socket.subscribe(query, variables)
        message = await socket.receive()
        errors = message["payload"] if message["type"] == "error" else message["payload"]["errors"]
        assert errors[0]["extensions"]["code"] == code
        if message["type"] == "next":
            assert await socket.receive() == {"type": "complete", "id": "1"}
        assert (await socket.ask(ROLE))["data"] == {"viewer": {"role": "ADMIN"}}


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("{", {}, "GRAPHQL_PARSE_FAILED"),
        ("{ nope }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { activityAdded { cursor } importJobUpdated(id: 1) { id } }", {}, "GRAPHQL_VALIDATION_FAILED"),
        (WATCH, {"after": 5}, "BAD_USER_INPUT"),
        (WATCH, {"where": {"nope": 1}}, "BAD_USER_INPUT"),
        ("query A { viewer { role } } query B { viewer { role } }", {}, "BAD_REQUEST"),
        (None, {}, "BAD_REQUEST"),
        ("{" + " ".join(f"a{n}: viewer {{ role }}" for n in range(21)) + "}", {}, "QUERY_TOO_COMPLEX"),
    ],
)
async def test_what_can_t_be_run_is_an_error_of_that_operation_alone(server_url, api, query, variables, code):
    async with opened(server_url, api.key) as socket:
        await socket.subscribe(query, variables, "bad")
        message = await socket.receive()
        assert (message["id"], message["type"], message["payload"][0]["extensions"]["code"]) == ("bad", "error", code)
        assert (await socket.ask(ROLE))["data"] == {"viewer": {"role": "ADMIN"}}


async def test_queries_and_mutations_run_on_it_too_as_whoever_asks_may(server_url, api, api_of, caller):
    viewer = await api_of(caller, Role.VIEWER)
    async with opened(server_url, viewer.key) as socket:
        answer = await socket.ask(CREATE)
        assert (answer["data"], answer["errors"][0]["extensions"]["code"]) == (None, "FORBIDDEN")
    assert await api("{ leads { totalCount } }") == {"leads": {"totalCount": 0}}
    async with opened(server_url, api.key) as socket:
        assert (await socket.ask(CREATE))["data"]["leadCreate"]["lead"]["id"].startswith("lead_")
        answer = await socket.ask(CREATE)
        assert (answer["data"], answer["errors"][0]["extensions"]["code"]) == (None, "TAKEN")
    assert await api("{ leads { totalCount } }") == {"leads": {"totalCount": 1}}


@pytest.mark.parametrize(
    "payload", ["{'authorization': f'Bearer {key}'}", "{'x-org-api-key': key}", "{'headers': {'Authorization': f'Bearer {key}'}}"]
)
async def test_a_key_may_come_with_the_initialisation(server_url, api, payload):
    async with opened(server_url, init=False) as socket:
        await socket.send({"type": "connection_init", "payload": eval(payload, {"key": api.key})})  # noqa: S307
        assert await socket.receive() == {"type": "connection_ack"}
        assert (await socket.ask(ROLE))["data"] == {"viewer": {"role": "ADMIN"}}


async def test_a_key_may_come_in_the_handshake_s_headers(server_url, api):
    async with opened(server_url, additional_headers={"authorization": f"Bearer {api.key}"}) as socket:
        assert (await socket.ask(ROLE))["data"] == {"viewer": {"role": "ADMIN"}}


@pytest.mark.parametrize("headers", [{"authorization": "Bearer lg_nobody"}, {"x-org-api-key": "lg_x"}, {"authorization": "Basic eDp5"}])
async def test_a_handshake_with_a_wrong_key_is_refused(server_url, log, headers):
    with pytest.raises(InvalidStatus) as refused:
        async with opened(server_url, additional_headers=headers):
            pass
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert log.getvalue() == ""


@pytest.mark.parametrize("payload", [{}, None, {"authorization": "Bearer lg_nobody"}, {"authorization": 5}, {"headers": []}])
async def test_an_initialisation_without_a_valid_key_closes_the_socket(server_url, payload):
    async with opened(server_url, init=False) as socket:
        await socket.send({"type": "connection_init", "payload": payload})
        assert await socket.closed() == (4403, "Forbidden")


async def test_nothing_is_run_before_the_initialisation_even_with_a_key(server_url, api):
    async with opened(server_url, init=False, additional_headers={"authorization": f"Bearer {api.key}"}) as socket:
        await socket.subscribe(CREATE)
        assert await socket.closed() == (4401, "Unauthorized")
    assert await api("{ leads { totalCount } }") == {"leads": {"totalCount": 0}}


async def test_who_does_not_initialise_is_not_waited_for(server_url, monkeypatch):
    monkeypatch.setattr(sockets, "PATIENCE", 0.1)
    async with opened(server_url, init=False) as socket:
        await socket.send({"type": "ping"})
        assert await socket.closed() == (4408, "Connection initialisation timeout")


async def test_a_second_initialisation_and_a_second_use_of_an_id_close_the_socket(server_url, api):
    async with opened(server_url, api.key) as socket:
        await socket.send({"type": "connection_init"})
        assert await socket.closed() == (4429, "Too many initialisation requests")
    async with opened(server_url, api.key) as socket:
        await socket.subscribe(WATCH)
        await socket.subscribe(WATCH)
        assert await socket.closed() == (4409, "Subscriber for 1 already exists")


async def test_another_subprotocol_is_not_acceptable(server_url, api):
    async with connect(f"{server_url.replace('http', 'ws')}/graphql", subprotocols=["graphql-ws"]) as raw:
        await raw.wait_closed()
        assert raw.close_code == 4406


@pytest.mark.parametrize(
    "message",
    [
        b"{}", "nonsense", "[]", "null", "5", "{}", "[" * 30_000, '{"type": []}', '{"type": "start"}', '{"type": "ping", "payload": 5}',
        '{"type": "subscribe", "id": [1], "payload": {"query": "{ viewer { role } }"}}', '{"type": "subscribe", "id": "", "payload": {}}',
        '{"type": "subscribe", "id": "1", "payload": "{ viewer { role } }"}', '{"type": "complete"}', '{"type": "ping", "payload": 1e999}',
    ],
)  # fmt: skip
async def test_what_is_no_message_closes_the_socket_and_is_one_line_of_the_log(server_url, api, log, message):
    async with opened(server_url, api.key) as socket:
        await socket.send(message)
        assert await socket.closed() == (4400, "Invalid message")
    [line] = [json.loads(line) for line in log.getvalue().splitlines()]
    assert line["event"] == "socket.bad_message"
    assert "nonsense" not in str(line)


async def test_a_message_that_is_too_long_closes_the_socket(server_url, api):
    async with opened(server_url, api.key) as socket:
        await socket.send({"type": "ping", "payload": {"text": "x" * 60_000}})
        assert (await socket.receive())["type"] == "pong"
        await socket.send({"type": "ping", "payload": {"text": "x" * 65 * 1024}})
        code, _ = await socket.closed()
        assert code == 1009


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"])
async def test_a_page_of_another_origin_may_not_connect(server_url, api, origin):
    with pytest.raises(InvalidStatus) as refused:
        async with opened(server_url, api.key, origin=origin):
            pass
    assert refused.value.response.status_code == 403
    async with opened(server_url, api.key, origin=server_url) as socket:
        assert "data" in await socket.ask(ROLE)


async def test_the_21st_operation_is_refused_and_a_completed_one_makes_room(server_url, api):
    async with opened(server_url, api.key) as socket:
        for number in range(20):
            await socket.subscribe(WATCH, name=f"s{number}")
        await socket.subscribe(WATCH, name="more")
        message = await socket.receive()
        assert (message["id"], message["type"], message["payload"][0]["extensions"]["code"]) == ("more", "error", "LIMIT")
        await socket.send({"type": "complete", "id": "s7"})
        assert (await socket.ask(ROLE))["data"] == {"viewer": {"role": "ADMIN"}}
        await create(api, "ada")
        told = sorted([(await socket.receive())["id"] for _ in range(19)])
        assert told == sorted(f"s{number}" for number in range(20) if number != 7)


async def test_a_key_has_so_many_connections_and_no_more(database, api):
    with serve(build(database.settings.model_copy(update={"max_connections": 2}))) as url:
        async with opened(url, api.key), opened(url, api.key), opened(url, init=False) as third:
            await third.send({"type": "connection_init", "payload": {"authorization": f"Bearer {api.key}"}})
            assert await third.closed() == (4429, "Too many connections")
        for _ in range(20 * SOON):  # the server notices that a socket has gone when it has its turn
            with suppress(ConnectionClosed):
                async with opened(url, api.key) as socket:
                    assert "data" in await socket.ask(ROLE)
                    return
            await asyncio.sleep(0.05)
        raise AssertionError("a connection that has ended still counts")


async def test_a_revoked_key_ends_its_sockets_and_no_others(server_url, api, api_of, caller):
    other = await api_of(caller)
    async with opened(server_url, other.key) as socket, opened(server_url, api.key) as mine:
        for each in (socket, mine):
            await each.subscribe(WATCH)
            await each.ask(ROLE)
        await api("mutation ($id: ID!) { apiKeyRevoke(id: $id) { apiKey { id } } }", id=other.caller.api_key_id)
        assert await socket.closed() == (4401, "Unauthorized")
        assert (await mine.data())["activityAdded"]["node"]["kind"] == "ADMINISTERED"


async def test_each_operation_is_a_request_of_its_own(server_url, api):
    async with opened(server_url, api.key) as socket:
        for name in ("x", "y"):
            await socket.subscribe(BY_NAME, {"e": f"{name}@example.com"}, name)
        answers = [await socket.receive() for _ in range(4)]
    assert sorted(each["id"] for each in answers if each["type"] == "next") == ["x", "y"]
    activities = (await api("{ activities(where: {kind: {eq: LEAD_CREATED}}) { nodes { requestId } } }"))["activities"]["nodes"]
    assert len({each["requestId"] for each in activities}) == 2


async def test_silence_is_broken_by_heartbeats_and_pings_are_answered(database, api):
    with serve(build(database.settings.model_copy(update={"heartbeat_seconds": 0.05}))) as url:
        async with opened(url, api.key) as socket:
            for _ in range(3):
                assert await socket.receive(heartbeats=True) == {"type": "ping"}
                await socket.send({"type": "pong"})
            await socket.send({"type": "ping", "payload": {"a": 1}})
            assert await socket.receive() == {"type": "pong", "payload": {"a": 1}}


async def test_a_server_that_ends_tells_clients_to_come_again(database, api):
    app = build(database.settings)
    with serve(app) as url:
        async with opened(url, api.key) as socket:
            await socket.subscribe(WATCH)
            await socket.ask(ROLE)
            app.state.endpoint.connections.end_all()
            assert await socket.closed() == (1012, "Come again")


async def test_many_sockets_that_come_and_go_leave_nothing_behind(database, api):
    app = build(database.settings)
    with serve(app) as url:
        for _ in range(3):
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(_subscribe_and_leave(url, api.key))
        live, connections = app.state.endpoint.subscriptions.live, app.state.endpoint.connections
        for _ in range(200):
            if not live._shared and not live._logs and not connections._open:
                break
            await asyncio.sleep(0.05)
        assert (dict(live._shared), dict(live._logs), dict(connections._open)) == ({}, {}, {})


async def _subscribe_and_leave(url, key):
    async with opened(url, key) as socket:
        for name in ("a", "b"):
            await socket.subscribe(WATCH, name=name)
        await socket.ask(ROLE)
