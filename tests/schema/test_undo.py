"""Taking batches back."""

import io

import pytest
import sqlalchemy as sa
from undoing import ROWS, UNDO

from app.actions import imports, undo_targets
from app.actions.emails import EMAIL
from app.actions.work import Work
from app.database import insert_rows
from app.worker import Worker


async def test_leads_that_a_batch_created_go(upsert, take_back, state, campaign):
    before = await state()
    made = await upsert(ROWS, campaignId=campaign)
    undone = await take_back(made)
    assert (undone["status"], undone["progress"], undone["conflicts"]["nodes"]) == ("SUCCEEDED", 1.0, [])
    assert undone["summary"] == {"total": 3, "created": 0, "updated": 0, "unchanged": 0, "skipped": 0, "deleted": 3}
    assert (undone["undoes"]["id"], undone["undoes"]["undoneAt"] is not None) == (made["batch"]["id"], True)
    assert await state() == before == []


async def test_what_a_batch_changed_returns_with_scores_and_campaigns(upsert, take_back, state, campaign):
    await upsert(ROWS)
    before = await state()
    rows = [
        {
            "email": "ann@example.com",
            "crmId": "1",
            "title": None,
            "lastName": "Lee",
            "attributes": {"plan": "silver", "seats": None, "new": [1]},
        },
        {"crmId": "2", "email": "bob@example.com", "company": "Other", "optInAt": None, "status": "QUALIFIED", "source": "referral"},
        {"email": "cleo@example.com", "website": None, "linkedinUrl": "https://linkedin.com/in/cleo", "notes": "two\nlines"},
        {"email": "ann@example.com", "firstName": "Anna", "title": "CEO"},
        {"email": "dora@example.com"},
    ]
    changed = await upsert(rows, campaignId=campaign)
    undone = await take_back(changed)
    assert undone["summary"] == {"total": 4, "created": 0, "updated": 3, "unchanged": 0, "skipped": 0, "deleted": 1}
    assert undone["conflicts"]["nodes"] == []
    assert await state() == before


async def test_what_has_changed_since_stays_and_is_listed(api, upsert, take_back, state):
    made = await upsert(ROWS)
    ann, bob, _ = [result["leadId"] for result in made["results"]]
    changed = await upsert([{"id": ann, "title": "CEO", "company": "Acme"}, {"id": bob, "company": "Other"}, {"email": "new@example.com"}])
    await api("leads/update", lead={"id": ann}, patch={"title": "Founder"})
    await api("leads/update", lead={"email": "new@example.com"}, patch={"notes": "met"})
    new = changed["results"][2]["leadId"]
    undone = await take_back(changed)
    assert sorted((each["leadId"], each["field"]) for each in undone["conflicts"]["nodes"]) == sorted([(ann, "title"), (new, "lead")])
    assert undone["summary"] == {"total": 3, "created": 0, "updated": 2, "unchanged": 0, "skipped": 1, "deleted": 0}
    found = {lead["id"]: lead for lead in await state()}
    assert (found[ann]["title"], found[ann]["company"], found[bob]["company"]) == ("Founder", None, "Acme")
    assert found[new]["notes"] == "met"


async def test_new_leads_that_came_or_went_from_campaigns_since_stay(api, upsert, take_back, state, campaign):
    made = await upsert([{"email": f"{name}@example.com"} for name in ("stayed", "left", "went")], campaignId=campaign)
    outside = await upsert([{"email": "joined@example.com"}, {"email": "same@example.com"}])
    await api("campaigns/remove_leads", id=campaign, leads=[{"email": "left@example.com"}])
    await api("campaigns/add_leads", id=campaign, leads=[{"email": "joined@example.com"}])
    left, joined = made["results"][1]["leadId"], outside["results"][0]["leadId"]
    assert [each["leadId"] for each in (await take_back(outside))["conflicts"]["nodes"]] == [joined]
    assert [each["leadId"] for each in (await take_back(made))["conflicts"]["nodes"]] == [left]
    assert {lead["email"] for lead in await state()} == {"left@example.com", "joined@example.com"}


async def test_a_new_lead_that_was_changed_and_changed_back_since_goes(api, upsert, take_back, state):
    made = await upsert(ROWS)
    for title in ("CEO", "CTO"):
        await api("leads/update", lead={"email": "ann@example.com"}, patch={"title": title})
    assert (await take_back(made))["summary"]["deleted"] == 3
    assert await state() == []


@pytest.mark.parametrize("brief", [True, False])
async def test_an_undo_looks_for_no_more_of_the_log_than_that_of_its_leads(work, brief):
    """Neither database may walk all that a batch wrote: once for each chunk, that is the square of it."""
    asked = undo_targets._told(brief=brief, postgres=work.postgres).compile(dialect=work.connection.dialect)
    binds = {"leads": [] if work.postgres else "[]", "batch": "bat_", "workspace": work.workspace, "first": 1, "last": 9}
    explained = "EXPLAIN QUERY PLAN" if not work.postgres else "EXPLAIN"
    if work.postgres:
        await work.connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
    rows = await work.connection.exec_driver_sql(f"{explained} {asked}", tuple(binds[name] for name in asked.positiontup))
    steps = " ".join(str(row) for row in rows)
    searched = steps.partition("Index Cond")[2].partition("Filter")[0] if work.postgres else steps
    assert "lead_id" in searched
    assert "sequence" not in searched


async def test_a_field_that_was_set_back_already_is_no_conflict(api, upsert, take_back, state):
    await upsert(ROWS)
    before = await state()
    changed = await upsert([{"email": "ann@example.com", "title": "CEO"}])
    await api("leads/update", lead={"email": "ann@example.com"}, patch={"title": "CTO"})
    undone = await take_back(changed)
    assert (undone["summary"]["unchanged"], undone["conflicts"]["nodes"]) == (1, [])
    assert await state() == before


async def test_who_was_written_to_since_stays(upsert, take_back, state, database, caller):
    made = await upsert([{"email": f"{n}@example.com"} for n in range(5)])
    statuses = ["SENT", "SENDING", "SCHEDULED", "FAILED"]
    async with database.writing() as connection:
        now = Work(connection, caller).now
        mail = {
            "workspace_id": caller.workspace_id,
            "campaign_id": None,
            "subject": "S",
            "body": "B",
            "created_at": now,
            "scheduled_at": now,
        }
        rows = [
            {**mail, "id": f"eml_{caller.workspace_id}{n}", "lead_id": made["results"][n]["leadId"], "status": status}
            for n, status in enumerate(statuses)
        ]
        await insert_rows(connection, EMAIL, rows)
    undone = await take_back(made)
    assert sorted(each["leadId"] for each in undone["conflicts"]["nodes"]) == sorted(made["results"][n]["leadId"] for n in (0, 1))
    assert [lead["email"] for lead in await state()] == ["0@example.com", "1@example.com"]


async def test_of_whom_an_event_was_recorded_since_stays(api, upsert, take_back, state):
    made = await upsert([{"email": "0@example.com"}, {"email": "1@example.com"}])
    await api("events/track", input={"lead": {"email": "0@example.com"}, "event": "demo.booked"})
    undone = await take_back(made)
    assert [each["field"] for each in undone["conflicts"]["nodes"]] == ["lead"]
    assert [lead["email"] for lead in await state()] == ["0@example.com"]


async def test_deleted_leads_come_back_with_all_that_they_had(api, upsert, take_back, state, campaign, database, caller):
    await api("users/create", input={"email": "owner@example.com", "role": "EDITOR"})
    made = await upsert(ROWS, campaignId=campaign)
    await api("leads/assign", lead={"email": "ann@example.com"}, user={"email": "owner@example.com"})
    async with database.writing() as connection:
        now = Work(connection, caller).now
        mail = {"workspace_id": caller.workspace_id, "campaign_id": campaign, "subject": "S", "body": "B", "created_at": now}
        row = {
            **mail,
            "scheduled_at": now,
            "id": f"eml_{caller.workspace_id}",
            "lead_id": made["results"][0]["leadId"],
            "status": "SCHEDULED",
        }
        await insert_rows(connection, EMAIL, [row])
    before = await state()
    gone = (await api("leads/delete_many", where={}, expectedCount=3))["leadDeleteMany"]
    assert await state() == []
    undone = await take_back(gone)
    assert undone["summary"] == {"total": 3, "created": 3, "updated": 0, "unchanged": 0, "skipped": 0, "deleted": 0}
    assert await state() == before
    told = await api("{ emails { nodes { status leadId } } activities(first: 200) { nodes { kind batchId } } }")
    assert [(mail["status"], mail["leadId"]) for mail in told["emails"]["nodes"]] == [("CANCELLED", made["results"][0]["leadId"])]
    assert [each["kind"] for each in told["activities"]["nodes"] if each["batchId"] == undone["id"]] == ["LEAD_CREATED"] * 3
    assert (await api("leads/list", search="ann"))["leads"]["totalCount"] == 1


async def test_what_no_longer_fits_a_lead_that_comes_back_is_listed(api, upsert, take_back, state, campaign):
    user = (await api("users/create", input={"email": "owner@example.com", "role": "EDITOR"}))["userCreate"]["user"]["id"]
    made = await upsert([{"email": "ann@example.com"}, {"crmId": "2"}, {"email": "cleo@example.com"}], campaignId=campaign)
    ann, bob, cleo = [result["leadId"] for result in made["results"]]
    await api("leads/assign", lead={"id": cleo}, user={"id": user})
    gone = (await api("leads/delete_many", where={}, expectedCount=3))["leadDeleteMany"]
    await upsert([{"email": "ANN@example.com"}, {"crmId": "2"}])
    await api("users/delete", id=user)
    await api("campaigns/delete", id=campaign)
    undone = await take_back(gone)
    conflicts = {(each["leadId"], each["field"]) for each in undone["conflicts"]["nodes"]}
    assert conflicts == {(ann, "lead"), (bob, "lead"), (cleo, "assignee"), (cleo, "campaigns")}
    assert undone["summary"] == {"total": 3, "created": 1, "updated": 0, "unchanged": 0, "skipped": 2, "deleted": 0}
    assert {lead["email"] for lead in await state()} == {"ANN@example.com", None, "cleo@example.com"}


async def test_an_address_that_another_lead_has_by_now_is_a_conflict(upsert, take_back, state):
    await upsert([{"email": "old@example.com", "crmId": "1"}])
    changed = await upsert([{"crmId": "1", "email": "new@example.com", "title": "CTO"}])
    await upsert([{"email": "old@example.com"}])
    undone = await take_back(changed)
    assert [each["field"] for each in undone["conflicts"]["nodes"]] == ["email"]
    [lead] = [lead for lead in await state() if lead["crmId"] == "1"]
    assert (lead["email"], lead["title"]) == ("new@example.com", None)


async def test_addresses_that_moved_from_lead_to_lead_move_back(upsert, take_back, state):
    await upsert([{"crmId": "1", "email": "a@example.com"}, {"crmId": "2", "email": "b@example.com"}])
    before = await state()
    rows = [{"crmId": "1", "email": "c@example.com"}, {"crmId": "2", "email": "a@example.com"}, {"crmId": "3", "email": "b@example.com"}]
    changed = await upsert(rows)
    assert changed["summary"]["failed"] == 0
    undone = await take_back(changed)
    assert undone["conflicts"]["nodes"] == []
    assert await state() == before


async def test_an_undo_can_be_undone_and_the_batch_taken_back_again(api, upsert, take_back, state):
    await upsert([ROWS[0]])
    before = await state()
    made = await upsert([{"email": "ann@example.com", "title": "CEO"}, {"email": "dora@example.com", "company": "Acme"}])
    after = await state()
    undone = await take_back(made)
    again = await take_back(undone["id"])
    assert again["summary"] == {"total": 2, "created": 1, "updated": 1, "unchanged": 0, "skipped": 0, "deleted": 0}
    assert await state() == after
    batch = await api("query($id: ID!) { node(id: $id) { ... on Batch { undoneAt undoneBy { id } } } }", id=made["batch"]["id"])
    assert batch["node"] == {"undoneAt": None, "undoneBy": None}
    await take_back(made)
    assert await state() == before


async def test_a_change_by_a_filter_is_taken_back(api, upsert, take_back, state):
    await upsert(ROWS)
    before = await state()
    done = (await api("leads/update_many", where={}, patch={"title": "CEO", "status": "REPLIED"}, expectedCount=3))["leadUpdateMany"]
    await take_back(done)
    assert await state() == before


@pytest.mark.parametrize("batch", ["bat_00000000000000000000000000", "nonsense", ""])
async def test_a_batch_that_is_not_there_or_not_yours_is_not_found(api, stranger, upsert, state, batch):
    made = await upsert(ROWS)
    before = await state()
    errors = [await api.error(UNDO, id=batch), await stranger.error(UNDO, id=made["batch"]["id"])]
    assert [error["extensions"]["code"] for error in errors] == ["NOT_FOUND"] * 2
    assert errors[0]["message"] == errors[1]["message"]
    assert await state() == before


async def test_what_cannot_be_undone_says_why(api, upsert, take_back, state):
    made = await upsert(ROWS)
    await take_back(made)
    assert "was undone already" in (await api.error(UNDO, id=made["batch"]["id"]))["message"]
    await upsert(ROWS)
    tracked = await api("events/track_many", events=[{"email": "ann@example.com", "event": "demo.booked"}])
    error = await api.error(UNDO, id=tracked["leadEventTrackMany"]["batch"]["id"])
    assert (error["extensions"]["code"], error["message"]) == ("CONFLICT", "Events are what happened, and cannot be undone.")


async def test_a_batch_that_changed_nothing_is_undone_in_no_time(upsert, take_back):
    await upsert(ROWS)
    undone = await take_back(await upsert(ROWS))
    assert (undone["status"], undone["summary"]["total"]) == ("SUCCEEDED", 0)


async def test_an_import_is_taken_back_like_any_batch(api, upsert, take_back, state, database):
    await upsert(ROWS)
    before = {lead["email"]: lead for lead in await state()}
    file = b"email,title,company\nann@example.com,CEO,\ncleo@example.com,,Acme\nx@example.com,CTO,\ny@example.com,CTO,\n2@@,,\n"
    worker = Worker(database, database.settings)
    async with database.writing() as connection:
        ordered = await imports.order(Work(connection, api.caller), io.BytesIO(file), imports.Order(), held=worker.hold())
    await worker.run_held(ordered.job, lambda _: None)
    async with database.writing() as connection:
        batch_id = (await imports.find(Work(connection, api.caller), ordered.id))["batch_id"]
    there = {lead["email"]: lead for lead in await state()}
    assert [there[f"{name}@example.com"]["title"] for name in ("ann", "x", "y")] == ["CEO", "CTO", "CTO"]
    await api("leads/update", lead={"email": "cleo@example.com"}, patch={"company": "Other"})
    await api("leads/update", lead={"email": "y@example.com"}, patch={"notes": "called"})
    undone = await take_back(batch_id)
    assert undone["summary"] == {"total": 4, "created": 0, "updated": 1, "unchanged": 0, "skipped": 2, "deleted": 1}
    conflicts = [(conflict["leadId"], conflict["field"]) for conflict in undone["conflicts"]["nodes"]]
    assert sorted(conflicts) == sorted([(there["y@example.com"]["id"], "lead"), (there["cleo@example.com"]["id"], "company")])
    now = {lead["email"]: lead for lead in await state()}
    assert set(now) == {*before, "y@example.com"}
    assert now["ann@example.com"] == before["ann@example.com"]
    assert (now["cleo@example.com"]["company"], now["y@example.com"]["notes"]) == ("Other", "called")


async def test_a_field_that_may_not_return_leaves_the_others_to_return(api, upsert, take_back, state):
    await upsert([{"phone": "+33612345678", "crmId": "1", "title": "CTO", "attributes": {"a": 1}}])
    [before] = await state()
    made = await upsert([{"crmId": "1", "email": "ann@example.com", "title": "CEO", "company": "Acme"}])
    lead = made["results"][0]["leadId"]
    await api("leads/update", lead={"id": lead}, patch={"phone": None, "crmId": None})
    undone = await take_back(made)
    assert undone["conflicts"]["nodes"] == [{"leadId": lead, "field": "email"}]
    [after] = await state()
    assert after == before | {
        "phone": None,
        "crmId": None,
        "email": "ann@example.com",
        "score": after["score"],
        "qualityScore": after["qualityScore"],
    }


async def test_leads_of_a_campaign_that_is_gone_go_all_the_same(api, upsert, take_back, state, campaign):
    there = (await api("campaigns/create", input={"name": "There"}))["campaignCreate"]["campaign"]["id"]
    made = await upsert(ROWS, campaignId=campaign)
    ids = [{"id": result["leadId"]} for result in made["results"]]
    await api("campaigns/add_leads", id=there, leads=ids[:1])
    await api("campaigns/delete", id=campaign)
    undone = await take_back(made)
    assert undone["conflicts"]["nodes"] == [{"leadId": ids[0]["id"], "field": "lead"}]
    assert [lead["id"] for lead in await state()] == [ids[0]["id"]]


async def test_a_lead_without_a_score_gets_none_by_an_undo(upsert, take_back, state):
    await upsert(ROWS, autoScore=False)
    before = await state()
    changed = await upsert([{"email": "ann@example.com", "title": "CEO"}], autoScore=False)
    assert (await take_back(changed))["summary"]["updated"] == 1
    assert await state() == before
    assert {lead["qualityScore"] for lead in before} == {None}


async def test_a_deletion_is_taken_back_a_second_time_with_its_emails(api, upsert, take_back, state):
    await upsert(ROWS)
    before = await state()
    lead = before[0]["id"]
    at = "2030-01-01T00:00:00Z"
    await api("emails/schedule", input={"lead": {"id": lead}, "subject": "Hello", "body": "Hi", "scheduledAt": at})
    gone = (await api("leads/delete_many", where={"id": {"eq": lead}}, expectedCount=1))["leadDeleteMany"]
    back = await take_back(gone)
    await take_back(back["id"])
    assert len(await state()) == 2
    again = await take_back(gone)
    assert (again["summary"]["created"], again["conflicts"]["nodes"]) == (1, [])
    assert await state() == before
    mails = "query($id: ID!) { lead(by: {id: $id}) { emails { nodes { status subject } } } }"
    assert (await api(mails, id=lead))["lead"]["emails"]["nodes"] == [{"status": "CANCELLED", "subject": "Hello"}]


async def test_each_undo_turns_the_marks_of_all_below_it(api, upsert, take_back):
    """An undo that is undone is no more in force, and what it undid is; of a longer row of them, each other one."""
    row = [(await upsert([{"email": "ann@example.com"}]))["batch"]["id"]]
    for _ in range(4):
        row.append((await take_back(row[-1]))["id"])
        asked = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Batch { undoneAt undoneBy { id } } } }"
        found = (await api(asked, ids=row))["nodes"]
        undone = [batch["undoneBy"] and batch["undoneBy"]["id"] for batch in found]
        assert undone == [by if (len(row) - place) % 2 == 0 else None for place, by in enumerate([*row[1:], None])]
        assert [batch["undoneAt"] is None for batch in found] == [by is None for by in undone]
        for batch, by in zip(row, undone, strict=True):
            if by is not None:
                assert "was undone already" in (await api.error(UNDO, id=batch))["message"]
