"""How fast files go in and out: `.venv/bin/python tests/bench/files.py --rows 50000 --there 200000`.

Each step is a process of the command line on a database of its own. A rate counts from the moment the import was ordered to its end, as
its row tells (an export: the whole process). CPU is the process's, its start included; a database server's is not in it. Memory is the
most that the process held.
"""

import argparse
import csv
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from postgres import create_postgres_database, drop_postgres_database  # noqa: E402

from app.rules.people import make_people  # noqa: E402

FIELDS = ("firstName", "lastName", "email", "company", "title", "linkedinUrl", "phone", "location", "source")
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


class Ran(NamedTuple):
    wall: float
    cpu: float
    megabytes: float


def run(url: str, *arguments: object) -> Ran:
    """Run a command to its end."""
    started = time.perf_counter()
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "app", *map(str, arguments)],
        {**os.environ, "LEADGRAPH_DATABASE_URL": url, "PYTHONPATH": str(ROOT)},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, used = os.wait4(process, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(map(str, arguments))}")
    return Ran(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def last_import(url: str) -> float:
    """Give the seconds that the latest import took."""
    if url.startswith("sqlite"):
        with sqlite3.connect(url.partition("///")[2]) as connection:
            asked = "SELECT (julianday(finished_at) - julianday(created_at)) * 86400 FROM import_job ORDER BY created_at DESC LIMIT 1"
            return float(connection.execute(asked).fetchone()[0])
    import asyncio

    import asyncpg

    async def ask() -> float:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            asked = "SELECT extract(epoch FROM finished_at - created_at) FROM import_job ORDER BY created_at DESC LIMIT 1"
            return float(await connection.fetchval(asked))
        finally:
            await connection.close()

    return asyncio.run(ask())


def write(file: Path, people: Sequence[dict[str, str]]) -> Path:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, FIELDS)
        writer.writeheader()
        writer.writerows(people)
    return file


def people(count: int, seed: int, mark: str) -> list[dict[str, str]]:
    """Make people whom no other mark has."""
    made = [row.cells for row in make_people(count, seed=seed, bad=0, repeated=0)]
    return [{**cells, "email": f"{mark}.{cells['email']}"} for cells in made]


def measure(url: str, folder: Path, rows: int, there: int) -> Iterator[tuple[str, str, float, Ran]]:
    """Run all steps on one database: each step's name, its bar, its rows a second, and what it took."""
    run(url, "migrate")
    run(url, "workspace", "create", "bench")
    own = people(rows, 1, "a")
    own_file = write(folder / "own.csv", own)

    def imported(name: str, bar: str, file: Path) -> tuple[str, str, float, Ran]:
        ran = run(url, "import", file, "--workspace", "bench")
        return name, bar, rows / last_import(url), ran

    yield imported("import into an empty database", "10,000", own_file)
    changed = [{**cells, "title": f"{cells['title']} II", "company": f"{cells['company']} II"} for cells in own]
    yield imported("the same rows with two fields changed", "6,000", write(folder / "changed.csv", changed))
    yield imported("the same rows once more, unchanged", "15,000", folder / "changed.csv")
    for form in ("csv", "ndjson"):
        ran = run(url, "export", folder / f"out.{form}", "--workspace", "bench", "--format", form)
        yield f"export as {form}", "50,000", rows / ran.wall, ran
    if there:
        run(url, "import", write(folder / "there.csv", people(there, 2, "b")), "--workspace", "bench")
        other = write(folder / "other.csv", people(rows, 3, "c"))
        yield imported(f"import beside {there + rows:,} leads", "80 % of empty", other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--there", type=int, default=1_000_000, help="leads that are there before the last import; 0 leaves it out")
    parser.add_argument("--database", choices=sorted(NAMES), action="append")
    asked = parser.parse_args()
    print(f"Load of the machine at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {asked.rows:,} rows a file.\n")
    print("| database | step | bar, rows/s | rows/s | rows a CPU second | peak MB |\n|---|---|--:|--:|--:|--:|")
    for kind in asked.database or ["sqlite", "postgresql"]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            url = f"sqlite+aiosqlite:///{folder / 'bench.db'}" if kind == "sqlite" else create_postgres_database()
            try:
                for step, bar, rate, ran in measure(url, folder, asked.rows, asked.there):
                    figures = f"{rate:,.0f} | {asked.rows / ran.cpu:,.0f} | {ran.megabytes:.0f}"
                    print(f"| {NAMES[kind]} | {step} | {bar} | {figures} |", flush=True)
            finally:
                if kind == "postgresql":
                    drop_postgres_database(url)


if __name__ == "__main__":
    main()
