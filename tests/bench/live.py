"""How soon what is committed is told, and what many subscriptions cost.

`.venv/bin/python tests/bench/live.py`, on SQLite and PostgreSQL. The servers are processes of their own, the writer and all subscribers
one other. A wait is from the answer of the mutation, which follows its commit, to the message.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import orjson
from websockets.asyncio.client import ClientConnection, connect

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from postgres import create_postgres_database, drop_postgres_database

PROGRAM = Path(sys.executable).with_name("leadgraph")
CREATE = "mutation ($email: String!) { leadCreate(input: {email: $email, autoScore: false}) { lead { id } } }"
WATCH = "subscription { activityAdded(where: {kind: {eq: LEAD_CREATED}}) { cursor node { id lead { email } } } }"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def leadgraph(*arguments: str, environment: dict[str, str]) -> str:
    return subprocess.run(
        [PROGRAM, *arguments], env={**os.environ, **environment}, check=True, capture_output=True, text=True
    ).stdout.strip()


@asynccontextmanager
async def server(environment: dict[str, str]) -> AsyncIterator[tuple[str, int]]:
    """Serve in a process of its own; give its address and process id."""
    port = free_port()
    quiet = {
        "LEADGRAPH_LOG_LEVEL": "WARNING",
        "LEADGRAPH_RATE_PER_SECOND": "0",
        "LEADGRAPH_RATE_PER_MINUTE": "0",
        "LEADGRAPH_MAX_CONNECTIONS": "1000",
    }
    process = subprocess.Popen(  # noqa: ASYNC220  (nothing else runs yet)
        [PROGRAM, "serve", "--port", str(port)], env={**os.environ, **environment, **quiet}, stderr=subprocess.DEVNULL
    )
    try:
        async with httpx2.AsyncClient(timeout=60) as client:
            while True:
                try:
                    await client.get(f"http://127.0.0.1:{port}/livez")
                    break
                except httpx2.TransportError:
                    await asyncio.sleep(0.1)
        yield f"127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(30)


@asynccontextmanager
async def subscribed(address: str, key: str, count: int) -> AsyncIterator[ClientConnection]:
    """Open a socket with so many subscriptions on it, all begun."""
    async with connect(f"ws://{address}/graphql", subprotocols=["graphql-transport-ws"], compression=None, max_queue=None) as raw:
        await raw.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {key}"}}))
        await raw.recv()
        for number in range(count):
            await raw.send(json.dumps({"type": "subscribe", "id": str(number), "payload": {"query": WATCH}}))
        await raw.send(json.dumps({"type": "ping"}))
        while json.loads(await raw.recv())["type"] != "pong":
            pass
        yield raw


def memory(pid: int) -> float:
    """Give the resident memory of a process, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1_000
    raise RuntimeError("no VmRSS")


async def measure(writing: str, reading: str, pid: int, key: str, sockets: int, each: int, events: int, rate: float) -> dict[str, Any]:
    """Write so many events at a rate, with so many subscriptions open, and time from the mutation's answer to each subscriber."""
    idle = memory(pid)
    answered: dict[str, float] = {}
    took: list[tuple[str, float]] = []

    async def listen(raw: ClientConnection) -> None:
        for _ in range(events * each):
            message = await raw.recv()
            took.append((message, time.perf_counter()))

    async with asyncio.timeout(600):
        held = [subscribed(reading, key, each) for _ in range(sockets)]
        raws = [await one.__aenter__() for one in held]
        listening = [asyncio.create_task(listen(raw)) for raw in raws]
        full, start = memory(pid), time.perf_counter()
        async with httpx2.AsyncClient(timeout=60) as client:
            for number in range(events):
                await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
                email = f"n{time.time_ns()}@example.com"
                await client.post(
                    f"http://{writing}/graphql",
                    json={"query": CREATE, "variables": {"email": email}},
                    headers={"authorization": f"Bearer {key}"},
                )
                answered[email] = time.perf_counter()
        await asyncio.gather(*listening)
        full = max(full, memory(pid))
        for one in held:
            await one.__aexit__(None, None, None)
    waits = [1_000 * (at - answered[orjson.loads(text)["payload"]["data"]["activityAdded"]["node"]["lead"]["email"]]) for text, at in took]
    cuts = statistics.quantiles(waits, n=100)
    return {
        "told": len(waits),
        "of": events * sockets * each,
        "p50": cuts[49],
        "p99": cuts[98],
        "max": max(waits),
        "MB above idle": full - idle,
    }


async def run(kind: str, url: str) -> None:
    """Measure on one database, and print a row for each plan."""
    environment = {"LEADGRAPH_DATABASE_URL": url}
    leadgraph("migrate", environment=environment)
    leadgraph("workspace", "create", "live", environment=environment)
    key = leadgraph("key", "create", "--workspace", "live", "--name", "bench", "--role", "ADMIN", environment=environment)
    async with server(environment) as (one, pid), server(environment) as (two, _):
        for name, plan in {
            "one process": (one, one, pid, key, 1, 1, 300, 30.0),
            "across two": (two, one, pid, key, 1, 1, 300, 30.0),
            "1,000 subscriptions": (one, one, pid, key, 50, 20, 100, 10.0),
        }.items():
            found = await measure(*plan)
            if found["told"] != found["of"]:
                raise SystemExit(f"{name}: {found['told']:,.0f} of {found['of']:,.0f} messages came")
            waits = " | ".join(f"{found[each]:.1f}" for each in ("p50", "p99", "max"))
            print(f"| {kind} | {name} | {found['told']:,.0f} | {waits} | {found['MB above idle']:.1f} |", flush=True)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("| database | | messages | p50 ms | p99 ms | longest ms | MB above idle |\n|---|---|--:|--:|--:|--:|--:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run("SQLite", f"sqlite+aiosqlite:///{folder}/live.db"))
    postgres = create_postgres_database()
    try:
        asyncio.run(run("PostgreSQL", postgres))
    finally:
        drop_postgres_database(postgres)
