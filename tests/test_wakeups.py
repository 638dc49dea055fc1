"""What one process commits wakes those that wait in another."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from app import wakeups
from app.actions import jobs
from app.actions.jobs import JOB
from app.actions.upserts import upsert_many
from app.actions.work import Work
from app.database import Database

PROGRAM = Path(sys.executable).with_name("leadgraph")
#: Long enough for a machine that is busy with other things.
SOON = 30


@pytest.fixture
async def two(settings, database):
    """The database as two processes have it, each listening."""
    one, other = Database(settings), Database(settings)
    first = one.wakeups.committed, other.wakeups.committed
    async with one.listening(), other.listening():
        for bell in first:  # rung once when listening begins
            await asyncio.wait_for(bell.wait(), SOON)
        yield one, other
    await one.close()
    await other.close()


async def commits_are_heard(caller, sender, hearer):
    for _ in range(3):
        bell = hearer.wakeups.committed
        async with sender.writing() as connection:
            await upsert_many(Work(connection, caller), [{"email": "ada@example.com"}])
        await asyncio.wait_for(bell.wait(), SOON)


async def test_a_commit_in_another_process_is_heard_and_in_this_one_at_once(two, caller):
    one, other = two
    bell = one.wakeups.committed
    async with one.writing():
        pass
    assert bell.is_set()
    await commits_are_heard(caller, other, one)
    await commits_are_heard(caller, one, other)


async def test_listening_goes_on_after_its_connections_were_cut(two, caller, database, monkeypatch):
    monkeypatch.setattr(wakeups, "AGAIN", 0.05)
    one, other = two
    if database.is_postgres:
        bells = one.wakeups.committed, other.wakeups.committed
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^(LISTEN|NOTIFY)'"
        async with database.readers.reading() as reading:
            assert len(await reading.rows(cut, [])) >= 2
        for bell in bells:  # they listen again
            await asyncio.wait_for(bell.wait(), SOON)
    await commits_are_heard(caller, other, one)


@contextmanager
def worker_process(database_url, **environment):
    """`leadgraph worker` in a process of its own, which must end in good order when it is told to."""
    given = {**os.environ, "LEADGRAPH_DATABASE_URL": database_url, "LEADGRAPH_LOG_LEVEL": "WARNING", **environment}
    process = subprocess.Popen([PROGRAM, "worker"], env=given, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Leadgraph works")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            _, err = process.communicate(timeout=SOON)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert (process.returncode, err) == (0, "")


async def statuses(database, caller):
    async with database.writing() as connection:
        found = sa.select(JOB).where(JOB.c.workspace_id == sa.bindparam("workspace")).order_by(JOB.c.id)
        return await Work(connection, caller).rows(found)


@pytest.fixture
async def no_other_jobs(database):
    """A worker serves every workspace: what other tests left is not this one's."""
    async with database.writing() as connection:
        await connection.execute(sa.update(JOB).values(status="CANCELLED"))


@pytest.fixture
async def listening(database):
    async with database.listening():
        yield database


async def test_a_worker_beside_the_server_is_woken_by_its_commits(listening, database_url, caller, no_other_jobs):
    with worker_process(database_url, LEADGRAPH_WORKER_POLL_SECONDS="3600"):
        async with listening.writing() as connection:
            work = Work(connection, caller)
            await upsert_many(work, [{"email": "ada@example.com"}], auto_score=False)
            await jobs.queue(work, "rescore", {})
        for _ in range(20 * SOON):
            [job] = await statuses(listening, caller)
            if job["status"] == "SUCCEEDED":
                break
            await asyncio.sleep(0.05)
    assert (job["status"], job["progress"]) == ("SUCCEEDED", 100)


async def test_a_worker_that_is_told_to_end_gives_back_what_it_has_not_done(listening, database_url, caller, no_other_jobs):
    async with listening.writing() as connection:
        work = Work(connection, caller)
        for part in range(4):
            await upsert_many(work, [{"email": f"p{part}-{number}@example.com"} for number in range(500)], auto_score=False)
        # More than can be done before the signal comes, each with another payload so that none is merged.
        queued = await jobs.queue_many(work, "rescore", [{"attempt": number} for number in range(120)])
    with worker_process(database_url):
        for _ in range(20 * SOON):
            if any(job["status"] == "RUNNING" for job in await statuses(listening, caller)):
                break
            await asyncio.sleep(0.05)
    after = await statuses(listening, caller)
    assert len(after) == len(queued)
    assert {job["status"] for job in after} <= {"PENDING", "SUCCEEDED"}
    waiting = [job for job in after if job["status"] == "PENDING"]
    assert waiting
    assert {(job["attempts"], job["lease_until"]) for job in waiting} == {(0, None)}


async def test_what_is_told_after_its_connection_has_ended_still_wakes(database):
    if database.is_postgres:
        heard = wakeups.PostgresWakeups(database.readers)
        connection = await database.readers.open()
        connection.terminate()
        committed = heard.committed
        heard._heard(connection, 1, wakeups.CHANNEL, "")
        assert committed.is_set()
