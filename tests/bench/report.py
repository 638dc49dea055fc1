"""What is written down of a run: a table for each database, the bars, met or not, and a plot."""

import os
import platform
import shlex
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from math import log10
from pathlib import Path

from parts import put
from works import WORKS

HERE = Path(__file__).resolve().parent
DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
PACKAGES = (
    "uvicorn",
    "uvloop",
    "starlette",
    "strawberry-graphql",
    "graphql-core",
    "orjson",
    "sqlalchemy",
    "sqlmodel",
    "asyncpg",
    "aiosqlite",
)
COLOURS = {"service": "#2563eb", "bare": "#0d9488", "orm": "#d97706", "postgraphile": "#9333ea"}
#: Where the plot's bars begin, in ms.
FLOOR = 0.02


@dataclass(slots=True)
class Round:
    """What one round came to: times in ms (`cpu`: of the server, a request), memory in MB."""

    per_second: float
    p50: float
    p99: float
    cpu: float
    peak: float


#: By database, work and peer; what the database alone takes stands under `database`.
Rounds = dict[str, dict[str, dict[str, list[Round]]]]


@dataclass(slots=True)
class Results:
    """Everything that was measured, and on what."""

    leads: int
    rounds_each: int
    seconds: float
    concurrency: int
    cores: int
    rounds: Rounds = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    #: Whether the database's processes could be kept off the servers' core.
    backends_pinned: bool = True


@dataclass(frozen=True, slots=True)
class Bar:
    """What the service has to reach."""

    says: str
    work: str
    #: The ratio or figure of each round's measurements, by peer; its median counts.
    of: Callable[[dict[str, Round]], float]
    bound: float
    peers: tuple[str, ...]
    most: bool = False
    unit: str = "x"
    databases: tuple[str, ...] = ("sqlite", "postgresql")


def _less_cpu(peer: str) -> Callable[[dict[str, Round]], float]:
    return lambda by_peer: by_peer[peer].cpu / by_peer["service"].cpu


def _more_requests(peer: str) -> Callable[[dict[str, Round]], float]:
    return lambda by_peer: by_peer["service"].per_second / by_peer[peer].per_second


def _bars() -> Iterator[Bar]:
    for work, bound in (("W1", 20), ("W2", 15), ("W3", 30), ("W6", 15)):
        yield Bar("CPU a request, plain Strawberry + ORM : service", work, _less_cpu("orm"), bound, ("orm",))
    for work, bound in (("W1", 3), ("W2", 3), ("W3", 5), ("W6", 3)):
        only = ("postgresql",)
        yield Bar("CPU a request, PostGraphile : service", work, _less_cpu("postgraphile"), bound, ("postgraphile",), databases=only)
        yield Bar("requests/s, service : PostGraphile", work, _more_requests("postgraphile"), 1, ("postgraphile",), databases=only)
    for work in ("W1", "W2", "W3", "W4", "W6", "W7"):
        yield Bar("requests/s, service : bare Starlette", work, _more_requests("bare"), 1.3 if work == "W1" else 0.95, ("bare",))
    for work, most in (("W2", 1), ("W4", 2), ("W7", 20)):
        yield Bar("time in the database alone", work, lambda by_peer: by_peer["database"].p50, most, ("database",), most=True, unit=" ms")
    yield Bar("peak memory of the service", "W6", lambda by_peer: by_peer["service"].peak, 250, ("service",), most=True, unit=" MB")


def middle(rounds: list[Round], name: str) -> float:
    """Give the median of all rounds."""
    return statistics.median(getattr(each, name) for each in rounds)


def told(rounds: list[Round]) -> str:
    """Say in a line what the rounds of one peer came to."""
    found = {name: middle(rounds, name) for name in Round.__slots__}  # type: ignore[attr-defined]
    return "{per_second:9.0f}/s  p50 {p50:8.3f} ms  p99 {p99:8.3f} ms  CPU {cpu:7.3f} ms  peak {peak:4.0f} MB".format(**found)


def bars_met(results: Results) -> list[str]:
    """Write a row for each bar and database of which this run knows."""
    rows = []
    for bar in _bars():
        for database in bar.databases:
            by_peer = results.rounds.get(database, {}).get(bar.work, {})
            if not all(peer in by_peer for peer in ("service", *bar.peers)):
                continue
            turns = [dict(zip(by_peer, turn, strict=True)) for turn in zip(*by_peer.values(), strict=True)]
            figure = statistics.median(bar.of(turn) for turn in turns)
            met = figure < bar.bound if bar.most else figure >= bar.bound
            bound = f"{'under' if bar.most else 'at least'} {bar.bound:g}{bar.unit}"
            rows.append(
                f"| {bar.work} | {bar.says} | {DATABASES[database]} | {bound} | {figure:.3g}{bar.unit} | {'met' if met else '**missed**'} |"
            )
    return rows


def write_report(results: Results) -> None:
    """Write the part of reading in RESULTS.md, and the plot beside it."""
    lines = [
        "## Reading, beside its peers",
        "",
        _how(results),
        "",
        f"{results.cores} cores ({_processor()}), Python {platform.python_version()}, "
        + ", ".join(f"{name} {number}" for name, number in _versions(results).items())
        + ".",
        "",
        "![CPU a request](plot.svg)",
        "",
        "| work | bar | database | bound | measured | |",
        "|---|---|---|---|---|---|",
        *bars_met(results),
        "",
    ]
    for database, works in results.rounds.items():
        lines += [f"### {DATABASES[database]}", ""]
        lines += ["| work | | requests/s | p50 ms | p99 ms | CPU ms | peak MB |", "|---|---|--:|--:|--:|--:|--:|"]
        for name, by_peer in works.items():
            first = f"{name}: {next(work.title for work in WORKS if work.name == name)}"
            for peer, rounds in by_peer.items():
                shown = [_figure(middle(rounds, each)) for each in ("per_second", "p50", "p99", "cpu", "peak")]
                if peer == "database":
                    shown[3:] = ["", ""]
                lines.append(f"| {first} | {results.titles.get(peer, 'the database alone')} | {' | '.join(shown)} |")
                first = ""
        lines.append("")
    put("reading", "\n".join(lines))
    (HERE / "plot.svg").write_text(plot(results))


def _how(results: Results) -> str:
    command = shlex.join(["python", "tests/bench", *sys.argv[1:]])
    pinned = "and so do the database's processes" if results.backends_pinned else "the database's processes run where they will"
    cores = f"Each server has a core of its own; the load has the other, {pinned}." if results.cores > 1 else "One core for everything."
    return f"""\
Written by `{command}`: {results.leads:,} leads, 200 campaigns, {results.leads * 5:,} activities; concurrency {results.concurrency};
medians of {results.rounds_each} rounds of {results.seconds:g} s, the peers in turn, all warmed alike.
{cores}
Ratios are taken round by round, then their median. The service asks for a key and holds its limits (the rate's is lifted); its peers
do neither. `CPU` is the server's, a request, all its threads, by the scheduler's count; a database server's is not in it.
`the database alone` is one connection of the driver, one request after the other, nothing made of the rows.
Average load of the machine in the last minute of the run: {os.getloadavg()[0]:.1f}, of which the run itself is about 2."""


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _versions(results: Results) -> dict[str, str]:
    return {**results.versions, **{name: version(name) for name in PACKAGES}}


def plot(results: Results) -> str:
    """Draw the CPU of a request, by work and peer, on a logarithmic scale."""
    panels, top = [], 30
    for database, works in results.rounds.items():
        bars, y = [], top + 26
        for name, by_peer in works.items():
            bars.append(f'<text x="10" y="{y + 11}" font-weight="600">{name}</text>')
            for peer, rounds in by_peer.items():
                if peer == "database":
                    continue
                cpu = middle(rounds, "cpu")
                width = max(2.0, 150 * log10(max(cpu, FLOOR) / FLOOR))
                bars.append(f'<rect x="50" y="{y}" width="{width:.1f}" height="13" rx="2" fill="{COLOURS[peer]}"/>')
                bars.append(f'<text x="{56 + width:.1f}" y="{y + 11}">{_figure(cpu)} ms  {results.titles[peer]}</text>')
                y += 16
            y += 10
        panels.append(f'<text x="10" y="{top + 14}" font-size="14" font-weight="600">{DATABASES[database]}</text>{"".join(bars)}')
        top = y + 6
    title = '<text x="10" y="22" font-size="15" font-weight="700">Server CPU a request (logarithmic)</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 {top}" font-family="system-ui, sans-serif" font-size="11">'
        f'<rect width="960" height="{top}" fill="#ffffff"/>{title}{"".join(panels)}</svg>\n'
    )
