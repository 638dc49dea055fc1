"""Taking a batch back chunk by chunk comes to what it does at once, whatever its leads gave each other."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.actions import leads, undo, undo_targets
from app.actions.batches import BATCH, COUNTS
from app.actions.jobs import JOB
from app.actions.undo import _CONFLICT
from app.actions.undo_targets import _TARGET
from app.actions.upserts import upsert_many
from app.errors import LeadgraphError

HERE = sa.bindparam("workspace")
#: What tells of time and of how often a lead was written, and not of what is known of it.
BESIDE = {"version", "updated_at", "last_activity_at", "score_computed_at"}
ADDRESSES = [f"{letter}@example.com" for letter in "abcde"]
#: What five leads, with these addresses and CRM ids 1 to 5, may give each other, by place; the sixth is new.
EXCHANGES = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.fixed_dictionaries(
            {},
            optional={
                "email": st.sampled_from([*ADDRESSES, "x@example.com", None]),
                "crmId": st.sampled_from([*"12345", None]),
                "title": st.sampled_from(["CTO", "CEO"]),
            },
        ),
    ),
    min_size=1,
    max_size=12,
)
#: Those that are worth a look of their own.
EXCHANGED = {
    "from the younger to the older": [(2, {"email": "x@example.com"}), (0, {"email": "c@example.com"})],
    "from the older to the younger": [(0, {"email": "x@example.com"}), (2, {"email": "a@example.com"})],
    "and something else then": [(0, {"email": "x@example.com"}), (2, {"email": "a@example.com"}), (0, {"title": "CEO"})],
    "two": [(0, {"email": "x@example.com"}), (2, {"email": "a@example.com"}), (0, {"email": "c@example.com"})],
    "two, by two columns": [(0, {"email": "x@example.com"}), (2, {"email": "a@example.com", "crmId": "9"}), (0, {"crmId": "3"})],
    "with one that is new": [(0, {"email": "x@example.com"}), (5, {"email": "a@example.com", "crmId": "9"}), (1, {"title": "CEO"})],
}
ROUND = [
    *[(0, {"email": "x@example.com"}), (1, {"email": "a@example.com"})],
    *[(2, {"email": "b@example.com"}), (0, {"email": "c@example.com"})],
]
CHUNKS = pytest.mark.parametrize("chunk", [None, 1, 2])
BOUNDED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def named(people, rows):
    """Give rows that name their leads by id; those past the last are new."""
    return [{**({"id": people[place]} if place < len(people) else {}), **values} for place, values in rows]


@pytest.fixture
def known(stored):
    async def known():
        return {lead_id: {name: value for name, value in row.items() if name not in BESIDE} for lead_id, row in (await stored()).items()}

    return known


@pytest.fixture
def people_of(work):
    """Makes the five leads and gives their ids."""

    async def make():
        work.now = datetime.now(UTC)
        made = await upsert_many(work, [{"email": address, "crmId": str(number)} for number, address in enumerate(ADDRESSES, 1)])
        return [result.lead_id for result in made.results]

    return make


@pytest.fixture
def take_back(work, known, monkeypatch):
    """Takes a batch back, at once or by the steps of a job, and gives the undo's id; what is known then, the conflicts, the counts."""

    async def take_back(batch_id, chunk):
        monkeypatch.setattr(undo, "AT_ONCE", -1 if chunk else 10_000)
        monkeypatch.setattr(undo, "CHUNK", chunk or 2_000)
        undone = await undo.undo(work, batch_id)
        mine = {"batch": undone}
        if chunk:
            queued = await work.rows(sa.select(JOB.c.payload).where(JOB.c.workspace_id == HERE))
            [payload] = [row["payload"] for row in queued if row["payload"]["batchId"] == undone]
            at = {}
            while at is not None:
                at, _ = await undo.step(work, {"payload": payload, "checkpoint": at or None})
        left = sa.select(_TARGET.c.lead_id).where(_TARGET.c.workspace_id == HERE, _TARGET.c.batch_id == sa.bindparam("batch"))
        assert await work.rows(left, mine) == []
        told = sa.select(_CONFLICT).where(_CONFLICT.c.workspace_id == HERE, _CONFLICT.c.batch_id == sa.bindparam("batch"))
        conflicts = await work.rows(told, mine)
        assert sorted(row["position"] for row in conflicts) == list(range(len(conflicts)))
        counts = sa.select(*(BATCH.c[name] for name in COUNTS)).where(BATCH.c.workspace_id == HERE, BATCH.c.id == sa.bindparam("batch"))
        return undone, (await known(), sorted((row["lead_id"], row["field"]) for row in conflicts), (await work.rows(counts, mine))[0])

    return take_back


@given(rows=EXCHANGES, since=st.lists(st.tuples(st.integers(0, 4), st.sampled_from([*ADDRESSES, "y@example.com"])), max_size=2))
@BOUNDED
async def test_an_undo_in_chunks_comes_to_what_it_does_at_once(work, known, people_of, take_back, rows, since):
    everything = await work.connection.begin_nested()
    people = await people_of()
    before = await known()
    report = await upsert_many(work, named(people, rows))
    done = await known()
    for place, address in since:
        with suppress(LeadgraphError):
            await leads.update(work, {"id": people[place]}, {"email": address})
    came_to = []
    for chunk in (None, 1, 2):
        savepoint = await work.connection.begin_nested()
        undone, outcome = await take_back(report.batch_id, chunk)
        came_to.append(outcome)
        if not since:
            assert outcome[:2] == (before, [])
            assert (await take_back(undone, chunk))[1][:2] == (done, [])
        await savepoint.rollback()
    assert came_to[0] == came_to[1] == came_to[2]
    await everything.rollback()


@CHUNKS
@pytest.mark.parametrize("rows", [*EXCHANGED.values(), ROUND], ids=[*EXCHANGED, "three in a round"])
async def test_what_leads_exchanged_returns_and_an_undo_of_that_too(work, known, people_of, take_back, rows, chunk):
    people = await people_of()
    before = await known()
    report = await upsert_many(work, named(people, rows))
    assert report.summary["failed"] == 0
    done = await known()
    undone, outcome = await take_back(report.batch_id, chunk)
    assert outcome[:2] == (before, [])
    assert (await take_back(undone, chunk))[1][:2] == (done, [])


@CHUNKS
async def test_who_gets_nothing_back_keeps_what_others_were_to_have(work, people_of, take_back, chunk):
    """What one of a round gave up is another's by now: nobody of it has the own address back, and all else returns."""
    people = await people_of()
    report = await upsert_many(work, [{**row, "title": "CEO"} for row in named(people, ROUND)])
    await leads.update(work, {"id": people[2]}, {"email": "new@example.com"})
    await upsert_many(work, [{"email": "b@example.com"}])
    _, (found, conflicts, counts) = await take_back(report.batch_id, chunk)
    assert conflicts == sorted((lead_id, "email") for lead_id in people[:3])
    assert counts["updated"] == 3
    kept = [(found[lead_id]["email"], found[lead_id]["title"]) for lead_id in people]
    assert kept == [(f"{name}@example.com", None) for name in ("c", "a", "new", "d", "e")]


async def test_a_round_that_is_too_long_for_a_chunk_is_told_and_breaks_nothing(work, known, people_of, take_back, monkeypatch):
    monkeypatch.setattr(undo, "ALONG", 1)
    people = await people_of()
    before = await known()
    report = await upsert_many(work, named(people, ROUND))
    _, (found, conflicts, counts) = await take_back(report.batch_id, 1)
    assert {field for _, field in conflicts} == {"email"}
    assert counts["updated"] + counts["skipped"] == 3
    in_conflict = {lead_id for lead_id, _ in conflicts}
    assert {lead_id: found[lead_id] for lead_id in found.keys() - in_conflict} == {
        lead_id: before[lead_id] for lead_id in before.keys() - in_conflict
    }


async def test_the_next_leads_are_walked_to_in_an_index(work):
    """Neither database may sort, for each chunk, all that are left; nor look through them for one that comes along."""
    leads = [] if work.postgres else "[]"
    binds = {"workspace": work.workspace, "batch": "bat_", "undo": "bat_", "first": 1, "last": 9, "most": 2, "part": 9, "leads": leads}
    binds["param_1"] = 0  # SQLite's `OFFSET`
    steps = []
    for statement in (undo_targets._NEXT, undo_targets._still_left(postgres=work.postgres)):
        asked = statement.compile(dialect=work.connection.dialect)
        explained = "EXPLAIN QUERY PLAN" if not work.postgres else "EXPLAIN"
        rows = await work.connection.exec_driver_sql(f"{explained} {asked}", tuple(binds[name] for name in asked.positiontup))
        steps.append([str(row[-1]) for row in rows])
    assert not any(word in step for step in steps[0] for word in ("Sort", "TEMP B-TREE", "Bitmap"))
    probed = "(sequence = activity.sequence) AND (lead_id = " if work.postgres else "sequence=? AND lead_id=?"
    assert len([step for step in steps[1] if probed in step]) == 1
