"""Custom events: by whichever name of the lead, once for each `distinctId`, whoever sends them twice or at once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from app.actions import events
from app.actions.activities import ACTIVITY
from app.actions.batches import BATCH
from app.actions.upserts import ErrorPolicy, upsert_many
from app.errors import BadUserInput, CampaignNotFound, LeadNotFound

EARLIER = datetime(2026, 1, 20, 10, tzinfo=UTC)
TIMES = "{ leads(orderBy: [{field: EMAIL}]) { nodes { id email lastActivityAt updatedAt version } } }"


@pytest.fixture
async def people(api):
    rows = [{"email": f"{name}@example.com", "crmId": f"crm-{name}"} for name in ("ada", "bob", "cleo")]
    report = await api("leads/upsert_many", input={"leads": rows})
    return [result["leadId"] for result in report["leadUpsertMany"]["results"]]


@pytest.fixture
async def known(work):
    """The same, within the transaction of a verb's test."""
    rows = [{"email": f"{name}@example.com", "crmId": f"crm-{name}"} for name in ("ada", "bob", "cleo")]
    return [result.lead_id for result in (await upsert_many(work, rows)).results]


async def log_of(api):
    shown = "id event leadId distinctId attributes campaignId occurredAt"
    asked = f"{{ activities(where: {{kind: {{eq: EVENT}}}}, first: 200) {{ nodes {{ {shown} }} }} }}"
    return (await api(asked))["activities"]["nodes"]


@pytest.mark.parametrize("name", ["id", "crmId", "email"])
async def test_an_event_is_recorded_by_any_name_of_its_lead(api, people, name):
    lead = {"id": people[0], "crmId": "crm-ada", "email": " ADA@example.com"}[name]
    given = {"lead": {name: lead}, "event": "page.viewed", "attributes": {"path": "/"}, "occurredAt": "2026-01-20T11:00:00+01:00"}
    reply = (await api("events/track", input=given))["leadEventTrack"]
    assert reply["deduplicated"] is False
    assert await log_of(api) == [
        {
            "id": reply["activity"]["id"], "event": "page.viewed", "leadId": people[0], "distinctId": None, "attributes": {"path": "/"},
            "campaignId": None, "occurredAt": "2026-01-20T10:00:00Z",
        }
    ]  # fmt: skip


async def test_last_activity_is_the_greatest_moment_and_makes_no_new_version(api, people):
    before = (await api(TIMES))["leads"]["nodes"]
    for moment in ("2026-01-20T10:00:00Z", "2026-01-19T10:00:00Z", "2026-01-20T09:00:00Z"):
        await api("events/track", input={"lead": {"id": people[0]}, "event": "seen", "occurredAt": moment})
    after = (await api(TIMES))["leads"]["nodes"]
    assert after == [{**before[0], "lastActivityAt": "2026-01-20T10:00:00Z"}, *before[1:]]


async def test_an_event_without_a_moment_happens_now(work, known):
    _, deduplicated = await events.track(work, {"id": known[0]}, {"event": "seen"})
    [row] = await work.rows(sa.select(ACTIVITY).where(ACTIVITY.c.workspace_id == sa.bindparam("workspace"), ACTIVITY.c.kind == "EVENT"))
    assert (row["occurred_at"], row["recorded_at"], deduplicated) == (work.now, work.now, False)


async def test_a_second_event_of_the_same_distinct_id_changes_nothing(api, people):
    first = (await api("events/track", input={"lead": {"id": people[0]}, "event": "signed.up", "distinctId": "d1"}))["leadEventTrack"]
    before = (await api(TIMES))["leads"]
    again = {"lead": {"email": "ada@example.com"}, "event": "other", "distinctId": " d1 ", "occurredAt": "2999-01-01T00:00:00Z"}
    second = (await api("events/track", input=again))["leadEventTrack"]
    assert second == {"deduplicated": True, "activity": first["activity"], "runs": []}
    assert (await api(TIMES))["leads"] == before
    assert len(await log_of(api)) == 1
    # It is unique within a lead, and a blank one is none.
    for lead, distinct_id in ((people[1], "d1"), (people[0], ""), (people[0], "  "), (people[0], None)):
        reply = await api("events/track", input={"lead": {"id": lead}, "event": "signed.up", "distinctId": distinct_id})
        assert reply["leadEventTrack"]["deduplicated"] is False
    assert len(await log_of(api)) == 5


async def test_of_many_equal_events_at_once_one_is_recorded(api, people):
    given = {"lead": {"id": people[0]}, "event": "signed.up", "distinctId": "once"}
    rows = [{"leadId": people[0], "event": "signed.up", "distinctId": "once"}]
    gate = asyncio.Semaphore(20)  # more than there are writers, and fewer than would wait too long for one on a slow machine

    async def send(document, **variables):
        async with gate:
            return await api(document, **variables)

    single = [send("events/track", input=given) for _ in range(50)]
    many = [send("events/track_many", events=rows) for _ in range(50)]
    replies = await asyncio.gather(*single, *many)
    told = [reply.get("leadEventTrack", {}).get("deduplicated") for reply in replies[:50]]
    told += [reply["leadEventTrackMany"]["deduplicated"] == 1 for reply in replies[50:]]
    assert (told.count(False), told.count(True)) == (1, 99)
    [event] = await log_of(api)
    shown = {reply["leadEventTrack"]["activity"]["id"] for reply in replies[:50]}
    shown |= {reply["leadEventTrackMany"]["results"][0]["activity"]["id"] for reply in replies[50:]}
    assert shown == {event["id"]}


@pytest.mark.parametrize(
    ("given", "argument", "rule"),
    [
        ({"event": " "}, "input.event", "BLANK"),
        ({"event": "e" * 257}, "input.event", "TOO_LONG"),
        ({"event": "a\nb"}, "input.event", "INVALID"),
        ({"event": "e", "distinctId": "d" * 37}, "input.distinctId", "TOO_LONG"),
    ],
)
async def test_an_event_that_breaks_a_rule_is_refused(api, people, given, argument, rule):
    error = await api.error("events/track", input={"lead": {"id": people[0]}, **given})
    assert error["extensions"] | {"requestId": ""} == {"code": "BAD_USER_INPUT", "argument": argument, "rule": rule, "requestId": ""}
    assert await log_of(api) == []


async def test_names_of_256_and_ids_of_36_characters_are_taken_as_they_are(api, people):
    given = {"lead": {"id": people[0]}, "event": "É" * 256, "distinctId": "d" * 36}
    assert (await api("events/track", input=given))["leadEventTrack"]["activity"]["event"] == "É" * 256
    found = await api('{ activities(where: {event: {eq: "É"}}) { totalCount } }')
    assert found["activities"]["totalCount"] == 0


async def test_what_is_not_there_is_not_found(work, known, foreign, campaign_of):
    with pytest.raises(LeadNotFound):
        await events.track(work, {"crmId": "crm-nobody"}, {"event": "seen"})
    with pytest.raises(CampaignNotFound):
        await events.track(work, {"id": known[0]}, {"event": "seen", "campaignId": await campaign_of(foreign)})
    report = await events.track_many(foreign, [{"leadId": known[0], "event": "seen"}, {"email": "ada@example.com", "event": "seen"}])
    assert [(error.code, error.field) for result in report.results for error in result.errors] == [
        ("NOT_FOUND", "leadId"), ("NOT_FOUND", "email"),
    ]  # fmt: skip


async def test_a_batch_tells_of_each_event_and_counts_them(api, people):
    campaign = (await api("campaigns/create", input={"name": "Spring"}))["campaignCreate"]["campaign"]["id"]
    await api("events/track", input={"lead": {"id": people[1]}, "event": "seen", "distinctId": "old"})
    rows = [
        {"leadId": people[0], "event": "seen", "distinctId": "a", "campaignId": campaign, "occurredAt": "2026-01-20T10:00:00Z"},
        {"crmId": "crm-ada", "event": "seen", "distinctId": "a"},
        {"email": "BOB@example.com", "event": "seen", "distinctId": "old"},
        {"crmId": "nobody", "event": "seen"},
        {"email": "ada@example.com", "crmId": "crm-bob", "event": "seen"},
        {"event": "seen"},
        {"leadId": people[2], "event": ""},
        {"leadId": people[2], "event": 7, "distinctId": 8, "attributes": {"b": 1, "a": None}},
        {"leadId": people[2], "event": "seen", "campaignId": "cmp_none"},
        {"leadId": people[2], "event": "seen", "occurredAt": "yesterday"},
        {"leadId": people[2], "event": "seen", "attributes": [1]},
        {"email": "new@example.com", "crmId": "crm-bob", "event": "met"},
    ]
    report = (await api("events/track_many", events=rows))["leadEventTrackMany"]
    results = report["results"]
    assert [result["index"] for result in results] == list(range(12))
    assert [result["outcome"] for result in results] == [
        "ACCEPTED", "DEDUPLICATED", "DEDUPLICATED", "FAILED", "FAILED", "FAILED", "FAILED", "ACCEPTED", "FAILED", "FAILED", "FAILED",
        "ACCEPTED",
    ]  # fmt: skip
    assert [(error["code"], error["field"]) for result in results for error in result["errors"]] == [
        ("NOT_FOUND", "crmId"), ("AMBIGUOUS_MATCH", "crmId"), ("BLANK", None), ("BLANK", "event"), ("NOT_FOUND", "campaignId"),
        ("INVALID", "occurredAt"), ("INVALID", "attributes"),
    ]  # fmt: skip
    assert (report["accepted"], report["deduplicated"], report["skipped"], report["failed"]) == (3, 2, 0, 7)
    log = await log_of(api)
    assert results[1]["activity"]["id"] == results[0]["activity"]["id"] == log[1]["id"]
    assert results[2]["activity"]["id"] == log[0]["id"]
    assert [(one["event"], one["leadId"], one["distinctId"], one["attributes"]) for one in log[1:]] == [
        ("seen", people[0], "a", {}), ("7", people[2], "8", {"a": None, "b": 1}), ("met", people[1], None, {}),
    ]  # fmt: skip
    assert log[1]["campaignId"] == campaign
    batch = await api("nodes/get", id=report["batch"]["id"])
    assert batch["node"]["id"] == report["batch"]["id"]
    summary = await api(
        "query B($id: ID!) { node(id: $id) { ... on Batch { kind status summary { total created updated unchanged skipped failed } } } }",
        id=report["batch"]["id"],
    )
    assert summary["node"] == {
        "kind": "EVENTS", "status": "SUCCEEDED",
        "summary": {"total": 12, "created": 3, "updated": 0, "unchanged": 2, "skipped": 0, "failed": 7},
    }  # fmt: skip
    chosen = (await api("events/track_many", events=rows[:4], outcomes=["FAILED"]))["leadEventTrackMany"]
    assert [result["index"] for result in chosen["results"]] == [3]


async def test_one_bad_event_keeps_a_whole_batch_out_where_that_is_asked(work, known, log):
    before = len(await log())
    rows = [{"leadId": known[0], "event": "seen"}, {"leadId": known[0]}]
    report = await events.track_many(work, rows, error_policy=ErrorPolicy.REJECT_ALL)
    assert [(result.outcome, result.activity_id) for result in report.results] == [("SKIPPED", None), ("FAILED", None)]
    assert report.batch_id is None
    assert len(await log()) == before
    assert await work.rows(sa.select(BATCH.c.id).where(BATCH.c.workspace_id == sa.bindparam("workspace"), BATCH.c.kind == "EVENTS")) == []
    report = await events.track_many(work, rows[:1], error_policy=ErrorPolicy.REJECT_ALL)
    assert [result.outcome for result in report.results] == ["ACCEPTED"]


@pytest.mark.parametrize("count", [0, 1_001])
async def test_a_batch_has_1_to_1000_events(work, count):
    with pytest.raises(BadUserInput):
        await events.track_many(work, [{"event": "seen"}] * count)


async def test_the_statements_of_a_batch_do_not_grow_with_it(work, known, statements):
    def rows(count, run):
        moments = [(EARLIER + timedelta(seconds=number)).isoformat() for number in range(count)]
        return [
            {"leadId": known[number % 3], "event": "seen", "distinctId": f"{run}-{number}", "occurredAt": moment}
            for number, moment in enumerate(moments)
        ]

    ran = []
    for count, run in ((3, "a"), (300, "b")):
        with statements() as found:
            report = await events.track_many(work, rows(count, run))
        assert report.count(events.EventOutcome.ACCEPTED) == count
        ran.append(len(found))
    assert ran[0] == ran[1] <= 7


async def test_the_known_events_of_a_batch_are_found_by_index(work):
    if work.postgres:
        return
    asked = str(events._known(postgres=False).compile(work.connection.engine))
    plan = (await work.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}", ("[]", 0, work.workspace))).all()
    assert any("SEARCH activity" in row.detail and "distinct_id=?" in row.detail for row in plan)
