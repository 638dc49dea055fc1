from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from app.actions import jobs
from app.actions.batches import JobStatus
from app.actions.jobs import JOB, LeaseLost
from app.actions.work import Work

#: A day on, so that what the tests queue is due, however long the session takes to come to them.
NOW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture(autouse=True)
async def no_other_jobs(database):
    """Claims look across workspaces: what other tests left must not be found."""
    async with database.writing() as connection:
        await connection.execute(sa.update(JOB).values(status=JobStatus.CANCELLED))


async def stored(work, job_id):
    return await work.row(
        sa.select(JOB).where(JOB.c.workspace_id == sa.bindparam("workspace"), JOB.c.id == sa.bindparam("job")), {"job": job_id}
    )


async def claim(work, worker="w1", *, limit=10, now=NOW, lease=60):
    return await jobs.claim(work.connection, worker, limit, lease, now)


async def test_a_queued_job_is_pending_and_due_at_once(work):
    job_id = await jobs.queue(work, "mail", {"b": 1, "a": [2]})
    job = await stored(work, job_id)
    assert job_id.startswith("job_")
    assert job["run_at"] == job["created_at"] == work.now
    facts = {name: job[name] for name in ("kind", "payload", "status", "attempts", "progress", "checkpoint", "claimed_by", "error")}
    assert facts == {
        "kind": "mail",
        "payload": {"a": [2], "b": 1},
        "status": "PENDING",
        "attempts": 0,
        "progress": 0,
        "checkpoint": None,
        "claimed_by": None,
        "error": None,
    }


async def test_an_equal_rescore_is_not_queued_twice(work):
    first = await jobs.queue(work, "rescore", {"campaignId": "cmp_1"})
    assert await jobs.queue(work, "rescore", {"campaignId": "cmp_1"}) == first
    assert await jobs.queue(work, "rescore", {}) != first
    assert await jobs.queue(work, "mail", {}) != await jobs.queue(work, "mail", {})


async def test_a_rescore_that_has_begun_is_queued_again_even_when_it_waits_to_go_on(work):
    first = await jobs.queue(work, "rescore", {})
    [job] = await claim(work)
    second = await jobs.queue(work, "rescore", {})
    assert second != first
    await jobs.checkpoint(work.connection, job, {"after": "lead_1"}, progress=50, lease_until=NOW)
    await jobs.release(work.connection, job, NOW)
    await work.run(sa.delete(JOB).where(JOB.c.workspace_id == sa.bindparam("workspace"), JOB.c.id == sa.bindparam("job")), {"job": second})
    assert await jobs.queue(work, "rescore", {}) != first


async def test_a_rescore_that_another_transaction_is_claiming_is_queued_again(database, caller):
    if not database.is_postgres:
        pytest.skip("SQLite has one writer")
    async with database.writing() as connection:
        first = await jobs.queue(Work(connection, caller), "rescore", {})
    async with database.writing() as claiming, database.writing() as connection:
        assert [job["id"] for job in await jobs.claim(claiming, "w1", 10, 60, NOW)] == [first]
        assert await jobs.queue(Work(connection, caller), "rescore", {}) != first


async def test_a_rescore_is_not_begun_before_what_asked_for_it_again_is_committed(database, caller):
    if not database.is_postgres:
        pytest.skip("SQLite has one writer")
    async with database.writing() as connection:
        first = await jobs.queue(Work(connection, caller), "rescore", {})
    async with database.writing() as connection, database.writing() as claiming:
        assert await jobs.queue(Work(connection, caller), "rescore", {}) == first
        assert await jobs.claim(claiming, "w1", 10, 60, NOW) == []


async def test_many_jobs_are_queued_in_order(work):
    ids = await jobs.queue_many(work, "mail", [{"n": 1}, {"n": 2}])
    assert [(await stored(work, job_id))["payload"] for job_id in ids] == [{"n": 1}, {"n": 2}]
    assert await jobs.queue_many(work, "mail", []) == []


async def test_a_claim_takes_what_is_due_longest_due_first_and_once(work):
    ids = await jobs.queue_many(work, "mail", [{"n": n} for n in range(4)])
    for minutes, job_id in zip((3, 1, 2, -60), ids, strict=True):
        due = sa.update(JOB).values(run_at=NOW - timedelta(minutes=minutes))
        await work.run(due.where(JOB.c.workspace_id == sa.bindparam("workspace"), JOB.c.id == sa.bindparam("job")), {"job": job_id})
    taken = await claim(work, limit=2)
    assert [job["id"] for job in taken] == [ids[0], ids[2]]
    assert [(job["status"], job["claimed_by"], job["attempts"], job["lease_until"]) for job in taken] == [
        ("RUNNING", "w1", 1, NOW + timedelta(seconds=60))
    ] * 2
    assert [job["id"] for job in await claim(work, "w2")] == [ids[1]]
    assert await claim(work, "w2") == []


async def test_two_claims_at_once_share_the_jobs(database, caller):
    if not database.is_postgres:
        pytest.skip("SQLite has one writer")
    async with database.writing() as connection:
        ids = await jobs.queue_many(Work(connection, caller), "mail", [{}, {}, {}])
    async with database.writing() as one, database.writing() as other:
        mine = await jobs.claim(one, "w1", 2, 60, NOW)
        theirs = await jobs.claim(other, "w2", 2, 60, NOW)
    assert [len(mine), len(theirs)] == [2, 1]
    assert sorted(job["id"] for job in mine + theirs) == sorted(ids)


async def test_a_reader_tells_whether_anything_is_due(database, caller):
    async with database.readers.reading() as reading:
        assert not await jobs.any_due(reading, NOW)
    async with database.writing() as connection:
        await jobs.queue(Work(connection, caller), "mail", {})
    async with database.readers.reading() as reading:
        assert await jobs.any_due(reading, NOW)
        assert not await jobs.any_due(reading, NOW - timedelta(days=2))


async def test_a_lease_that_ran_out_lets_another_worker_go_on_from_the_checkpoint(work):
    job_id = await jobs.queue(work, "mail", {})
    [job] = await claim(work)
    await jobs.checkpoint(work.connection, job, {"after": "lead_7"}, progress=40, lease_until=NOW + timedelta(seconds=90))
    assert await claim(work, "w2", now=NOW + timedelta(seconds=90)) == []
    [again] = await claim(work, "w2", now=NOW + timedelta(seconds=91))
    assert [again["id"], again["checkpoint"], again["progress"], again["claimed_by"]] == [job_id, {"after": "lead_7"}, 40, "w2"]


async def test_a_heartbeat_holds_a_job(work):
    await jobs.queue(work, "mail", {})
    [job] = await claim(work)
    await jobs.heartbeat(work.connection, job, NOW + timedelta(hours=1))
    assert await claim(work, "w2", now=NOW + timedelta(minutes=59)) == []


async def test_a_worker_that_lost_its_job_can_write_nothing_to_it(work):
    job_id = await jobs.queue(work, "mail", {})
    [job] = await claim(work)
    await claim(work, "w2", now=NOW + timedelta(seconds=61))
    before = await stored(work, job_id)
    for late in (
        jobs.heartbeat(work.connection, job, NOW),
        jobs.checkpoint(work.connection, job, {}, progress=1, lease_until=NOW),
        jobs.succeed(work.connection, job, NOW),
        jobs.release(work.connection, job, NOW),
        jobs.retry(work.connection, job, "late", NOW),
    ):
        with pytest.raises(LeaseLost):
            await late
    assert await stored(work, job_id) == before


async def test_a_job_that_is_done_says_so(work):
    job_id = await jobs.queue(work, "mail", {})
    [job] = await claim(work)
    await jobs.succeed(work.connection, job, NOW)
    done = await stored(work, job_id)
    assert [done["status"], done["progress"], done["finished_at"], done["lease_until"]] == ["SUCCEEDED", 100, NOW, None]
    assert await claim(work, now=NOW + timedelta(days=1)) == []


async def test_a_job_given_back_is_due_at_once_and_has_lost_no_attempt(work):
    job_id = await jobs.queue(work, "mail", {})
    [job] = await claim(work)
    await jobs.release(work.connection, job, NOW)
    back = await stored(work, job_id)
    assert [back["status"], back["attempts"], back["run_at"]] == ["PENDING", 0, NOW]


async def test_waits_grow_with_the_attempts_and_the_eighth_is_the_last(work):
    job_id = await jobs.queue(work, "mail", {})
    now, waits = NOW, []
    for attempt in range(1, 8):
        [job] = await claim(work, now=now)
        assert job["attempts"] == attempt
        assert await jobs.retry(work.connection, job, f"no. {attempt}", now) is JobStatus.PENDING
        due = (await stored(work, job_id))["run_at"]
        waits.append((due - now).total_seconds())
        now = due
    assert all(2**n / 2 <= wait <= 2**n for n, wait in enumerate(waits, 1))
    [job] = await claim(work, now=now)
    assert await jobs.retry(work.connection, job, "no. 8", now) is JobStatus.FAILED
    dead = await stored(work, job_id)
    assert [dead["status"], dead["error"], dead["attempts"], dead["finished_at"]] == ["FAILED", "no. 8", 8, now]
    assert await claim(work, now=now + timedelta(days=1)) == []


async def test_attempts_count_from_the_last_checkpoint(work):
    job_id = await jobs.queue(work, "mail", {})
    [job] = await claim(work)
    await jobs.retry(work.connection, job, "once", NOW)
    [job] = await claim(work, now=NOW + timedelta(minutes=5))
    await jobs.checkpoint(work.connection, job, {"after": 1}, progress=1, lease_until=NOW)
    assert [(await stored(work, job_id))[name] for name in ("attempts", "error")] == [1, None]


async def test_a_job_that_takes_its_worker_along_each_time_is_given_up(work):
    job_id = await jobs.queue(work, "mail", {})
    now = NOW
    for _ in range(8):
        assert len(await claim(work, now=now)) == 1
        now += timedelta(seconds=61)
    assert await claim(work, now=now) == []
    dead = await stored(work, job_id)
    assert [dead["status"], dead["error"]] == ["FAILED", "its worker was lost 8 times"]
