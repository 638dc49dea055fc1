"""Webhooks: what arrives, signed and in order; what is tried again, given up, and refused."""

import asyncio
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import orjson
import pytest
import sqlalchemy as sa
from program import free_port
from serving import serve
from standardwebhooks import Webhook as Receiving
from standardwebhooks import WebhookVerificationError
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from app import webhook_sender
from app.actions import webhooks
from app.actions.activities import ActivityKind
from app.actions.automation_runs import RUNS
from app.actions.batches import JobStatus
from app.actions.triggers import DELIVERY, RUN
from app.actions.webhooks import DELIVERIES, WAITS
from app.actions.work import Role, Work
from app.lane_worker import LaneWorker, deliver, run_automation
from app.rules.webhook_urls import Allowed

HERE = Allowed.of("127.0.0.1")
PRIVATE = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "100.64.0.1",
    "0.0.0.0",  # noqa: S104
    "10.0.0.1", "192.168.1.1", "172.16.0.1", "[fd00::1]", "[fe80::1]", "localhost", "printer.local", "metadata.google.internal", "router",
]  # fmt: skip


class Receiver:
    """A receiver that answers as it was told, and keeps what came."""

    def __init__(self):
        self.got = []
        self.answers = []
        self.seconds = 0.0

    async def __call__(self, request):
        body = await request.body()
        self.got.append(SimpleNamespace(headers=dict(request.headers), body=body, data=orjson.loads(body), path=request.url.path))
        status, headers = self.answers.pop(0) if self.answers else (204, {})
        await asyncio.sleep(self.seconds)  # whoever gave up by then must not take the next one's answer
        return Response(status_code=status, headers=headers)


@pytest.fixture(autouse=True)
async def no_others(database):
    """A worker serves every workspace: what other tests left is not this one's."""
    async with database.writing() as connection:
        for table in (DELIVERY, RUN):
            await connection.execute(sa.update(table).values(status=JobStatus.CANCELLED))


@pytest.fixture(scope="module")
def receiving():
    receiver = Receiver()

    async def answer(request):
        return await receiver(request)

    with serve(Starlette(routes=[Route("/{rest:path}", answer, methods=["POST", "GET"])])) as url:
        yield receiver, url


@pytest.fixture
def receiver(receiving):
    found, _ = receiving
    found.__init__()
    return found


@pytest.fixture
def at_work(database, api):
    @asynccontextmanager
    async def opened(**more):
        async with database.writing() as connection:
            yield Work(connection, api.caller, **more)

    return opened


@pytest.fixture
def hooked(at_work, receiving):
    """Makes a webhook to the receiver, and gives its id and secret."""

    async def make(kinds=("EVENT",), url=receiving[1]):
        async with at_work() as work:
            row, secret = await webhooks.create(work, {"url": url, "kinds": kinds}, HERE)
        return row["id"], secret

    return make


@pytest.fixture
async def people(api):
    report = await api("leads/upsert_many", input={"leads": [{"email": "ada@example.com"}, {"email": "bob@example.com"}]})
    return [result["leadId"] for result in report["leadUpsertMany"]["results"]]


@pytest.fixture
def track(api):
    async def send(lead, event="seen"):
        return (await api("events/track", input={"lead": {"id": lead}, "event": event}))["leadEventTrack"]["activity"]["id"]

    return send


@pytest.fixture
def sent(database, at_work):
    """Sends what is due, once, as a worker would; `after`: as if so many seconds had passed."""

    async def send(after=0.0, allowed=HERE):
        now = datetime.now(UTC) + timedelta(seconds=after)
        async with at_work() as work:
            rows = await DELIVERIES.claim(work.connection, "w1", 50, 60, now)
        for row in rows:
            await deliver(database, row, allowed)
        return len(rows)

    return send


async def listed(api, **narrowed):
    nodes = (await api("webhooks/list", deliveries=50, **narrowed))["webhooks"]["nodes"]
    return [delivery for node in nodes for delivery in node["deliveries"]["nodes"]]


async def test_the_secret_is_shown_once(api, at_work):
    given = {"url": "https://hooks.example.com/leads", "kinds": ["SCORED", "EVENT", "EVENT"]}
    made = (await api("webhooks/create", input=given))["webhookCreate"]
    assert made["secret"].startswith("whsec_")
    assert made["webhook"] | {"id": ""} == {"id": "", "url": given["url"], "kinds": ["SCORED", "EVENT"], "enabled": True}
    everything = (await api("{ activities(first: 200) { nodes { event changes { field before after } attributes } } }"))["activities"]
    assert made["secret"][6:] not in str(everything)
    assert everything["nodes"][-1]["event"] == "webhook.created"
    [node] = (await api("webhooks/list"))["webhooks"]["nodes"]
    assert node["kinds"] == ["SCORED", "EVENT"]
    all_kinds = (await api("webhooks/create", input={"url": given["url"]}))["webhookCreate"]["webhook"]["kinds"]
    assert all_kinds == [kind.value for kind in ActivityKind]


@pytest.mark.parametrize("host", PRIVATE)
async def test_a_private_host_is_refused_when_registered_and_when_sent(api, host):
    error = await api.error("webhooks/create", input={"url": f"http://{host}/hook"})
    assert (error["extensions"]["code"], error["extensions"]["argument"]) == ("BAD_USER_INPUT", "input.url")
    with pytest.raises(webhook_sender.NotReached):
        await webhook_sender.post(f"http://{host}/hook", "whsec_AAAA", "dlv_1", {}, Allowed.of(""))


async def test_a_name_that_stands_for_a_private_address_is_refused_when_it_is_connected_to(receiver, receiving, monkeypatch):
    port = int(receiving[1].rpartition(":")[2])
    asyncio_loop = asyncio.get_running_loop()

    async def found(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(type(asyncio_loop), "getaddrinfo", lambda _self, host, port, **more: found(host, port, **more), raising=False)
    url = f"http://hooks.example.com:{port}/"
    with pytest.raises(webhook_sender.NotReached, match="private network"):
        await webhook_sender.post(url, "whsec_AAAA", "dlv_1", {}, Allowed.of("10.0.0.0/8"))
    assert receiver.got == []
    for allowed in ("hooks.example.com", "10.0.0.0/8, 127.0.0.0/8"):
        assert (await webhook_sender.post(url, "whsec_AAAA", "dlv_1", {}, Allowed.of(allowed))).status == 204
    assert len(receiver.got) == 2


async def test_a_delivery_is_verified_by_the_public_library(api, people, hooked, track, sent, receiver):
    _, secret = await hooked()
    activity = await track(people[0], "page.viewed")
    await track(people[1], "other")
    assert await sent() == 2
    got = next(each for each in receiver.got if each.data["data"]["event"] == "page.viewed")
    [node] = [node for node in await listed(api) if node["activity"]["id"] == activity]
    assert (node["status"], node["attempts"], node["responseStatus"], node["nextAttemptAt"], node["error"]) == (
        "SUCCEEDED",
        1,
        204,
        None,
        None,
    )
    assert got.headers["webhook-id"] == node["id"]
    assert got.headers["content-type"] == "application/json"
    verified = Receiving(secret).verify(got.body, got.headers)
    assert (verified["type"], verified["data"]["id"], verified["data"]["leadId"]) == ("EVENT", activity, people[0])
    shown = (await api("nodes/get", id=activity))["node"]
    assert shown["id"] == verified["data"]["id"]
    late = {**got.headers, "webhook-timestamp": str(int(got.headers["webhook-timestamp"]) - 301)}
    for body, headers in (
        (got.body.replace(b"viewed", b"viewer"), got.headers),
        (got.body, {**got.headers, "webhook-id": "dlv_other"}),
        (got.body, late),
    ):
        with pytest.raises(WebhookVerificationError):
            Receiving(secret).verify(body, headers)


async def test_only_matching_kinds_are_sent_and_nothing_of_a_request_that_fails(api, people, hooked, sent, receiver):
    await hooked(kinds=["STATUS_CHANGED"])
    await api("leads/update", lead={"id": people[0]}, patch={"status": "CONTACTED", "title": "CTO"})
    broken = """mutation M($lead: ID!) {
      leadUpdate(lead: {id: $lead}, patch: {status: REPLIED}) { lead { id } }
      leadDelete(lead: {crmId: "nobody"}) { deletedId } }"""
    await api.error(broken, lead=people[0])
    assert await sent() == 1
    assert [(each.data["type"], each.data["data"]["changes"]) for each in receiver.got] == [
        ("STATUS_CHANGED", [{"field": "status", "before": "NEW", "after": "CONTACTED"}])
    ]


async def test_what_fails_comes_again_under_the_same_id_until_it_is_taken(api, people, hooked, track, sent, receiver):
    await hooked()
    await track(people[0])
    receiver.answers = [(500, {}), (301, {"location": "/elsewhere"}), (200, {})]
    waits = []
    for attempt, status in ((1, 500), (2, 301)):
        before = datetime.now(UTC)
        assert await sent(after=1_000) == 1
        [node] = await listed(api)
        assert (node["status"], node["attempts"], node["responseStatus"]) == ("PENDING", attempt, status)
        assert node["error"] == f"It answered {status}."
        waits.append((datetime.fromisoformat(node["nextAttemptAt"]) - before).total_seconds())
    assert WAITS[0] * 0.75 <= waits[0] <= WAITS[0] + 5
    assert WAITS[1] * 0.75 <= waits[1] <= WAITS[1] + 5
    assert await sent() == 0  # not before its time
    assert await sent(after=1_000) == 1
    [node] = await listed(api)
    assert (node["status"], node["attempts"], node["responseStatus"], node["error"]) == ("SUCCEEDED", 3, 200, None)
    assert len({each.headers["webhook-id"] for each in receiver.got}) == 1
    assert [each.path for each in receiver.got] == ["/"] * 3  # a redirect is not followed


async def test_no_answer_a_reset_and_no_server_are_failures_too(api, people, hooked, track, sent, receiver, receiving):
    receiver.seconds = 1.0
    with pytest.raises(webhook_sender.NotReached, match=r"No answer within 0\.2 seconds"):
        await webhook_sender.post(receiving[1], "whsec_AAAA", "dlv_1", {}, HERE, patience=0.2)
    reset = await asyncio.start_server(lambda _reader, writer: writer.transport.abort(), "127.0.0.1", 0)
    for port, words in ((reset.sockets[0].getsockname()[1], "The connection broke"), (free_port(), "cannot be connected to")):
        with pytest.raises(webhook_sender.NotReached, match=words):
            await webhook_sender.post(f"http://127.0.0.1:{port}/", "whsec_AAAA", "dlv_1", {}, HERE)
    reset.close()
    await hooked(url=f"http://127.0.0.1:{free_port()}/")
    await track(people[0])
    await sent()
    [node] = await listed(api)
    assert (node["status"], node["responseStatus"], node["error"]) == ("PENDING", None, "The host cannot be connected to.")


@pytest.mark.parametrize("value", ["3600", "date"])
async def test_retry_after_is_kept(api, people, hooked, track, sent, receiver, value):
    await hooked()
    await track(people[0])
    later = (datetime.now(UTC) + timedelta(seconds=3_600)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    receiver.answers = [(429, {"retry-after": later if value == "date" else value})]
    before = datetime.now(UTC)
    await sent()
    [node] = await listed(api)
    assert 3_590 <= (datetime.fromisoformat(node["nextAttemptAt"]) - before).total_seconds() <= 3_660


async def test_a_receiver_that_is_gone_is_disabled_and_what_waits_goes_on_when_it_is_enabled(api, people, hooked, track, sent, receiver):
    webhook, _ = await hooked()
    first = await track(people[0])
    second = await track(people[0])
    receiver.answers = [(410, {})]
    await sent()
    assert (await api("webhooks/list"))["webhooks"]["nodes"][0]["enabled"] is False
    told = (await api('{ activities(where: {event: {eq: "webhook.disabled"}}) { nodes { subjectId } } }'))["activities"]["nodes"]
    assert told == [{"subjectId": webhook}]
    assert {node["activity"]["id"]: node["status"] for node in await listed(api)} == {first: "FAILED", second: "PENDING"}
    assert await sent(after=100_000) == 0
    assert await track(people[1])  # nothing is queued for it meanwhile
    assert len(await listed(api)) == 2
    await api("webhooks/update", id=webhook, patch={"enabled": True})
    assert await sent() == 1
    assert {node["activity"]["id"]: node["status"] for node in await listed(api)} == {first: "FAILED", second: "SUCCEEDED"}


async def test_those_of_one_lead_go_in_order_and_the_others_do_not_wait(people, hooked, track, sent, receiver):
    await hooked()
    for lead, name in ((0, "first"), (0, "second"), (1, "other"), (0, "third")):
        await track(people[lead], name)
    receiver.answers = [(500, {}), (200, {})]
    assert await sent() == 2  # the first of each lead
    assert sorted(each.data["data"]["event"] for each in receiver.got) == ["first", "other"]
    failed = [each for each in receiver.got if each.data["data"]["event"] == "first"]
    # Whichever of the two the failure hit, the lead whose first was taken goes on.
    while await sent(after=10):
        pass
    of_ada = [each.data["data"]["event"] for each in receiver.got if each.data["data"]["leadId"] == people[0]]
    assert list(dict.fromkeys(of_ada)) == ["first", "second", "third"]
    assert len(failed) == 1


async def test_what_fails_for_two_days_is_given_up_listed_and_sent_again_when_asked(api, people, hooked, track, sent, receiver):
    await hooked()
    await track(people[0], "first")
    await track(people[0], "second")
    receiver.answers = [(503, {})] * 11
    for _ in range(11):
        assert await sent(after=100_000) == 1
    assert {each.data["data"]["event"] for each in receiver.got} == {"first"}
    [dead] = await listed(api, status={"eq": "FAILED"})
    assert (dead["attempts"], dead["responseStatus"], dead["error"]) == (11, 503, "It answered 503.")
    assert await sent() == 1  # those behind it go on
    again = (await api("webhooks/redeliver", deliveryId=dead["id"]))["webhookRedeliver"]["delivery"]
    assert (again["id"], again["status"], again["attempts"]) == (dead["id"], "PENDING", 0)
    assert (await api.error("webhooks/redeliver", deliveryId=dead["id"]))["extensions"]["code"] == "CONFLICT"
    assert await sent() == 1
    assert [each.data["data"]["event"] for each in receiver.got[-2:]] == ["second", "first"]
    assert receiver.got[-1].headers["webhook-id"] == dead["id"]
    assert {node["status"] for node in await listed(api)} == {"SUCCEEDED"}


async def test_a_week_without_a_success_disables_a_webhook(api, people, hooked, track, at_work, receiver):
    await hooked()
    await track(people[0])
    now = datetime.now(UTC)
    days = [(0, 500, True), (6, 500, True), (6.5, 200, True), (6.6, 500, True), (13.5, 500, True), (13.7, 500, False)]
    for after, status, enabled in days:
        async with at_work() as work:
            rows = await DELIVERIES.claim(work.connection, "w1", 50, 60, now + timedelta(days=after + 2))
            [row] = rows
            then = now + timedelta(days=after)
            if status == 200:
                await webhooks.note_delivered(work.connection, row, 200, then)
                await webhooks.redeliver(work, row["id"])
            else:
                await webhooks.note_failed(work.connection, row, "It answered 500.", then, status=500)
        assert (await api("webhooks/list"))["webhooks"]["nodes"][0]["enabled"] is enabled


@pytest.mark.usefixtures("receiver")
async def test_an_automation_calls_a_webhook_that_asks_for_no_kinds(api, people, hooked, track, sent, receiving, database, settings):
    webhook, secret = await hooked(kinds=[])
    given = {"name": "Tell", "event": "bought", "actions": [{"setStatus": "CONVERTED"}, {"callWebhook": webhook}]}
    made = (await api("automations/create", input=given))["automationCreate"]["automation"]
    assert made["actions"][1] == {"__typename": "CallWebhookAction", "webhook": {"id": webhook, "url": receiving[1]}}
    await track(people[0], "other")
    activity = await track(people[0], "bought")
    assert await sent() == 0
    stop = asyncio.Event()
    hands = LaneWorker(database, settings, "w1", RUNS, run_automation)
    task = asyncio.create_task(hands.run(stop))
    for _ in range(400):
        if await listed(api):
            break
        await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(task, 20)
    assert await sent() == 1
    [got] = receiving[0].got
    assert Receiving(secret).verify(got.body, got.headers)["data"]["id"] == activity


async def test_webhooks_are_for_admins_alone(api, api_of, stranger, hooked, people, track):
    webhook, _ = await hooked()
    await track(people[0])
    await api("automations/create", input={"name": "Tell", "event": "bought", "actions": [{"callWebhook": webhook}]})
    [delivery] = await listed(api)
    for role in (Role.VIEWER, Role.EDITOR):
        other = await api_of(api.caller, role)
        assert (await other.error("webhooks/list"))["extensions"]["code"] == "FORBIDDEN"
        assert (await other.error("webhooks/delete", id=webhook))["extensions"]["code"] == "FORBIDDEN"
        [action] = (await other("automations/list"))["automations"]["nodes"][0]["actions"]
        assert action == {"__typename": "CallWebhookAction", "webhook": None}
        for hidden in (webhook, delivery["id"]):
            assert (await other("nodes/get", id=hidden))["node"] is None
    assert (await stranger.error("webhooks/redeliver", deliveryId=delivery["id"]))["extensions"]["code"] == "NOT_FOUND"
    assert (await stranger.error("webhooks/update", id=webhook, patch={"enabled": False}))["extensions"]["code"] == "NOT_FOUND"
    foreign = {"name": "Tell", "event": "bought", "actions": [{"callWebhook": webhook}]}
    assert (await stranger.error("automations/create", input=foreign))["extensions"]["code"] == "NOT_FOUND"


async def test_deleting_a_webhook_cancels_what_waits(api, people, hooked, track, sent, receiver, at_work):
    webhook, _ = await hooked()
    await track(people[0])
    await sent()
    await track(people[0])
    assert (await api("webhooks/delete", id=webhook))["webhookDelete"]["deletedId"] == webhook
    assert await sent() == 0
    async with at_work() as work:
        rows = await work.rows(sa.select(DELIVERY).where(DELIVERY.c.workspace_id == sa.bindparam("workspace")).order_by(DELIVERY.c.id))
    assert [row["status"] for row in rows] == ["SUCCEEDED", "CANCELLED"]
    shown = "query N($id: ID!) { node(id: $id) { ... on WebhookDelivery { status webhook { id } } } }"
    assert (await api(shown, id=rows[0]["id"]))["node"] == {"status": "SUCCEEDED", "webhook": None}
    assert (await api.error("webhooks/redeliver", deliveryId=rows[0]["id"]))["extensions"]["code"] == "CONFLICT"


async def test_a_worker_delivers_by_itself(api, people, hooked, track, receiver, database, settings):
    from app.worker import work

    await hooked()
    stop = asyncio.Event()
    open_here = settings.model_copy(update={"webhook_private_hosts": "127.0.0.1", "worker_poll_seconds": 0.05})
    task = asyncio.create_task(work(database, open_here, stop))
    for number in range(10):
        await track(people[number % 2], str(number))
    for _ in range(400):
        if len(receiver.got) == 10:
            break
        await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(task, 20)
    for lead, numbers in ((0, "02468"), (1, "13579")):
        assert [each.data["data"]["event"] for each in receiver.got if each.data["data"]["leadId"] == people[lead]] == list(numbers)
