"""Taking a batch back: what it created goes, what it changed returns, what it deleted comes back, unless that has changed since.

An undo is itself a batch, and can be undone. What it does is read off the log; above 10,000 leads it goes on as a job in chunks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from app.actions import batches, jobs, references
from app.actions.activities import ACTIVITY, ActivityKind
from app.actions.batches import BATCH, BatchKind, JobStatus
from app.actions.emails import EMAIL, EmailStatus
from app.actions.known_leads import KnownLeads, load_known, load_named
from app.actions.lead_changes import Move, settle
from app.actions.lead_removal import TAKEN, remove
from app.actions.lead_rows import Refused, changed_lead, new_lead
from app.actions.races import going_round
from app.actions.undo_deltas import TELLING, Delta, as_patch, is_as_made, same, state_of
from app.actions.work import Work
from app.database import among, insert_rows, listed, table_of
from app.errors import Conflict, NotFound
from app.rules.emails import email_key
from app.rules.fields import read_input
from app.tables import BatchLead, UndoConflict, User

#: More leads than this are a job's.
AT_ONCE = 10_000
#: Leads of one transaction of a job.
CHUNK = 2_000
#: The kind of the job.
JOB = "batch.undo"
jobs.GIVEN_UP[JOB] = batches.give_up

_TARGET = table_of(BatchLead)
_CONFLICT = table_of(UndoConflict)
_USER = table_of(User)
_LOG_ENDS = 2**62
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
        "last": batch["last_sequence"] or _LOG_ENDS,
    }
    payload["total"] = count = await work.run(_TAKE_DOWN, _binds(payload))
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
_LOCKED = sa.select(BATCH).where(*_MINE).with_for_update()
_FROM, _TO = sa.bindparam("first", type_=sa.BigInteger), sa.bindparam("last", type_=sa.BigInteger)
_OF_BATCH = (ACTIVITY.c.workspace_id == sa.bindparam("workspace"), ACTIVITY.c.batch_id == sa.bindparam("batch", type_=sa.Text))
_ITS = (*_OF_BATCH, ACTIVITY.c.sequence.between(_FROM, _TO))
_TAKE_DOWN = sa.insert(_TARGET).from_select(
    ["workspace_id", "batch_id", "lead_id"],
    sa.select(sa.bindparam("workspace", type_=sa.Text), sa.bindparam("undo", type_=sa.Text), ACTIVITY.c.lead_id)
    .where(*_ITS, ACTIVITY.c.kind.in_([kind.value for kind in TELLING]), ACTIVITY.c.lead_id.is_not(None))
    .distinct(),
    include_defaults=False,
)


def _binds(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"batch": payload["undoes"], "undo": payload["batchId"], "first": payload["first"], "last": payload["last"]}


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
    targets = [row["lead_id"] for row in await work.rows(_NEXT, {"batch": payload["batchId"], "most": most})]
    if not targets:
        return 0, 0
    deltas = await _deltas(work, payload, targets, brief=True)
    deltas |= await _deltas(work, payload, [lead_id for lead_id, delta in deltas.items() if delta.brief and not delta.only_created])

    async def attempt() -> "_Decided":
        decided = await _decide(work, payload, deltas)
        # Those that go make room for those that come back.
        await remove(work, decided.gone)
        await settle(work, decided.moves)
        await insert_rows(work.connection, EMAIL, decided.emails)
        return decided

    decided = await going_round(work, attempt)
    rows = [
        {"workspace_id": work.workspace, "batch_id": payload["batchId"], "position": place, "lead_id": lead_id, "field": name}
        for place, (lead_id, name) in enumerate(decided.conflicts, position)
    ]
    await insert_rows(work.connection, _CONFLICT, rows)
    await work.run(_STRUCK, {"batch": payload["batchId"], "least": targets[-1]})
    await batches.add_counts(work, payload["batchId"], decided.counts, progress=progress)
    return len(targets), len(rows)


_HERE = (_TARGET.c.workspace_id == sa.bindparam("workspace"), _TARGET.c.batch_id == sa.bindparam("batch", type_=sa.Text))
# The youngest first: a lead that the batch created may have what one that it changed gave up.
_NEXT = sa.select(_TARGET.c.lead_id).where(*_HERE).order_by(_TARGET.c.lead_id.desc()).limit(sa.bindparam("most", type_=sa.Integer))
# So all that come after the last of those: a list of them PostgreSQL compares with every lead that is left, before it knows the table.
_STRUCK = sa.delete(_TARGET).where(*_HERE, _TARGET.c.lead_id >= sa.bindparam("least", type_=sa.Text))


async def _deltas(work: Work, payload: Mapping[str, Any], lead_ids: Sequence[str], *, brief: bool = False) -> dict[str, Delta]:
    """Read off the log what the batch did to these leads; `brief`: of one that it created outside of campaigns, no more than that."""
    deltas = {lead_id: Delta() for lead_id in lead_ids}
    if deltas:
        leads = {"leads": listed(lead_ids, postgres=work.postgres)}
        told = await work.rows(_told(brief=brief, postgres=work.postgres), {**_binds(payload), **leads})
        # Sorted here: asked for in their order, SQLite would walk the whole log for it.
        for row in sorted(told, key=itemgetter("sequence")):
            deltas[row["lead_id"]].add(row)
    return deltas


def _of_leads(table: sa.Table, columns: Sequence[sa.ColumnElement[Any]], *where: sa.ColumnElement[bool], postgres: bool) -> sa.Select[Any]:
    """Read what a table holds of leads, `:leads`.

    Lead by lead, each from the index of leads: with a list of them PostgreSQL would read all that a batch wrote, once for each chunk.
    """
    where = (table.c.workspace_id == sa.bindparam("workspace"), *where)
    if not postgres:
        return sa.select(*columns).where(*where, among(table.c.lead_id, "leads", postgres=False))
    lead = sa.func.unnest(sa.bindparam("leads", type_=pg.ARRAY(sa.Text))).table_valued("lead_id").render_derived("one")
    each = sa.select(*columns).where(*where, table.c.lead_id == lead.c.lead_id).offset(sa.literal_column("0")).lateral("each")
    return sa.select(each).select_from(lead, each)


@cache
def _told(*, brief: bool, postgres: bool) -> sa.Select[Any]:
    # A sum, for which no index stands: else either database may read all that the batch wrote, once for each lead or each chunk.
    within = (ACTIVITY.c.sequence + sa.literal_column("0")).between(_FROM, _TO)
    changes: sa.ColumnElement[Any] = ACTIVITY.c.changes
    if brief:
        text: Any = sa.cast(changes, sa.Text) if postgres else sa.type_coerce(changes, sa.Text)
        joined = (sa.func.strpos if postgres else sa.func.instr)(text, sa.literal_column("""'"field":"campaigns"'"""))
        created = ACTIVITY.c.kind == sa.literal_column(f"'{ActivityKind.LEAD_CREATED}'")
        changes = sa.case((sa.and_(created, joined == sa.literal_column("0")), sa.null()), else_=changes).label("changes")
    columns = [ACTIVITY.c.lead_id, ACTIVITY.c.kind, ACTIVITY.c.sequence, changes]
    return _of_leads(ACTIVITY, columns, *_OF_BATCH, within, postgres=postgres)


@dataclass(slots=True)
class _Decided:
    """What is to be done, and what is left alone."""

    known: KnownLeads
    campaigns: set[str]
    users: set[str]
    contacted: set[str]
    gone: list[Row] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    emails: list[Row] = field(default_factory=list)
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1


async def _decide(work: Work, payload: Mapping[str, Any], deltas: dict[str, Delta]) -> _Decided:
    """Look at what is there now, and decide each lead, the latest change first."""
    others = [delta for delta in deltas.values() if not delta.only_created]
    known = await _known(work, deltas)
    # Of those that it created, and that have changed since, all that it gave them is compared.
    deltas |= await _deltas(work, payload, [each for each, delta in deltas.items() if delta.brief and _has_changed(known.by_id.get(each))])
    made = [lead_id for lead_id, delta in deltas.items() if delta.created and lead_id in known.by_id]
    left = {campaign_id for delta in others for campaign_id in delta.left()}
    users = {user for delta in others if (user := delta.before.get("assignee")) is not None}
    decided = _Decided(
        known,
        campaigns=await references.known_campaigns(work, left) if left else set(),
        users=await _known_users(work, users) if users else set(),
        contacted=await _contacted(work, made) if made else set(),
    )
    for lead_id, delta in sorted(deltas.items(), key=lambda item: -item[1].last):
        lead = known.by_id.get(lead_id)
        if delta.deleted:
            _bring_back(work, decided, lead_id, delta)
        elif lead is None:
            decided.count("unchanged")
        elif delta.created:
            _take_away(decided, lead, delta)
        else:
            _change_back(work, decided, lead, delta)
    return decided


def _has_changed(lead: Row | None) -> bool:
    return lead is not None and lead["version"] != 1


async def _known(work: Work, deltas: Mapping[str, Delta]) -> KnownLeads:
    """Read the leads, and those that have by now what one of them had: where all are to go, no more of them than that takes."""
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
    sent = _of_leads(EMAIL, [EMAIL.c.lead_id], gone_out, postgres=work.postgres)
    events = _of_leads(ACTIVITY, [ACTIVITY.c.lead_id], ACTIVITY.c.kind == ActivityKind.EVENT.value, postgres=work.postgres)
    return {row["lead_id"] for row in await work.rows(sa.union(sent, events), binds)}


def _take_away(decided: _Decided, lead: Row, delta: Delta) -> None:
    if lead["id"] in decided.contacted or not is_as_made(delta, lead, decided.known.campaigns[lead["id"]]):
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
    decided.moves.append(Move(lead, after_row, held, is_in, unscored=delta.scored_first() and not conflicts))
    decided.known.put(after_row, is_in)
    decided.count("updated")


def _readable(values: Mapping[str, Any], conflicts: list[str]) -> dict[str, Any]:
    """Read fields of the log into columns; one that is no longer a good value is a conflict."""
    fields, errors = read_input(as_patch({name: value for name, value in values.items() if name != "assignee"}), clearing=True)
    conflicts += [error.field for error in errors if error.field is not None]
    return fields


def _with(work: Work, decided: _Decided, lead: Row, fields: dict[str, Any], conflicts: list[str]) -> Row:
    """Give the lead with these columns, but for an address or a CRM id that may not be given to it any more."""
    for column, also, name in (("email_key", "email", "email"), ("crm_id", "crm_id", "crmId")):
        try:
            decided.known.refuse_taken({key: fields[key] for key in (column, also) if key in fields}, lead["id"])
        except Refused:
            fields = {key: value for key, value in fields.items() if key not in (column, also)}
            conflicts.append(name)
    try:
        return changed_lead(work, lead, fields)
    except Refused as refused:
        conflicts.append(refused.error.field or "lead")
        return lead


def _bring_back(work: Work, decided: _Decided, lead_id: str, delta: Delta) -> None:
    if lead_id in decided.known.by_id:
        decided.count("unchanged")
        return
    fields, errors = read_input(delta.fields_before(), clearing=False)
    if errors or not fields or _is_taken(decided, fields):  # by another lead; without a field, it was erased from the log
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


def _is_taken(decided: _Decided, fields: Mapping[str, Any]) -> bool:
    try:
        decided.known.refuse_taken(fields)
    except Refused:
        return True
    return False


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
