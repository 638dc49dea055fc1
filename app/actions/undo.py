"""Taking a batch back: what it created goes, what it changed returns, what it deleted comes back, unless that has changed since.

An undo is itself a batch, and can be undone. What it does is read off the log; above 10,000 leads it goes on as a job in chunks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.actions import batches, jobs, references, undo_targets
from app.actions.activities import ACTIVITY, ActivityKind
from app.actions.batches import BATCH, BatchKind, JobStatus
from app.actions.emails import EMAIL, EmailStatus
from app.actions.known_leads import UNIQUE, KnownLeads, load_known, load_named
from app.actions.lead_changes import Move, settle
from app.actions.lead_removal import TAKEN, remove
from app.actions.lead_rows import Refused, changed_lead, new_lead
from app.actions.races import going_round
from app.actions.undo_deltas import Delta, as_patch, is_as_made, same, state_of
from app.actions.undo_targets import LOG_ENDS, along_with, deltas_of, of_leads
from app.actions.work import Work
from app.database import among, insert_rows, listed, table_of
from app.errors import Conflict, NotFound
from app.rules.emails import email_key
from app.rules.fields import LEAD_FIELDS, read_input
from app.tables import UndoConflict, User

#: More leads than this are a job's.
AT_ONCE = 10_000
#: Leads of one transaction of a job.
CHUNK = 2_000
#: Of later chunks, about as many come along with one at most: those that exchanged e-mail addresses or CRM ids with leads of it.
ALONG = 2_000
#: The kind of the job.
JOB = "batch.undo"
jobs.GIVEN_UP[JOB] = batches.give_up

_CONFLICT = table_of(UndoConflict)
_USER = table_of(User)
Row = dict[str, Any]


class BatchNotFound(NotFound):
    """There is no such batch in your workspace."""


async def undo(work: Work, batch_id: str) -> str:
    """Take a batch back and give the id of the batch that does.

    Raises BatchNotFound; Conflict where it still runs, was undone, or is of events.
    """
    references.checked(batch_id, "id")
    batch = await work.row(_LOCKED, {"batch": batch_id})
    if batch is None:
        raise BatchNotFound(argument="id")
    _refuse(batch)
    undo_id = await batches.open_batch(work, BatchKind.UNDO, JobStatus.PENDING, undoes_id=batch_id)
    payload = {
        "batchId": undo_id,
        "undoes": batch_id,
        "actorId": work.caller.actor_id,
        "requestId": work.request_id,
        "first": batch["first_sequence"] or 0,
        "last": batch["last_sequence"] or LOG_ENDS,
    }
    payload["total"] = count = await undo_targets.take_down(work, payload)
    await batches.mark_undone(work, batch, undo_id)
    if count > AT_ONCE:
        await jobs.queue(work, JOB, payload)
        return undo_id
    undoing = replace(work, batch_id=undo_id)
    await _take_back(undoing, payload, AT_ONCE, position=0, progress=100)
    await batches.close_batch(work, undo_id, JobStatus.SUCCEEDED)
    return undo_id


def _refuse(batch: Mapping[str, Any]) -> None:
    if batch["status"] in (JobStatus.PENDING, JobStatus.RUNNING):
        raise Conflict(f"The batch is {batch['status']}: wait until it has ended, and undo it then.", argument="id")
    if batch["undone_at"] is not None:
        raise Conflict(f"The batch was undone already, by {batch['undone_by_id']}: undo that to have it back.", argument="id")
    if batch["kind"] == BatchKind.EVENTS:
        raise Conflict("Events are what happened, and cannot be undone.", argument="id")


_MINE = (BATCH.c.workspace_id == sa.bindparam("workspace"), BATCH.c.id == sa.bindparam("batch"))
#: By the name of a field, the columns that hold it.
_COLUMNS = {field.name: (field.column,) for field in LEAD_FIELDS} | {"email": ("email", "email_key")}
_LOCKED = sa.select(BATCH).where(*_MINE).with_for_update()


async def step(work: Work, job: Row) -> tuple[dict[str, Any] | None, int]:
    """Take the next 2,000 leads of an undo back; give where to go on (None at its end) and the progress in hundredths."""
    payload = job["payload"]
    at = job["checkpoint"] or {"done": 0, "conflicts": 0}
    progress = min(99, 100 * (at["done"] + CHUNK) // max(1, payload["total"]))
    count, conflicts = await _take_back(batches.work_of(work, payload), payload, CHUNK, position=at["conflicts"], progress=progress)
    if not count:
        await batches.close_batch(work, payload["batchId"], JobStatus.SUCCEEDED)
        return None, 100
    return {"done": at["done"] + count, "conflicts": at["conflicts"] + conflicts}, progress


async def _take_back(work: Work, payload: Mapping[str, Any], most: int, *, position: int, progress: int) -> tuple[int, int]:
    """Take the next leads back; give their number, and that of the conflicts."""
    taken = await undo_targets.next_ones(work, payload, most)
    if not taken:
        return 0, 0
    targets = [row["lead_id"] for row in taken]
    deltas = await deltas_of(work, payload, targets, brief=True)
    deltas |= await deltas_of(work, payload, [lead_id for lead_id, delta in deltas.items() if delta.brief and not delta.only_created])
    most_in_all = len(deltas) + ALONG

    async def attempt() -> "_Decided":
        decided = await _decide(work, payload, deltas, most_in_all)
        # Those that go make room for those that come back.
        await remove(work, decided.gone)
        await settle(work, decided.moves)
        # Those that came back with their lead before are still there: as they are cancelled, they outlived that it went once more.
        await insert_rows(work.connection, EMAIL, decided.emails, ignore=True)
        return decided

    decided = await going_round(work, attempt)
    rows = [
        {"workspace_id": work.workspace, "batch_id": payload["batchId"], "position": place, "lead_id": lead_id, "field": name}
        for place, (lead_id, name) in enumerate(decided.conflicts, position)
    ]
    await insert_rows(work.connection, _CONFLICT, rows)
    await undo_targets.strike(work, payload, taken[-1], deltas)
    await batches.add_counts(work, payload["batchId"], decided.counts, progress=progress)
    return len(deltas), len(rows)


@dataclass(slots=True)
class _Decided:
    """What is to be done, and what is left alone."""

    known: KnownLeads
    campaigns: set[str]
    users: set[str]
    contacted: set[str]
    ahead: set[str]  #: Those that are not decided yet.
    distrusted: set[tuple[str, str]]  #: Who gets in which column nothing on trust: it was found that its holder keeps it.
    trusted: list[tuple[str, str, str, str]] = field(default_factory=list)  #: Who was given on trust, in which column, what, of whom.
    gone: list[Row] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    emails: list[Row] = field(default_factory=list)
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def may_have(self, lead_id: str, fields: Mapping[str, Any], column: str) -> bool:
        """Tell whether nobody else has the value of a unique column; who is not decided yet is trusted to give it up."""
        value = fields.get(column)
        holder = self.known.owner(column, value)
        if value is None or holder is None or holder == lead_id:
            return True
        if holder not in self.ahead or (lead_id, column) in self.distrusted:
            return False
        self.trusted.append((lead_id, column, value, holder))
        return True

    def disappointed(self) -> set[tuple[str, str]]:
        """Give who got in which column what its holder kept after all, and who was to have what these keep now."""
        found = [(one, column) for one, column, value, holder in self.trusted if self.known.by_id.get(holder, {}).get(column) == value]
        by_holder: dict[tuple[str, str], list[str]] = {}
        for one, column, _, holder in self.trusted:
            by_holder.setdefault((holder, column), []).append(one)
        kept: set[tuple[str, str]] = set()
        while found:
            each = found.pop()
            if each not in kept:
                kept.add(each)
                found += [(one, each[1]) for one in by_holder.get(each, ())]
        return kept


async def _decide(work: Work, payload: Mapping[str, Any], deltas: dict[str, Delta], most: int) -> _Decided:
    """Look at what is there now, and decide each lead, the latest change first.

    A lead may have back what one that comes after it has: two can have exchanged it. Where that one then keeps it, all is decided anew.
    """
    known = await _known(work, payload, deltas, most)
    others = [delta for delta in deltas.values() if not delta.only_created]
    # Of those that it created, and that have changed since, all that it gave them is compared.
    deltas |= await deltas_of(
        work, payload, [each for each, delta in deltas.items() if delta.brief and _has_changed(known.by_id.get(each))]
    )
    made = [lead_id for lead_id, delta in deltas.items() if delta.created and lead_id in known.by_id]
    left = {campaign_id for delta in others for campaign_id in delta.left()}
    left |= {campaign_id for lead_id in made for campaign_id in deltas[lead_id].campaigns_of_new() - known.campaigns[lead_id]}
    users = {user for delta in others if (user := delta.before.get("assignee")) is not None}
    decided = _Decided(
        known,
        campaigns=await references.known_campaigns(work, left) if left else set(),
        users=await _known_users(work, users) if users else set(),
        contacted=await _contacted(work, made) if made else set(),
        ahead=set(deltas),
        distrusted=set(),
    )
    _decide_each(work, decided, deltas)
    while disappointed := decided.disappointed():
        known, distrusted = await _look_up(work, deltas), decided.distrusted | disappointed
        decided = _Decided(known, decided.campaigns, decided.users, decided.contacted, set(deltas), distrusted)
        _decide_each(work, decided, deltas)
    return decided


def _decide_each(work: Work, decided: _Decided, deltas: Mapping[str, Delta]) -> None:
    for lead_id, delta in deltas.items():
        decided.ahead.discard(lead_id)
        lead = decided.known.by_id.get(lead_id)
        if delta.deleted:
            _bring_back(work, decided, lead_id, delta)
        elif lead is None:
            decided.count("unchanged")
        elif delta.created:
            _take_away(decided, lead, delta)
        else:
            _change_back(work, decided, lead, delta)


def _has_changed(lead: Row | None) -> bool:
    return lead is not None and lead["version"] != 1


async def _known(work: Work, payload: Mapping[str, Any], deltas: dict[str, Delta], most: int) -> KnownLeads:
    """Read the leads, and those that have by now what one of them had.

    Of the latter, those that the undo still has before it come along: what leads exchanged they can have back only at once.
    """
    known = found = await _look_up(work, deltas)
    while len(deltas) < most and (holders := [lead_id for lead_id in found.by_id if lead_id not in deltas]):
        along = await along_with(work, payload, holders)
        if not along:
            break
        deltas |= along
        found = await _look_up(work, along)
        for lead_id, lead in found.by_id.items():
            known.put(lead, found.campaigns[lead_id])
    return known


async def _look_up(work: Work, deltas: Mapping[str, Delta]) -> KnownLeads:
    """Read the leads and those that have what one of them had: where all are to go, no more of them than that takes."""
    if all(delta.only_created for delta in deltas.values()):
        return await load_named(work, {"id": deltas, "email_key": (), "crm_id": ()}, columns=TAKEN)
    named = []
    for lead_id, delta in deltas.items():
        address = delta.before.get("email")
        named.append({"id": lead_id, "email_key": address and email_key(address), "crm_id": delta.before.get("crmId")})
    return await load_known(work, named)


async def _known_users(work: Work, ids: set[str]) -> set[str]:
    mine = (_USER.c.workspace_id == sa.bindparam("workspace"), among(_USER.c.id, "ids", postgres=work.postgres))
    asked = sa.select(_USER.c.id).where(*mine).order_by(_USER.c.id).with_for_update(read=True, key_share=True)
    return {row["id"] for row in await work.rows(asked, {"ids": listed(ids, postgres=work.postgres)})}


async def _contacted(work: Work, lead_ids: Sequence[str]) -> set[str]:
    """Tell to whom an e-mail went out or is going, and of whom an event was recorded."""
    binds = {"leads": listed(lead_ids, postgres=work.postgres)}
    gone_out = EMAIL.c.status.in_([EmailStatus.SENDING.value, EmailStatus.SENT.value])
    sent = of_leads(EMAIL, [EMAIL.c.lead_id], gone_out, postgres=work.postgres)
    events = of_leads(ACTIVITY, [ACTIVITY.c.lead_id], ACTIVITY.c.kind == ActivityKind.EVENT.value, postgres=work.postgres)
    return {row["lead_id"] for row in await work.rows(sa.union(sent, events), binds)}


def _take_away(decided: _Decided, lead: Row, delta: Delta) -> None:
    if lead["id"] in decided.contacted or not is_as_made(delta, lead, decided.known.campaigns[lead["id"]], decided.campaigns):
        decided.conflicts.append((lead["id"], "lead"))
        decided.count("skipped")
        return
    decided.gone.append(lead)
    decided.known.drop(lead["id"])
    decided.count("deleted")


def _change_back(work: Work, decided: _Decided, lead: Row, delta: Delta) -> None:
    state, held = state_of(lead), decided.known.campaigns[lead["id"]]
    conflicts: list[str] = []
    back: dict[str, Any] = {}
    for name, before, after in delta.changed():
        if same(state.get(name), after):
            back[name] = before
        elif not same(state.get(name), before):
            conflicts.append(name)
    fields = _readable(back, conflicts)
    if "assignee" in back:
        if back["assignee"] is None or back["assignee"] in decided.users:
            fields["assignee_id"] = back["assignee"]
        else:
            conflicts.append("assignee")
    rejoined = delta.left() - held
    if rejoined - decided.campaigns:
        conflicts.append("campaigns")
    is_in = (held - delta.joined()) | (rejoined & decided.campaigns)
    after_row = _with(work, decided, lead, fields, conflicts)
    decided.conflicts += [(lead["id"], name) for name in sorted(set(conflicts))]
    if after_row is lead and is_in == held:
        decided.count("skipped" if conflicts else "unchanged")
        return
    unscored = lead["quality_score"] is None or (delta.scored_first() and not conflicts)
    decided.moves.append(Move(lead, after_row, held, is_in, unscored=unscored))
    decided.known.put(after_row, is_in)
    decided.count("updated")


def _readable(values: Mapping[str, Any], conflicts: list[str]) -> dict[str, Any]:
    """Read fields of the log into columns; one that is no longer a good value is a conflict."""
    fields, errors = read_input(as_patch({name: value for name, value in values.items() if name != "assignee"}), clearing=True)
    conflicts += [error.field for error in errors if error.field is not None]
    return fields


def _with(work: Work, decided: _Decided, lead: Row, fields: dict[str, Any], conflicts: list[str]) -> Row:
    """Give the lead with these columns, but for those that may not be given to it any more."""
    for column, also, name in UNIQUE:
        if not decided.may_have(lead["id"], fields, column):
            fields = {key: value for key, value in fields.items() if key not in (column, also)}
            conflicts.append(name)
    while True:
        try:
            return changed_lead(work, lead, fields)
        except Refused as refused:
            name = refused.error.field or "lead"
            conflicts.append(name)
            left = {column: value for column, value in fields.items() if column not in _COLUMNS.get(name, ())}
            if len(left) == len(fields):
                return lead
            fields = left


def _bring_back(work: Work, decided: _Decided, lead_id: str, delta: Delta) -> None:
    if lead_id in decided.known.by_id:
        decided.count("unchanged")
        return
    fields, errors = read_input(delta.fields_before(), clearing=False)
    # Without a field, it was erased from the log.
    if errors or not fields or not all(decided.may_have(lead_id, fields, column) for column, _, _ in UNIQUE):
        decided.conflicts.append((lead_id, "lead"))
        decided.count("skipped")
        return
    was = delta.before
    row = new_lead(work, fields, source=str(fields.get("source") or ""))
    if not row["source"]:
        row |= {"source": None, "source_folded": None}
    row |= {"id": lead_id, "version": was["version"] + 1, "created_at": datetime.fromisoformat(was["createdAt"])}
    row["last_activity_at"] = None if was.get("lastActivityAt") is None else datetime.fromisoformat(was["lastActivityAt"])
    user = was.get("assignee")
    row["assignee_id"] = user if user in decided.users else None
    if row["assignee_id"] != user:
        decided.conflicts.append((lead_id, "assignee"))
    is_in = delta.left() & decided.campaigns
    if is_in != delta.left():
        decided.conflicts.append((lead_id, "campaigns"))
    decided.moves.append(Move(None, row, is_in=is_in, unscored=was.get("qualityScore") is None))
    decided.known.put(row, is_in)
    decided.emails += [_email(work, lead_id, each) for each in was.get("emails") or ()]
    decided.count("created")


def _email(work: Work, lead_id: str, was: Mapping[str, Any]) -> Row:
    """Give an unsent e-mail back to its lead: to be read, and not to be sent."""
    return {
        "workspace_id": work.workspace,
        "id": was["id"],
        "lead_id": lead_id,
        "campaign_id": was["campaignId"],
        "to_address": was["toAddress"],
        "subject": was["subject"],
        "body": was["body"],
        "status": EmailStatus.CANCELLED.value,
        "scheduled_at": datetime.fromisoformat(was["scheduledAt"]),
        "error": was["error"],
        "created_at": datetime.fromisoformat(was["createdAt"]),
    }
