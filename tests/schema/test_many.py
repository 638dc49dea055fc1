"""Changing and deleting all leads that a filter finds."""

import asyncio
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from app.actions import batches, lead_batches, leads
from app.actions.emails import EMAIL
from app.actions.jobs import JOB
from app.actions.work import Work
from app.database import insert_rows, table_of
from app.tables import BatchLead
from app.worker import Worker
from schema.matching import chosen

UPDATE = "leads/update_many"
DELETE = "leads/delete_many"
LOG = "{ activities(first: 200) { nodes { kind leadId batchId changes { field before after } } } }"
LEADS = "{ leads(first: 200, orderBy: [{field: EMAIL}]) { nodes { id email title status version attributes qualityScore } } }"


@pytest.fixture
async def people(api):
    """Six leads, three of them at Acme."""
    rows = [{"email": f"{n}@example.com", "company": "Acme" if n % 2 else "Other", "title": "CTO" if n == 1 else None} for n in range(6)]
    done = await api("leads/upsert_many", input={"leads": rows})
    return [result["leadId"] for result in done["leadUpsertMany"]["results"]]


ACME = {"company": {"eq": "acme"}}


async def log(api, batch=None):
    nodes = (await api(LOG))["activities"]["nodes"]
    return [node for node in nodes if node["batchId"] == batch] if batch else nodes


async def test_all_that_a_filter_finds_are_changed_and_the_log_tells_of_each(api, people):
    done = (await api(UPDATE, where=ACME, patch={"title": "CTO", "status": "CONTACTED"}, expectedCount=3))["leadUpdateMany"]
    assert (done["count"], done["summary"]) == (3, {"total": 3, "updated": 3, "unchanged": 0, "failed": 0})
    assert done["batch"]["status"] == "SUCCEEDED"
    told = await log(api, done["batch"]["id"])
    assert [(node["kind"], node["leadId"]) for node in told if node["kind"] != "SCORED"] == [
        ("STATUS_CHANGED", people[1]),
        ("LEAD_UPDATED", people[3]),
        ("STATUS_CHANGED", people[3]),
        ("LEAD_UPDATED", people[5]),
        ("STATUS_CHANGED", people[5]),
    ]
    assert {"field": "title", "before": None, "after": "CTO"} in [change for node in told for change in node["changes"]]
    nodes = (await api(LEADS))["leads"]["nodes"]
    assert [(node["title"], node["status"], node["version"]) for node in nodes] == [
        (None, "NEW", 1),
        ("CTO", "CONTACTED", 2),
        (None, "NEW", 1),
        ("CTO", "CONTACTED", 2),
        (None, "NEW", 1),
        ("CTO", "CONTACTED", 2),
    ]
    assert [node["qualityScore"] for node in nodes[1::2]] == [nodes[1]["qualityScore"]] * 3


async def test_a_lead_that_is_so_already_is_unchanged_and_keeps_its_version(api, people):
    await api(UPDATE, where=ACME, patch={"title": "CTO"}, expectedCount=3)
    before = await log(api)
    done = (await api(UPDATE, where=ACME, patch={"title": "CTO"}, expectedCount=3))["leadUpdateMany"]
    assert done["summary"] == {"total": 3, "updated": 0, "unchanged": 3, "failed": 0}
    assert await log(api) == before


@pytest.mark.parametrize(("document", "more"), [(UPDATE, {"patch": {"title": "CEO"}}), (DELETE, {})])
@pytest.mark.parametrize("expected", [0, 2, 4, -1])
async def test_another_count_than_expected_is_a_conflict_and_nothing_is_written(api, people, document, more, expected):
    before = await api(LEADS), await log(api)
    error = await api.error(document, where=ACME, expectedCount=expected, **more)
    assert (error["extensions"]["code"], error["extensions"]["currentCount"]) == ("CONFLICT", 3)
    assert error["extensions"]["argument"] == "expectedCount"
    assert (await api(LEADS), await log(api)) == before
    assert (await api("{ batches { totalCount } }"))["batches"]["totalCount"] == 1


@pytest.mark.parametrize(("document", "more"), [(UPDATE, {"patch": {"title": "CTO"}}), (DELETE, {})])
async def test_a_dry_run_tells_what_the_real_one_then_does_and_writes_nothing(api, people, document, more):
    before = await api(LEADS), await log(api)
    [dry] = (await api(document, where=ACME, expectedCount=3, dryRun=True, **more)).values()
    assert (await api(LEADS), await log(api)) == before
    assert dry.pop("batch") is None
    [real] = (await api(document, where=ACME, expectedCount=3, **more)).values()
    assert real.pop("batch") is not None
    assert dry == real


@pytest.mark.parametrize("name", ["email", "crmId"])
async def test_what_no_two_leads_share_cannot_be_set_on_many(api, people, name):
    for value in ("a@example.com", None):
        error = await api.error(UPDATE, where=ACME, patch={name: value}, expectedCount=3)
        assert (error["extensions"]["code"], error["extensions"]["argument"]) == ("BAD_USER_INPUT", f"patch.{name}")


@pytest.mark.parametrize(
    ("patch", "code", "argument"),
    [
        ({"website": "no url"}, "BAD_USER_INPUT", "patch.website"),
        ({"status": None}, "BAD_USER_INPUT", "patch.status"),
        ({"assignee": {"email": "nobody@example.com"}}, "NOT_FOUND", "patch.assignee"),
    ],
)
async def test_a_patch_that_no_lead_could_take_is_refused_whole(api, people, patch, code, argument):
    error = await api.error(UPDATE, where=ACME, patch=patch, expectedCount=3)
    assert (error["extensions"]["code"], error["extensions"]["argument"]) == (code, argument)


async def test_a_lead_that_the_patch_would_leave_nameless_stays_and_counts_as_failed(api):
    for phone in ("+15550001", "+15550002"):
        await api("leads/create", input={"phone": phone})
    await api("leads/create", input={"phone": "+15550003", "crmId": "3"})
    done = (await api(UPDATE, where={}, patch={"phone": None}, expectedCount=3))["leadUpdateMany"]
    assert done["summary"] == {"total": 3, "updated": 1, "unchanged": 0, "failed": 2}
    assert "phone: a lead needs an e-mail address, a CRM id or a phone" in done["batch"]["error"]
    kept = (await api("{ leads(orderBy: [{field: CREATED_AT}]) { nodes { phone } } }"))["leads"]["nodes"]
    assert [node["phone"] for node in kept] == ["+15550001", "+15550002", None]


async def test_all_may_be_given_to_a_user_and_their_attributes_merge(api, people):
    user = (await api("users/create", input={"email": "owner@example.com", "role": "EDITOR"}))["userCreate"]["user"]["id"]
    patch = {"assignee": {"id": user}, "attributes": {"plan": "gold"}}
    done = (await api(UPDATE, where={"id": {"in": people[:2]}}, patch=patch, expectedCount=2))["leadUpdateMany"]
    assert [node["kind"] for node in await log(api, done["batch"]["id"])] == ["LEAD_UPDATED", "ASSIGNED"] * 2
    assert (await api("leads/list", where={"assigneeId": {"eq": user}}))["leads"]["totalCount"] == 2
    assert (await api("leads/list", where={"attributes": [{"key": "plan", "eq": "gold"}]}))["leads"]["totalCount"] == 2


async def test_all_that_a_filter_finds_are_deleted_with_what_belongs_to_them(api, people, database, caller):
    campaign = (await api("campaigns/create", input={"name": "Spring"}))["campaignCreate"]["campaign"]["id"]
    await api("campaigns/add_leads", id=campaign, leads=[{"id": one} for one in people])
    async with database.writing() as connection:
        mail = {"workspace_id": caller.workspace_id, "campaign_id": campaign, "subject": "S", "body": "B", "created_at": sa.func.now()}
        work = Work(connection, caller)
        mail |= {"scheduled_at": work.now, "created_at": work.now}
        rows = [
            {**mail, "id": f"eml_{caller.workspace_id}{n}", "lead_id": people[1], "status": each}
            for n, each in enumerate(["SENT", "SCHEDULED"])
        ]
        await insert_rows(connection, EMAIL, rows)
    done = (await api(DELETE, where=ACME, expectedCount=3))["leadDeleteMany"]
    assert (done["count"], done["deletedIds"], done["summary"]) == (3, people[1::2], {"total": 3, "deleted": 3})
    told = await log(api, done["batch"]["id"])
    assert [(node["kind"], node["leadId"]) for node in told] == [("LEAD_DELETED", one) for one in people[1::2]]
    gone = {change["field"]: change["before"] for change in told[0]["changes"]}
    assert (gone["email"], gone["campaigns"], gone["title"], len(gone["emails"])) == ("1@example.com", [campaign], "CTO", 1)
    left = await api("{ leads { nodes { id } } emails { nodes { status } } campaigns { nodes { leads { totalCount } } } }")
    assert [node["id"] for node in left["leads"]["nodes"]] == people[4::-2]
    assert [node["status"] for node in left["emails"]["nodes"]] == ["SENT"]
    assert left["campaigns"]["nodes"][0]["leads"]["totalCount"] == 3


async def test_search_no_longer_finds_who_was_deleted(api, people):
    await api(DELETE, where=ACME, expectedCount=3)
    assert (await api("leads/list", search="acme"))["leads"]["totalCount"] == 0


async def test_another_workspaces_leads_are_neither_found_nor_changed(api, stranger, people):
    for document, more in ((UPDATE, {"patch": {"title": "x"}}), (DELETE, {})):
        [done] = (await stranger(document, where={"id": {"in": people}}, expectedCount=0, **more)).values()
        assert done["count"] == 0
    assert [node["title"] for node in (await api(LEADS))["leads"]["nodes"]] == [None, "CTO", None, None, None, None]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"or": [{"email": {"eq": "2@EXAMPLE.com"}}, {"title": {"eq": "cto"}}]}, [1, 2]),
        ({"not": {"company": {"eq": "Acme"}}, "qualityScore": {"gte": 0}}, [0, 2, 4]),
        ({"createdAt": {"gt": "2020-01-01T00:00:00Z"}, "activity": {"some": {"kind": {"eq": "LEAD_CREATED"}}}}, [0, 1, 2, 3, 4, 5]),
        ({"createdAt": {"lt": "2020-01-01T00:00:00+02:00"}}, []),
        ({"status": {"in": ["NEW", "REPLIED"]}, "email": {"startsWith": "3"}}, [3]),
        ({"attributes": [{"key": "n", "eq": 1}]}, []),
        ({"campaignId": {"isNull": False}}, []),
    ],
)
async def test_it_finds_the_leads_that_a_list_with_the_filter_shows(api, people, where, found):
    shown = [node["id"] for node in (await api("leads/list", where=where))["leads"]["nodes"]]
    assert sorted(shown) == sorted(people[n] for n in found)
    [done] = (await api(DELETE, where=where, expectedCount=len(found), dryRun=True)).values()
    assert done["deletedIds"] == sorted(shown)


async def test_it_takes_as_many_statements_for_many_as_for_few(api, statements):
    counts = []
    for size in (3, 300):
        await api("leads/upsert_many", input={"leads": [{"crmId": f"{size}-{n}"} for n in range(size)]})
        where = {"crmId": {"startsWith": f"{size}-"}}
        with statements() as ran:
            await api(UPDATE, where=where, patch={"title": "CTO"}, expectedCount=size)
        with statements() as ran_more:
            await api(DELETE, where=where, expectedCount=size)
        # SQLite tells of a deletion again for each row that it looks for a membership of.
        counts.append((len(set(ran)), len(set(ran_more))))
    assert counts[0] == counts[1]


# Jobs


@pytest.fixture
def few(monkeypatch):
    """Two leads at once, chunks of two: what is a job from 10,001 leads on is one from three."""
    monkeypatch.setattr(lead_batches, "AT_ONCE", 2)
    monkeypatch.setattr(lead_batches, "CHUNK", 2)


async def work_off(database, settings):
    stop = asyncio.Event()
    working = asyncio.create_task(Worker(database, settings).run(stop))
    return stop, working


@pytest.fixture
def worked(until_ended):
    asked = "progress error summary { total updated unchanged skipped failed deleted } finishedAt actor { ... on ApiKey { id } }"
    return lambda batch: until_ended(asked, batch["id"])


@pytest.mark.usefixtures("few")
async def test_more_leads_than_fit_one_transaction_are_changed_by_a_job(api, people, worked):
    user = (await api("users/create", input={"email": "owner@example.com", "role": "EDITOR"}))["userCreate"]["user"]["id"]
    patch = {"title": "CTO", "optInAt": "2026-01-20T10:00:00+01:00", "assignee": {"email": "owner@example.com"}, "status": "REPLIED"}
    where = {"createdAt": {"gt": "2020-01-01T00:00:00Z"}, "status": {"eq": "NEW"}}
    done = (await api(UPDATE, where=where, patch=patch, expectedCount=6))["leadUpdateMany"]
    assert (done["count"], done["summary"]["total"], done["batch"]["status"]) == (6, 0, "PENDING")
    ended = await worked(done["batch"])
    assert (ended["status"], ended["progress"], ended["error"]) == ("SUCCEEDED", 1.0, None)
    assert ended["summary"] == {"total": 6, "updated": 6, "unchanged": 0, "skipped": 0, "failed": 0, "deleted": 0}
    asked = "{ leads { nodes { title optInAt status assignee { id } activities { nodes { batchId actorId requestId } } } } }"
    nodes = (await api(asked))["leads"]["nodes"]
    assert {(node["title"], node["optInAt"], node["status"], node["assignee"]["id"]) for node in nodes} == {
        ("CTO", "2026-01-20T09:00:00Z", "REPLIED", user)
    }
    told = [each for node in nodes for each in node["activities"]["nodes"] if each["batchId"] == done["batch"]["id"]]
    assert {each["actorId"] for each in told} == {api.caller.api_key_id} == {ended["actor"]["id"]}
    assert len({each["requestId"] for each in told}) == 1
    assert None not in {each["requestId"] for each in told}


@pytest.mark.usefixtures("few")
async def test_a_job_deletes_them_all_and_leaves_nothing_to_do(api, people, worked, database, caller):
    done = (await api(DELETE, where={}, expectedCount=6))["leadDeleteMany"]
    assert (done["count"], done["deletedIds"]) == (6, None)
    ended = await worked(done["batch"])
    assert (ended["status"], ended["summary"]["deleted"], ended["summary"]["total"]) == ("SUCCEEDED", 6, 6)
    assert (await api(LEADS))["leads"]["nodes"] == []
    target = table_of(BatchLead)
    async with database.engine.connect() as connection:
        mine = sa.select(sa.func.count()).select_from(target).where(target.c.workspace_id == sa.bindparam("workspace"))
        assert await connection.scalar(mine, {"workspace": caller.workspace_id}) == 0


@pytest.mark.usefixtures("few")
async def test_a_job_passes_over_leads_that_are_gone_or_no_longer_match(api, people, worked):
    done = (await api(UPDATE, where={"status": {"eq": "NEW"}}, patch={"title": "CTO"}, expectedCount=6))["leadUpdateMany"]
    await api("leads/delete", lead={"id": people[0]})
    await api("leads/update", lead={"id": people[5]}, patch={"status": "REJECTED"})
    late = (await api("leads/create", input={"email": "late@example.com"}))["leadCreate"]["lead"]["id"]
    ended = await worked(done["batch"])
    assert ended["summary"] == {"total": 6, "updated": 3, "unchanged": 1, "skipped": 2, "failed": 0, "deleted": 0}
    nodes = {node["id"]: node for node in (await api(LEADS))["leads"]["nodes"]}
    assert (nodes[people[5]]["title"], nodes[late]["title"]) == (None, None)


@pytest.mark.usefixtures("few")
async def test_a_job_whose_user_is_gone_fails_and_says_so(api, people, worked):
    user = (await api("users/create", input={"email": "owner@example.com", "role": "EDITOR"}))["userCreate"]["user"]["id"]
    done = (await api(UPDATE, where={}, patch={"assignee": {"id": user}}, expectedCount=6))["leadUpdateMany"]
    await api("users/delete", id=user)
    ended = await worked(done["batch"])
    assert ended["status"] == "FAILED"
    assert ended["error"] == "patch.assignee: There is no such user in your workspace."


@pytest.mark.usefixtures("few")
async def test_a_batch_whose_job_is_given_up_fails_and_says_so(api, people, worked, database, caller):
    done = (await api(UPDATE, where={}, patch={"title": "CTO"}, expectedCount=6))["leadUpdateMany"]
    async with database.writing() as connection:  # as after eight workers that were lost with it
        lost = {"attempts": 8, "status": "RUNNING", "claimed_by": "lost", "lease_until": datetime(2026, 1, 20, tzinfo=UTC)}
        mine = (JOB.c.workspace_id == sa.bindparam("workspace"), JOB.c.kind == sa.bindparam("of"))
        changed = await connection.execute(
            sa.update(JOB).values(**lost).where(*mine), {"workspace": caller.workspace_id, "of": "leads.update"}
        )
        assert changed.rowcount == 1
    ended = await worked(done["batch"])
    assert (ended["status"], ended["error"], ended["summary"]["total"]) == ("FAILED", batches.GIVEN_UP, 0)
    assert ended["finishedAt"] is not None
    target = table_of(BatchLead)
    async with database.engine.connect() as connection:
        left = sa.select(sa.func.count()).select_from(target).where(target.c.workspace_id == sa.bindparam("workspace"))
        assert await connection.scalar(left, {"workspace": caller.workspace_id}) == 0
    assert (await api("batches/undo", id=done["batch"]["id"]))["batchUndo"]["batch"]["status"] == "SUCCEEDED"


@pytest.mark.usefixtures("few")
async def test_a_dry_run_of_many_is_no_job_and_tells_what_the_job_then_does(api, people, worked):
    dry = (await api(UPDATE, where={}, patch={"title": "CTO"}, expectedCount=6, dryRun=True))["leadUpdateMany"]
    assert (dry["batch"], dry["summary"]) == (None, {"total": 6, "updated": 5, "unchanged": 1, "failed": 0})
    assert (await api("{ batches { totalCount } }"))["batches"]["totalCount"] == 1
    done = (await api(UPDATE, where={}, patch={"title": "CTO"}, expectedCount=6))["leadUpdateMany"]
    ended = await worked(done["batch"])
    assert {name: ended["summary"][name] for name in dry["summary"]} == dry["summary"]
    error = await api.error(UPDATE, where={}, patch={"title": "CTO"}, expectedCount=5)
    assert (error["extensions"]["code"], error["extensions"]["currentCount"]) == ("CONFLICT", 6)


async def test_a_lead_that_changes_meanwhile_is_looked_at_again(database, caller, api, people):
    """What the filter found is locked, and asked again of a row that another transaction has changed."""
    if not database.is_postgres:
        pytest.skip("SQLite has one writer: nothing happens at once")
    changed, looking = asyncio.Event(), asyncio.Event()

    async def first():
        async with database.writing() as connection:
            await leads.update(Work(connection, caller), {"id": people[1]}, {"company": "Other"})
            changed.set()
            await looking.wait()

    async def second():
        await changed.wait()
        async with database.writing() as connection:
            asyncio.get_running_loop().call_later(0.2, looking.set)  # by then it waits for the first
            found = chosen({"company": {"eq": "acme"}}, postgres=True)
            return await lead_batches.delete_many(Work(connection, caller), found, expected_count=2)

    _, report = await asyncio.gather(first(), second())
    assert report.lead_ids == [people[3], people[5]]
