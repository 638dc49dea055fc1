"""Taking large batches back, by a job."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from undoing import ROWS, UNDO

from app.actions import batches, lead_batches, undo, undo_targets
from app.actions.jobs import JOB


@pytest.fixture
def few(monkeypatch):
    """Two leads at once, chunks of two: what is a job from 10,001 leads on is one from three."""
    for module in (undo, lead_batches):
        monkeypatch.setattr(module, "AT_ONCE", 2)
        monkeypatch.setattr(module, "CHUNK", 2)


@pytest.fixture
def worked(until_ended):
    asked = "progress error summary { total created updated unchanged skipped deleted } conflicts { nodes { leadId field } }"
    return lambda batch_id: until_ended(asked, batch_id)


async def test_the_log_of_a_job_reads_as_that_of_a_request(api, upsert, take_back, worked, monkeypatch):
    """SQLite is given the rows of the one in blocks, of the other as one text."""
    monkeypatch.setattr(undo, "CHUNK", 120)
    asked = """query($batch: ID!, $after: String) { activities(first: 200, after: $after, where: {batchId: {eq: $batch}}) {
      nodes { kind leadId requestId campaign { id } event changes { field before after } actor { __typename } } } }"""
    made = await upsert([{"email": f"{n}@example.com", "title": "CTO" if n % 3 else None, "attributes": {"n": n}} for n in range(137)])
    batch, logs = made["batch"]["id"], []
    for at_once in (1_000, 1_000, 2, 2):  # gone and back, and so again by jobs
        monkeypatch.setattr(undo, "AT_ONCE", at_once)
        batch = (await take_back(batch))["id"]
        assert (await worked(batch))["summary"]["total"] == 137
        told = (await api(asked, batch=batch))["activities"]["nodes"]
        for entry in told:
            assert entry.pop("requestId")
            entry["changes"] = [change for change in entry["changes"] if change["field"] != "version"]
        logs.append(sorted(told, key=lambda entry: entry["leadId"]))
    assert logs[:2] == logs[2:]
    assert [len(log) for log in logs] == [137] * 4
    assert logs[0] != logs[1]


@pytest.mark.usefixtures("few")
async def test_many_leads_are_taken_back_by_a_job_and_their_undo_too(api, upsert, take_back, state, worked, campaign):
    await upsert(ROWS)
    before = await state()
    made = await upsert(
        [*({"email": f"{n}@example.com"} for n in range(7)), {"email": "ann@example.com", "title": "CEO"}], campaignId=campaign
    )
    await api("leads/update", lead={"email": "3@example.com"}, patch={"title": "CTO"})
    after = await state()
    undone = await take_back(made)
    assert (undone["status"], undone["summary"]["total"]) == ("PENDING", 0)
    assert "was undone already" in (await api.error(UNDO, id=made["batch"]["id"]))["message"]
    assert "is PENDING" in (await api.error(UNDO, id=undone["id"]))["message"]
    ended = await worked(undone["id"])
    assert (ended["status"], ended["progress"], ended["error"]) == ("SUCCEEDED", 1.0, None)
    assert ended["summary"] == {"total": 8, "created": 0, "updated": 1, "unchanged": 0, "skipped": 1, "deleted": 6}
    assert ended["conflicts"]["nodes"] == [{"leadId": made["results"][3]["leadId"], "field": "lead"}]
    assert [lead for lead in await state() if lead["email"] != "3@example.com"] == before
    again = await worked((await take_back(undone["id"]))["id"])
    assert again["summary"] == {"total": 7, "created": 6, "updated": 1, "unchanged": 0, "skipped": 0, "deleted": 0}
    assert await state() == after


@pytest.mark.usefixtures("few")
async def test_an_undo_that_began_before_its_leads_stood_in_the_order_of_the_log_goes_on(
    upsert, take_back, state, worked, database, caller
):
    await upsert(ROWS)
    before = await state()
    made = await upsert([*({"email": f"{n}@example.com"} for n in range(5)), {"email": "ann@example.com", "title": "CEO"}])
    undone = await take_back(made)
    async with database.writing() as connection:  # as the migration leaves them
        mine = (undo_targets._TARGET.c.workspace_id == sa.bindparam("workspace"), undo_targets._TARGET.c.batch_id == sa.bindparam("batch"))
        nowhere = sa.update(undo_targets._TARGET).values(sequence=0).where(*mine)
        await connection.execute(nowhere, {"workspace": caller.workspace_id, "batch": undone["id"]})
    ended = await worked(undone["id"])
    assert ended["summary"] == {"total": 6, "created": 0, "updated": 1, "unchanged": 0, "skipped": 0, "deleted": 5}
    assert await state() == before


@pytest.mark.usefixtures("few")
async def test_an_undo_whose_job_is_given_up_fails_and_may_be_undone_and_tried_again(api, upsert, take_back, worked, database, caller):
    made = await upsert([{"email": f"{n}@example.com"} for n in range(5)])
    undone = await take_back(made)
    async with database.writing() as connection:  # as after eight workers that were lost with it
        lost = {"attempts": 8, "status": "RUNNING", "claimed_by": "lost", "lease_until": datetime(2026, 1, 20, tzinfo=UTC)}
        mine = (JOB.c.workspace_id == sa.bindparam("workspace"), JOB.c.kind == sa.bindparam("of"))
        changed = await connection.execute(sa.update(JOB).values(**lost).where(*mine), {"workspace": caller.workspace_id, "of": undo.JOB})
        assert changed.rowcount == 1
    ended = await worked(undone["id"])
    assert (ended["status"], ended["error"]) == ("FAILED", batches.GIVEN_UP)
    assert (await take_back(undone["id"]))["status"] == "SUCCEEDED"
    assert (await worked((await take_back(made))["id"]))["summary"]["deleted"] == 5


async def test_batches_of_the_log_are_told_apart(database, caller, upsert, take_back, state):
    """A batch that does not say where it stands in the log is found in all of it."""
    first = await upsert([ROWS[0]])
    await upsert([ROWS[1]])
    async with database.writing() as connection:
        batch = undo.BATCH
        mine = batch.c.workspace_id == sa.bindparam("workspace")
        nowhere = sa.update(batch).values(first_sequence=None, last_sequence=None).where(mine)
        await connection.execute(nowhere, {"workspace": caller.workspace_id})
    await take_back(first)
    assert [lead["crmId"] for lead in await state()] == ["2"]
