"""The activity log: everything that happened, in the order of commits. All else that tells of the past reads it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from app.actions.reads import Read
from app.actions.triggers import set_off
from app.actions.work import Work
from app.database import insert_rows, table_of
from app.readers import Reading
from app.rules.folding import fold
from app.rules.ids import new_id
from app.tables import Activity, WorkspaceCounter

ACTIVITY = table_of(Activity)
_COUNTER = table_of(WorkspaceCounter)


class ActivityKind(StrEnum):
    """What may happen."""

    LEAD_CREATED = "LEAD_CREATED"
    LEAD_UPDATED = "LEAD_UPDATED"
    LEAD_DELETED = "LEAD_DELETED"
    STATUS_CHANGED = "STATUS_CHANGED"
    ASSIGNED = "ASSIGNED"
    SCORED = "SCORED"
    CAMPAIGN_JOINED = "CAMPAIGN_JOINED"
    CAMPAIGN_LEFT = "CAMPAIGN_LEFT"
    EMAIL_SCHEDULED = "EMAIL_SCHEDULED"
    EMAIL_SENT = "EMAIL_SENT"
    EMAIL_FAILED = "EMAIL_FAILED"
    EMAIL_CANCELLED = "EMAIL_CANCELLED"
    CAMPAIGN_CREATED = "CAMPAIGN_CREATED"
    CAMPAIGN_UPDATED = "CAMPAIGN_UPDATED"
    CAMPAIGN_DELETED = "CAMPAIGN_DELETED"
    ADMINISTERED = "ADMINISTERED"
    LEAD_ERASED = "LEAD_ERASED"
    EVENT = "EVENT"


@dataclass(slots=True)
class Entry:
    """Something that happened and is not yet in the log; who did it, when and in which batch `record` knows."""

    kind: ActivityKind
    lead_id: str | None = None
    campaign_id: str | None = None
    email_id: str | None = None
    subject_id: str | None = None
    event: str | None = None
    status: str | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    distinct_id: str | None = None
    occurred_at: datetime | None = None


_TAKE_NUMBERS = (
    sa.update(_COUNTER)
    .values(sequence=_COUNTER.c.sequence + sa.bindparam("count", type_=sa.BigInteger))
    .where(_COUNTER.c.workspace_id == sa.bindparam("workspace"))
    .returning(_COUNTER.c.sequence)
)


_LAST = Read(sa.select(_COUNTER.c.sequence).where(_COUNTER.c.workspace_id == sa.bindparam("workspace")))


async def last_sequence(reading: Reading, workspace: str) -> int:
    """Give the number of the last activity that is committed, 0 before the first. Whoever reads the log after this sees all up to it."""
    rows = await _LAST.rows(reading, workspace=workspace)
    return int(rows[0]["sequence"]) if rows else 0


async def record(work: Work, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Write what happened to the log, in the order given, queue what that sets off, and give the rows.

    Call it when the business rows are written: from here to the commit nobody else of the workspace gets a number.
    """
    return await record_rows(work, [*map(unnumbered(work), entries)])


async def record_rows(work: Work, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Do what `record` does with entries that are `unnumbered` rows already."""
    if not rows:
        return []
    for sequence, row in enumerate(rows, await numbered(work, len(rows))):
        row["sequence"] = sequence
    await work.beside(insert_rows(work.connection, ACTIVITY, rows, in_blocks=work.in_chunks))
    await set_off(work, lambda: rows)
    return rows


async def numbered(work: Work, count: int) -> int:
    """Take so many numbers of the log, and give the first of them."""
    last = int((await work.rows(_TAKE_NUMBERS, {"count": count}))[0]["sequence"])
    first = last - count + 1
    work.recorded = (work.recorded[0] if work.recorded else first, last)
    return first


def unnumbered(work: Work) -> Callable[[Entry], dict[str, Any]]:
    """Give what makes the row of an entry, its number still 0. What all have in common is looked up once."""
    alike = {
        "workspace_id": work.workspace,
        "sequence": 0,
        "event": None,
        "event_folded": None,
        "actor_id": work.caller.actor_id,
        "occurred_at": work.now,
        "recorded_at": work.now,
        "batch_id": work.batch_id,
        "request_id": work.request_id,
    }

    def row_of(entry: Entry) -> dict[str, Any]:
        row = {
            **alike,
            "id": new_id("act"),
            "kind": entry.kind.value,
            "lead_id": entry.lead_id,
            "campaign_id": entry.campaign_id,
            "email_id": entry.email_id,
            "subject_id": entry.subject_id,
            "status": entry.status,
            "changes": entry.changes,
            "attributes": entry.attributes,
            "distinct_id": entry.distinct_id,
        }
        if entry.event is not None:
            row |= {"event": entry.event, "event_folded": fold(entry.event)}
        if entry.occurred_at is not None:
            row["occurred_at"] = entry.occurred_at
        return row

    return row_of


async def administered(work: Work, event: str, subject_id: str, changes: Sequence[dict[str, Any]] = ()) -> None:
    """Log that a user, key or rule was changed; `event` says which and how: `user.created`. Never a secret in `changes`."""
    await record(work, [Entry(ActivityKind.ADMINISTERED, subject_id=subject_id, event=event, changes=list(changes))])
