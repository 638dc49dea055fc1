"""Lanes: things to do later of which those of one lane are done one by one, in the order of the log; the lanes side by side.

Each is a row, queued in the transaction that wants it, claimed for as long as a lease holds, tried again after a while where it failed,
and given up (FAILED, with why) when it failed too often. While one waits to be tried again, those behind it in its lane wait too. A claim
looks across workspaces (an exception of the fourth law); all else names the workspace of its row.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.actions.batches import JobStatus
from app.actions.jobs import LeaseLost
from app.actions.reads import Read
from app.column_types import Moment
from app.readers import Reading

_JITTER = SystemRandom()


class Lanes:
    """The lanes of one table, whose rows have what `lane_tables.Queued` names.

    `waits`: seconds before each further attempt. `passed_over`: tells rows that nobody is to claim for now. `unlike`: a column of which a
    claim leaves out the values bound as `busy`, so that one slow receiver does not keep all hands to itself.
    """

    def __init__(
        self, table: sa.Table, waits: Sequence[float], *, passed_over: sa.ColumnElement[bool] | None = None, unlike: str | None = None
    ) -> None:
        self.table = table
        self.waits = tuple(waits)
        self.unlike = unlike
        now = sa.bindparam("now", type_=Moment)
        earlier = table.alias("earlier")
        before = sa.or_(earlier.c.position < table.c.position, sa.and_(earlier.c.position == table.c.position, earlier.c.id < table.c.id))
        blocked = (
            sa.select(sa.literal_column("1"))
            .select_from(earlier)
            .where(earlier.c.workspace_id == table.c.workspace_id, earlier.c.lane == table.c.lane, before, _open(earlier))
            .correlate(table)
            .exists()
        )
        due = [
            # Said again as the index of open rows says it: SQLite takes a partial index for nothing less.
            _open(table),
            sa.or_(
                sa.and_(table.c.status == JobStatus.PENDING, table.c.run_at <= now),
                sa.and_(table.c.status == JobStatus.RUNNING, table.c.lease_until < now),
            ),
            ~blocked,
        ]
        if passed_over is not None:
            due.append(~passed_over)
        self.any_due = Read(sa.select(table.c.id).where(*due).limit(1))
        # FOR UPDATE keeps PostgreSQL from folding the list into the update, where its LIMIT would be asked again for each row.
        found = (
            sa.select(table.c.workspace_id, table.c.id)
            .where(*due, *([] if unlike is None else [table.c[unlike].not_in(sa.bindparam("busy", expanding=True))]))
            .order_by(table.c.run_at, table.c.id)
            .limit(sa.bindparam("most", type_=sa.Integer))
            .with_for_update(of=table, skip_locked=True)
        )
        chosen = found.cte("due")
        self.claiming = (
            sa.update(table)
            .where(table.c.workspace_id == chosen.c.workspace_id, table.c.id == chosen.c.id)
            .values(
                status=JobStatus.RUNNING,
                claimed_by=sa.bindparam("worker"),
                lease_until=sa.bindparam("until", type_=Moment),
                attempts=table.c.attempts + 1,
            )
            .returning(table)
        )
        #: The statements that look across workspaces.
        self.across = (self.any_due.statement, found, self.claiming)

    async def is_due(self, reading: Reading, now: datetime) -> bool:
        """Tell whether there is anything to claim, without asking for the right to write."""
        return bool(await self.any_due.rows(reading, now=now))

    async def claim(
        self, connection: AsyncConnection, worker: str, limit: int, lease_seconds: float, now: datetime, *, busy: Iterable[str] = ()
    ) -> list[dict[str, Any]]:
        """Take at most `limit` rows for this worker, longest due first, of each lane the first alone.

        One that was lost with its worker too often is given up instead of taken.
        """
        binds = {"now": now, "most": limit, "worker": worker, "until": now + timedelta(seconds=lease_seconds)}
        if self.unlike is not None:
            binds["busy"] = list(busy)
        rows = [dict(row) for row in (await connection.execute(self.claiming, binds)).mappings()]
        taken = []
        for row in sorted(rows, key=lambda row: (row["run_at"], row["id"])):
            if row["attempts"] > len(self.waits) + 1:
                await self.end(connection, row, JobStatus.FAILED, now, row["error"] or "its worker was lost each time")
            else:
                taken.append(row)
        return taken

    async def note(self, connection: AsyncConnection, row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Write to a row that is still this worker's; else LeaseLost, which rolls back what was done too late."""
        held = (
            self.table.c.workspace_id == sa.bindparam("workspace"),
            self.table.c.id == sa.bindparam("row"),
            self.table.c.status == JobStatus.RUNNING,
            self.table.c.claimed_by == sa.bindparam("worker"),
        )
        binds = {"workspace": row["workspace_id"], "row": row["id"], "worker": row["claimed_by"]}
        if (await connection.execute(sa.update(self.table).where(*held).values(**values), binds)).rowcount != 1:
            raise LeaseLost

    async def end(
        self, connection: AsyncConnection, row: Mapping[str, Any], status: JobStatus, now: datetime, error: str | None = None, **more: Any
    ) -> None:
        """Note that a row is done with: SUCCEEDED, or FAILED with why."""
        await self.note(connection, row, {"status": status, "error": error, "finished_at": now, "lease_until": None, **more})

    async def retry(
        self, connection: AsyncConnection, row: Mapping[str, Any], error: str, now: datetime, *, at_least: float = 0, **more: Any
    ) -> JobStatus:
        """Note what went wrong: the row waits for its next attempt, at least so many seconds, or had its last (FAILED)."""
        if row["attempts"] > len(self.waits):
            await self.end(connection, row, JobStatus.FAILED, now, error, **more)
            return JobStatus.FAILED
        # A part of the wait is by chance, so that those that failed together don't come back together.
        wait = max(self.waits[row["attempts"] - 1] * _JITTER.uniform(0.75, 1), at_least)
        again = {"status": JobStatus.PENDING, "run_at": now + timedelta(seconds=wait), "lease_until": None, "error": error}
        await self.note(connection, row, {**again, **more})
        return JobStatus.PENDING

    async def release(self, connection: AsyncConnection, row: Mapping[str, Any], now: datetime) -> None:
        """Give a row back that was not begun, for another worker to take at once; the attempt does not count."""
        again = {"status": JobStatus.PENDING, "run_at": now, "lease_until": None, "attempts": self.table.c.attempts - 1}
        await self.note(connection, row, again)


def _open(table: Any) -> sa.ColumnElement[bool]:
    """Tell a row that is not done with."""
    return table.c.status.in_([sa.literal_column("'PENDING'"), sa.literal_column("'RUNNING'")])  # type: ignore[no-any-return]


def queued(row: Mapping[str, Any], *, lane: str, position: int, now: datetime) -> dict[str, Any]:
    """Give the columns of a new row beside its own: due at once, behind what is in its lane already."""
    return {
        **row,
        "lane": lane,
        "position": position,
        "status": JobStatus.PENDING.value,
        "attempts": 0,
        "run_at": now,
        "created_at": now,
    }
