"""Imports whose process is killed (SIGKILL) again and again: the database ends as if nobody had been.

Real processes, at least twenty kills on each database, at moments that are drawn anew each time: too slow for `make test`, so `make crash`
runs them, and `.ci/run` does.
"""

# ruff: noqa: ASYNC220, S311  (starting a process is over in a moment; chance is what a kill needs, no secrecy)

import asyncio
import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import orjson
import pytest
import sqlalchemy as sa

from app.actions import campaigns, imports
from app.actions.imports import Order
from app.actions.jobs import JOB
from app.actions.work import Work
from app.database import Database, table_of
from app.rules.people import make_people
from app.tables import Activity, Batch, CampaignLead, ImportJob, ImportPiece, ImportRowError, Lead, WorkspaceCounter
from app.worker import Worker

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20
#: Kills in a row without any progress, after which the next waits for some: a job that never gets on is given up.
STUCK = 4
#: More pieces than it takes for a process to read them ahead.
ROWS = 10_000
#: Rows that a fast machine is still at when it is seen to have begun.
LONG = 40_000
FIELDS = ("firstName", "lastName", "email", "company", "title", "linkedinUrl", "phone", "location", "source")
HERE = sa.bindparam("workspace")
#: What every row has of its own, whenever it is written.
OWN = {"id", "created_at", "updated_at", "last_activity_at", "score_computed_at", "workspace_id", "score_campaign_id"}


@pytest.fixture
def files(folder):
    def write(count, rows=ROWS):
        for number in range(count):
            file = folder / f"{number}-{rows}.csv"
            if not file.exists():
                with file.open("w", encoding="utf-8", newline="") as out:
                    writer = csv.writer(out)
                    writer.writerow(FIELDS)
                    # Files overlap: the second half of each is known from the one before.
                    people = [*make_people(rows // 2, seed=number + 1), *make_people(rows // 2, seed=number)]
                    writer.writerows([row.cells[name] for name in FIELDS] for row in people)
            yield file

    return write


class Place:
    def __init__(self, database, caller):
        self.database, self.caller = database, caller

    async def rows(self, model, *conditions):
        table = table_of(model) if isinstance(model, type) else model
        async with self.database.writing() as connection:
            work = Work(connection, self.caller)
            return await work.rows(sa.select(table).where(table.c.workspace_id == HERE, *conditions))

    async def order(self, file, campaign, held=None):
        async with self.database.writing() as connection:
            with file.open("rb") as raw:
                asked = Order(file_name=file.name, campaign_id=campaign)
                return await imports.order(Work(connection, self.caller), raw, asked, held=held)

    async def campaign(self):
        async with self.database.writing() as connection:
            row = await campaigns.create(Work(connection, self.caller), {"name": "All", "criteria": {"titles": ["CTO"]}})
        return row["id"]

    async def end_state(self):
        """All that an import leaves behind, without what differs between any two runs."""
        leads = {lead["id"]: lead for lead in await self.rows(Lead)}
        names = {lead_id: lead["email_key"] for lead_id, lead in leads.items()}
        log = await self.rows(Activity, table_of(Activity).c.lead_id.is_not(None))
        told = Counter(
            (names[entry["lead_id"]], entry["kind"], orjson.dumps([c for c in entry["changes"] if c["field"] != "campaigns"]))
            for entry in log
        )
        counts = ("status", "created", "updated", "unchanged", "skipped", "failed", "error")
        jobs = sorted((job["file_name"], *(job[name] for name in counts)) for job in await self.rows(ImportJob))
        batches = Counter(tuple(batch[name] for name in counts) for batch in await self.rows(Batch))
        wrong = Counter((row["line"], orjson.dumps([row["errors"], row["raw"]])) for row in await self.rows(ImportRowError))
        stored = {names[i]: {name: value for name, value in lead.items() if name not in OWN} for i, lead in leads.items()}
        members = sorted((names[row["lead_id"]], row["quality_score"]) for row in await self.rows(CampaignLead))
        [counter] = await self.rows(WorkspaceCounter)
        sequences = sorted(entry["sequence"] for entry in await self.rows(Activity))
        assert sequences == list(range(1, counter["sequence"] + 1))
        assert await self.rows(ImportPiece) == []
        return stored, members, told, jobs, batches, wrong


class Workers:
    """Processes of `leadgraph worker`, one at a time, each killed at its moment."""

    def __init__(self, place, dice):
        self.place, self.dice = place, dice
        self.kills = self.stuck = 0
        url = place.database.url.render_as_string(hide_password=False)
        quick = {"LEADGRAPH_JOB_LEASE_SECONDS": "1", "LEADGRAPH_WORKER_POLL_SECONDS": "0.1", "LEADGRAPH_LOG_LEVEL": "ERROR"}
        self.environment = {**os.environ, "LEADGRAPH_DATABASE_URL": url, **quick}

    async def state(self, import_id):
        [row] = await self.place.rows(ImportJob, table_of(ImportJob).c.id == import_id)
        [job] = [row for row in await self.place.rows(JOB, JOB.c.kind == "import") if row["payload"]["importId"] == import_id]
        return row["status"], job["claimed_by"], job["checkpoint"]

    async def finish(self, import_id, most):
        """Carry an import to its end, killing the worker at most so often."""
        killed = 0
        while (await self.state(import_id))[0] in ("PENDING", "RUNNING"):
            _, before, checkpoint = await self.state(import_id)
            process = subprocess.Popen([sys.executable, "-m", "app", "worker"], cwd=ROOT, env=self.environment)
            try:
                gone = await self._until(import_id, lambda s, before=before: s[1] != before)
                if killed < most:
                    if self.stuck >= STUCK:
                        gone = await self._until(import_id, lambda s, at=checkpoint: s[2] != at)
                    await asyncio.sleep(self.dice.uniform(0, 0.6))
                else:
                    gone = await self._until(import_id, lambda _: False)
                assert process.poll() is None, "the worker ended by itself"
            finally:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
            status, _, now = await self.state(import_id)
            if not gone and status in ("PENDING", "RUNNING"):
                killed += 1
                self.kills += 1
                self.stuck = self.stuck + 1 if now == checkpoint else 0

    async def _until(self, import_id, reached):
        """Wait for a state; tell whether the import has ended."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            state = await self.state(import_id)
            if state[0] not in ("PENDING", "RUNNING"):
                return True
            if reached(state):
                return False
            await asyncio.sleep(0.02)
        raise AssertionError(f"nothing happened in two minutes: {state}")


async def test_an_import_that_is_killed_again_and_again_ends_as_one_that_nobody_disturbed(database, caller, files, settings):
    from conftest import new_workspace

    hit = Place(Database(settings), caller)
    workers = Workers(hit, random.Random(7))
    campaign = await hit.campaign()
    done = 0
    while workers.kills < KILLS:
        done += 1
        *_, file = files(done)
        await workers.finish((await hit.order(file, campaign)).id, KILLS)
    assert workers.kills >= KILLS

    calm = Place(database, await new_workspace(database))
    worker = Worker(database, settings)
    campaign = await calm.campaign()
    for file in files(done):
        ordered = await calm.order(file, campaign, held=worker.hold())
        await worker.run_held(ordered.job, lambda _: None)
    ended, expected = await hit.end_state(), await calm.end_state()
    await hit.database.close()
    for mine, theirs in zip(ended, expected, strict=True):
        assert mine == theirs
    assert sum(job[2] for job in ended[3]) == len(ended[0])
    print(f"{workers.kills} kills over {done} files of {ROWS:,} rows, {len(ended[0]):,} leads")  # noqa: T201


async def test_a_command_that_is_killed_leaves_its_import_to_the_workers(database, caller, files, settings):
    place = Place(database, caller)
    [file] = files(1, LONG)
    workers = Workers(place, random.Random(3))
    async with database.writing() as connection:
        workspace = sa.table("workspace", sa.column("id"), sa.column("slug"))
        slug = await connection.scalar(sa.select(workspace.c.slug).where(workspace.c.id == caller.workspace_id))
    command = [sys.executable, "-m", "app", "import", str(file), "--workspace", slug]
    process = subprocess.Popen(command, cwd=ROOT, env=workers.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(6_000):
            if any(row["created"] for row in await place.rows(ImportJob)):
                break
            await asyncio.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    [row] = await place.rows(ImportJob)
    assert (row["status"], row["created"] > 0) == ("RUNNING", True)
    await workers.finish(row["id"], 0)
    [row] = await place.rows(ImportJob)
    assert row["status"] == "SUCCEEDED"
    assert sum(row[name] for name in ("created", "updated", "unchanged", "skipped", "failed")) == LONG
    assert len(await place.rows(Lead)) == row["created"]
