"""Jobs: work to do later. Queued in the transaction that wants it, claimed by a worker for as long as its lease holds.

A claim looks across workspaces (an exception of the fourth law); all else names the workspace of its job. Whoever writes to a
running job must still hold it: `LeaseLost` rolls back what a worker did that was too slow.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.actions.batches import JobStatus
from app.actions.reads import Read
from app.actions.work import Caller, Role, Work
from app.column_types import Moment
from app.database import insert_rows, table_of
from app.errors import Conflict
from app.readers import Reading
from app.rules.ids import new_id
from app.rules.written import dumps
from app.tables import Job

JOB = table_of(Job)

#: A job that failed this often without getting on is given up, and kept with its error.
MOST_ATTEMPTS = 8
#: Seconds before the second attempt; each wait is twice the one before it, up to an hour.
FIRST_WAIT = 2.0
LONGEST_WAIT = 3600.0
#: Kinds of which two with the same payload are one while the first has not begun.
MERGED = {"rescore"}

_JITTER = SystemRandom()


#: What else ends, in the same transaction, with a job of a kind that is given up. The nouns add theirs.
GIVEN_UP: dict[str, Callable[[Work, dict[str, Any]], Awaitable[None]]] = {}


class LeaseLost(Conflict):
    """Another worker has this job by now."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The worker that a job belongs to from the beginning, and until when."""

    worker: str
    until: datetime


async def queue(work: Work, kind: str, payload: dict[str, Any]) -> str:
    """Queue a job and give its id.

    A `rescore` equal to one that waits for its first attempt is not queued twice: that one's id is given.
    """
    if kind in MERGED:
        # The row is locked, so that no worker begins it before what it has to see is committed; one that is being claimed is passed over.
        waiting = await work.row(_WAITING, {"kind": kind, "payload": dumps(payload)})
        if waiting is not None:
            return str(waiting["id"])
    [job_id] = await queue_many(work, kind, [payload])
    return job_id


_WAITING = (
    sa.select(JOB.c.id)
    .where(
        JOB.c.workspace_id == sa.bindparam("workspace"),
        JOB.c.kind == sa.bindparam("kind"),
        JOB.c.status == JobStatus.PENDING,
        JOB.c.attempts == 0,
        JOB.c.checkpoint.is_(sa.null()),
        sa.cast(JOB.c.payload, sa.Text) == sa.bindparam("payload", type_=sa.Text),
    )
    .limit(1)
    .with_for_update(skip_locked=True)
)


async def queue_many(work: Work, kind: str, payloads: Sequence[dict[str, Any]]) -> list[str]:
    """Queue a job for each payload in one statement and give their ids."""
    rows = [_new(work, kind, payload) for payload in payloads]
    await insert_rows(work.connection, JOB, rows)
    return [str(row["id"]) for row in rows]


async def queue_one(work: Work, kind: str, payload: dict[str, Any], held: Hold | None = None) -> dict[str, Any]:
    """Queue a job and give its row; `held`: it is that worker's at once."""
    row = _new(work, kind, payload)
    if held is not None:
        row |= {"status": JobStatus.RUNNING, "attempts": 1, "claimed_by": held.worker, "lease_until": held.until}
    await insert_rows(work.connection, JOB, [row])
    return {**row, "checkpoint": None}


def _new(work: Work, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "workspace_id": work.workspace,
        "id": new_id("job"),
        "kind": kind,
        "payload": payload,
        "status": JobStatus.PENDING,
        "attempts": 0,
        "run_at": work.now,
        "progress": 0,
        "created_at": work.now,
    }


_DUE = sa.or_(
    sa.and_(JOB.c.status == JobStatus.PENDING, JOB.c.run_at <= sa.bindparam("now", type_=Moment)),
    sa.and_(JOB.c.status == JobStatus.RUNNING, JOB.c.lease_until < sa.bindparam("now", type_=Moment)),
)
_ANY_DUE = Read(sa.select(JOB.c.id).where(_DUE).limit(1))


async def any_due(reading: Reading, now: datetime) -> bool:
    """Tell whether there is anything to claim, without asking for the right to write."""
    return bool(await _ANY_DUE.rows(reading, now=now))


async def claim(connection: AsyncConnection, worker: str, limit: int, lease_seconds: float, now: datetime) -> list[dict[str, Any]]:
    """Take at most `limit` jobs for this worker, longest due first: pending ones, and running ones whose lease ran out.

    A job that was lost with its worker too often is dead-lettered instead of taken.
    """
    binds = {"now": now, "most": limit, "worker": worker, "until": now + timedelta(seconds=lease_seconds)}
    rows = [dict(row) for row in (await connection.execute(_CLAIM, binds)).mappings()]
    rows.sort(key=lambda row: (row["run_at"], row["id"]))
    taken = []
    for row in rows:
        if row["attempts"] > MOST_ATTEMPTS:
            await _give_up(connection, row, f"its worker was lost {MOST_ATTEMPTS} times", now)
        else:
            taken.append(row)
    return taken


# FOR UPDATE keeps PostgreSQL from folding the list into the update, where its LIMIT would be asked again for each row.
_FOUND = (
    sa.select(JOB.c.workspace_id, JOB.c.id)
    .where(_DUE)
    .order_by(JOB.c.run_at, JOB.c.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
    .with_for_update(skip_locked=True)
    .cte("due")
)
_CLAIM = (
    sa.update(JOB)
    .where(JOB.c.workspace_id == _FOUND.c.workspace_id, JOB.c.id == _FOUND.c.id)
    .values(
        status=JobStatus.RUNNING,
        claimed_by=sa.bindparam("worker"),
        lease_until=sa.bindparam("until", type_=Moment),
        attempts=JOB.c.attempts + 1,
    )
    .returning(JOB)
)


async def heartbeat(connection: AsyncConnection, job: dict[str, Any], lease_until: datetime) -> None:
    """Hold the job a while longer."""
    await _write(connection, job, {"lease_until": lease_until})


async def checkpoint(connection: AsyncConnection, job: dict[str, Any], at: dict[str, Any], *, progress: int, lease_until: datetime) -> None:
    """Note how far the job has come (`progress` in hundredths), in the transaction that came so far.

    A job that gets on is no job that fails: its attempts are counted from here again.
    """
    await _write(connection, job, {"checkpoint": at, "progress": progress, "lease_until": lease_until, "attempts": 1, "error": None})


async def succeed(connection: AsyncConnection, job: dict[str, Any], now: datetime) -> None:
    """Note that the job is done, in the transaction that did the last of it."""
    await _write(connection, job, {"status": JobStatus.SUCCEEDED, "progress": 100, "finished_at": now, "lease_until": None, "error": None})


async def end(connection: AsyncConnection, job: dict[str, Any], status: JobStatus, error: str | None, now: datetime) -> None:
    """Note that nobody is to go on with the job, and why; who held it has seen to the rest."""
    await _write(connection, job, {"status": status, "finished_at": now, "lease_until": None, "error": error})


async def release(connection: AsyncConnection, job: dict[str, Any], now: datetime) -> None:
    """Give the job back, for another worker to go on with at once; the attempt does not count."""
    await _write(connection, job, {"status": JobStatus.PENDING, "run_at": now, "lease_until": None, "attempts": JOB.c.attempts - 1})


async def retry(connection: AsyncConnection, job: dict[str, Any], error: str, now: datetime) -> JobStatus:
    """Note what went wrong: the job waits for its next attempt, longer each time, or was given its last (FAILED)."""
    attempts = await _attempts(connection, job)
    if attempts >= MOST_ATTEMPTS:
        await _give_up(connection, job, error, now)
        return JobStatus.FAILED
    # Half of the wait is by chance, so that jobs that failed together don't come back together.
    wait = min(FIRST_WAIT * 2 ** (attempts - 1), LONGEST_WAIT) * _JITTER.uniform(0.5, 1)
    await _write(
        connection, job, {"status": JobStatus.PENDING, "run_at": now + timedelta(seconds=wait), "lease_until": None, "error": error}
    )
    return JobStatus.PENDING


async def let_go(job: dict[str, Any]) -> None:
    """Close what the steps of a job kept for each other (`kept`), once its worker is done with it, however that came."""
    if (kept := job.pop("kept", None)) is not None:
        await kept.close()


async def _attempts(connection: AsyncConnection, job: dict[str, Any]) -> int:
    mine = sa.select(JOB.c.attempts).where(JOB.c.workspace_id == sa.bindparam("workspace"), JOB.c.id == sa.bindparam("job"))
    return int((await connection.execute(mine, {"workspace": job["workspace_id"], "job": job["id"]})).scalar_one())


async def _give_up(connection: AsyncConnection, job: dict[str, Any], error: str, now: datetime) -> None:
    await _write(connection, job, {"status": JobStatus.FAILED, "finished_at": now, "lease_until": None, "error": error})
    if job["kind"] in GIVEN_UP:
        await GIVEN_UP[job["kind"]](Work(connection, Caller(workspace_id=job["workspace_id"], role=Role.ADMIN)), job)


async def _write(connection: AsyncConnection, job: dict[str, Any], values: dict[str, Any]) -> None:
    held = (
        JOB.c.workspace_id == sa.bindparam("workspace"),
        JOB.c.id == sa.bindparam("job"),
        JOB.c.status == JobStatus.RUNNING,
        JOB.c.claimed_by == sa.bindparam("worker"),
    )
    binds = {"workspace": job["workspace_id"], "job": job["id"], "worker": job["claimed_by"]}
    if (await connection.execute(sa.update(JOB).where(*held).values(**values), binds)).rowcount != 1:
        raise LeaseLost
