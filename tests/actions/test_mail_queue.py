"""The queue of e-mails: each is handed to one sender at a time, and what became of it is told once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from app.actions import campaigns, leads, mail_queue, references
from app.actions.emails import EMAIL
from app.actions.work import Work
from app.errors import BadUserInput, CampaignNotFound, Conflict, EmailNotFound, LeadNotFound, NotFound
from app.rules.ids import new_id

PAST = datetime(2026, 1, 20, 10, tzinfo=UTC)
ADA = {"email": "ada@example.com"}
BOUNDS = [(0, 300, "first"), (201, 300, "first"), (1, 0, "leaseSeconds"), (1, 86_401, "leaseSeconds")]
MAIL = {"lead": ADA, "subject": "Hello", "body": "How are you?", "scheduledAt": PAST}


@pytest.fixture
async def ada(work):
    return (await leads.create(work, {**ADA, "crmId": "ada"}))["id"]


def later(work, seconds):
    return Work(work.connection, work.caller, now=work.now + timedelta(seconds=seconds))


async def stored(work, email_id):
    mine = (EMAIL.c.workspace_id == sa.bindparam("workspace"), EMAIL.c.id == sa.bindparam("email"))
    return await work.row(sa.select(EMAIL).where(*mine), {"email": email_id})


async def test_an_e_mail_is_scheduled_and_the_log_tells(work, ada, log, campaign_of):
    campaign = await campaign_of()
    before = len(await log())
    row = await mail_queue.schedule(work, {**MAIL, "campaignId": campaign, "body": "  Dear Ada,\n\tbye\n"})
    kept = await stored(work, row["id"])
    assert {name: kept[name] for name in ("lead_id", "campaign_id", "to_address", "subject", "body", "status", "scheduled_at")} == {
        "lead_id": ada, "campaign_id": campaign, "to_address": None, "subject": "Hello", "body": "  Dear Ada,\n\tbye\n",
        "status": "SCHEDULED", "scheduled_at": PAST,
    }  # fmt: skip
    [entry] = await log(before)
    assert (entry["kind"], entry["lead_id"], entry["email_id"], entry["campaign_id"]) == ("EMAIL_SCHEDULED", ada, row["id"], campaign)


@pytest.mark.parametrize(
    ("wrong", "argument", "rule"),
    [
        ({"subject": " "}, "input.subject", "BLANK"),
        ({"subject": "a\r\nBcc: bob@example.com"}, "input.subject", "INVALID"),
        ({"body": "\n "}, "input.body", "BLANK"),
        ({"body": "é" * 128_001}, "input.body", "TOO_LONG"),
        ({"body": "a\0"}, "input.body", "INVALID"),
        ({"lead": {"crmId": "mute"}}, "input.lead", "BLANK"),
    ],
)
async def test_an_e_mail_that_breaks_a_rule_is_refused(work, ada, log, wrong, argument, rule):
    await leads.create(work, {"crmId": "mute", "phone": "+15551234567"})
    before = len(await log())
    with pytest.raises(BadUserInput) as refused:
        await mail_queue.schedule(work, {**MAIL, **wrong})
    assert (refused.value.argument, refused.value.extensions["rule"]) == (argument, rule)
    assert len(await log()) == before


async def test_what_is_not_there_is_not_found(work, ada, foreign, campaign_of):
    row = await mail_queue.schedule(work, MAIL)
    with pytest.raises(LeadNotFound):
        await mail_queue.schedule(foreign, MAIL)
    with pytest.raises(CampaignNotFound):
        await mail_queue.schedule(work, {**MAIL, "campaignId": await campaign_of(foreign)})
    for refused in (mail_queue.cancel(foreign, row["id"]), mail_queue.report(foreign, row["id"], new_id("clm"))):
        with pytest.raises(EmailNotFound):
            await refused
    assert (await mail_queue.claim(foreign))[1] == []


async def test_a_claim_gets_what_is_due_longest_due_first_and_nobody_else_does(work, ada):
    moments = [PAST + timedelta(hours=hours) for hours in (2, 0, 1)]
    ids = [(await mail_queue.schedule(work, {**MAIL, "scheduledAt": moment}))["id"] for moment in moments]
    await mail_queue.schedule(work, {**MAIL, "scheduledAt": work.now + timedelta(seconds=1)})
    first, claimed = await mail_queue.claim(work, 2, 300)
    assert (first[:4], claimed) == ("clm_", [ids[1], ids[2]])
    row = await stored(work, ids[1])
    assert (row["status"], row["to_address"], row["claim_id"], row["lease_until"]) == (
        "SENDING", "ada@example.com", first, work.now + timedelta(seconds=300),
    )  # fmt: skip
    assert (await mail_queue.claim(work))[1] == [ids[0]]
    assert (await mail_queue.claim(work))[1] == []
    second, again = await mail_queue.claim(later(work, 300), 50, 10)
    assert again[:3] == [ids[1], ids[2], ids[0]]
    assert second != first


async def test_senders_at_once_share_the_work(api, database):
    await api("leads/create", input=ADA)
    made = []
    for _ in range(12):
        reply = await api("emails/schedule", input={**MAIL, "scheduledAt": "2026-01-20T10:00:00Z"})
        made.append(reply["emailSchedule"]["email"]["id"])
    claims = [reply["emailClaim"] for reply in await asyncio.gather(*[api("emails/claim", first=3) for _ in range(8)])]
    got = [email["id"] for claim in claims for email in claim["emails"]]
    # On PostgreSQL one that another is just taking is passed over: nobody waits, and the next claim finds it.
    got += [email["id"] for email in (await api("emails/claim"))["emailClaim"]["emails"]]
    assert sorted(got) == sorted(made)


async def test_the_address_is_that_of_the_claim(work, ada):
    row = await mail_queue.schedule(work, MAIL)
    await leads.update(work, {"id": ada}, {"email": "ada@new.example.com"})
    await mail_queue.claim(work)
    await leads.update(work, {"id": ada}, {"email": None})
    assert (await stored(work, row["id"]))["to_address"] == "ada@new.example.com"
    assert (await mail_queue.claim(later(work, 301)))[1] == []
    await leads.update(work, {"id": ada}, {"email": "ada@newer.example.com"})
    assert (await mail_queue.claim(later(work, 301)))[1] == [row["id"]]
    assert (await stored(work, row["id"]))["to_address"] == "ada@newer.example.com"


@pytest.mark.parametrize(("first", "lease", "argument"), BOUNDS)
async def test_a_claim_has_bounds(work, first, lease, argument):
    with pytest.raises(BadUserInput) as refused:
        await mail_queue.claim(work, first, lease)
    assert refused.value.argument == argument


async def test_what_was_sent_is_told_and_the_lead_was_active_then(work, ada, log):
    row = await mail_queue.schedule(work, MAIL)
    claim_id, _ = await mail_queue.claim(work)
    before = len(await log())
    sent_at = work.now - timedelta(minutes=1)
    for _ in range(2):  # saying it again changes nothing
        sent = await mail_queue.report(work, row["id"], claim_id, sent_at=sent_at)
    assert (sent["status"], sent["sent_at"], sent["error"]) == ("SENT", sent_at, None)
    [entry] = await log(before)
    assert (entry["kind"], entry["email_id"], entry["lead_id"], entry["occurred_at"]) == ("EMAIL_SENT", row["id"], ada, sent_at)
    assert (await references.lead(work, {"id": ada}))["last_activity_at"] == sent_at
    with pytest.raises(Conflict):
        await mail_queue.report(work, row["id"], claim_id, error="bounced")
    with pytest.raises(Conflict):
        await mail_queue.cancel(work, row["id"])


async def test_what_failed_is_told_with_why(work, ada, log):
    row = await mail_queue.schedule(work, MAIL)
    claim_id, _ = await mail_queue.claim(work)
    before = len(await log())
    for _ in range(2):
        failed = await mail_queue.report(work, row["id"], claim_id, error="550 no such user")
    assert (failed["status"], failed["error"], (await stored(work, row["id"]))["error"]) == (
        "FAILED",
        "550 no such user",
        "550 no such user",
    )
    [entry] = await log(before)
    assert (entry["kind"], entry["attributes"]) == ("EMAIL_FAILED", {"error": "550 no such user"})
    assert (await mail_queue.claim(later(work, 1_000)))[1] == []
    assert (await mail_queue.cancel(work, row["id"]))["status"] == "CANCELLED"


async def test_a_stale_claim_may_say_that_it_sent_but_not_that_it_failed(work, ada):
    row = await mail_queue.schedule(work, MAIL)
    stale, _ = await mail_queue.claim(work, 50, 1)
    fresh, ids = await mail_queue.claim(later(work, 2))
    assert ids == [row["id"]]
    with pytest.raises(Conflict):
        await mail_queue.report(work, row["id"], stale, error="550")
    assert (await stored(work, row["id"]))["status"] == "SENDING"
    assert (await mail_queue.report(work, row["id"], stale))["status"] == "SENT"
    assert (await mail_queue.report(work, row["id"], fresh))["status"] == "SENT"


async def test_a_report_needs_a_claim(work, ada):
    row = await mail_queue.schedule(work, MAIL)
    with pytest.raises(Conflict):
        await mail_queue.report(work, row["id"], new_id("clm"))
    with pytest.raises(NotFound):
        await mail_queue.report(work, row["id"], "mine")
    assert (await stored(work, row["id"]))["status"] == "SCHEDULED"


@pytest.mark.parametrize("status", ["SENDING", "SENT", "CANCELLED"])
async def test_only_what_nobody_sends_or_sent_can_be_cancelled(work, ada, email_of, status):
    email_id = await email_of(ada, status)
    with pytest.raises(Conflict):
        await mail_queue.cancel(work, email_id)
    assert (await stored(work, email_id))["status"] == status


async def test_leaving_the_campaign_cancels_and_deleting_the_lead_deletes_what_is_unsent(work, ada, campaign_of, log):
    campaign = await campaign_of()
    await campaigns.add_leads(work, campaign, [{"id": ada}])
    of_campaign = await mail_queue.schedule(work, {**MAIL, "campaignId": campaign})
    own = await mail_queue.schedule(work, MAIL)
    claimed = await mail_queue.schedule(work, {**MAIL, "scheduledAt": PAST - timedelta(days=1)})
    claim_id, ids = await mail_queue.claim(work, 1, 60)
    assert ids == [claimed["id"]]
    await campaigns.remove_leads(work, campaign, [{"id": ada}])
    assert (await stored(work, of_campaign["id"]))["status"] == "CANCELLED"
    assert (await stored(work, own["id"]))["status"] == "SCHEDULED"
    assert (await leads.delete(work, {"id": ada})).deleted_email_count == 1
    assert await stored(work, own["id"]) is None
    assert (await stored(work, claimed["id"]))["status"] == "SENDING"
    before = len(await log())
    # Its sender was lost: nobody sends it to somebody who is gone.
    assert (await mail_queue.claim(later(work, 61)))[1] == []
    assert (await stored(work, claimed["id"]))["status"] == "CANCELLED"
    [entry] = await log(before)
    assert (entry["kind"], entry["email_id"]) == ("EMAIL_CANCELLED", claimed["id"])
    # Unless it was sent after all.
    assert (await mail_queue.report(work, claimed["id"], claim_id))["status"] == "SENT"
