"""Batches: writes that belong together, can be looked up later and undone together."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from app.actions.work import Work
from app.database import insert_rows, table_of
from app.rules.ids import new_id
from app.tables import Batch, BatchLead

BATCH = table_of(Batch)
#: What is said of a batch whose job the worker gave up.
GIVEN_UP = "Something unexpected kept it from going on: the log of the service says what."
_LEFT = table_of(BatchLead)

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


@contextmanager
def batch_of(work: Work) -> Iterator[str]:
    """Give all that is done inside the id of a new batch."""
    before = work.batch_id
    work.batch_id = new_id("bat")
    try:
        yield work.batch_id
    finally:
        work.batch_id = before


def work_of(work: Work, payload: Mapping[str, Any]) -> Work:
    """Give a job's work on a batch (`batchId`) to whoever asked for it (`actorId`, `requestId`)."""
    actor = payload["actorId"]
    caller = work.caller if actor is None else replace(work.caller, **{"api_key_id" if actor.startswith("key_") else "user_id": actor})
    return replace(work, caller=caller, batch_id=payload["batchId"], request_id=payload["requestId"])


async def write_batch(
    work: Work, batch_id: str, kind: BatchKind, summary: Mapping[str, int], error: str | None = None, **more: Any
) -> None:
    """Write a batch that is done within this transaction; `error` tells of rows that could not be."""
    await _insert(work, batch_id, kind, JobStatus.SUCCEEDED, summary, error=error, **more)


async def open_batch(work: Work, kind: BatchKind, status: JobStatus = JobStatus.RUNNING, **more: Any) -> str:
    """Begin a batch of several transactions, RUNNING or PENDING, and give its id."""
    batch_id = new_id("bat")
    await _insert(work, batch_id, kind, status, {}, **more)
    return batch_id


async def _insert(work: Work, batch_id: str, kind: BatchKind, status: JobStatus, summary: Mapping[str, int], **more: Any) -> None:
    done = status is JobStatus.SUCCEEDED
    first, last = work.recorded or (None, None)
    row = {
        "workspace_id": work.workspace,
        "id": batch_id,
        "kind": kind.value,
        "status": status.value,
        "progress": 100 if done else 0,
        "actor_id": work.caller.actor_id,
        "created_at": work.now,
        "finished_at": work.now if done else None,
        "first_sequence": first if done else None,
        "last_sequence": last if done else None,
        **{name: summary.get(name, 0) for name in COUNTS},
        **more,
    }
    await insert_rows(work.connection, BATCH, [row])


_MINE = (BATCH.c.workspace_id == sa.bindparam("workspace"), BATCH.c.id == sa.bindparam("batch"))
_ADD = (
    sa.update(BATCH)
    .values({name: BATCH.c[name] + sa.bindparam(f"more_{name}", type_=sa.Integer) for name in COUNTS})
    .values(
        status=JobStatus.RUNNING.value,
        progress=sa.func.coalesce(sa.bindparam("hundredths", type_=sa.Integer), BATCH.c.progress),
        error=sa.func.coalesce(BATCH.c.error, sa.bindparam("wrong", type_=sa.Text)),
        # Between these two the log holds all that the batch did, and what others did meanwhile.
        first_sequence=sa.func.coalesce(BATCH.c.first_sequence, sa.bindparam("first", type_=sa.BigInteger)),
        last_sequence=sa.func.coalesce(sa.bindparam("last", type_=sa.BigInteger), BATCH.c.last_sequence),
    )
    .where(*_MINE)
)


async def add_counts(
    work: Work, batch_id: str, summary: Mapping[str, int], *, progress: int | None = None, error: str | None = None
) -> None:
    """Add a chunk's outcomes to a running batch; `progress` in hundredths, unchanged for None; `error` stays the first that was told."""
    first, last = work.recorded or (None, None)
    more = {f"more_{name}": summary.get(name, 0) for name in COUNTS}
    await work.run(_ADD, {"batch": batch_id, "hundredths": progress, "wrong": error, "first": first, "last": last, **more})


async def close_batch(work: Work, batch_id: str, status: JobStatus, error: str | None = None) -> None:
    """End a running batch as SUCCEEDED, FAILED or CANCELLED; `error` says why it is not the first."""
    values: dict[str, Any] = {"status": status.value, "finished_at": work.now, **({} if error is None else {"error": error})}
    if status is JobStatus.SUCCEEDED:
        values["progress"] = 100
    await work.run(sa.update(BATCH).values(values).where(*_MINE), {"batch": batch_id})


async def mark_undone(work: Work, batch: Mapping[str, Any], undo_id: str) -> None:
    """Note that a batch was undone, and by which; where it is an undo itself, what it took back is in force again."""
    await work.run(_MARK, {"batch": batch["id"], "at": work.now, "by": undo_id})
    if batch["undoes_id"] is not None:
        await work.run(_TURN, {"batch": batch["id"]})


def _turn() -> sa.Update:
    """Turn the marks below a batch that was undone: what it took back is in force again, what that took back is undone again, and so on."""
    above = sa.select(BATCH.c.id, BATCH.c.undoes_id, BATCH.c.created_at, sa.literal_column("0").label("depth")).where(*_MINE)
    chain = above.cte("chain", recursive=True)
    below = sa.select(BATCH.c.id, BATCH.c.undoes_id, BATCH.c.created_at, chain.c.depth + sa.literal_column("1"))
    chain = chain.union_all(below.where(BATCH.c.workspace_id == sa.bindparam("workspace"), BATCH.c.id == chain.c.undoes_id))
    in_force = chain.c.depth % sa.literal_column("2") == sa.literal_column("1")
    values = {
        "undone_at": sa.case((in_force, chain.c.created_at), else_=sa.null()),
        "undone_by_id": sa.case((in_force, chain.c.id), else_=sa.null()),
    }
    return sa.update(BATCH).values(values).where(BATCH.c.workspace_id == sa.bindparam("workspace"), BATCH.c.id == chain.c.undoes_id)


_MARK = sa.update(BATCH).values(undone_at=sa.bindparam("at", type_=BATCH.c.undone_at.type), undone_by_id=sa.bindparam("by")).where(*_MINE)
_TURN = _turn()


async def give_up(work: Work, job: Mapping[str, Any]) -> None:
    """End the batch of a job (`{"batchId"}`) that the worker gave up: what is done stays, and what was left to do is forgotten."""
    batch_id = job["payload"]["batchId"]
    await close_batch(work, batch_id, JobStatus.FAILED, GIVEN_UP)
    await work.run(
        sa.delete(_LEFT).where(_LEFT.c.workspace_id == sa.bindparam("workspace"), _LEFT.c.batch_id == sa.bindparam("batch")),
        {"batch": batch_id},
    )
