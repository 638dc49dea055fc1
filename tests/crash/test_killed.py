"""Servers and workers killed at random moments while automations run and webhooks are sent: nothing lost, nothing done twice, all in order.

Twenty rounds on each database; `LEADGRAPH_TEST_KILLS=100` makes as many as one has patience for.
"""

import asyncio
import os
import random
import subprocess
import sys
from collections import defaultdict

import httpx2
import orjson
import pytest
import sqlalchemy as sa
from program import free_port
from serving import serve
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from app.actions import automations, keys, upserts, webhooks
from app.actions.activities import ACTIVITY
from app.actions.triggers import DELIVERY, RUN
from app.actions.work import Role, Work
from app.rules.webhook_urls import Allowed
from app.settings import QUERIES

ROUNDS = int(os.environ.get("LEADGRAPH_TEST_KILLS", "20"))
LEADS = 6
TRACK = (QUERIES / "events/track.graphql").read_text()


@pytest.fixture
def arrived():
    """What a receiver got, in order: (lead, event)."""
    return []


@pytest.fixture
def receiver_url(arrived):
    async def take(request):
        data = orjson.loads(await request.body())["data"]
        arrived.append((data["leadId"], int(data["event"].partition(" ")[2])))
        return Response(status_code=204)

    with serve(Starlette(routes=[Route("/", take, methods=["POST"])])) as url:
        yield url


@pytest.fixture
async def leads(database, caller, receiver_url):
    """Leads, an automation that changes the status twice, and a webhook."""
    async with database.writing() as connection:
        work = Work(connection, caller)
        made = await upserts.upsert_many(work, [{"email": f"lead{number}@example.com"} for number in range(LEADS)])
        actions = [{"setStatus": "REPLIED"}, {"setStatus": "CONTACTED"}]
        await automations.create(work, {"name": "Twice", "kind": "EVENT", "actions": actions})
        await webhooks.create(work, {"url": receiver_url, "kinds": ["EVENT"]}, Allowed.of("127.0.0.1"))
    return [result.lead_id for result in made.results]


@pytest.fixture
async def editor(database, caller):
    async with database.writing() as connection:
        _, key = await keys.create_key(connection, caller.workspace_id, "editor", Role.EDITOR)
    return key


class Machines:
    """A server and a worker, each a process, that are killed and started again."""

    def __init__(self, database_url):
        self.port = free_port()
        self.environment = {
            **os.environ,
            "LEADGRAPH_DATABASE_URL": database_url,
            "LEADGRAPH_JOB_LEASE_SECONDS": "2",
            "LEADGRAPH_WORKER_POLL_SECONDS": "0.1",
            "LEADGRAPH_WEBHOOK_PRIVATE_HOSTS": "127.0.0.1",
            "LEADGRAPH_RATE_PER_SECOND": "0",
            "LEADGRAPH_RATE_PER_MINUTE": "0",
        }
        self.running = []

    def start(self):
        for command in (["serve", "--port", str(self.port)], ["worker"]):
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self.running.append(subprocess.Popen([sys.executable, "-m", "app", *command], env=self.environment, **quiet))

    def kill(self):
        for process in self.running:
            process.kill()
            process.wait()
        self.running.clear()


@pytest.fixture
def machines(database_url):
    found = Machines(database_url)
    yield found
    found.kill()


async def send(machines, key, leads, sent, stop):
    """Track events one after the other, each again until it is acknowledged."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{machines.port}", headers={"authorization": f"Bearer {key}"}) as client:
        while not stop.is_set():
            number = len(sent)
            given = {"lead": {"id": leads[number % LEADS]}, "event": f"go {number}", "distinctId": str(number)}
            try:
                answer = await client.post("/graphql", json={"query": TRACK, "variables": {"input": given}})
                if answer.json()["data"]["leadEventTrack"]["activity"]:
                    sent.append(number)
            except (httpx2.HTTPError, ValueError, KeyError, TypeError):
                await asyncio.sleep(0.05)


async def until(condition, seconds=120):
    for _ in range(int(seconds / 0.1)):
        if await condition():
            return True
        await asyncio.sleep(0.1)
    return False


async def test_killed_at_any_moment_nothing_is_lost_or_done_twice(machines, database, caller, leads, editor, arrived):
    sent, stop, chance = [], asyncio.Event(), random.Random(7)  # noqa: S311
    sender = asyncio.create_task(send(machines, editor, leads, sent, stop))
    for _ in range(ROUNDS):
        machines.start()
        before = len(sent)

        async def going(before=before):
            return len(sent) > before + 3

        assert await until(going), "the server did not come up again"
        await asyncio.sleep(chance.uniform(0, 0.5))
        machines.kill()
    machines.start()
    stop.set()
    await sender

    async def rows(table, *columns):
        mine = sa.select(*[table.c[name] for name in columns]).where(table.c.workspace_id == sa.bindparam("workspace"))
        async with database.writing() as connection:
            return (await connection.execute(mine.order_by(table.c[columns[0]]), {"workspace": caller.workspace_id})).all()

    async def done():
        states = {row.status for table in (RUN, DELIVERY) for row in await rows(table, "id", "status")}
        return states == {"SUCCEEDED"}

    assert await until(done), [row for table in (RUN, DELIVERY) for row in await rows(table, "id", "status", "attempts", "error")]
    machines.kill()
    log = await rows(ACTIVITY, "sequence", "kind", "lead_id", "event", "status", "distinct_id")
    assert [row.sequence for row in log] == list(range(1, len(log) + 1))
    tracked = [row for row in log if row.kind == "EVENT"]
    # The last may have been recorded without an answer to say so; all that were acknowledged are there, each once.
    assert [int(row.distinct_id) for row in tracked][: len(sent)] == sent
    assert len(tracked) - len(sent) in (0, 1)
    statuses, expected = defaultdict(list), defaultdict(list)
    for row in log:
        if row.kind == "STATUS_CHANGED":
            statuses[row.lead_id].append(row.status)
    for row in tracked:
        expected[row.lead_id].append(int(row.distinct_id))
    assert {lead: len(found) for lead, found in statuses.items()} == {lead: 2 * len(found) for lead, found in expected.items()}
    assert all(found == ["REPLIED", "CONTACTED"] * (len(found) // 2) for found in statuses.values())
    first = defaultdict(list)
    for lead, number in arrived:
        if number not in first[lead]:
            first[lead].append(number)
    assert first == expected  # each arrived at least once, and for the first time in order
