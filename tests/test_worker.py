import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from app import worker
from app.actions import campaigns, jobs
from app.actions.activities import ACTIVITY
from app.actions.batches import JobStatus
from app.actions.jobs import JOB
from app.actions.upserts import upsert_many
from app.actions.work import Role, Work
from app.database import table_of
from app.tables import Lead
from app.worker import Step, Worker

LEAD = table_of(Lead)
HERE = sa.bindparam("workspace")


@pytest.fixture(autouse=True)
async def no_other_jobs(database):
    """A worker serves every workspace: what other tests left is not this one's."""
    async with database.writing() as connection:
        await connection.execute(sa.update(JOB).values(status=JobStatus.CANCELLED))


@pytest.fixture
def at_work(database, caller):
    """Opens a transaction of this workspace."""

    @asynccontextmanager
    async def opened():
        async with database.writing() as connection:
            yield Work(connection, caller)

    return opened


@pytest.fixture
def working(database, settings):
    """Runs a worker for as long as the block lasts."""

    @asynccontextmanager
    async def running(**changes):
        stop = asyncio.Event()
        hands = Worker(database, settings.model_copy(update={"worker_poll_seconds": 0.05, **changes}))
        task = asyncio.create_task(hands.run(stop))
        try:
            yield hands
        finally:
            stop.set()
            await asyncio.wait_for(task, 20)

    return running


@pytest.fixture
def handle(monkeypatch):
    """Says what the jobs of the kind `test` do."""

    def by(handler):
        monkeypatch.setitem(worker.HANDLERS, "test", handler)

    return by


async def stored(at_work, job_id):
    async with at_work() as work:
        found = sa.select(JOB).where(JOB.c.workspace_id == HERE, JOB.c.id == sa.bindparam("job"))
        return await work.row(found, {"job": job_id})


async def until(at_work, job_id, reached):
    for _ in range(400):
        job = await stored(at_work, job_id)
        if reached(job):
            return job
        await asyncio.sleep(0.025)
    raise AssertionError(job)


def done(job):
    return job["status"] == "SUCCEEDED"


async def create_leads(work, count):
    rows = [{"email": f"{n}@example.com", "title": "CTO"} for n in range(count)]
    report = await upsert_many(work, rows, auto_score=False)
    return sorted(result.lead_id for result in report.results)


async def scores(at_work):
    async with at_work() as work:
        rows = await work.rows(sa.select(LEAD.c.id, LEAD.c.quality_score).where(LEAD.c.workspace_id == HERE))
    return {row["id"]: row["quality_score"] for row in rows}


async def scored(at_work):
    """The leads that SCORED was written of, in the log's order."""
    async with at_work() as work:
        told = sa.select(ACTIVITY.c.lead_id).where(ACTIVITY.c.workspace_id == HERE, ACTIVITY.c.kind == "SCORED")
        return [row["lead_id"] for row in await work.rows(told.order_by(ACTIVITY.c.sequence))]


async def test_a_rescore_scores_the_whole_workspace_chunk_by_chunk(at_work, working, monkeypatch):
    monkeypatch.setattr(worker, "CHUNK", 2)
    async with at_work() as work:
        ids = await create_leads(work, 5)
        job_id = await jobs.queue(work, "rescore", {})
    async with working():
        job = await until(at_work, job_id, done)
    assert [job["progress"], job["checkpoint"]] == [100, {"after": ids[3], "done": 4, "total": 5}]
    assert list((await scores(at_work)).values()) == [62] * 5
    assert await scored(at_work) == ids


async def test_a_rescore_of_a_campaign_leaves_the_others_alone(at_work, working):
    async with at_work() as work:
        ids = await create_leads(work, 3)
        campaign = await campaigns.create(work, {"name": "Here"})
        member = sa.insert(campaigns.CAMPAIGN_LEAD).values(
            workspace_id=work.workspace, campaign_id=campaign["id"], lead_id=ids[1], lead_created_at=work.now, joined_at=work.now
        )
        await work.run(member)
        job_id = await jobs.queue(work, "rescore", {"campaignId": campaign["id"]})
    async with working():
        await until(at_work, job_id, done)
    assert await scores(at_work) == {ids[0]: None, ids[1]: 62, ids[2]: None}


async def test_a_change_of_criteria_reaches_the_leads(at_work, working):
    async with at_work() as work:
        ids = await create_leads(work, 2)
        campaign = await campaigns.create(work, {"name": "Here", "criteria": {"titles": ["CEO"]}})
        await campaigns.add_leads(work, campaign["id"], [{"id": lead_id} for lead_id in ids])
    assert list((await scores(at_work)).values()) == [55, 55]
    async with working():
        async with at_work() as work:
            await campaigns.update(work, campaign["id"], {"criteria": {"titles": ["CTO"]}})
            [job] = await work.rows(sa.select(JOB).where(JOB.c.workspace_id == HERE))
        await until(at_work, job["id"], done)
    assert list((await scores(at_work)).values()) == [70, 70]


async def test_the_leads_of_a_deleted_campaign_are_scored_without_it(at_work, working, monkeypatch):
    monkeypatch.setattr(worker, "CHUNK", 2)
    async with at_work() as work:
        ids = await create_leads(work, 5)
        campaign = await campaigns.create(work, {"name": "Here", "criteria": {"titles": ["CTO"]}})
        await campaigns.add_leads(work, campaign["id"], [{"id": lead_id} for lead_id in ids])
        await campaigns.delete(work, campaign["id"])
        [job] = await work.rows(sa.select(JOB).where(JOB.c.workspace_id == HERE))
    assert set((await scores(at_work)).values()) == {70}
    async with working():
        job = await until(at_work, job["id"], done)
    assert set((await scores(at_work)).values()) == {62}
    assert job["checkpoint"]["done"] == 4


async def test_a_rescore_of_nobody_is_done_at_once(at_work, working):
    async with at_work() as work:
        ids = await jobs.queue_many(work, "rescore", [{}, {"leadIds": []}, {"campaignId": "cmp_gone"}])
    async with working():
        for job_id in ids:
            await until(at_work, job_id, done)
    assert await scored(at_work) == []


async def test_a_failure_half_way_goes_on_from_the_checkpoint_and_does_nothing_twice(at_work, working, monkeypatch):
    monkeypatch.setattr(worker, "CHUNK", 2)
    monkeypatch.setattr(jobs, "FIRST_WAIT", 0.01)
    rescore, failures = worker.rescore, [1]

    async def fail_once_half_way(work, job):
        step = await rescore(work, job)
        if job["checkpoint"] is not None and failures:
            failures.pop()
            raise RuntimeError("the power is gone")
        return step

    monkeypatch.setitem(worker.HANDLERS, "rescore", fail_once_half_way)
    async with at_work() as work:
        ids = await create_leads(work, 6)
        job_id = await jobs.queue(work, "rescore", {})
    async with working():
        await until(at_work, job_id, done)
    assert failures == []
    assert await scored(at_work) == ids


async def test_a_failure_is_kept_and_tried_again_later(at_work, working, handle):
    async def fail(_work, _job):
        raise ValueError("first line\nsecond line")

    handle(fail)
    async with at_work() as work:
        job_id = await jobs.queue(work, "test", {})
    async with working():
        job = await until(at_work, job_id, lambda job: job["error"] is not None)
    assert [job["status"], job["attempts"], job["error"]] == ["PENDING", 1, "ValueError: first line"]
    assert job["run_at"] > datetime.now(UTC)


async def test_an_error_of_the_database_is_kept_and_logged_without_its_values(at_work, working, handle):
    address = "marie@example.com"  # here, since the frames show the line that failed

    async def fail(work, _job):
        await work.run(sa.text("INSERT INTO nowhere VALUES (:secret)"), {"secret": address})

    handle(fail)
    async with at_work() as work:
        job_id = await jobs.queue(work, "test", {})
    with capture_logs() as logged:
        async with working():
            job = await until(at_work, job_id, lambda job: job["error"] is not None)
    [line] = [line for line in logged if line["event"] == "job.failed_attempt"]
    assert "nowhere" in job["error"]
    assert line["error"] == job["error"]
    assert "test_worker.py" in line["frames"]
    assert address not in f"{job['error']}{logged}"


async def test_a_kind_that_nobody_knows_is_a_failure(at_work, working):
    async with at_work() as work:
        job_id = await jobs.queue(work, "unheard of", {})
    async with working():
        job = await until(at_work, job_id, lambda job: job["error"] is not None)
    assert job["error"] == "KeyError: 'unheard of'"


async def test_a_job_works_as_an_administrator_of_its_workspace(at_work, working, handle, caller):
    seen = []

    async def look(work, _job):
        seen.append((work.workspace, work.caller.role, work.caller.actor_id))
        return Step(None)

    handle(look)
    async with at_work() as work:
        job_id = await jobs.queue(work, "test", {})
    async with working():
        await until(at_work, job_id, done)
    assert seen == [(caller.workspace_id, Role.ADMIN, None)]


async def test_a_commit_wakes_the_worker_before_it_would_look_by_itself(at_work, working, handle):
    async def nothing(_work, _job):
        return Step(None)

    handle(nothing)
    async with working(worker_poll_seconds=60):
        await asyncio.sleep(0.3)
        async with at_work() as work:
            job_id = await jobs.queue(work, "test", {})
        await until(at_work, job_id, done)


async def test_a_worker_that_is_stopped_ends_its_step_and_gives_the_job_back(at_work, working, handle):
    begun = asyncio.Event()

    async def step(_work, job):
        begun.set()
        await asyncio.sleep(0.1)
        return Step({"n": (job["checkpoint"] or {"n": 0})["n"] + 1}, progress=10)

    handle(step)
    async with at_work() as work:
        job_id = await jobs.queue(work, "test", {})
    async with working():
        await begun.wait()
    job = await stored(at_work, job_id)
    assert [job["status"], job["attempts"], job["lease_until"], job["progress"]] == ["PENDING", 0, None, 10]
    assert job["checkpoint"]["n"] >= 1
    assert job["run_at"] <= datetime.now(UTC)


async def test_a_step_of_a_worker_that_lost_its_lease_is_rolled_back(at_work, working, handle, database):
    async with at_work() as work:
        [lead_id] = await create_leads(work, 1)
        job_id = await jobs.queue(work, "test", {})

    async def too_slow(work, _job):
        mine = sa.update(LEAD).values(notes="written by the slow one").where(LEAD.c.workspace_id == HERE, LEAD.c.id == sa.bindparam("lead"))
        await work.run(mine, {"lead": lead_id})
        taken = sa.update(JOB).values(claimed_by="another").where(JOB.c.workspace_id == HERE)
        if database.is_postgres:
            async with database.writing() as connection:
                await connection.execute(taken, {"workspace": work.workspace})
        else:
            await work.run(taken)  # SQLite has one writer: as if it had been taken before the step
        return Step(None)

    handle(too_slow)
    async with working() as hands:
        await until(at_work, job_id, lambda job: job["status"] == "RUNNING")
        await asyncio.gather(*hands._running.values())
    async with at_work() as work:
        [lead] = await work.rows(sa.select(LEAD).where(LEAD.c.workspace_id == HERE))
    assert lead["notes"] is None
    assert (await stored(at_work, job_id))["status"] == "RUNNING"


async def test_a_long_step_keeps_its_lease(at_work, working, handle):
    runs = []

    async def long(_work, job):
        runs.append(job["claimed_by"])
        await asyncio.sleep(1)
        return Step(None)

    handle(long)
    async with at_work() as work:
        job_id = await jobs.queue(work, "test", {})
    async with working(job_lease_seconds=0.3), working(job_lease_seconds=0.3):
        await until(at_work, job_id, done)
    assert len(runs) == 1


async def test_a_long_job_does_not_hold_up_the_others(at_work, working, handle):
    async def by_payload(_work, job):
        await asyncio.sleep(0.01)
        return Step(None if job["payload"]["short"] else {"going": "on"})

    handle(by_payload)
    async with at_work() as work:
        long, short = await jobs.queue_many(work, "test", [{"short": False}, {"short": True}])
    async with working():
        await until(at_work, short, done)
        assert (await stored(at_work, long))["status"] == "RUNNING"


async def test_two_workers_do_each_job_once(at_work, working, handle):
    runs = []

    async def count(_work, job):
        runs.append(job["id"])
        return Step(None)

    handle(count)
    async with at_work() as work:
        ids = await jobs.queue_many(work, "test", [{}] * 30)
    async with working(), working():
        for job_id in ids:
            await until(at_work, job_id, done)
    assert sorted(runs) == sorted(ids)


async def test_a_worker_outlives_a_database_that_is_away(at_work, working, handle, monkeypatch):
    async def nothing(_work, _job):
        return Step(None)

    handle(nothing)
    claim, failures = jobs.claim, [1, 1]

    async def away(*arguments):
        if failures:
            failures.pop()
            raise OSError("no route to host")
        return await claim(*arguments)

    monkeypatch.setattr(jobs, "claim", away)
    async with at_work() as work:
        job_id = await jobs.queue(work, "test", {})
    async with working():
        await until(at_work, job_id, done)
    assert failures == []
