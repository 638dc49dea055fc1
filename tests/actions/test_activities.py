from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.actions import leads, references
from app.actions.activities import ActivityKind, Entry, administered, record
from app.actions.lead_changes import join, leave
from app.actions.upserts import upsert_many
from app.actions.work import Work
from app.rules.written import change, moment


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 1, 20, 10, tzinfo=UTC), "2026-01-20T10:00:00Z"),
        (datetime(2026, 1, 20, 10, 0, 0, 500_000, tzinfo=UTC), "2026-01-20T10:00:00.500000Z"),
        (datetime(2026, 1, 20, 10, tzinfo=timezone(timedelta(hours=5, minutes=30))), "2026-01-20T04:30:00Z"),
        (datetime(12, 1, 2, tzinfo=UTC), "0012-01-02T00:00:00Z"),
    ],
)
def test_a_moment_is_written_in_utc_with_a_fraction_only_where_there_is_one(value, text):
    assert moment(value) == text
    assert change("optInAt", None, value) == {"field": "optInAt", "before": None, "after": text}


async def test_entries_get_dense_numbers_in_the_order_given_and_one_statement_each_for_counter_and_rows_and_triggers(work, log, statements):
    late = datetime(2026, 1, 20, 10, tzinfo=UTC)
    entries = [
        Entry(ActivityKind.EVENT, "lead_1", event="Démo Booked", distinct_id="d-1", attributes={"b": 1, "a": 2}, occurred_at=late),
        Entry(ActivityKind.STATUS_CHANGED, "lead_1", status="REPLIED"),
    ]
    with statements() as ran:
        rows = await record(work, entries)
        assert await record(work, []) == []
    assert len(ran) == 3  # and one that asks what they set off
    await administered(work, "user.created", "usr_1", [change("role", None, "ADMIN")])
    told = await log()
    assert told[:2] == rows
    assert [(entry["sequence"], entry["kind"], entry["event"], entry["event_folded"], entry["status"]) for entry in told] == [
        (1, "EVENT", "Démo Booked", "demo booked", None),
        (2, "STATUS_CHANGED", None, None, "REPLIED"),
        (3, "ADMINISTERED", "user.created", "user.created", None),
    ]
    assert (told[0]["occurred_at"], told[0]["recorded_at"], told[1]["occurred_at"]) == (late, work.now, work.now)
    assert (told[2]["subject_id"], told[2]["request_id"], told[2]["actor_id"]) == ("usr_1", "req_test", work.caller.actor_id)


async def test_each_workspace_counts_for_itself(work, foreign, log):
    for each in (work, foreign, work):
        await record(each, [Entry(ActivityKind.EVENT, event="x")])
    assert [len(await log(of=each)) for each in (work, foreign)] == [2, 1]


async def test_leads_join_and_leave_a_campaign_once_and_are_scored_by_it(work, log, stored, campaign_of, members):
    campaign = await campaign_of(titles=["CTO"])
    report = await upsert_many(work, [{"email": f"{n}@example.com", "title": "CTO" if n else "CEO"} for n in range(3)])
    ids = [result.lead_id for result in report.results]
    first = await stored()
    before = len(await log())
    assert await join(work, campaign, [first[lead_id] for lead_id in [*ids[:2], ids[0]]]) == 2
    assert await members(campaign) == sorted(ids[:2])
    assert [(entry["kind"], entry["lead_id"], entry["campaign_id"]) for entry in await log(after=before)] == [
        ("CAMPAIGN_JOINED", ids[0], campaign),
        ("SCORED", ids[0], None),
        ("CAMPAIGN_JOINED", ids[1], campaign),
        ("SCORED", ids[1], None),
    ]
    joined = await stored()
    assert [joined[lead_id]["quality_score"] - first[lead_id]["quality_score"] for lead_id in ids] == [-7, 8, 0]
    assert [joined[lead_id]["version"] for lead_id in ids] == [1, 1, 1]
    before = len(await log())
    assert await join(work, campaign, [joined[lead_id] for lead_id in ids[:2]]) == 0
    assert len(await log()) == before
    assert await leave(work, campaign, [joined[lead_id] for lead_id in ids]) == 2
    assert await leave(work, campaign, [joined[ids[0]]]) == 0
    assert await members(campaign) == []
    assert [entry["kind"] for entry in await log(after=before)] == ["CAMPAIGN_LEFT", "SCORED"] * 2
    assert {lead["quality_score"] for lead in (await stored()).values()} == {lead["quality_score"] for lead in first.values()}


async def test_leaving_a_campaign_cancels_what_it_was_to_send(work, log, campaign_of, email_of, email_statuses):
    campaign, other = await campaign_of(), await campaign_of()
    lead = await leads.create(work, {"email": "a@example.com"}, campaign_ids=[campaign, other])
    unsent = [await email_of(lead["id"], "SCHEDULED", campaign), await email_of(lead["id"], "FAILED", campaign)]
    kept = {
        await email_of(lead["id"], "SENT", campaign): "SENT",
        await email_of(lead["id"], "SENDING", campaign): "SENDING",
        await email_of(lead["id"], "SCHEDULED", other): "SCHEDULED",
    }
    before = len(await log())
    assert await leave(work, campaign, [await references.lead(work, {"id": lead["id"]})]) == 1
    assert await email_statuses() == {**dict.fromkeys(unsent, "CANCELLED"), **kept}
    left, *cancelled = await log(after=before)
    assert (left["kind"], left["changes"]) == (
        "CAMPAIGN_LEFT",
        [{"field": "campaigns", "before": sorted([campaign, other]), "after": [other]}],
    )
    assert [(entry["kind"], entry["email_id"], entry["campaign_id"], entry["lead_id"]) for entry in cancelled] == [
        ("EMAIL_CANCELLED", email_id, campaign, lead["id"]) for email_id in unsent
    ]


async def test_joining_takes_the_same_statements_for_any_number_of_leads(work, campaign_of, statements):
    report = await upsert_many(work, [{"email": f"{n}@example.com"} for n in range(200)])
    rows = await references.leads(work, [{"id": result.lead_id} for result in report.results])
    ran = []
    for part in (rows[:2], rows):
        campaign = await campaign_of(titles=["CTO"])
        with statements() as collected:
            assert await join(work, campaign, part) == len(part)
        with statements() as also:
            assert await leave(work, campaign, part) == len(part)
        ran.append((len(collected), len(also)))
    assert ran[0] == ran[1]


async def test_status_changes_move_the_last_activity_forward_only(work):
    lead = await leads.create(work, {"email": "a@example.com"})
    changed = await leads.update(work, {"id": lead["id"]}, {"status": "CONTACTED"})
    earlier = Work(connection=work.connection, caller=work.caller, now=work.now - timedelta(days=1))
    again = await leads.update(earlier, {"id": lead["id"]}, {"status": "REPLIED"})
    assert (lead["last_activity_at"], changed["last_activity_at"], again["last_activity_at"]) == (None, work.now, work.now)
