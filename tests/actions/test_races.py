import asyncio
import random
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.actions import leads
from app.actions.references import LEAD
from app.actions.upserts import ErrorPolicy, OnMatch, upsert_many
from app.actions.work import Work
from app.errors import Taken

HERE = sa.bindparam("workspace")


async def everybody(database, caller):
    async with database.writing() as connection:
        return await Work(connection, caller).rows(sa.select(LEAD).where(LEAD.c.workspace_id == HERE).order_by(LEAD.c.email_key))


async def test_batches_that_bring_the_same_people_at_once_make_each_of_them_once(database, caller):
    rows = [{"email": f"{n}@example.com", "crmId": str(n), "attributes": {}} for n in range(200)]

    async def bring(part, at_the_door):
        async with database.writing() as connection:
            if database.is_postgres:  # SQLite lets one writer in at a time
                await at_the_door.wait()
            return await upsert_many(Work(connection, caller), part)

    door = asyncio.Barrier(3)
    given_rows = [rows, list(reversed(rows)), [{**row, "title": "CTO"} for row in rows[50:150]]]
    reports = await asyncio.gather(*[bring(part, door) for part in given_rows])
    assert sum(report.summary["created"] for report in reports) == 200
    assert sum(report.summary["failed"] for report in reports) == 0
    kept = await everybody(database, caller)
    assert sorted(lead["email"] for lead in kept) == sorted(row["email"] for row in rows)
    assert [lead["title"] for lead in kept].count("CTO") == 100


async def test_batches_that_have_some_people_in_common_all_get_through(database, caller):
    """Whoever comes in between wins a round: with eight of them, more rounds are lost than two."""
    people = [{"email": f"{n}@example.com", "crmId": str(n)} for n in range(400)]
    chosen = random.Random(5)  # noqa: S311  (which people, not a secret)

    async def bring():
        reports = []
        for _ in range(6):
            async with database.writing() as connection:
                reports.append(await upsert_many(Work(connection, caller), chosen.sample(people, 80)))
        return reports

    reports = [report for each in await asyncio.gather(*[bring() for _ in range(8)]) for report in each]
    assert {report.summary["total"] - report.summary["created"] - report.summary["unchanged"] for report in reports} == {0}
    kept = await everybody(database, caller)
    assert sum(report.summary["created"] for report in reports) == len({lead["email"] for lead in kept}) == len(kept)


async def test_of_two_that_create_the_same_lead_at_once_one_is_told_that_it_is_taken(database, caller):
    if not database.is_postgres:
        pytest.skip("SQLite has one writer: nothing happens at once")
    inserted, looked = asyncio.Event(), asyncio.Event()

    async def first():
        async with database.writing() as connection:
            await leads.create(Work(connection, caller), {"email": "a@example.com"})
            inserted.set()
            await looked.wait()

    async def second():
        await inserted.wait()
        async with database.writing() as connection:
            asyncio.get_running_loop().call_later(0.1, looked.set)  # by then it waits for the first
            await leads.create(Work(connection, caller), {"email": "A@example.com"})

    told = await asyncio.gather(first(), second(), return_exceptions=True)
    assert told[0] is None
    assert isinstance(told[1], Taken)
    assert told[1].argument == "input.email"
    assert len(await everybody(database, caller)) == 1


async def test_an_address_that_is_given_to_two_leads_at_once_goes_to_one(database, caller):
    if not database.is_postgres:
        pytest.skip("SQLite has one writer: nothing happens at once")
    async with database.writing() as connection:
        work = Work(connection, caller)
        one, two = [await leads.create(work, {"crmId": name}) for name in ("1", "2")]
    changed, looked = asyncio.Event(), asyncio.Event()

    async def first():
        async with database.writing() as connection:
            await leads.update(Work(connection, caller), {"id": one["id"]}, {"email": "a@example.com"})
            changed.set()
            await looked.wait()

    async def second():
        await changed.wait()
        async with database.writing() as connection:
            asyncio.get_running_loop().call_later(0.1, looked.set)
            await leads.update(Work(connection, caller), {"id": two["id"]}, {"email": "a@example.com"})

    told = await asyncio.gather(first(), second(), return_exceptions=True)
    assert isinstance(told[1], Taken)
    assert [(lead["crm_id"], lead["email"]) for lead in await everybody(database, caller)] == [("1", "a@example.com"), ("2", None)]


EMAILS = st.sampled_from(["a@example.com", "A@example.com", "b@example.com", "c@example.com", "no", "", None])
ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "email": EMAILS,
            "crmId": st.sampled_from(["1", "2", " ", None]),
            "firstName": st.sampled_from(["Ann", "Bea", "", None, "x\0"]),
            "status": st.sampled_from(["NEW", "replied", None, "LOST"]),
            "attributes": st.sampled_from([{"n": 1}, {"n": None}, {"n": True, "m": [1]}, []]),
        },
    ),
    min_size=1,
    max_size=8,
)


@given(rows=ROWS, on_match=st.sampled_from(OnMatch), policy=st.sampled_from(ErrorPolicy), auto_score=st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_dry_run_reports_what_the_deed_then_does(work, log, stored, rows, on_match, policy, auto_score):
    work.now = datetime.now(UTC)
    before, entries = await stored(), len(await log())
    how = {"on_match": on_match, "error_policy": policy, "auto_score": auto_score}
    tried = await upsert_many(work, rows, dry_run=True, **how)
    assert (await stored(), len(await log())) == (before, entries)
    done = await upsert_many(work, rows, **how)
    after = await stored()
    assert done.summary == tried.summary
    for trial, deed in zip(tried.results, done.results, strict=True):
        assert (trial.index, trial.outcome, trial.changes, trial.errors) == (deed.index, deed.outcome, deed.changes, deed.errors)
        assert trial.lead_id == (deed.lead_id if deed.lead_id in before else None)
    assert {result.lead_id for result in done.results if result.lead_id} <= after.keys()
    changed = {result.lead_id for result in done.results if result.outcome in ("CREATED", "UPDATED")}
    assert {lead_id for lead_id in after if after[lead_id] != before.get(lead_id)} <= changed
    assert done.summary["total"] == len(rows)
