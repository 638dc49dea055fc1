"""Long files: a process of their own reads them ahead, and what is in the database in the end is the same as without it."""

import asyncio
import io
import os
import random
import secrets
import signal
from dataclasses import replace

import pytest
import sqlalchemy as sa
from statements import counted
from structlog.testing import capture_logs

from app import database as database_module
from app.actions import automations, campaigns, import_pieces, imports, jobs, lead_changes, leads, scores, table_statistics, workspaces
from app.actions.activities import ACTIVITY
from app.actions.batches import JobStatus
from app.actions.imports import Order
from app.actions.scorer import CAMPAIGN_LEAD
from app.actions.triggers import RUN
from app.actions.upserts import OnMatch
from app.actions.work import Work
from app.database import table_of
from app.rules import uploads
from app.rules.people import make_people
from app.tables import ImportPiece, ImportRowError, Lead
from app.worker import Worker

LEAD = table_of(Lead)
WRONG = table_of(ImportRowError)
HERE = sa.bindparam("workspace")
#: What every lead has of its own, whenever it is written.
OWN = {"id", "workspace_id", "created_at", "updated_at", "last_activity_at", "score_computed_at", "score_campaign_id"}
HEADER = ("email", "crmId", "firstName", "lastName", "company", "title", "source", "status", "optInAt", "notes", "Region", "id")


def lines(count=160, seed=3):
    """Rows of every kind: new, given twice, known by another key, in another's place, and not to be taken."""
    dice = random.Random(seed)  # noqa: S311
    rows = [",".join(HEADER)]
    for number, person in enumerate(make_people(count, seed=seed, bad=0.1, repeated=0.1)):
        cells = {**person.cells, "crmId": f"c{dice.randrange(count)}" if dice.random() < 0.4 else ""}
        cells["status"] = dice.choice(("", "", "NEW", "replied", "lost"))
        cells["optInAt"] = dice.choice(("", "2026-01-20T10:00:00+01:00"))
        cells["notes"] = dice.choice(("", 'said "yes"', "Ünïcode \\ and 'quotes'", "two\nlines\tand \\N", "\\."))
        cells["Region"] = dice.choice(("", "Nord", "ÉST"))
        cells["id"] = "lead_00000000000000000000000000" if dice.random() < 0.02 else ""
        quoted = ['"' + cells.get(name, "").replace('"', '""') + '"' for name in HEADER]
        rows.append(",".join(quoted[: 5 if number % 37 == 9 else None]))
    return "\n".join(rows).encode()


@pytest.fixture
def pieces(monkeypatch):
    """Cuts files into pieces of 20 rows, written by sevens, and says how many processes may read them."""

    def of(processes):
        monkeypatch.setattr(uploads, "PIECE", 20)
        monkeypatch.setattr(database_module, "BLOCK", 7)
        monkeypatch.setattr(import_pieces, "MOST", processes)

    return of


@pytest.fixture
def started(monkeypatch):
    """Lists the processes that were begun."""
    found = []
    begin = asyncio.create_subprocess_exec

    async def noted(*command, **options):
        found.append(await begin(*command, **options))
        return found[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    return found


class Place:
    def __init__(self, database, caller):
        self.database, self.caller = database, caller
        self.worker = Worker(database, database.settings)

    async def rows(self, table, *order):
        async with self.database.writing() as connection:
            return await Work(connection, self.caller).rows(sa.select(table).where(table.c.workspace_id == HERE).order_by(*order))

    async def order(self, content, **how):
        async with self.database.writing() as connection:
            asked = Order(file_name="people.csv", **how)
            return await imports.order(Work(connection, self.caller), io.BytesIO(content), asked, held=self.worker.hold())

    async def take(self, content, show=lambda _: None, **how):
        ordered = await self.order(content, **how)
        await self.worker.run_held(ordered.job, show)
        async with self.database.writing() as connection:
            return await imports.find(Work(connection, self.caller), ordered.id)

    async def campaign(self):
        async with self.database.writing() as connection:
            row = await campaigns.create(Work(connection, self.caller), {"name": "All", "criteria": {"titles": ["CTO"]}})
        return row["id"]

    async def state(self):
        """All that an import leaves behind, in its order, without what differs between any two runs."""
        leads = await self.rows(LEAD, LEAD.c.created_at, LEAD.c.id)
        names = {lead["id"]: lead["email_key"] or lead["crm_id"] for lead in leads}
        log = await self.rows(ACTIVITY, ACTIVITY.c.sequence)
        runs = await self.rows(RUN, RUN.c.position)
        assert [entry["sequence"] for entry in log] == list(range(1, len(log) + 1))
        told = [
            (entry["kind"], names.get(entry["lead_id"]), entry["status"], [c for c in entry["changes"] if c["field"] != "campaigns"])
            for entry in log
        ]
        if not self.database.is_postgres:
            async with self.database.writing() as connection:
                found = await Work(connection, self.caller).rows(
                    sa.text("SELECT lead_id, words FROM lead_search WHERE workspace_id = :workspace")
                )
                assert {(row["lead_id"], row["words"]) for row in found} == {(lead["id"], lead["search_text"]) for lead in leads}
        members = sorted((names[row["lead_id"]], row["quality_score"]) for row in await self.rows(CAMPAIGN_LEAD))
        wrong = [(row["line"], row["errors"], row["raw"]) for row in await self.rows(WRONG, WRONG.c.import_job_id, WRONG.c.line)]
        held = [{name: value for name, value in lead.items() if name not in OWN} for lead in leads]
        assert await self.rows(table_of(ImportPiece)) == []
        return held, told, members, wrong, [(names[run["lane"]], run["position"]) for run in runs]


@pytest.fixture
async def places(database, caller):
    async with database.writing() as connection:
        other = await workspaces.create(connection, slug=f"other-{secrets.token_hex(6)}")
    yield Place(database, caller), Place(database, replace(caller, workspace_id=other["id"]))
    async with database.writing() as connection:  # other tests' workers serve every workspace
        await connection.execute(sa.update(RUN).values(status=JobStatus.CANCELLED))
        await connection.execute(sa.update(jobs.JOB).values(status=JobStatus.CANCELLED))


NOTED = {"name": "All", "kind": "LEAD_CREATED", "actions": [{"setStatus": "CONTACTED"}]}
COUNTED = ("status", "created", "updated", "unchanged", "skipped", "failed", "error", "progress")


@pytest.mark.parametrize(
    ("kind", "on_match"), [*zip(("campaign", "plain", "unscored", "automated"), OnMatch, strict=True), ("plain", "UPDATE")]
)
async def test_a_file_that_is_read_ahead_comes_to_the_same(places, pieces, started, on_match, kind):
    ends = []
    for processes, place in enumerate(places):
        pieces(processes)
        how = {"campaign_id": await place.campaign()} if kind == "campaign" else {"auto_score": kind != "unscored"}
        if kind == "automated":
            async with place.database.writing() as connection:
                await automations.create(Work(connection, place.caller), NOTED)
        rows = [await place.take(lines(), on_match=OnMatch(on_match), **how)]
        rows.append(await place.take(lines(seed=3) + b"\n" + lines(seed=4).partition(b"\n")[2], on_match=OnMatch(on_match), **how))
        ends.append((await place.state(), [[row[name] for name in COUNTED] for row in rows]))
    assert ends[0] == ends[1]
    assert ends[1][1][0][1] > 50
    # One for the first file; in the second known leads come first, and one for the new ones behind them.
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)


async def test_a_trial_that_is_read_ahead_tells_the_same(places, pieces, started):
    told = []
    for processes, place in enumerate(places):
        pieces(processes)
        await place.take(lines())
        row = await place.take(lines(seed=5), dry_run=True)
        told.append(([row[name] for name in COUNTED], await place.rows(WRONG, WRONG.c.import_job_id, WRONG.c.line)))
    for rows in told:
        for row in rows[1]:
            row |= {"workspace_id": "", "import_job_id": ""}
    assert told[0] == told[1]
    assert len(started) == 2


async def test_a_reader_that_dies_leaves_the_rest_to_the_worker(places, pieces, started):
    calm, hit = places
    pieces(0)
    await calm.take(lines())
    pieces(1)

    def kill(progress):
        if progress > 30 and started[0].returncode is None:
            os.kill(started[0].pid, 9)

    with capture_logs() as told:
        row = await hit.take(lines(), kill)
    assert [entry["event"] for entry in told] == ["import.reader_lost"]
    assert row["status"] == "SUCCEEDED"
    assert await hit.state() == await calm.state()
    assert len(started) == 1


async def test_rules_that_change_meanwhile_score_what_comes_later(places, pieces, started):
    place, _ = places
    pieces(1)
    ordered = await place.order(lines())
    turn = 0
    while not await place.worker._step(ordered.job):
        turn += 1
        if turn == 3:
            async with place.database.writing() as connection:
                await scores.rules_update(Work(connection, place.caller), {"sources": [{"source": "csv", "reliability": 0.01}]})
    await jobs.let_go(ordered.job)
    leads = await place.rows(LEAD, LEAD.c.created_at, LEAD.c.id)
    versions = [lead["score_rules_version"] for lead in leads if lead["updated_at"] == lead["created_at"]]
    assert versions == sorted(versions)
    assert {*versions} == {1, 2}
    assert started[0].returncode is not None


async def test_a_lead_that_another_transaction_makes_meanwhile_is_known_in_the_next_round(places, pieces, started, monkeypatch):
    place, _ = places
    if not place.database.is_postgres:
        pytest.skip("SQLite has one writer: nothing happens at once")
    pieces(1)
    write = lead_changes.insert_leads
    met = []

    async def late(work, fresh, others):
        if not met:
            email = next(key for _, key, _, _ in fresh.leads if key)
            async with place.database.writing() as connection:
                await leads.create(Work(connection, place.caller), {"email": email, "notes": "first"})
            met.append(email)
        await write(work, fresh, others)

    monkeypatch.setattr(lead_changes, "insert_leads", late)
    row = await place.take(lines(), on_match=OnMatch.SKIP)
    assert row["status"] == "SUCCEEDED"
    found = [lead for lead in await place.rows(LEAD, LEAD.c.id) if lead["email_key"] == met[0]]
    assert [lead["notes"] for lead in found] == ["first"]
    assert row["skipped"] > 0


async def test_leads_that_are_known_are_read_without_a_process(places, pieces, started):
    place, _ = places
    pieces(1)

    def people(*numbers):
        return "\n".join(["email", *(f"{number}@example.com" for number in numbers)]).encode()

    await place.take(people(*range(120)))
    assert len(started) == 1
    await place.take(people(*range(120)))
    assert len(started) == 1
    # New ones first, and then known ones: it is begun, and ended before the file is.
    ordered = await place.order(people(*range(120, 240), *range(120)))
    for _ in range(8):
        assert not await place.worker._step(ordered.job)
    assert len(started) == 2
    assert started[1].returncode is not None
    await place.worker.run_held(ordered.job, lambda _: None)
    assert len(started) == 2


async def test_who_goes_on_with_new_leads_has_them_read_ahead_at_once(places, pieces, started):
    place, _ = places
    pieces(1)
    ordered = await place.order("\n".join(["email", *(f"{number}@example.com" for number in range(240))]).encode())
    for _ in range(3):
        assert not await place.worker._step(ordered.job)
    await jobs.let_go(ordered.job)
    assert [process.returncode is not None for process in started] == [True]
    assert not await place.worker._step(ordered.job)
    assert len(started) == 2
    await place.worker.run_held(ordered.job, lambda _: None)
    assert len(await place.rows(LEAD)) == 240


async def test_postgresql_looks_at_its_tables_after_many_rows_and_only_then(places, pieces, monkeypatch):
    place, _ = places
    pieces(0)
    monkeypatch.setattr(table_statistics, "MANY_ROWS", 50)
    monkeypatch.setattr(table_statistics, "_GROWN", 0)  # whatever other tests have left in the table
    looks = []
    for content, how in ((lines(20), {}), (lines(), {"dry_run": True}), (lines(), {}), (lines(), {})):
        with counted() as statements:
            row = await place.take(content, **how)
        assert (row["status"], row["progress"]) == ("SUCCEEDED", 100)
        looks.append(sum(sql.startswith("ANALYZE") for sql in statements))
    assert looks == [0, 0, int(place.database.is_postgres), 0]


async def test_an_import_succeeds_where_the_tables_cannot_be_looked_at(places, pieces, monkeypatch):
    place, _ = places
    pieces(0)
    monkeypatch.setattr(table_statistics, "MANY_ROWS", 50)
    monkeypatch.setattr(table_statistics, "_GROWN", 0)  # whatever other tests have left in the table
    monkeypatch.setattr(table_statistics, "_ANALYZE", sa.text("ANALYZE nothing_of_this_name"))
    with capture_logs() as told:
        row = await place.take(lines())
    assert (row["status"], row["progress"]) == ("SUCCEEDED", 100)
    assert [entry["event"] for entry in told] == ["tables.not_analyzed"] * place.database.is_postgres
    assert len(await place.rows(LEAD)) == row["created"]


async def test_rows_that_are_copied_first_go_with_their_transaction(places):
    place, _ = places

    async def queue_and_fail():
        async with place.database.writing() as connection:
            await jobs.queue_many(Work(connection, place.caller), "nothing", [{"n": number} for number in range(60)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await queue_and_fail()
    assert await place.rows(jobs.JOB) == []


async def test_a_short_file_starts_no_process(places, pieces, started):
    place, _ = places
    pieces(1)
    row = await place.take(lines(40))
    assert row["status"] == "SUCCEEDED"
    assert started == []


async def test_a_job_that_is_stopped_ends_its_reader(places, pieces, started):
    place, _ = places
    pieces(1)

    def stop(progress):
        if progress > 30:
            raise asyncio.CancelledError

    ordered = await place.order(lines())
    with pytest.raises(asyncio.CancelledError):
        await place.worker.run_held(ordered.job, stop)
    assert started[0].returncode is not None
    assert import_pieces._Process.running == 0


async def test_a_job_that_is_stopped_while_its_reader_is_at_work_ends_it(places, pieces, started):
    place, _ = places
    pieces(1)
    ordered = await place.order(lines())
    for _ in range(2):  # by then it is known that most leads are new, and it is begun
        await place.worker._step(ordered.job)
    os.kill(started[0].pid, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(place.worker.run_held(ordered.job, lambda _: None), 0.5)
    finally:
        if started[0].returncode is None:
            os.kill(started[0].pid, signal.SIGCONT)
    assert started[0].returncode is not None
    assert import_pieces._Process.running == 0
