"""Automations: set off in the transaction that records, done once and in order, tried again, and stopped where they go in circles."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from app.actions import automation_runs, users
from app.actions.automation_runs import RUNS
from app.actions.batches import JobStatus
from app.actions.jobs import LeaseLost
from app.actions.triggers import RUN
from app.actions.work import Role, Work
from app.lane_worker import LaneWorker, run_automation

RUNS_OF = """query R($id: ID!) { node(id: $id) { ... on Automation {
  runs(first: 200) { nodes { depth status attempts error activity { kind event leadId } } totalCount } } } }"""
LEAD = "{ leads { nodes { id status assignee { id } campaigns { nodes { id } } } } }"
FAR = timedelta(days=1)


@pytest.fixture(autouse=True)
async def no_other_runs(database):
    """A worker serves every workspace: what other tests left is not this one's."""
    async with database.writing() as connection:
        await connection.execute(sa.update(RUN).values(status=JobStatus.CANCELLED))


@pytest.fixture
async def ada(api):
    report = await api("leads/upsert_many", input={"leads": [{"email": "ada@example.com"}]})
    return report["leadUpsertMany"]["results"][0]["leadId"]


@pytest.fixture
def automation(api):
    async def make(*actions, **given):
        given = {"name": "Follow up", "actions": list(actions), **({"event": "signed.up"} | given if "kind" not in given else given)}
        return (await api("automations/create", input=given))["automationCreate"]["automation"]["id"]

    return make


@pytest.fixture
def track(api):
    async def send(lead, event="signed.up", **more):
        return (await api("events/track", input={"lead": {"id": lead}, "event": event, **more}))["leadEventTrack"]

    return send


@pytest.fixture
def worked(database, settings, api):
    """Lets a worker do all that is due, and gives the runs of an automation, oldest first."""

    async def run(automation_id):
        stop = asyncio.Event()
        hands = LaneWorker(database, settings.model_copy(update={"worker_poll_seconds": 0.05}), "w1", RUNS, run_automation)
        task = asyncio.create_task(hands.run(stop))
        mine = sa.select(RUN.c.id).where(RUN.c.workspace_id == sa.bindparam("workspace"), RUN.c.status.in_(["PENDING", "RUNNING"]))
        due = mine.where(RUN.c.run_at <= sa.bindparam("now", type_=RUN.c.run_at.type))
        for _ in range(600):
            await asyncio.sleep(0.05)
            async with database.writing() as connection:
                binds = {"workspace": api.caller.workspace_id, "now": datetime.now(UTC)}
                if not (await connection.execute(due, binds)).all():
                    break
        stop.set()
        await asyncio.wait_for(task, 20)
        return (await api(RUNS_OF, id=automation_id))["node"]["runs"]["nodes"][::-1]

    return run


@pytest.fixture
def at_work(database, api):
    @asynccontextmanager
    async def opened(**more):
        async with database.writing() as connection:
            yield Work(connection, api.caller, **more)

    return opened


async def test_an_automation_shows_what_it_does(api, automation):
    user = (await api("users/create", input={"email": "uma@example.com", "role": "EDITOR"}))["userCreate"]["user"]["id"]
    campaign = (await api("campaigns/create", input={"name": "Spring"}))["campaignCreate"]["campaign"]["id"]
    made = await automation({"addToCampaign": campaign}, {"assignTo": {"email": "uma@example.com"}}, {"setStatus": "CONTACTED"})
    await automation({"setStatus": "REPLIED"}, kind="ASSIGNED", name="Other", enabled=False)
    second, first = (await api("automations/list"))["automations"]["nodes"]
    assert first == {
        "id": made, "name": "Follow up", "event": "signed.up", "kind": None, "enabled": True, "runs": {"nodes": [], "totalCount": 0},
        "actions": [
            {"__typename": "AddToCampaignAction", "campaign": {"id": campaign, "name": "Spring"}},
            {"__typename": "AssignAction", "user": {"id": user, "email": "uma@example.com"}},
            {"__typename": "SetStatusAction", "status": "CONTACTED"},
        ],
    }  # fmt: skip
    assert (second["event"], second["kind"], second["enabled"]) == (None, "ASSIGNED", False)
    events = (await api('{ activities(where: {event: {startsWith: "automation."}}) { nodes { event subjectId kind } } }'))["activities"]
    assert events["nodes"][0] == {"event": "automation.created", "subjectId": made, "kind": "ADMINISTERED"}


@pytest.mark.parametrize(
    ("given", "code", "argument"),
    [
        ({"event": "a", "kind": "SCORED"}, "BAD_USER_INPUT", "input"),
        ({"event": None}, "BAD_USER_INPUT", "input"),
        ({"event": " "}, "BAD_USER_INPUT", "input.event"),
        ({"event": "e" * 257}, "BAD_USER_INPUT", "input.event"),
        ({"event": None, "kind": "ADMINISTERED"}, "BAD_USER_INPUT", "input.kind"),
        ({"name": " "}, "BAD_USER_INPUT", "input.name"),
        ({"actions": []}, "BAD_USER_INPUT", "input.actions"),
        ({"actions": [{"setStatus": "NEW"}] * 21}, "BAD_USER_INPUT", "input.actions"),
        ({"actions": [{"setStatus": "NEW"}, {"assignTo": {"id": "usr_none"}}]}, "NOT_FOUND", "input.actions[1].assignTo"),
        ({"actions": [{"addToCampaign": "cmp_none"}]}, "NOT_FOUND", "input.actions[0].addToCampaign"),
    ],
)
async def test_an_automation_that_could_not_run_is_refused(api, given, code, argument):
    error = await api.error("automations/create", input={"name": "a", "event": "a", "actions": [{"setStatus": "NEW"}], **given})
    assert (error["extensions"]["code"], error["extensions"]["argument"]) == (code, argument)


async def test_an_event_queues_the_runs_of_those_that_wait_for_its_name(api, ada, automation, track):
    mine = await automation({"setStatus": "CONTACTED"})
    again = await automation({"setStatus": "REPLIED"})
    any_event = await automation({"setStatus": "REPLIED"}, kind="EVENT")
    off = await automation({"setStatus": "REPLIED"}, enabled=False)
    other = await automation({"setStatus": "REPLIED"}, event="Signed.up")
    told = await track(ada, distinctId="d")
    assert [run["status"] for run in told["runs"]] == ["PENDING"] * 3
    assert (await track(ada, distinctId="d"))["runs"] == []
    for made, count in ((mine, 1), (again, 1), (any_event, 1), (off, 0), (other, 0)):
        assert (await api(RUNS_OF, id=made))["node"]["runs"]["totalCount"] == count
    await api("automations/update", id=off, patch={"enabled": True, "event": None, "kind": "EVENT"})
    assert len((await track(ada, event="else"))["runs"]) == 2


async def test_of_many_equal_events_at_once_one_sets_off_one_run(api, ada, automation, track):
    made = await automation({"setStatus": "CONTACTED"})
    gate = asyncio.Semaphore(20)  # more than there are writers, and fewer than would wait too long for one on a slow machine

    async def send():
        async with gate:
            return await track(ada, distinctId="once")

    told = await asyncio.gather(*[send() for _ in range(100)])
    assert sum(len(each["runs"]) for each in told) == 1
    assert (await api(RUNS_OF, id=made))["node"]["runs"]["totalCount"] == 1


async def test_a_request_that_fails_sets_off_nothing(api, ada, automation):
    made = await automation({"setStatus": "CONTACTED"})
    document = """mutation M($lead: ID!) {
      leadEventTrack(input: {lead: {id: $lead}, event: "signed.up"}) { deduplicated }
      leadDelete(lead: {crmId: "nobody"}) { deletedId } }"""
    assert (await api.error(document, lead=ada))["extensions"]["code"] == "NOT_FOUND"
    assert (await api(RUNS_OF, id=made))["node"]["runs"]["totalCount"] == 0


async def test_actions_are_done_once_and_in_order_on_that_lead(api, ada, automation, track, worked):
    user = (await api("users/create", input={"email": "uma@example.com", "role": "EDITOR"}))["userCreate"]["user"]["id"]
    campaign = (await api("campaigns/create", input={"name": "Spring"}))["campaignCreate"]["campaign"]["id"]
    await api("leads/upsert_many", input={"leads": [{"email": "bob@example.com"}]})
    made = await automation({"setStatus": "CONTACTED"}, {"assignTo": {"id": user}}, {"addToCampaign": campaign}, {"setStatus": "REPLIED"})
    await track(ada)
    assert await worked(made) == [
        {
            "depth": 1, "status": "SUCCEEDED", "attempts": 1, "error": None,
            "activity": {"kind": "EVENT", "event": "signed.up", "leadId": ada},
        }
    ]  # fmt: skip
    bob, one = (await api(LEAD))["leads"]["nodes"]
    assert one == {"id": ada, "status": "REPLIED", "assignee": {"id": user}, "campaigns": {"nodes": [{"id": campaign}]}}
    assert (bob["status"], bob["assignee"], bob["campaigns"]["nodes"]) == ("NEW", None, [])
    log = (await api("{ activities(first: 200) { nodes { kind leadId actorId } } }"))["activities"]["nodes"]
    after = [each["kind"] for each in log[[each["kind"] for each in log].index("EVENT") + 1 :] if each["kind"] != "SCORED"]
    assert after == ["STATUS_CHANGED", "ASSIGNED", "CAMPAIGN_JOINED", "STATUS_CHANGED"]


async def test_a_kind_of_activity_sets_off_runs_too_batch_or_not(api, automation, worked):
    made = await automation({"setStatus": "CONTACTED"}, kind="LEAD_CREATED")
    rows = [{"email": f"lead{number}@example.com"} for number in range(20)]
    await api("leads/upsert_many", input={"leads": rows})
    assert Counter(run["status"] for run in await worked(made)) == {"SUCCEEDED": 20}
    assert {lead["status"] for lead in (await api(LEAD))["leads"]["nodes"]} == {"CONTACTED"}


async def test_runs_that_go_in_circles_stop_at_a_depth_of_5(api, ada, automation, worked):
    made = await automation({"setStatus": "CONTACTED"}, {"setStatus": "REPLIED"}, kind="STATUS_CHANGED")
    await api("leads/update", lead={"id": ada}, patch={"status": "QUALIFIED"})
    runs = await worked(made)
    assert Counter((run["depth"], run["status"]) for run in runs) == {
        (1, "SUCCEEDED"): 1, (2, "SUCCEEDED"): 2, (3, "SUCCEEDED"): 4, (4, "SUCCEEDED"): 8, (5, "FAILED"): 16,
    }  # fmt: skip
    why = "What it did would set off 'Follow up', and a chain of runs ends at a depth of 5."
    assert {run["error"] for run in runs if run["depth"] == 5} == {why}


async def test_a_failed_action_is_tried_again_and_then_shown_with_why(api, ada, automation, track, worked, at_work):
    user = (await api("users/create", input={"email": "uma@example.com", "role": "EDITOR"}))["userCreate"]["user"]["id"]
    made = await automation({"setStatus": "CONTACTED"}, {"assignTo": {"id": user}}, {"setStatus": "REPLIED"})
    async with at_work() as work:
        await users.delete(work, user)
    await track(ada)
    await track(ada, event="other")
    [run] = await worked(made)
    assert (run["status"], run["attempts"], run["error"]) == ("PENDING", 1, "There is no such user in your workspace.")
    # What was done before it stays done, and is not done again.
    assert [lead["status"] for lead in (await api(LEAD))["leads"]["nodes"]] == ["CONTACTED"]
    await api("leads/update", lead={"id": ada}, patch={"status": "QUALIFIED"})
    for attempt in range(2, 9):
        async with at_work() as work:
            [row] = await RUNS.claim(work.connection, "w1", 10, 60, datetime.now(UTC) + FAR)
            assert (row["attempts"], row["done"]) == (attempt, 1)
            status = await RUNS.retry(work.connection, row, "no such user", work.now)
            waits = [None, 2, 4, 8, 16, 32, 64, 128]
            if attempt < 8:
                stored = await work.row(sa.select(RUN).where(RUN.c.workspace_id == sa.bindparam("workspace")))
                assert waits[attempt] * 0.75 <= (stored["run_at"] - work.now).total_seconds() <= waits[attempt]
    assert status is JobStatus.FAILED
    [run] = (await api(RUNS_OF, id=made))["node"]["runs"]["nodes"]
    assert (run["status"], run["attempts"], run["error"]) == ("FAILED", 8, "no such user")
    assert [lead["status"] for lead in (await api(LEAD))["leads"]["nodes"]] == ["QUALIFIED"]


async def test_a_run_of_a_lead_that_is_gone_ends_at_once(api, ada, automation, track, worked):
    made = await automation({"setStatus": "CONTACTED"})
    await track(ada)
    await api("leads/delete", lead={"id": ada})
    [run] = await worked(made)
    assert (run["status"], run["attempts"], run["error"]) == ("FAILED", 1, "The lead is gone.")


async def test_later_runs_of_a_lead_wait_for_the_earlier_and_other_leads_do_not(api, ada, automation, track, at_work):
    await automation({"setStatus": "CONTACTED"})
    report = await api("leads/upsert_many", input={"leads": [{"email": "bob@example.com"}]})
    bob = report["leadUpsertMany"]["results"][0]["leadId"]
    for lead in (ada, ada, bob):
        await track(lead)
    now = datetime.now(UTC)
    async with at_work() as work:
        first = await RUNS.claim(work.connection, "w1", 10, 60, now)
        assert sorted(row["lane"] for row in first) == sorted([ada, bob])
        assert await RUNS.claim(work.connection, "w2", 10, 60, now) == []
    [of_ada] = [row for row in first if row["lane"] == ada]
    async with at_work() as work:
        await RUNS.retry(work.connection, of_ada, "later", now)
        assert await RUNS.claim(work.connection, "w2", 10, 60, now) == []  # it waits, and the one behind it with it
        [again] = await RUNS.claim(work.connection, "w2", 10, 60, now + timedelta(seconds=10))
        assert again["id"] == of_ada["id"]
        assert await automation_runs.act(work, again)
        [second] = await RUNS.claim(work.connection, "w2", 10, 60, now)
        assert (second["lane"], second["id"] > of_ada["id"]) == (ada, True)


async def test_who_lost_the_lease_writes_nothing(api, ada, automation, track, at_work, database):
    made = await automation({"setStatus": "CONTACTED"})
    await track(ada)
    now = datetime.now(UTC)
    async with at_work() as work:
        [slow] = await RUNS.claim(work.connection, "w1", 10, 1, now)
    async with at_work() as work:
        [quick] = await RUNS.claim(work.connection, "w2", 10, 60, now + timedelta(seconds=2))
        assert (quick["id"], quick["attempts"]) == (slow["id"], 2)
    with pytest.raises(LeaseLost):
        await run_automation(database, slow)
    assert [lead["status"] for lead in (await api(LEAD))["leads"]["nodes"]] == ["NEW"]
    await run_automation(database, quick)
    [run] = (await api(RUNS_OF, id=made))["node"]["runs"]["nodes"]
    assert (run["status"], run["attempts"]) == ("SUCCEEDED", 2)


async def test_a_run_that_is_lost_with_its_worker_each_time_is_given_up(api, ada, automation, track, at_work):
    made = await automation({"setStatus": "CONTACTED"})
    await track(ada)
    now = datetime.now(UTC)
    async with at_work() as work:
        taken = [await RUNS.claim(work.connection, "w1", 10, 1, now + timedelta(seconds=2 * times)) for times in range(9)]
    assert [len(rows) for rows in taken] == [1] * 8 + [0]
    [run] = (await api(RUNS_OF, id=made))["node"]["runs"]["nodes"]
    assert (run["status"], run["error"]) == ("FAILED", "its worker was lost each time")


async def test_deleting_an_automation_cancels_what_waits_and_keeps_the_rest(api, ada, automation, track, worked, at_work):
    made = await automation({"setStatus": "CONTACTED"})
    await track(ada)
    await worked(made)
    await track(ada)
    assert (await api("automations/delete", id=made))["automationDelete"]["deletedId"] == made
    async with at_work() as work:
        rows = await work.rows(sa.select(RUN).where(RUN.c.workspace_id == sa.bindparam("workspace")).order_by(RUN.c.id))
    assert [row["status"] for row in rows] == ["SUCCEEDED", "CANCELLED"]
    shown = "query N($id: ID!) { node(id: $id) { ... on AutomationRun { status automation { id } activity { kind } } } }"
    assert (await api(shown, id=rows[0]["id"]))["node"] == {"status": "SUCCEEDED", "automation": None, "activity": {"kind": "EVENT"}}
    assert (await api.error("automations/delete", id=made))["extensions"]["code"] == "NOT_FOUND"


async def test_a_patch_changes_what_it_names(api, automation, ada, track):
    made = await automation({"setStatus": "CONTACTED"})
    changed = (await api("automations/update", id=made, patch={"name": "Later", "kind": "SCORED"}))["automationUpdate"]["automation"]
    assert changed == {"id": made, "name": "Later", "event": None, "kind": "SCORED", "enabled": True}
    changed = (await api("automations/update", id=made, patch={"event": "met", "enabled": False}))["automationUpdate"]["automation"]
    assert changed == {"id": made, "name": "Later", "event": "met", "kind": None, "enabled": False}
    for patch in ({"event": "a", "kind": "SCORED"}, {"actions": []}, {"name": None}):
        assert (await api.error("automations/update", id=made, patch=patch))["extensions"]["code"] == "BAD_USER_INPUT"


async def test_others_see_automations_and_do_not_change_them(api, api_of, stranger, automation):
    made = await automation({"setStatus": "CONTACTED"})
    viewer, editor = await api_of(api.caller, Role.VIEWER), await api_of(api.caller, Role.EDITOR)
    assert [node["id"] for node in (await viewer("automations/list"))["automations"]["nodes"]] == [made]
    assert (await editor.error("automations/delete", id=made))["extensions"]["code"] == "FORBIDDEN"
    assert (await stranger("automations/list"))["automations"]["nodes"] == []
    assert (await stranger.error("automations/update", id=made, patch={"name": "Mine"}))["extensions"]["code"] == "NOT_FOUND"


async def test_runs_are_narrowed_by_their_status(api, ada, automation, track, worked):
    made = await automation({"setStatus": "CONTACTED"})
    await track(ada)
    await worked(made)
    await track(ada)
    asked = [({"eq": "PENDING"}, 1), ({"in": ["SUCCEEDED", "PENDING"]}, 2), ({"ne": "SUCCEEDED"}, 1), ({"notIn": []}, 2), (None, 2)]
    for status, count in asked:
        found = (await api("automations/list", status=status, runs=1))["automations"]["nodes"][0]["runs"]
        assert (found["totalCount"], len(found["nodes"])) == (count, 1)
