"""A door: works through lanes (`app.actions.lanes`) side by side, each lane one by one, for as long as the process runs."""

import asyncio
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from app.actions import automation_runs, webhooks
from app.actions.batches import JobStatus
from app.actions.jobs import LeaseLost
from app.actions.lanes import Lanes
from app.actions.work import Caller, Role, Work
from app.database import Database, lock_workspace
from app.database_errors import told
from app.errors import LeadgraphError
from app.rules.webhook_urls import Allowed
from app.settings import Settings
from app.webhook_sender import NotReached, post

logger = structlog.get_logger("leadgraph.worker")

Row = dict[str, Any]
#: Deliveries that a process has under way: each is mostly waiting.
DELIVERIES_AT_ONCE = 16
#: Seconds in which a burst of commits is one wake-up.
_BURST = 0.02


class LaneWorker:
    """Claims what is due in lanes and lets `handle` do it.

    `handle` notes itself that a row is done; what it raises is noted here, and the row is tried again.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        name: str,
        lanes: Lanes,
        handle: Callable[[Database, Row], Awaitable[None]],
        *,
        at_once: int = 4,
    ) -> None:
        self.database, self.settings, self.name, self.lanes, self.handle = database, settings, name, lanes, handle
        self.at_once = at_once
        self._running: dict[asyncio.Task[None], Row] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then let what was begun end, and return."""
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                bell = self.database.wakeups.committed  # asked for before looking, so that no commit in between is missed
                claimed = await self._claim()
                for row in claimed:
                    task = group.create_task(self._do(row))
                    self._running[task] = row
                    task.add_done_callback(partial(self._running.pop))
                if not claimed:
                    await self._rest(stop, bell)

    async def _claim(self) -> list[Row]:
        free = self.at_once - len(self._running)
        if free <= 0:
            return []
        try:
            # Looked for by a reader first: an idle worker must not take the one writer of SQLite from a request.
            async with self.database.readers.reading() as reading:
                if not await self.lanes.is_due(reading, _now()):
                    return []
            async with self.database.writing() as connection:
                return await self.lanes.claim(connection, self.name, free, self.settings.job_lease_seconds, _now(), busy=self._busy())
        except Exception as error:  # noqa: BLE001  (whatever it is, the worker outlives it)
            logger.warning("worker.cannot_claim", error=told(error))
            return []

    def _busy(self) -> list[str]:
        """Name what has half of all hands already."""
        if self.lanes.unlike is None:
            return []
        held = Counter(row[self.lanes.unlike] for row in self._running.values())
        return [value for value, count in held.items() if count * 2 >= self.at_once]

    async def _rest(self, stop: asyncio.Event, bell: asyncio.Event) -> None:
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(bell.wait())]
        await asyncio.wait([*waits, *self._running], timeout=self.settings.worker_poll_seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if not stop.is_set():
            await asyncio.sleep(_BURST)

    async def _do(self, row: Row) -> None:
        try:
            await self.handle(self.database, row)
        except LeaseLost:
            logger.warning("lane.lease_lost", row=row["id"])
        except Exception as error:  # noqa: BLE001  (whatever it is, it is told, kept, and tried again)
            await self._retry(row, error)

    async def _retry(self, row: Row, error: Exception) -> None:
        about = {"row": row["id"], "workspace": row["workspace_id"], "error": _said(error)}
        if not isinstance(error, LeadgraphError):
            # The frames alone: a database's message goes on to quote the values of the statement, which are people's.
            logger.error("lane.failed_attempt", frames="".join(traceback.format_tb(error.__traceback__)), **about)
        try:
            with suppress(LeaseLost):
                async with self.database.writing() as connection:
                    status = await self.lanes.retry(connection, row, about["error"], _now())
                if status is JobStatus.FAILED:
                    logger.warning("lane.given_up", **about)
        except Exception as failure:  # noqa: BLE001  (the lease runs out, and the row is claimed again)
            logger.warning("lane.retry_not_noted", row=row["id"], error=_said(failure))


async def run_automation(database: Database, run: Row) -> None:
    """Do the actions of a run that are not done yet, a transaction each."""
    last = False
    while not last:
        async with database.writing() as connection:
            await lock_workspace(connection, run["workspace_id"], alone=False)
            work = Work(connection, Caller(workspace_id=run["workspace_id"], role=Role.ADMIN), depth=run["depth"])
            last = await automation_runs.act(work, run)


async def deliver(database: Database, delivery: Row, allowed: Allowed) -> None:
    """Post an activity to its webhook, with no transaction open meanwhile, and note what came of it."""
    caller = Caller(workspace_id=delivery["workspace_id"], role=Role.ADMIN)
    async with database.writing() as connection:
        found = await webhooks.to_send(Work(connection, caller), delivery)
    if found is None:
        return
    webhook, payload = found
    answer, error = None, ""
    try:
        answer = await post(webhook["url"], webhook["secret"], delivery["id"], payload, allowed)
    except NotReached as why:
        error = str(why)
    async with database.writing() as connection:
        if answer is None:
            await webhooks.note_failed(connection, delivery, error, _now())
        elif 200 <= answer.status < 300:
            await webhooks.note_delivered(connection, delivery, answer.status, _now())
        else:
            why_not = f"It answered {answer.status}."
            await webhooks.note_failed(connection, delivery, why_not, _now(), status=answer.status, at_least=answer.retry_after)


def lane_workers(database: Database, settings: Settings, name: str) -> list[LaneWorker]:
    """Give a worker for each kind of lanes."""
    allowed = Allowed.of(settings.webhook_private_hosts)
    delivering = partial(_deliver_to, allowed)
    return [
        LaneWorker(database, settings, name, automation_runs.RUNS, run_automation),
        LaneWorker(database, settings, name, webhooks.DELIVERIES, delivering, at_once=DELIVERIES_AT_ONCE),
    ]


async def _deliver_to(allowed: Allowed, database: Database, delivery: Row) -> None:
    await deliver(database, delivery, allowed)


def _now() -> datetime:
    return datetime.now(UTC)


def _said(error: Exception) -> str:
    """Tell an error to whoever reads the run or delivery; our own say it in words that are meant for them."""
    return str(error)[:500] if isinstance(error, LeadgraphError) else told(error)
