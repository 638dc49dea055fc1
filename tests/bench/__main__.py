"""The benchmark: `python tests/bench`, or `make bench`. Two databases, the same work for every peer, rounds in turn, medians."""

import argparse
import os
import sqlite3
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import uvloop
from filling import POSTGRES, Data, clean, filled
from load import Seen, ask_once, put_load
from peers import Peer, all_peers, postgraphile_version
from report import Results, Round, bars_met, told, write_report
from statements_of import Statement, statements_of
from works import WORKS, Work

from app.database import Database
from app.readers import cursor_text
from app.settings import Settings

CONCURRENCY = 32
#: How far before others a run goes that is told to.
URGENT = -15
#: Statements of one round with the database alone.
ALONE = 60


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python tests/bench", description=__doc__)
    parser.add_argument("--leads", type=int, default=200_000, help="leads in the databases, at least 800 (200,000)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each peer and work (7)")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of a round (2)")
    parser.add_argument("--quick", action="store_true", help="20,000 leads, 3 rounds of half a second")
    parser.add_argument("--works", default=",".join(work.name for work in WORKS), help="which work, by commas (all)")
    parser.add_argument("--databases", default="sqlite,postgresql", help="sqlite, postgresql (both)")
    parser.add_argument("--peers", default="", help="which peers, by commas (all that are installed)")
    parser.add_argument("--no-report", action="store_true", help="print alone, and leave RESULTS.md as it is")
    parser.add_argument("--urgent", action="store_true", help="go before other work on this machine (needs root)")
    parser.add_argument("--clean", action="store_true", help="remove the data that is kept between runs, and end")
    options = parser.parse_args()
    if options.quick:
        options.leads, options.rounds, options.seconds = 20_000, 3, 0.5
    return options


async def run(options: argparse.Namespace) -> None:
    """Measure, and write the report."""
    kinds = options.databases.split(",")
    cores = sorted(os.sched_getaffinity(0))
    data = await filled(options.leads, postgres="postgresql" in kinds)
    server_core = cores[-1] if len(cores) > 1 else None
    if server_core is not None:
        os.sched_setaffinity(0, set(cores) - {server_core})
    if options.urgent:
        _go_first()
    results = Results(data.leads, options.rounds, options.seconds, CONCURRENCY, len(cores), versions={"SQLite": sqlite3.sqlite_version})
    if found := postgraphile_version():
        results.versions["PostGraphile"] = found
    for kind in kinds:
        results.rounds[kind] = await _measure(kind, options, data, results, server_core)
    print("\n".join(bars_met(results)))
    if not options.no_report:
        write_report(results)


def _go_first() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, URGENT)  # the servers are started from here, and inherit it
    group = Path("/proc/self/autogroup")
    if group.exists():
        group.write_text(str(URGENT))  # where Linux shares by session, the priority of the process alone says nothing


async def _measure(
    kind: str, options: argparse.Namespace, data: Data, results: Results, core: int | None
) -> dict[str, dict[str, list[Round]]]:
    url = data.postgres_url if kind == "postgresql" else data.sqlite_url
    chosen = options.peers.split(",") if options.peers else None
    peers = [peer for peer in all_peers() if kind in peer.databases and (chosen is None or peer.name in chosen)]
    works = [work for work in WORKS if work.name in options.works.split(",")]
    database = Database(Settings(database_url=url))
    try:
        for peer in peers:
            peer.start(data, url, core)
            results.titles[peer.name] = peer.title
        for peer in peers:
            await peer.ready()
        return {work.name: await _measure_work(kind, work, peers, database, options, data, results) for work in works}
    finally:
        for peer in peers:
            peer.stop()
        await database.close()


async def _measure_work(
    kind: str, work: Work, peers: list[Peer], database: Database, options: argparse.Namespace, data: Data, results: Results
) -> dict[str, list[Round]]:
    variables = work.variables(data)
    planned = [await statements_of(work, each, data, database) for each in variables]
    binds = [[bound for _, bound in statements] for statements in planned]
    asked = [peer for peer in peers if peer.answers(work)]
    requests = {peer.name: [peer.request(work, each, bound, data) for each, bound in zip(variables, binds, strict=True)] for peer in asked}
    alone = await Alone.opened(kind, data, [statement for statement, _ in planned[0]], binds)
    await _compare(work, asked, requests)
    for peer in asked:
        await put_load(peer.port, requests[peer.name], concurrency=CONCURRENCY, seconds=max(options.seconds / 2, 0.5))
    results.backends_pinned = kind != "postgresql" or (await _pin_backends(data, results) and results.backends_pinned)
    rounds: dict[str, list[Round]] = {"database": [], **{peer.name: [] for peer in asked}}
    for number in range(options.rounds):
        rounds["database"].append(await alone.round())
        turn = number % len(asked)
        for peer in asked[turn:] + asked[:turn]:
            rounds[peer.name].append(await _round(peer, requests[peer.name], options.seconds))
    await alone.close()
    print(f"{kind} {work.name}: {work.title}", flush=True)
    for name, of_peer in rounds.items():
        print(f"  {name:14}{told(of_peer)}", flush=True)
    return rounds


async def _round(peer: Peer, requests: list[bytes], seconds: float) -> Round:
    peer.forget_peak()
    before = peer.cpu()
    seen: Seen = await put_load(peer.port, requests, concurrency=CONCURRENCY, seconds=seconds)
    used, times = peer.cpu() - before, sorted(seen.latencies)
    count = len(times)
    return Round(count / seen.seconds, times[count // 2] * 1e3, times[int(count * 0.99)] * 1e3, used / count * 1e3, peer.peak())


async def _compare(work: Work, peers: list[Peer], requests: dict[str, list[bytes]]) -> None:
    """See that every peer gives the same data, so that none is fast by doing less; of PostGraphile's, in another shape, the leads."""
    answers = {peer.name: orjson.loads(await ask_once(peer.port, requests[peer.name][0]))["data"] for peer in peers}
    first = next(iter(answers.values()))
    for name, data in answers.items():
        look = _addresses if name == "postgraphile" else _plain
        if look(data) != look(first):
            print(f"  {work.name}: {name} answers otherwise:\n    {str(data)[:600]}\n    {str(first)[:600]}")


def _addresses(value: Any) -> list[Any]:
    """Give the e-mail addresses in an answer, in order."""
    if isinstance(value, list):
        return [address for part in value for address in _addresses(part)]
    if not isinstance(value, dict):
        return []
    return [address for key, part in value.items() for address in ([part] if key == "email" else _addresses(part))]


def _plain(value: Any) -> Any:
    """Take away how moments are written, and the order of groups."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        parts = [_plain(part) for part in value]
        return sorted(parts, key=str) if parts and isinstance(parts[0], dict) and "count" in parts[0] else parts
    return value.replace("+00:00", "Z") if isinstance(value, str) else value


async def _pin_backends(data: Data, results: Results) -> bool:
    """Keep the database's processes off the servers' core, and as urgent as the rest, where this user may."""
    server = await asyncpg.connect(POSTGRES, timeout=5)
    results.versions["PostgreSQL"] = (await server.fetchval("SHOW server_version")).split()[0]
    found = await server.fetch("SELECT pid FROM pg_stat_activity WHERE datname = $1", data.postgres_name)
    await server.close()
    mine = os.sched_getaffinity(0)
    try:
        for row in found:
            os.sched_setaffinity(row["pid"], mine)
            os.setpriority(os.PRIO_PROCESS, row["pid"], os.getpriority(os.PRIO_PROCESS, 0))
    except OSError:
        return False
    return True


class Alone:
    """The database alone: the statements of one request after the other on one connection of the driver."""

    def __init__(self, connection: Any, statements: list[Any], binds: list[list[list[Any]]]) -> None:
        self.connection, self.statements, self.binds = connection, statements, binds
        self._turns = self._around()

    @classmethod
    async def opened(cls, kind: str, data: Data, statements: list[Statement], binds: list[list[list[Any]]]) -> "Alone":
        """Connect and prepare."""
        if kind == "postgresql":
            connection = await asyncpg.connect(data.postgres_url.replace("+asyncpg", ""), server_settings={"jit": "off"})
            return cls(connection, [await connection.prepare(each.plan.sql) for each in statements], binds)
        file = sqlite3.connect(data.file, isolation_level=None, cached_statements=512)
        file.create_function("cursor_text", 2, cursor_text, deterministic=True)
        file.execute("PRAGMA cache_size = -16000")
        return cls(file, [each.plan.sql for each in statements], binds)

    def _around(self) -> Iterator[list[list[Any]]]:
        while True:
            yield from self.binds

    async def round(self) -> Round:
        """Time some requests, one at a time."""
        times = []
        for _ in range(ALONE):
            bound = next(self._turns)
            started = time.perf_counter()
            for statement, values in zip(self.statements, bound, strict=True):
                if isinstance(statement, str):
                    self.connection.execute(statement, values).fetchall()
                else:
                    await statement.fetch(*values)
            times.append((time.perf_counter() - started) * 1e3)
        times.sort()
        return Round(1e3 * len(times) / sum(times), statistics.median(times), times[int(len(times) * 0.99)], 0, 0)

    async def close(self) -> None:
        """Disconnect."""
        closing = self.connection.close()
        if closing is not None:
            await closing


if __name__ == "__main__":
    chosen = read_options()
    uvloop.run(clean() if chosen.clean else run(chosen))
