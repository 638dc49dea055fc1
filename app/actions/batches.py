"""Batches: writes that belong together, can be looked up later and undone together."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from app.actions.work import Work
from app.database import insert_rows, table_of
from app.rules.ids import new_id
from app.tables import Batch

BATCH = table_of(Batch)

#: What a summary counts beside `total`, which is the sum of these.
COUNTS = ("created", "updated", "unchanged", "skipped", "failed", "deleted")


class BatchKind(StrEnum):
    """What a batch does."""

    UPSERT = "UPSERT"
    IMPORT = "IMPORT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    EVENTS = "EVENTS"
    UNDO = "UNDO"


class JobStatus(StrEnum):
    """How far a batch has come."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


def summary_of(counts: Mapping[str, int]) -> dict[str, int]:
    """Give a whole `BatchSummary`, with its total, from the counts that are not zero."""
    each = {name: counts.get(name, 0) for name in COUNTS}
    return {"total": sum(each.values()), **each}


async def write_batch(work: Work, batch_id: str, kind: BatchKind, summary: Mapping[str, int]) -> None:
    """Write a batch that is done within this transaction."""
    await _insert(work, batch_id, kind, JobStatus.SUCCEEDED, summary)


async def open_batch(work: Work, kind: BatchKind) -> str:
    """Begin a batch of several transactions, RUNNING, and give its id."""
    batch_id = new_id("bat")
    await _insert(work, batch_id, kind, JobStatus.RUNNING, {})
    return batch_id


async def _insert(work: Work, batch_id: str, kind: BatchKind, status: JobStatus, summary: Mapping[str, int]) -> None:
    done = status is JobStatus.SUCCEEDED
    row = {
        "workspace_id": work.workspace,
        "id": batch_id,
        "kind": kind.value,
        "status": status.value,
        "progress": 100 if done else 0,
        "actor_id": work.caller.actor_id,
        "created_at": work.now,
        "finished_at": work.now if done else None,
        **{name: summary.get(name, 0) for name in COUNTS},
    }
    await insert_rows(work.connection, BATCH, [row])


_MINE = (BATCH.c.workspace_id == sa.bindparam("workspace"), BATCH.c.id == sa.bindparam("batch"))
_ADD = sa.update(BATCH).values({name: BATCH.c[name] + sa.bindparam(f"more_{name}", type_=sa.Integer) for name in COUNTS}).where(*_MINE)


async def add_counts(work: Work, batch_id: str, summary: Mapping[str, int], *, progress: int | None = None) -> None:
    """Add a chunk's outcomes to a running batch; `progress` in hundredths, unchanged for None."""
    statement = _ADD if progress is None else _ADD.values(progress=progress)
    await work.run(statement, {"batch": batch_id, **{f"more_{name}": summary.get(name, 0) for name in COUNTS}})


async def close_batch(work: Work, batch_id: str, status: JobStatus, error: str | None = None) -> None:
    """End a running batch as SUCCEEDED, FAILED or CANCELLED; `error` says why it is not the first."""
    values: dict[str, Any] = {"status": status.value, "error": error, "finished_at": work.now}
    if status is JobStatus.SUCCEEDED:
        values["progress"] = 100
    await work.run(sa.update(BATCH).values(values).where(*_MINE), {"batch": batch_id})
