"""What holds for every batch: the order of independent rows, the counts, the way back, and what many writers at once come to."""

import asyncio
import json
import random
from datetime import UTC, datetime

import httpx2
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.actions import keys, leads, undo, upserts
from app.actions.activities import ACTIVITY
from app.actions.references import LEAD
from app.actions.undo import _CONFLICT
from app.actions.upserts import ErrorPolicy, OnMatch, upsert_many
from app.actions.work import Role, Work
from app.asgi import build

HERE = sa.bindparam("workspace")
VALUES = {
    "firstName": st.sampled_from(["Ann", "Bea", "", None]),
    "title": st.sampled_from(["CTO", "CEO", None]),
    "company": st.sampled_from(["Acme", None]),
    "status": st.sampled_from(["NEW", "replied", "LOST"]),
    "website": st.sampled_from(["acme.example.com", "no url", None]),
    "optInAt": st.sampled_from(["2026-01-20T10:00:00+01:00", None]),
    "attributes": st.sampled_from([{"n": 1}, {"n": None}, {"n": True, "m": [1]}, []]),
}
ADDRESSES = [f"{letter}@example.com" for letter in "abcde"]
ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={"email": st.sampled_from([*ADDRESSES, "A@example.com", "no"]), "crmId": st.sampled_from(["1", "2", "3", None]), **VALUES},
    ),
    min_size=1,
    max_size=8,
)
INDEPENDENT = st.lists(
    st.tuples(st.sampled_from([*ADDRESSES, "no"]), st.fixed_dictionaries({}, optional=VALUES)),
    min_size=2,
    max_size=6,
    unique_by=lambda row: row[0],
)
#: What tells of time and of how often a lead was written, and not of what is known of it.
BESIDE = {"version", "updated_at", "last_activity_at", "score_computed_at"}
BOUNDED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def known(rows, but=frozenset()):
    return {lead_id: {name: value for name, value in row.items() if name not in BESIDE | but} for lead_id, row in rows.items()}


@given(rows=INDEPENDENT, order=st.randoms(use_true_random=False), on_match=st.sampled_from(OnMatch))
@BOUNDED
async def test_independent_rows_come_to_the_same_in_any_order(work, stored, rows, order, on_match):
    states, outcomes = [], []
    for turn in range(2):
        work.now = datetime.now(UTC)
        chosen = [{"email": address, **values} for address, values in rows]
        if turn:
            order.shuffle(chosen)
        savepoint = await work.connection.begin_nested()
        report = await upsert_many(work, chosen, on_match=on_match)
        told = {chosen[each.index]["email"]: (each.outcome, each.changes, [error.code for error in each.errors]) for each in report.results}
        outcomes.append((report.summary, told))
        found = known(await stored(), but={"id", "created_at"})
        states.append(sorted(found.values(), key=lambda row: (row["email_key"] or "", row["crm_id"] or "")))
        await savepoint.rollback()
    assert states[0] == states[1]
    assert outcomes[0] == outcomes[1]
    # What one example leaves, the next finds.
    await upsert_many(work, [{"email": address, **values} for address, values in rows])


@given(
    first=INDEPENDENT,
    rows=st.lists(ROWS, min_size=1, max_size=3).map(lambda lists: [row for rows in lists for row in rows]),
    on_match=st.sampled_from(OnMatch),
    policy=st.sampled_from(ErrorPolicy),
    joins=st.booleans(),
    scores=st.booleans(),
    dry=st.booleans(),
)
@BOUNDED
async def test_new_leads_made_at_once_are_as_those_decided_one_by_one(
    work, stored, log, members, campaign_of, monkeypatch, first, rows, on_match, policy, joins, scores, dry
):
    campaign = await campaign_of(titles=["cto"]) if joins else None
    work.now = datetime.now(UTC)
    await upsert_many(work, [{"email": address, **values} for address, values in first])
    there, told_before = set(await stored()), len(await log())
    outcomes = []
    for many in (1, 1_000):
        monkeypatch.setattr(upserts, "MANY", many)
        savepoint = await work.connection.begin_nested()
        report = await upsert_many(work, rows, on_match=on_match, error_policy=policy, campaign_id=campaign, auto_score=scores, dry_run=dry)
        found = await stored()
        # Ids are made anew each time, in the order of the rows.
        names = {lead_id: number for number, lead_id in enumerate(sorted(found.keys() - there))}

        def name(lead_id, names=names):
            return names.get(lead_id, lead_id)

        # What it says of them beyond the table: their words in SQLite's index.
        words = [] if work.postgres else await work.rows(sa.text("SELECT lead_id, words FROM lead_search WHERE workspace_id = :workspace"))
        outcomes.append(
            (
                report.summary,
                [
                    (each.index, each.outcome, name(each.lead_id), each.changes, [error.code for error in each.errors])
                    for each in report.results
                ],
                sorted((str(name(lead_id)), sorted({**row, "id": ""}.items(), key=str)) for lead_id, row in found.items()),
                [
                    [*(entry[key] for key in ("sequence", "kind", "status", "campaign_id")), name(entry["lead_id"]), entry["changes"]]
                    for entry in (await log())[told_before:]
                ],
                sorted(str(name(lead_id)) for lead_id in (await members(campaign) if campaign else [])),
                sorted((str(name(row["lead_id"])), row["words"]) for row in words),
            )
        )
        await savepoint.rollback()
    assert outcomes[0] == outcomes[1]


@given(rows=ROWS, on_match=st.sampled_from(OnMatch), joins=st.booleans(), touches=st.booleans())
@BOUNDED
async def test_an_undo_restores_all_but_what_has_changed_since(work, stored, members, campaign_of, rows, on_match, joins, touches):
    campaign = await campaign_of(titles=["cto"]) if joins else None
    work.now = datetime.now(UTC)
    before = known(await stored())
    report = await upsert_many(work, rows, on_match=on_match, campaign_id=campaign)
    assert (
        report.summary["total"]
        == len(rows)
        == sum(report.summary[name] for name in ("created", "updated", "unchanged", "skipped", "failed"))
    )
    written = [result.lead_id for result in report.results if result.changes]
    touched = written[0] if touches and written else None
    if touched is not None:
        await leads.update(work, {"id": touched}, {"notes": f"met at {work.now}"})
    undone = await undo.undo(work, report.batch_id)
    after = known(await stored())
    mine = (_CONFLICT.c.workspace_id == HERE, _CONFLICT.c.batch_id == sa.bindparam("batch"))
    conflicts = [(row["lead_id"], row["field"]) for row in await work.rows(sa.select(_CONFLICT).where(*mine), {"batch": undone})]
    assert conflicts == ([(touched, "lead")] if touched is not None and touched not in before else [])
    if touched is not None:
        now, was = after.pop(touched), before.pop(touched, None)
        # `notes` was no field of the batch: a lead that it changed returns, with them on top; one that it created stays.
        assert now.pop("notes").startswith("met at")
        if was is not None:
            was.pop("notes")
            assert now == was
    assert after == before
    if campaign is not None:
        assert await members(campaign) == ([touched] if conflicts else [])


@given(rows=ROWS, on_match=st.sampled_from(OnMatch))
@BOUNDED
async def test_an_undo_that_is_undone_leaves_what_the_batch_did(work, stored, rows, on_match):
    work.now = datetime.now(UTC)
    report = await upsert_many(work, rows, on_match=on_match)
    after = known(await stored())
    await undo.undo(work, await undo.undo(work, report.batch_id))
    assert known(await stored()) == after


async def test_eight_writers_of_the_same_thousand_people_make_each_once_and_say_so(database, caller, settings):
    async with database.writing() as connection:
        _, key = await keys.create_key(connection, caller.workspace_id, "test", Role.EDITOR)
    text = "mutation($rows: [LeadRow!]!) { leadUpsertMany(input: {leads: $rows}) { results { outcome leadId } } }"
    app = build(settings.model_copy(update={"request_seconds": 300.0}))  # whatever the machine has to do beside

    async def write(client, writer):
        rows = [{"email": f"{number}@example.com", "title": f"by {writer}"} for number in range(1_000)]
        random.Random(writer).shuffle(rows)  # noqa: S311  (another order for each)
        sent = json.dumps({"query": text, "variables": {"rows": rows}})
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        answer = (await client.post("/graphql", content=sent, headers=headers, timeout=300)).json()
        assert "errors" not in answer, answer["errors"]
        return [(row["email"], result) for row, result in zip(rows, answer["data"]["leadUpsertMany"]["results"], strict=True)]

    transport = httpx2.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport, base_url="http://leadgraph.example") as client:
        told = await asyncio.gather(*[write(client, writer) for writer in range(8)])
    outcomes: dict[str, list[str]] = {}
    ids: dict[str, set[str]] = {}
    for email, result in (each for results in told for each in results):
        outcomes.setdefault(email, []).append(result["outcome"])
        ids.setdefault(email, set()).add(result["leadId"])
    assert {tuple(sorted(each)) for each in outcomes.values()} == {("CREATED", *["UPDATED"] * 7)}
    async with database.writing() as connection:
        work = Work(connection, caller)
        kept = await work.rows(sa.select(LEAD.c.id, LEAD.c.email, LEAD.c.version).where(LEAD.c.workspace_id == HERE))
        kinds = sa.select(ACTIVITY.c.kind, sa.func.count().label("count")).where(
            ACTIVITY.c.workspace_id == HERE, ACTIVITY.c.lead_id.is_not(None)
        )
        logged = {row["kind"]: row["count"] for row in await work.rows(kinds.group_by(ACTIVITY.c.kind))}
    assert {row["email"]: {row["id"]} for row in kept} == ids
    assert {row["version"] for row in kept} == {8}
    assert (len(kept), logged["LEAD_CREATED"], logged["LEAD_UPDATED"]) == (1_000, 1_000, 7_000)


@pytest.mark.parametrize("outcomes", [["FAILED"], ["CREATED", "SKIPPED"], [], None])
async def test_results_may_be_narrowed_to_some_outcomes(api, outcomes):
    text = (
        "mutation($rows: [LeadRow!]!, $outcomes: [RowOutcome!]) { leadUpsertMany(input: {leads: $rows, onMatch: SKIP}) "
        "{ summary { total } results(outcomes: $outcomes) { index outcome } } }"
    )
    rows = [{"email": "a@example.com"}, {"email": "no"}, {"email": "a@example.com", "title": "CTO"}]
    done = (await api(text, rows=rows, **({} if outcomes is None else {"outcomes": outcomes})))["leadUpsertMany"]
    every = [(0, "CREATED"), (1, "FAILED"), (2, "SKIPPED")]
    assert [(row["index"], row["outcome"]) for row in done["results"]] == [row for row in every if outcomes is None or row[1] in outcomes]
    assert done["summary"]["total"] == 3
