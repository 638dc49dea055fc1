from datetime import UTC, datetime

import pytest

from app.actions import leads
from app.actions.work import Work
from app.errors import BadUserInput, CampaignNotFound, Conflict, LeadNotFound, Taken, UserNotFound
from app.rules.written import moment


def fields(entry):
    return {change["field"]: (change["before"], change["after"]) for change in entry["changes"]}


async def test_a_new_lead_is_stored_folded_scored_and_logged_once(work, marie, log, stored, campaign_of, members, user_of):
    campaign, owner = await campaign_of(), await user_of("owner@example.com")
    before = len(await log())
    row = await leads.create(work, marie, campaign_ids=[campaign, campaign], assignee={"email": "OWNER@example.com"})
    kept = (await stored())[row["id"]]
    assert kept == {**row, "status": "NEW"}
    assert {
        name: kept[name] for name in ("email", "email_key", "company_folded", "search_text", "version", "quality_score", "assignee_id")
    } == {
        "email": "marie@techcorp.com",
        "email_key": "marie@techcorp.com",
        "company_folded": "techcorp",
        "search_text": "marie techcorp com dubois",
        "version": 1,
        "quality_score": 92,
        "assignee_id": owner,
    }
    assert (kept["created_at"], kept["updated_at"], kept["last_activity_at"]) == (work.now, work.now, None)
    assert await members(campaign) == [row["id"]]
    (entry,) = await log(after=before)
    assert (entry["kind"], entry["lead_id"], entry["request_id"], entry["batch_id"]) == ("LEAD_CREATED", row["id"], "req_test", None)
    assert fields(entry) == {
        **{name: (None, value) for name, value in marie.items()},
        "status": (None, "NEW"),
        "assignee": (None, owner),
        "campaigns": (None, [campaign]),
        "qualityScore": (None, 92),
    }


async def test_without_a_phone_and_a_website_the_score_is_87(work, marie):
    del marie["phone"], marie["website"]
    assert (await leads.create(work, marie))["quality_score"] == 87


async def test_a_new_lead_without_auto_score_has_no_score_and_the_source_of_requests(work, log):
    row = await leads.create(work, {"phone": "+33612345678", "optInAt": datetime(2026, 1, 20, 10, tzinfo=UTC)}, auto_score=False)
    assert (row["quality_score"], row["score_components"], row["source"]) == (None, None, "api")
    (entry,) = await log()
    assert fields(entry) == {
        "phone": (None, "+33612345678"),
        "source": (None, "api"),
        "status": (None, "NEW"),
        "optInAt": (None, "2026-01-20T10:00:00Z"),
    }


@pytest.mark.parametrize(
    ("values", "argument", "rule"),
    [
        ({"firstName": "Ann"}, "input", "BLANK"),
        ({"email": "  ", "crmId": None}, "input", "BLANK"),
        ({"email": "a@localhost"}, "input.email", "INVALID"),
        ({"email": "a@example.com", "firstName": "A\0"}, "input.firstName", "INVALID"),
        ({"email": "a@example.com", "company": "x" * 10_001}, "input.company", "TOO_LONG"),
        ({"email": "a@example.com", "attributes": {str(n): n for n in range(201)}}, "input.attributes", "INVALID"),
    ],
)
async def test_a_bad_value_is_refused_by_its_argument_and_rule(work, log, values, argument, rule):
    with pytest.raises(BadUserInput) as refused:
        await leads.create(work, values)
    assert refused.value.extensions == {"code": "BAD_USER_INPUT", "argument": argument, "rule": rule}
    assert await log() == []


async def test_a_known_address_or_crm_id_is_taken(work, log):
    await leads.create(work, {"email": "A@Example.com", "crmId": "crm-1"})
    with pytest.raises(Taken) as taken:
        await leads.create(work, {"email": "a@example.com"})
    assert taken.value.extensions == {"code": "TAKEN", "argument": "input.email"}
    assert taken.value.message == "email 'a@example.com': another lead has it"
    with pytest.raises(Taken) as taken:
        await leads.create(work, {"email": "b@example.com", "crmId": "crm-1"})
    assert taken.value.argument == "input.crmId"
    await leads.create(work, {"email": "b@example.com", "crmId": "CRM-1"})  # CRM ids are exact
    assert len(await log()) == 2


async def test_unknown_campaigns_and_users_refuse_a_new_lead(work, campaign_of, stored):
    campaign = await campaign_of()
    with pytest.raises(CampaignNotFound) as missing:
        await leads.create(work, {"email": "a@example.com"}, campaign_ids=[campaign, "cmp_0"])
    assert missing.value.argument == "input.campaignIds[1]"
    with pytest.raises(UserNotFound) as missing:
        await leads.create(work, {"email": "a@example.com"}, assignee={"email": "nobody@example.com"})
    assert missing.value.argument == "input.assignee"
    assert await stored() == {}


async def test_a_patch_changes_what_it_names_and_clears_what_is_null(work, marie, log, stored):
    row = await leads.create(work, {**marie, "attributes": {"plan": "gold", "seats": 3}})
    patch = {"title": "CEO", "phone": None, "notes": "Two\nlines", "attributes": {"seats": None, "tier": {"b": 1, "a": 2}, "plan": "gold"}}
    after = await leads.update(work, {"email": "MARIE@techcorp.com"}, patch)
    assert (after["title"], after["phone"], after["phone_folded"], after["version"]) == ("CEO", None, None, 2)
    assert after["attributes"] == {"plan": "gold", "tier": {"a": 2, "b": 1}}
    assert (await stored())[row["id"]] == after
    updated, scored = await log(after=1)
    assert (updated["kind"], scored["kind"]) == ("LEAD_UPDATED", "SCORED")
    assert fields(updated) == {
        "title": ("CTO", "CEO"),
        "phone": ("+33 6 12 34 56 78", None),
        "notes": (None, "Two\nlines"),
        "attributes.seats": (3, None),
        "attributes.tier": (None, {"a": 2, "b": 1}),
    }
    assert fields(scored) == {"qualityScore": (92, 89)}


async def test_null_clears_all_attributes(work, stored, log):
    row = await leads.create(work, {"email": "a@example.com", "attributes": {"b": 1, "a": [2]}})
    assert (await leads.update(work, {"id": row["id"]}, {"attributes": None}))["attributes"] == {}
    assert fields((await log())[-1]) == {"attributes.a": ([2], None), "attributes.b": (1, None)}
    assert (await leads.update(work, {"id": row["id"]}, {"attributes": None}))["version"] == 2
    assert (await stored())[row["id"]]["attributes"] == {}


async def test_a_patch_that_changes_nothing_writes_nothing(work, marie, log, stored):
    row = await leads.create(work, {**marie, "attributes": {"n": 1}})
    later = Work(connection=work.connection, caller=work.caller)
    assert await leads.update(later, {"id": row["id"]}, {"title": "CTO", "attributes": {"n": 1, "gone": None}}) == row
    assert await leads.update(later, {"id": row["id"]}, {}) == row
    assert (await stored())[row["id"]] == row
    assert len(await log()) == 1


async def test_an_attribute_of_another_json_type_is_another_value(work, log):
    row = await leads.create(work, {"email": "a@example.com", "attributes": {"n": 1}})
    await leads.update(work, {"id": row["id"]}, {"attributes": {"n": True}})
    assert fields((await log())[-1]) == {"attributes.n": (1, True)}


async def test_a_status_an_owner_and_a_field_change_are_an_activity_each(work, log, user_of):
    row, owner = await leads.create(work, {"email": "a@example.com"}), await user_of("owner@example.com")
    before = len(await log())
    after = await leads.update(work, {"id": row["id"]}, {"status": "REPLIED", "assignee": {"id": owner}, "notes": "Called"})
    told = await log(after=before)
    assert [(entry["kind"], entry["status"], fields(entry)) for entry in told] == [
        ("LEAD_UPDATED", None, {"notes": (None, "Called")}),
        ("STATUS_CHANGED", "REPLIED", {"status": ("NEW", "REPLIED")}),
        ("ASSIGNED", None, {"assignee": (None, owner)}),
    ]
    assert (after["version"], after["last_activity_at"]) == (2, work.now)


async def test_a_stale_version_is_a_conflict_that_names_the_current_one(work, stored):
    row = await leads.create(work, {"email": "a@example.com"})
    await leads.update(work, {"id": row["id"]}, {"notes": "1"}, if_version=1)
    verbs = [
        lambda: leads.update(work, {"id": row["id"]}, {"notes": "2"}, if_version=1),
        lambda: leads.assign(work, {"id": row["id"]}, None, if_version=1),
        lambda: leads.delete(work, {"id": row["id"]}, if_version=1),
    ]
    for verb in verbs:
        with pytest.raises(Conflict) as stale:
            await verb()
        assert stale.value.extensions == {"code": "CONFLICT", "argument": "ifVersion", "currentVersion": 2}
    assert (await stored())[row["id"]]["notes"] == "1"


@pytest.mark.parametrize(
    ("patch", "argument"),
    [({"status": None}, "patch.status"), ({"email": None}, "patch.email"), ({"email": None, "phone": None}, "patch.email")],
)
async def test_a_lead_keeps_a_status_and_something_to_know_it_by(work, stored, patch, argument):
    row = await leads.create(work, {"email": "a@example.com"})
    with pytest.raises(BadUserInput) as refused:
        await leads.update(work, {"id": row["id"]}, patch)
    assert refused.value.extensions == {"code": "BAD_USER_INPUT", "argument": argument, "rule": "BLANK"}
    assert (await stored())[row["id"]] == row


async def test_another_leads_address_or_crm_id_is_taken(work):
    row = await leads.create(work, {"email": "a@example.com", "crmId": "1"})
    await leads.create(work, {"email": "b@example.com", "crmId": "2"})
    for patch in ({"email": "B@example.com"}, {"crmId": "2"}):
        with pytest.raises(Taken) as taken:
            await leads.update(work, {"id": row["id"]}, patch)
        assert taken.value.argument == f"patch.{next(iter(patch))}"
    after = await leads.update(work, {"id": row["id"]}, {"email": "A@EXAMPLE.com", "crmId": "1"})  # its own, written otherwise
    assert (after["email"], after["email_key"], after["version"]) == ("A@EXAMPLE.com", "a@example.com", 2)


async def test_attributes_that_are_too_many_together_are_refused(work):
    row = await leads.create(work, {"email": "a@example.com", "attributes": {str(n): n for n in range(150)}})
    with pytest.raises(BadUserInput) as refused:
        await leads.update(work, {"id": row["id"]}, {"attributes": {f"more{n}": n for n in range(51)}})
    assert refused.value.extensions["argument"] == "patch.attributes"


async def test_a_lead_is_assigned_and_taken_back(work, log, user_of, stored):
    row, owner = await leads.create(work, {"email": "a@example.com"}), await user_of("owner@example.com")
    before = len(await log())
    assert (await leads.assign(work, {"id": row["id"]}, {"id": owner}))["assignee_id"] == owner
    assert (await leads.assign(work, {"crmId": None, "email": "a@example.com"}, {"email": "owner@example.com"}))["version"] == 2
    assert (await leads.assign(work, {"id": row["id"]}, None))["assignee_id"] is None
    assert [(entry["kind"], fields(entry)) for entry in await log(after=before)] == [
        ("ASSIGNED", {"assignee": (None, owner)}),
        ("ASSIGNED", {"assignee": (owner, None)}),
    ]
    with pytest.raises(UserNotFound):
        await leads.assign(work, {"id": row["id"]}, {"id": "usr_01"})
    assert (await stored())[row["id"]]["version"] == 3


async def test_a_deleted_lead_leaves_all_that_brings_it_back_in_the_log(
    work, marie, log, stored, campaign_of, user_of, email_of, email_statuses
):
    first, second = sorted([await campaign_of(), await campaign_of()])
    owner = await user_of("owner@example.com")
    lead = await leads.create(work, {**marie, "attributes": {"plan": "gold"}}, campaign_ids=[second, first], assignee={"id": owner})
    other = await leads.create(work, {"email": "b@example.com"}, campaign_ids=[first])
    unsent = [await email_of(lead["id"], "SCHEDULED", first), await email_of(lead["id"], "FAILED")]
    kept = [await email_of(lead["id"], "SENT"), await email_of(lead["id"], "SENDING"), await email_of(other["id"], "SCHEDULED")]
    before = len(await log())
    gone = await leads.delete(work, {"id": lead["id"]})
    assert (gone.id, gone.left_campaign_ids, gone.deleted_email_count) == (lead["id"], [first, second], 2)
    assert list(await stored()) == [other["id"]]
    assert sorted(await email_statuses()) == sorted(kept)
    (entry,) = await log(after=before)
    assert (entry["kind"], entry["lead_id"]) == ("LEAD_DELETED", lead["id"])
    told = fields(entry)
    emails = told.pop("emails")[0]
    assert told == {
        **{name: (value, None) for name, value in marie.items()},
        "status": ("NEW", None),
        "attributes.plan": ("gold", None),
        "assignee": (owner, None),
        "qualityScore": (92, None),
        "campaigns": ([first, second], None),
        "createdAt": (moment(lead["created_at"]), None),
        "version": (1, None),
    }
    assert [email["id"] for email in emails] == unsent
    assert emails[0] == {
        "id": unsent[0],
        "campaignId": first,
        "toAddress": None,
        "subject": "Hello",
        "body": "How are you?",
        "status": "SCHEDULED",
        "scheduledAt": "2026-01-20T10:00:00Z",
        "error": None,
        "createdAt": moment(work.now),
    }


@pytest.mark.parametrize(
    "ref", [{"id": "lead_01h455vb4pex5vsknk084sn02q"}, {"id": "x"}, {"email": "no"}, {"email": "x@example.com"}, {"crmId": "?"}]
)
async def test_a_lead_that_never_was_is_not_found(work, ref):
    verbs = [lambda: leads.update(work, ref, {"notes": "x"}), lambda: leads.delete(work, ref), lambda: leads.assign(work, ref, None)]
    for verb in verbs:
        with pytest.raises(LeadNotFound) as missing:
            await verb()
        assert (missing.value.message, missing.value.argument) == ("There is no such lead in your workspace.", "lead")


async def test_another_workspaces_lead_is_not_found_and_not_touched(work, foreign, stored, campaign_of, user_of, log):
    theirs = await leads.create(foreign, {"email": "a@example.com", "crmId": "1"})
    campaign, owner = await campaign_of(of=foreign), await user_of("owner@example.com", of=foreign)
    for ref in ({"id": theirs["id"]}, {"email": "a@example.com"}, {"crmId": "1"}):
        with pytest.raises(LeadNotFound) as missing:
            await leads.update(work, ref, {"notes": "x"})
        assert missing.value.message == "There is no such lead in your workspace."
        with pytest.raises(LeadNotFound):
            await leads.delete(work, ref)
    mine = await leads.create(work, {"email": "a@example.com", "crmId": "1"})  # neither is taken here
    with pytest.raises(UserNotFound):
        await leads.assign(work, {"id": mine["id"]}, {"id": owner})
    with pytest.raises(UserNotFound):
        await leads.assign(work, {"id": mine["id"]}, {"email": "owner@example.com"})
    with pytest.raises(CampaignNotFound):
        await leads.create(work, {"email": "c@example.com"}, campaign_ids=[campaign])
    assert await stored(of=foreign) == {theirs["id"]: theirs}
    assert len(await log()) == 1


@pytest.mark.parametrize("ref", [{}, {"id": None}, {"id": "a", "email": "b@example.com"}, {"crmId": "a\0"}, {"id": "\ud800"}])
async def test_a_reference_names_one_lead_in_one_way(work, ref):
    with pytest.raises(BadUserInput) as refused:
        await leads.delete(work, ref)
    assert refused.value.argument.startswith("lead")
