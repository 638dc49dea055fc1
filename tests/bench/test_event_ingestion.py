"""How many events a second `leadEventTrackMany` takes: a server as `leadgraph serve` runs it, and one client with a few connections.

Each call brings 1,000 events of 10,000 leads, named by id, CRM id and e-mail address in turn, each with a `distinctId` and attributes.
Bar: 8,000 events a second on either database.
"""

import asyncio
import os
import statistics
import sys
import time
from asyncio.subprocess import DEVNULL
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx2
import orjson
import pytest
from program import free_port

from app.actions import keys, upserts, workspaces
from app.actions.work import Caller, Role, Work
from app.migrations import upgrade
from app.settings import QUERIES

LEADS, EVENTS = 10_000, 1_000
CONNECTIONS, CALLS, ROUNDS = 4, 40, 5
BAR = 8_000
TEXT = (QUERIES / "events/track_many.graphql").read_text()


@pytest.fixture(scope="session")
async def served(database, database_url) -> Iterator[tuple[str, str, list[str], int]]:
    """A server in a process of its own on a workspace of 10,000 leads: its URL, a key, the ids, its process."""
    await upgrade(database)
    async with database.writing() as connection:
        workspace = await workspaces.create(connection, slug="bench")
        _, key = await keys.create_key(connection, workspace["id"], "bench", Role.EDITOR)
    caller = Caller(workspace["id"], Role.ADMIN, workspace_ids=(workspace["id"],))
    ids: list[str] = []
    for start in range(0, LEADS, 1_000):
        rows = [{"email": f"lead{number}@example.com", "crmId": f"crm-{number}"} for number in range(start, start + 1_000)]
        async with database.writing() as connection:
            report = await upserts.upsert_many(Work(connection, caller), rows)
        ids += [str(result.lead_id) for result in report.results]
    port = free_port()
    environment = {**os.environ, "LEADGRAPH_DATABASE_URL": database_url, "LEADGRAPH_LOG_LEVEL": "WARNING"}
    command = [sys.executable, "-m", "app", "serve", "--port", str(port)]
    server = await asyncio.create_subprocess_exec(*command, env=environment, stdout=DEVNULL, stderr=DEVNULL)
    url = f"http://127.0.0.1:{port}"
    async with httpx2.AsyncClient() as client:
        for _ in range(300):
            try:
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    break
            except httpx2.HTTPError:
                await asyncio.sleep(0.1)
    yield url, key, ids, server.pid
    server.terminate()
    await server.wait()


def cpu_of(pid: int) -> float:
    """Give the seconds of processor time that a process has had, all its threads (Linux: proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def batches(ids: list[str]) -> Iterator[bytes]:
    """Write requests, each with events that none before it had."""
    for number in count():
        events = []
        for place in range(EVENTS):
            lead = (number * 7_919 + place * 31) % LEADS
            name = [{"leadId": ids[lead]}, {"crmId": f"crm-{lead}"}, {"email": f"lead{lead}@example.com"}][place % 3]
            events.append({**name, "event": "page.viewed", "distinctId": f"{number}-{place}", "attributes": {"path": f"/{place}"}})
        yield orjson.dumps({"query": TEXT, "variables": {"events": events, "outcomes": ["FAILED"]}})


async def test_events_are_taken_at_8000_a_second(served, database):
    url, key, ids, pid = served
    bodies = batches(ids)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=60) as client:

        async def send(queue: list[bytes]) -> None:
            while queue:
                told = (await client.post("/graphql", content=queue.pop())).json()["data"]["leadEventTrackMany"]
                assert (told["accepted"], told["failed"]) == (EVENTS, 0)

        rates, costs = [], []
        for calls in (10, *[CALLS] * ROUNDS):
            queue = [next(bodies) for _ in range(calls)]
            begun, spent = time.perf_counter(), cpu_of(pid)
            await asyncio.gather(*[send(queue) for _ in range(CONNECTIONS)])
            rates.append(calls * EVENTS / (time.perf_counter() - begun))
            costs.append((cpu_of(pid) - spent) / calls)
    rate = statistics.median(rates[1:])
    name = "PostgreSQL" if database.is_postgres else "SQLite"
    print(
        f"\n{name}: {rate:,.0f} events a second ({min(rates[1:]):,.0f} to {max(rates[1:]):,.0f}), bar {BAR:,}; "
        f"{statistics.median(costs[1:]) * 1_000:.0f} ms of the server's processor time a call"
    )
    assert rate >= BAR
