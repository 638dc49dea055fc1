import pytest
import sqlalchemy as sa

from app.actions import campaigns
from app.actions.activities import ACTIVITY
from app.actions.campaigns import CAMPAIGN, CAMPAIGN_LEAD
from app.actions.emails import EMAIL
from app.actions.jobs import JOB
from app.actions.upserts import upsert_many
from app.actions.work import Caller, Role, Work
from app.database import insert_rows
from app.errors import BadUserInput, CampaignNotFound, LeadNotFound
from app.rules.ids import new_id

HERE = sa.bindparam("workspace")
FRENCH = {"titles": [" CTO ", "", "Head of Data"], "locations": ["Lyon"], "sources": ["LinkedIn", "  "]}
NO_CRITERIA = {"titles": [], "companies": [], "locations": [], "sources": []}


async def log(work, after=0):
    told = (ACTIVITY.c.workspace_id == HERE, ACTIVITY.c.sequence > sa.bindparam("after"))
    return await work.rows(sa.select(ACTIVITY).where(*told).order_by(ACTIVITY.c.sequence), {"after": after})


async def stored(work, campaign_id):
    found = sa.select(CAMPAIGN).where(CAMPAIGN.c.workspace_id == HERE, CAMPAIGN.c.id == sa.bindparam("campaign"))
    return await work.row(found, {"campaign": campaign_id})


async def queued(work):
    return [row["payload"] for row in await work.rows(sa.select(JOB).where(JOB.c.workspace_id == HERE).order_by(JOB.c.id))]


async def members(work, campaign_id):
    found = sa.select(CAMPAIGN_LEAD).where(CAMPAIGN_LEAD.c.workspace_id == HERE, CAMPAIGN_LEAD.c.campaign_id == sa.bindparam("campaign"))
    return [row["lead_id"] for row in await work.rows(found.order_by(CAMPAIGN_LEAD.c.lead_id), {"campaign": campaign_id})]


async def create_leads(work, count, **values):
    report = await upsert_many(work, [{"email": f"{n}@example.com", **values} for n in range(count)])
    return [result.lead_id for result in report.results]


async def schedule(work, lead_id, campaign_id, status):
    row = {
        "workspace_id": work.workspace,
        "id": new_id("eml"),
        "lead_id": lead_id,
        "campaign_id": campaign_id,
        "subject": "Hello",
        "body": "",
        "status": status,
        "scheduled_at": work.now,
        "created_at": work.now,
    }
    await insert_rows(work.connection, EMAIL, [row])
    return row["id"]


async def test_a_campaign_is_created_trimmed_and_logged(work):
    row = await campaigns.create(work, {"name": " Été 2026 ", "status": "ACTIVE", "criteria": FRENCH})
    assert row == await stored(work, row["id"])
    assert row["id"].startswith("cmp_")
    facts = {name: row[name] for name in ("name", "name_folded", "status", *NO_CRITERIA, "created_at", "updated_at")}
    assert facts == {
        "name": "Été 2026",
        "name_folded": "ete 2026",
        "status": "ACTIVE",
        "titles": ["CTO", "Head of Data"],
        "companies": [],
        "locations": ["Lyon"],
        "sources": ["linkedin"],
        "created_at": work.now,
        "updated_at": work.now,
    }
    [told] = await log(work)
    assert [told["kind"], told["campaign_id"], told["subject_id"]] == ["CAMPAIGN_CREATED", row["id"], None]
    assert told["changes"] == [
        {"field": "name", "before": None, "after": "Été 2026"},
        {"field": "status", "before": None, "after": "ACTIVE"},
        {"field": "criteria.titles", "before": None, "after": ["CTO", "Head of Data"]},
        {"field": "criteria.locations", "before": None, "after": ["Lyon"]},
        {"field": "criteria.sources", "before": None, "after": ["linkedin"]},
    ]
    assert await queued(work) == []


async def test_a_campaign_without_criteria_is_a_draft_that_asks_nothing(work):
    row = await campaigns.create(work, {"name": "Everybody", "criteria": None})
    assert {name: row[name] for name in ("status", *NO_CRITERIA)} == {"status": "DRAFT", **NO_CRITERIA}


@pytest.mark.parametrize(
    ("values", "argument", "rule"),
    [
        ({"name": " \t "}, "name", "BLANK"),
        ({"name": None}, "name", "BLANK"),
        ({"name": "a" * 201}, "name", "TOO_LONG"),
        ({"name": "a\0b"}, "name", "INVALID"),
        ({"status": None}, "status", "BLANK"),
        ({"status": "PARKED"}, "status", "INVALID"),
        ({"criteria": {"titles": ["a", "b", "a" * 201]}}, "criteria.titles[2]", "TOO_LONG"),
        ({"criteria": {"companies": ["a\rb"]}}, "criteria.companies[0]", "INVALID"),
        ({"criteria": {"sources": ["a"] * 101}}, "criteria.sources", "TOO_LONG"),
    ],
)
async def test_a_bad_value_is_refused_by_name_and_rule(work, values, argument, rule):
    row = await campaigns.create(work, {"name": "Kept"})
    attempts = {"input": campaigns.create(work, {"name": "New", **values}), "patch": campaigns.update(work, row["id"], values)}
    for door, attempt in attempts.items():
        with pytest.raises(BadUserInput) as refused:
            await attempt
        assert refused.value.extensions == {"code": "BAD_USER_INPUT", "argument": f"{door}.{argument}", "rule": rule}
    assert await stored(work, row["id"]) == row
    assert len(await log(work)) == 1


async def test_two_hundred_characters_and_a_hundred_entries_are_taken(work):
    row = await campaigns.create(work, {"name": "é" * 200, "criteria": {"titles": ["t" * 200] * 100}})
    assert [row["name"], row["titles"]] == ["é" * 200, ["t" * 200] * 100]


async def test_an_update_changes_what_it_names_and_has_the_leads_scored_again(work):
    row = await campaigns.create(work, {"name": "Old", "criteria": FRENCH})
    later = Work(work.connection, work.caller)
    after = await campaigns.update(later, row["id"], {"name": "Née", "criteria": {"titles": ["CEO"], "locations": None}})
    assert after == {**row, "name": "Née", "name_folded": "nee", "titles": ["CEO"], "locations": [], "updated_at": later.now}
    assert after == await stored(work, row["id"])
    [told] = await log(work, after=1)
    assert [told["kind"], told["campaign_id"]] == ["CAMPAIGN_UPDATED", row["id"]]
    assert told["changes"] == [
        {"field": "name", "before": "Old", "after": "Née"},
        {"field": "criteria.titles", "before": ["CTO", "Head of Data"], "after": ["CEO"]},
        {"field": "criteria.locations", "before": ["Lyon"], "after": []},
    ]
    assert await queued(work) == [{"campaignId": row["id"]}]


async def test_criteria_null_asks_nothing_any_more(work):
    row = await campaigns.create(work, {"name": "Old", "criteria": FRENCH})
    after = await campaigns.update(work, row["id"], {"criteria": None})
    assert {name: after[name] for name in NO_CRITERIA} == NO_CRITERIA


async def test_an_update_that_changes_nothing_writes_nothing(work):
    row = await campaigns.create(work, {"name": "Same", "criteria": FRENCH})
    later = Work(work.connection, work.caller)
    assert await campaigns.update(later, row["id"], {"name": " Same", "status": "DRAFT", "criteria": {"sources": ["LINKEDIN"]}}) == row
    assert await campaigns.update(later, row["id"], {}) == row
    assert await stored(work, row["id"]) == row
    assert len(await log(work)) == 1
    assert await queued(work) == []


async def test_a_new_status_or_name_scores_nobody(work):
    row = await campaigns.create(work, {"name": "Same", "criteria": FRENCH})
    await campaigns.update(work, row["id"], {"status": "PAUSED", "name": "Other"})
    assert await queued(work) == []


async def test_leads_join_once_and_are_given_in_the_order_asked(work):
    row = await campaigns.create(work, {"name": "Here"})
    first, second, third = await create_leads(work, 3)
    assert await campaigns.add_leads(work, row["id"], [{"id": second}]) == (row, 1, [second])
    refs = [{"email": "2@EXAMPLE.com"}, {"id": second}, {"id": first}]
    assert await campaigns.add_leads(work, row["id"], refs) == (row, 2, [third, second, first])
    assert await members(work, row["id"]) == [first, second, third]
    joined = [told["lead_id"] for told in await log(work) if told["kind"] == "CAMPAIGN_JOINED"]
    assert sorted(joined) == [first, second, third]


async def test_leads_leave_once_and_their_unsent_emails_are_cancelled(work):
    row = await campaigns.create(work, {"name": "Here"})
    first, second = await create_leads(work, 2)
    await campaigns.add_leads(work, row["id"], [{"id": first}, {"id": second}])
    email_id = await schedule(work, first, row["id"], "SCHEDULED")
    before = len(await log(work))
    assert await campaigns.remove_leads(work, row["id"], [{"id": first}]) == (row, 1, [first])
    assert await campaigns.remove_leads(work, row["id"], [{"id": first}]) == (row, 0, [first])
    assert await members(work, row["id"]) == [second]
    told = [(each["kind"], each["lead_id"], each["email_id"]) for each in await log(work, after=before)]
    assert told == [("CAMPAIGN_LEFT", first, None), ("EMAIL_CANCELLED", first, email_id)]


async def test_a_list_with_an_unknown_lead_is_refused_whole(work):
    row = await campaigns.create(work, {"name": "Here"})
    [known] = await create_leads(work, 1)
    for verb in (campaigns.add_leads, campaigns.remove_leads):
        with pytest.raises(LeadNotFound) as refused:
            await verb(work, row["id"], [{"id": known}, {"crmId": "nobody"}])
        assert refused.value.argument == "leads[1]"
        with pytest.raises(BadUserInput):
            await verb(work, row["id"], [])
    assert await members(work, row["id"]) == []


async def test_a_deleted_campaign_leaves_its_leads_and_sends_nothing_more(work):
    row = await campaigns.create(work, {"name": "Gone", "status": "ACTIVE", "criteria": {"titles": ["CTO"]}})
    other = await campaigns.create(work, {"name": "Stays"})
    ids = await create_leads(work, 3, title="CTO")
    for campaign in (row, other):
        await campaigns.add_leads(work, campaign["id"], [{"id": lead_id} for lead_id in ids])
    unsent = [await schedule(work, ids[0], row["id"], status) for status in ("SCHEDULED", "FAILED")]
    kept = [await schedule(work, ids[0], row["id"], "SENT"), await schedule(work, ids[0], other["id"], "SCHEDULED")]
    before = len(await log(work))
    assert await campaigns.delete(work, row["id"]) == row["id"]
    assert await stored(work, row["id"]) is None
    assert await members(work, row["id"]) == []
    assert await members(work, other["id"]) == sorted(ids)
    emails = {each["id"]: each["status"] for each in await work.rows(sa.select(EMAIL).where(EMAIL.c.workspace_id == HERE))}
    assert emails == {**dict.fromkeys(unsent, "CANCELLED"), kept[0]: "SENT", kept[1]: "SCHEDULED"}
    *cancelled, gone = await log(work, after=before)
    assert [(told["kind"], told["email_id"]) for told in cancelled] == [("EMAIL_CANCELLED", email_id) for email_id in unsent]
    assert [gone["kind"], gone["campaign_id"]] == ["CAMPAIGN_DELETED", row["id"]]
    assert gone["changes"] == [
        {"field": "name", "before": "Gone", "after": None},
        {"field": "status", "before": "ACTIVE", "after": None},
        {"field": "criteria.titles", "before": ["CTO"], "after": None},
    ]
    assert await queued(work) == [{"leadIds": sorted(ids)}]


async def test_the_leads_of_a_large_campaign_are_scored_again_by_several_jobs(work, monkeypatch):
    monkeypatch.setattr(campaigns, "_LEADS_A_JOB", 2)
    row = await campaigns.create(work, {"name": "Gone"})
    ids = sorted(await create_leads(work, 3))
    await campaigns.add_leads(work, row["id"], [{"id": lead_id} for lead_id in ids])
    await campaigns.delete(work, row["id"])
    assert await queued(work) == [{"leadIds": ids[:2]}, {"leadIds": ids[2:]}]


async def test_deleting_takes_as_many_statements_for_many_leads_as_for_one(work):
    counts = []
    for many in (1, 50):
        row = await campaigns.create(work, {"name": "Gone"})
        ids = await create_leads(work, many)
        await campaigns.add_leads(work, row["id"], [{"id": lead_id} for lead_id in ids])
        ran = []
        connection = work.connection.sync_connection

        def note(_connection, _cursor, statement, *_, ran=ran):
            ran.append(statement)

        sa.event.listen(connection, "before_cursor_execute", note)
        await campaigns.delete(work, row["id"])
        sa.event.remove(connection, "before_cursor_execute", note)
        counts.append(len(ran))
    assert counts == [9, 9]


async def test_another_workspaces_campaign_gets_the_words_of_one_that_never_was(work):
    row = await campaigns.create(work, {"name": "Mine"})
    [known] = await create_leads(work, 1)
    stranger = Work(work.connection, Caller(workspace_id="wsp_other", role=Role.ADMIN))
    for asking, campaign_id in ((stranger, row["id"]), (work, "cmp_01kf8xvz7ee5q9gsm8n5v4m2nz"), (work, "x")):
        for attempt in (
            campaigns.update(asking, campaign_id, {"name": "Yours"}),
            campaigns.delete(asking, campaign_id),
            campaigns.add_leads(asking, campaign_id, [{"id": known}]),
            campaigns.remove_leads(asking, campaign_id, [{"id": known}]),
        ):
            with pytest.raises(CampaignNotFound) as refused:
                await attempt
            assert [refused.value.message, refused.value.argument] == [CampaignNotFound.__doc__, "id"]
    assert await stored(work, row["id"]) == row
    assert await members(work, row["id"]) == []
