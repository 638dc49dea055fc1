"""A door: the worker claims due jobs and runs them, step by step, each step a transaction that also says how far the job has come.

So a worker that dies loses at most the step it was in, and whoever takes the job over does nothing twice.
"""

import asyncio
import os
import socket
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError

from app.actions import idempotency, imports, jobs, lead_batches, scores, undo
from app.actions.batches import JobStatus
from app.actions.races import AlwaysLost
from app.actions.work import Caller, Role, Work
from app.database import Database, lock_workspace, table_of
from app.database_errors import is_retryable, told
from app.rules.ids import new_secret
from app.settings import Settings
from app.tables import CampaignLead, Lead

logger = structlog.get_logger("leadgraph.worker")

#: Jobs that a process runs at once, so that a long one of one workspace does not hold up the others.
AT_ONCE = 4
#: How often a step of a held job that met a deadlock runs again.
AGAIN = 3
#: Leads that one transaction scores.
CHUNK = 500
#: Seconds in which a burst of commits is one wake-up.
_BURST = 0.05
#: Seconds that the steps under way have to end in when the process is told to.
DRAIN = 10

#: Seconds between two clearings of what has expired.
_CLEAR_EVERY = 600.0

_LEAD = table_of(Lead)
_MEMBER = table_of(CampaignLead)


@dataclass(frozen=True, slots=True)
class Step:
    """What one transaction of a job came to."""

    #: Where the next step goes on; None: the job is done.
    checkpoint: dict[str, Any] | None
    #: Hundredths of the whole job.
    progress: int = 100


async def rescore(work: Work, job: dict[str, Any]) -> Step:
    """Score the next 500 leads: the workspace's (payload `{}`), a campaign's (`{"campaignId"}`), or those named (`{"leadIds"}`)."""
    payload = job["payload"]
    at = job["checkpoint"] or {"after": None, "done": 0, "total": await _how_many(work, payload)}
    if "leadIds" in payload:
        chunk = [lead_id for lead_id in sorted(payload["leadIds"]) if at["after"] is None or lead_id > at["after"]][:CHUNK]
        await scores.rescore_chunk(work, None, CHUNK, None, chunk)
        last, count = (chunk[-1] if chunk else None), len(chunk)
    else:
        last, count = await scores.rescore_chunk(work, at["after"], CHUNK, payload.get("campaignId"), None)
    if count < CHUNK:
        return Step(checkpoint=None)
    done = at["done"] + count
    return Step({"after": last, "done": done, "total": at["total"]}, progress=min(99, 100 * done // max(1, at["total"])))


async def _how_many(work: Work, payload: dict[str, Any]) -> int:
    if "leadIds" in payload:
        return len(payload["leadIds"])
    if "campaignId" in payload:
        members = sa.select(sa.func.count().label("leads")).where(
            _MEMBER.c.workspace_id == sa.bindparam("workspace"), _MEMBER.c.campaign_id == sa.bindparam("campaign")
        )
        [row] = await work.rows(members, {"campaign": payload["campaignId"]})
    else:
        [row] = await work.rows(sa.select(sa.func.count().label("leads")).where(_LEAD.c.workspace_id == sa.bindparam("workspace")))
    return int(row["leads"])


async def import_(work: Work, job: dict[str, Any]) -> Step:
    """Take the next 2,000 rows of a file (`{"importId", "pieces"}`)."""
    return Step(*await imports.step(work, job))


async def lead_batch(work: Work, job: dict[str, Any]) -> Step:
    """Change or delete the next 1,000 leads of a batch (`{"batchId", "where", "patch"}`)."""
    from schema.graph import graph  # noqa: PLC0415  (half a second to load, which `leadgraph import` need not wait for)
    from schema.matching import chosen_again  # noqa: PLC0415

    return Step(*await lead_batches.step(work, job, chosen_again(graph.core, job["payload"]["where"], postgres=work.postgres)))


async def undo_batch(work: Work, job: dict[str, Any]) -> Step:
    """Take the next 2,000 leads of a batch back (`{"batchId", "undoes"}`)."""
    return Step(*await undo.step(work, job))


#: What runs the jobs of a kind: one step, in the transaction of `work`.
HANDLERS: dict[str, Callable[[Work, dict[str, Any]], Awaitable[Step]]] = {
    "rescore": rescore,
    "import": import_,
    **dict.fromkeys(lead_batches.JOBS.values(), lead_batch),
    undo.JOB: undo_batch,
}


async def work(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    """Run due jobs until `stop` is set; then let the steps under way end, within ten seconds, and give the jobs back."""
    working = asyncio.create_task(_all(database, settings, stop))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    with suppress(TimeoutError):
        await asyncio.wait_for(working, DRAIN)


async def _all(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    from app.lane_worker import lane_workers  # noqa: PLC0415  (it brings an HTTP client, and an import by the command line has no use for it)

    jobs_worker = Worker(database, settings)
    async with asyncio.TaskGroup() as group:
        group.create_task(jobs_worker.run(stop))
        for lanes in lane_workers(database, settings, jobs_worker.name):
            group.create_task(lanes.run(stop))


class Worker:
    """Runs the due jobs of one database, of whatever workspace."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.name = f"{socket.gethostname()}-{os.getpid()}-{new_secret(8)}"
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Run due jobs until `stop` is set; then end the steps that are under way, give the jobs back, and return."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._clear(stop))
            while not stop.is_set():
                bell = self.database.wakeups.committed  # asked for before looking, so that no commit in between is missed
                for job in await self._claim():
                    task = group.create_task(self._run(job, stop))
                    self._running[job["id"]] = task
                    task.add_done_callback(partial(self._forget, job["id"]))
                await self._rest(stop, bell)

    async def _clear(self, stop: asyncio.Event) -> None:
        """Forget what has expired, now and then."""
        while True:
            try:
                async with self.database.readers.reading() as reading:
                    expired = await idempotency.any_expired(reading, _now())
                if expired:
                    async with self.database.writing() as connection:
                        await idempotency.clear(connection, _now())
            except Exception as error:  # noqa: BLE001  (the next time may do)
                logger.warning("worker.cannot_clear", error=told(error))
            if await _set_within(stop, _CLEAR_EVERY):
                return

    def hold(self) -> jobs.Hold:
        """Name this worker as the one that a new job belongs to: `run_held` runs it."""
        return jobs.Hold(self.name, self._lease())

    async def run_held(self, job: dict[str, Any], show: Callable[[int], None], stop: asyncio.Event | None = None) -> bool:
        """Run a job that is this worker's to its end, telling its progress in hundredths; what a step raises is raised.

        A step that met a deadlock, or lost every race, runs again, three times at most.
        Gives False where it was to `stop` before, which it does between steps.
        """
        again = 0
        try:
            while stop is None or not stop.is_set():
                try:
                    ended = await self._step(job, show)
                except (DBAPIError, AlwaysLost) as error:
                    again += 1
                    if again > AGAIN or not (isinstance(error, AlwaysLost) or is_retryable(error)):
                        raise
                else:
                    again = 0
                    if ended:
                        return True
            return False
        finally:
            await jobs.let_go(job)

    def _forget(self, job_id: str, _task: asyncio.Task[None]) -> None:
        del self._running[job_id]

    async def _claim(self) -> list[dict[str, Any]]:
        free = AT_ONCE - len(self._running)
        if not free:
            return []
        try:
            # Looked for by a reader first: an idle worker must not take the one writer of SQLite from a request.
            async with self.database.readers.reading() as reading:
                if not await jobs.any_due(reading, _now()):
                    return []
            async with self.database.writing() as connection:
                taken = await jobs.claim(connection, self.name, free, self.settings.job_lease_seconds, _now())
        except Exception as error:  # noqa: BLE001  (whatever it is, the worker outlives it)
            logger.warning("worker.cannot_claim", error=told(error))
            return []
        return [job for job in taken if job["id"] not in self._running]

    async def _rest(self, stop: asyncio.Event, bell: asyncio.Event) -> None:
        """Wait until there may be something to do."""
        waits = [asyncio.create_task(stop.wait())]
        if len(self._running) < AT_ONCE:
            waits.append(asyncio.create_task(bell.wait()))
        await asyncio.wait(
            [*waits, *self._running.values()], timeout=self.settings.worker_poll_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        for wait in waits:
            wait.cancel()
        if not stop.is_set():
            await asyncio.sleep(_BURST)

    async def _run(self, job: dict[str, Any], stop: asyncio.Event) -> None:
        done = asyncio.Event()
        beating = asyncio.create_task(self._beat(job, done))
        try:
            while not stop.is_set():
                if await self._step(job):
                    return
            async with self.database.writing() as connection:
                await jobs.release(connection, job, _now())
        except jobs.LeaseLost:
            logger.warning("job.lease_lost", job=job["id"], kind=job["kind"])
        except Exception as error:  # noqa: BLE001  (whatever it is, it is told, kept, and tried again)
            await self._retry(job, error)
        finally:
            await jobs.let_go(job)
            done.set()  # rather than cancelled, maybe in the middle of a transaction
            await beating

    async def _step(self, job: dict[str, Any], show: Callable[[int], None] = lambda _: None) -> bool:
        """Run one step of the job in a transaction, and tell whether that was the last."""
        async with self.database.writing() as connection:
            await lock_workspace(connection, job["workspace_id"], alone=False, many=True)
            work = Work(connection, Caller(workspace_id=job["workspace_id"], role=Role.ADMIN), in_chunks=True)
            step = await HANDLERS[job["kind"]](work, job)
            if step.checkpoint is None:
                await jobs.succeed(connection, job, _now())
            else:
                await jobs.checkpoint(connection, job, step.checkpoint, progress=step.progress, lease_until=self._lease())
            await work.beside(connection.commit())
        job["checkpoint"] = step.checkpoint
        show(step.progress)
        return step.checkpoint is None

    async def _beat(self, job: dict[str, Any], done: asyncio.Event) -> None:
        """Hold on to the job during a step that takes long."""
        while not await _set_within(done, self.settings.job_lease_seconds / 3):
            try:
                async with self.database.writing() as connection:
                    await jobs.heartbeat(connection, job, self._lease())
            except jobs.LeaseLost:
                return  # the step will find out, and roll back
            except Exception as error:  # noqa: BLE001  (the next beat may get through)
                logger.warning("job.heartbeat_failed", job=job["id"], error=told(error))

    async def _retry(self, job: dict[str, Any], error: Exception) -> None:
        about = {"job": job["id"], "kind": job["kind"], "workspace": job["workspace_id"], "error": told(error)}
        # The frames alone: a database's message goes on to quote the values of the statement, which are people's.
        logger.error("job.failed_attempt", frames="".join(traceback.format_tb(error.__traceback__)), **about)
        try:
            with suppress(jobs.LeaseLost):
                async with self.database.writing() as connection:
                    status = await jobs.retry(connection, job, about["error"], _now())
                if status is JobStatus.FAILED:
                    logger.error("job.given_up", **about)
        except Exception as failure:  # noqa: BLE001  (the lease runs out, and the job is claimed again)
            logger.warning("job.retry_not_noted", job=job["id"], error=told(failure))

    def _lease(self) -> datetime:
        return _now() + timedelta(seconds=self.settings.job_lease_seconds)


def _now() -> datetime:
    return datetime.now(UTC)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
