"""Changing or deleting all leads that a filter finds: in the request's transaction, or above 10,000 as a job in chunks.

A job's leads are taken down when it is asked for (`batch_lead`), and struck out chunk by chunk: a later chunk passes over those that are
gone, or that the filter no longer finds.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from app.actions import batches, jobs, references
from app.actions.batches import BatchKind, JobStatus, summary_of
from app.actions.known_leads import NOWHERE
from app.actions.lead_changes import Move, settle
from app.actions.lead_removal import remove
from app.actions.lead_rows import Refused, changed_lead
from app.actions.leads import as_error
from app.actions.races import going_round
from app.actions.scorer import memberships
from app.actions.work import Work
from app.database import among, listed, table_of
from app.errors import BadUserInput, Conflict, UserNotFound
from app.rules.fields import FieldError, read_input
from app.tables import BatchLead

#: More leads than this are a job's.
AT_ONCE = 10_000
#: Leads of one transaction of a job.
CHUNK = 1_000

_TARGET = table_of(BatchLead)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The leads that a filter finds."""

    lead: sa.FromClause  #: An alias of the table.
    conditions: Sequence[sa.ColumnElement[bool]]  #: On it, the workspace's among them.
    binds: Mapping[str, Any]
    where: Mapping[str, Any]  #: What was asked, for a job that has to ask it again.


@dataclass(frozen=True, slots=True)
class ManyReport:
    """What became of the leads that were found: their number, the counts, the batch, and their ids where it was done at once."""

    count: int
    summary: dict[str, int]
    batch_id: str | None
    lead_ids: list[str] | None


@dataclass(slots=True)
class Outcome:
    """What became of some leads."""

    counts: dict[str, int]
    error: str | None = None  #: Of the first that failed.


@dataclass(frozen=True, slots=True)
class _Deed:
    """What is done to each of the leads; without `write` it is only decided."""

    kind: BatchKind
    payload: dict[str, Any]  #: What it takes to do it again, in a job.
    apply: Callable[[Sequence[Row], bool], Awaitable[Outcome]]


async def update_many(work: Work, chosen: Chosen, patch: Mapping[str, Any], *, expected_count: int, dry_run: bool = False) -> ManyReport:
    """Set the fields that `patch` names on all leads that are chosen (None clears; `attributes` merge by key).

    A lead that the patch would leave without anything to know it by, or with too many attributes, stays as it is and counts as failed.
    Raises Conflict with `currentCount` where other than `expected_count` are chosen, BadUserInput, UserNotFound.
    """
    for name in ("email", "crmId"):
        if name in patch:
            raise BadUserInput(f"patch.{name}: no two leads share one; change them one by one", argument=f"patch.{name}")
    fields, errors = read_input(patch, clearing=True)
    _refuse(errors)

    async def attempt() -> ManyReport:
        payload: dict[str, Any] = {"patch": {name: value for name, value in patch.items() if name != "assignee"}}
        if "assignee" in patch:
            fields["assignee_id"] = payload["assigneeId"] = await references.user_id(work, patch["assignee"], "patch.assignee")
        deed = _Deed(BatchKind.UPDATE, payload, lambda leads, write: _update(work, leads, fields, write=write))
        return await _many(work, chosen, deed, expected_count, dry_run=dry_run)

    return await going_round(work, attempt, keep=not dry_run)


def _refuse(errors: Sequence[FieldError]) -> None:
    if errors:
        raise as_error(errors[0], "patch")


async def delete_many(work: Work, chosen: Chosen, *, expected_count: int, dry_run: bool = False) -> ManyReport:
    """Delete all leads that are chosen, as `leads.delete` does.

    Raises Conflict with `currentCount` where other than `expected_count` are chosen.
    """

    async def attempt() -> ManyReport:
        deed = _Deed(BatchKind.DELETE, {}, lambda leads, write: _delete(work, leads, write=write))
        return await _many(work, chosen, deed, expected_count, dry_run=dry_run)

    return await going_round(work, attempt, keep=not dry_run)


async def _many(work: Work, chosen: Chosen, deed: _Deed, expected_count: int, *, dry_run: bool) -> ManyReport:
    leads = await _locked(work, chosen, limit=AT_ONCE + 1)
    if len(leads) > AT_ONCE:
        return await _many_more(work, chosen, deed, expected_count, dry_run=dry_run)
    _expect(expected_count, len(leads))
    with batches.batch_of(work) as batch_id:
        outcome = await deed.apply(leads, not dry_run)
        summary = summary_of(outcome.counts)
        if not dry_run:
            await batches.write_batch(work, batch_id, deed.kind, summary, outcome.error)
    return ManyReport(len(leads), summary, None if dry_run else batch_id, [lead["id"] for lead in leads])


def _expect(expected_count: int, count: int) -> None:
    if count != expected_count:
        message = f"expectedCount {expected_count}: the filter finds {count}; look at them, and decide anew"
        raise Conflict(message, argument="expectedCount", currentCount=count)


async def _many_more(work: Work, chosen: Chosen, deed: _Deed, expected_count: int, *, dry_run: bool) -> ManyReport:
    """Take the leads down for a job, or for a dry run decide them all; that takes nothing from anybody but time."""
    batch_id = await batches.open_batch(work, deed.kind, JobStatus.PENDING)
    count = await work.run(_take_down(chosen), {**chosen.binds, "batch": batch_id})
    _expect(expected_count, count)
    if dry_run:
        counts: dict[str, int] = {}
        for start in range(0, count, AT_ONCE):
            outcome = await deed.apply(await _locked(work, chosen, limit=AT_ONCE, skip=start), False)
            counts = {name: counts.get(name, 0) + outcome.counts.get(name, 0) for name in {*counts, *outcome.counts}}
        return ManyReport(count, summary_of(counts), None, None)
    asked = {"batchId": batch_id, "where": chosen.where, "total": count, "actorId": work.caller.actor_id, "requestId": work.request_id}
    await jobs.queue(work, JOBS[deed.kind], {**asked, **deed.payload})
    return ManyReport(count, summary_of({}), batch_id, None)


def _take_down(chosen: Chosen) -> sa.Insert:
    each = sa.select(sa.bindparam("workspace", type_=sa.Text), sa.bindparam("batch", type_=sa.Text), chosen.lead.c.id)
    names = ["workspace_id", "batch_id", "lead_id"]
    return sa.insert(_TARGET).from_select(names, each.where(*chosen.conditions), include_defaults=False)


async def _locked(work: Work, chosen: Chosen, *, limit: int, skip: int = 0, among_ids: Sequence[str] | None = None) -> list[Row]:
    """Give the leads that are chosen, in the order of their ids, locked until the transaction ends."""
    asked = sa.select(*chosen.lead.c).where(*chosen.conditions)
    binds = {**chosen.binds, "most": limit, "skip": skip}
    if among_ids is not None:
        asked = asked.where(among(chosen.lead.c.id, "targets", postgres=work.postgres))
        binds["targets"] = listed(among_ids, postgres=work.postgres)
    asked = asked.order_by(chosen.lead.c.id).limit(sa.bindparam("most", type_=sa.Integer)).offset(sa.bindparam("skip", type_=sa.Integer))
    return await work.rows(asked.with_for_update(of=chosen.lead), binds)


async def _update(work: Work, leads: Sequence[Row], fields: Mapping[str, Any], *, write: bool) -> Outcome:
    held = await memberships(work, [lead["id"] for lead in leads]) if write else {}
    outcome = Outcome({"updated": 0, "unchanged": 0, "failed": 0})
    moves = []
    for lead in leads:
        try:
            after = changed_lead(work, lead, fields)
        except Refused as refused:
            outcome.counts["failed"] += 1
            outcome.error = outcome.error or f"{lead['id']}: {refused.error.message}"
            continue
        outcome.counts["unchanged" if after is lead else "updated"] += 1
        if after is not lead and write:
            campaigns = held.get(lead["id"], NOWHERE)
            moves.append(Move(lead, after, campaigns, campaigns))
    await settle(work, moves)
    return outcome


async def _delete(work: Work, leads: Sequence[Row], *, write: bool) -> Outcome:
    if write:
        await remove(work, leads)
    return Outcome({"deleted": len(leads)})


#: The kind of the job that goes on with a batch.
JOBS = {BatchKind.UPDATE: "leads.update", BatchKind.DELETE: "leads.delete"}
jobs.GIVEN_UP.update(dict.fromkeys(JOBS.values(), batches.give_up))


async def step(work: Work, job: Row, chosen: Chosen) -> tuple[dict[str, Any] | None, int]:
    """Take the next 1,000 leads of a batch; give where to go on (None at its end) and the progress in hundredths."""
    payload = job["payload"]
    batch_id = payload["batchId"]
    at_work = batches.work_of(work, payload)
    done = (job["checkpoint"] or {"done": 0})["done"]
    targets = [row["lead_id"] for row in await work.rows(_NEXT, {"batch": batch_id, "most": CHUNK})]
    if not targets:
        await batches.close_batch(work, batch_id, JobStatus.SUCCEEDED)
        return None, 100
    fields, _errors = read_input(payload.get("patch", {}), clearing=True)
    if "assigneeId" in payload:
        try:
            user = None if payload["assigneeId"] is None else {"id": payload["assigneeId"]}
            fields["assignee_id"] = await references.user_id(work, user, "patch.assignee")
        except UserNotFound as error:
            await batches.close_batch(work, batch_id, JobStatus.FAILED, f"patch.assignee: {error.message}")
            return None, 100
    leads = await _locked(at_work, chosen, limit=CHUNK, among_ids=targets)
    if job["kind"] == JOBS[BatchKind.UPDATE]:
        outcome = await _update(at_work, leads, fields, write=True)
    else:
        outcome = await _delete(at_work, leads, write=True)
    await work.run(_struck(postgres=work.postgres), {"batch": batch_id, "leads": listed(targets, postgres=work.postgres)})
    done += len(targets)
    progress = min(99, 100 * done // max(1, payload["total"]))
    outcome.counts["skipped"] = len(targets) - len(leads)
    await batches.add_counts(at_work, batch_id, outcome.counts, progress=progress, error=outcome.error)
    return {"done": done}, progress


_ITS = (
    _TARGET.c.workspace_id == sa.bindparam("workspace"),
    _TARGET.c.batch_id == sa.bindparam("batch", type_=sa.Text),
    _TARGET.c.sequence == sa.literal_column("0"),  # it stands in the key before the leads
)
_NEXT = sa.select(_TARGET.c.lead_id).where(*_ITS).order_by(_TARGET.c.lead_id).limit(sa.bindparam("most", type_=sa.Integer))


@cache
def _struck(*, postgres: bool) -> sa.Delete:
    return sa.delete(_TARGET).where(*_ITS, among(_TARGET.c.lead_id, "leads", postgres=postgres))
