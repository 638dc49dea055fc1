"""What the planner costs: the whole of `schema.execute` against the same statement in the driver alone.

The document is `queries/leads/timeline.graphql`: 50 leads of 100,000 with 12 fields, score parts, campaigns, latest activities and
the count. Bar: at most 3 times the driver's own time, on either database.
"""

import statistics
import time
from itertools import islice

import pytest
import sqlalchemy as sa

from app.actions import campaigns, upserts, workspaces
from app.actions.work import Caller, Role, Work
from app.migrations import upgrade
from app.rules.people import make_people
from app.settings import QUERIES
from schema.context import Context
from schema.graph import graph
from schema.planner.plans import Plan

LEADS = 100_000
ROUNDS, CALLS = 15, 10
BAR = 3.0


@pytest.fixture(scope="session")
async def filled(database):
    """100,000 leads, half of them in a campaign, through the same upsert as everybody's."""
    await upgrade(database)
    async with database.writing() as connection:
        row = await workspaces.create(connection, slug="bench")
    caller = Caller(row["id"], Role.ADMIN, workspace_ids=(row["id"],))
    async with database.writing() as connection:
        campaign = await campaigns.create(Work(connection, caller), {"name": "Bench", "status": "ACTIVE", "criteria": {"titles": ["CTO"]}})
    people = (made.cells for made in make_people(LEADS, seed=7, bad=0, repeated=0))
    chunk = list(islice(people, 1_000))
    half = False
    while chunk:
        async with database.writing() as connection:
            await upserts.upsert_many(Work(connection, caller), chunk, campaign_id=campaign["id"] if half else None)
        half, chunk = not half, list(islice(people, 1_000))
    async with database.writing() as connection:
        await connection.execute(sa.text("ANALYZE"))
    return caller


async def test_execute_takes_at_most_three_times_the_statement(database, filled, monkeypatch):
    text = (QUERIES / "leads/timeline.graphql").read_text()
    ran = []
    run = Plan.run

    async def seen(self, reading, values):
        ran.append((self, values))
        return await run(self, reading, values)

    async with database.readers.reading() as reading:

        async def execute():
            result = await graph.execute(text, variable_values={"first": 50}, context_value=Context(filled, "bench", reading=reading))
            assert result.errors is None

        with monkeypatch.context() as patched:
            patched.setattr(Plan, "run", seen)
            await execute()
        plan, values = ran[0]
        bound = [bind.make(values) for bind in plan.binds]

        async def driver():
            await reading.rows(plan.sql, bound)

        whole, alone = [], []
        for _ in range(ROUNDS):
            whole.append(await timed(execute))
            alone.append(await timed(driver))
    ratio = statistics.median(whole) / statistics.median(alone)
    kind = "PostgreSQL" if database.is_postgres else "SQLite"
    print(
        f"\n{kind}: {LEADS:,} leads, page of 50 with parts, campaigns, activities and count: execute {statistics.median(whole):.2f} ms,"
        f" driver alone {statistics.median(alone):.2f} ms, ratio {ratio:.2f} (bar {BAR})"
    )
    assert ratio <= BAR


async def timed(call):
    started = time.perf_counter()
    for _ in range(CALLS):
        await call()
    return (time.perf_counter() - started) / CALLS * 1_000
