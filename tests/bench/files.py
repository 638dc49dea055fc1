"""How fast files go in and out: `.venv/bin/python tests/bench/files.py --rows 50000 --there 200000`.

Each step is a process of the command line on a database of its own. A rate counts from the moment the import was ordered to its end, as
its row tells (an export: the whole process). CPU is the process's, its start included; a database server's is not in it. Memory is the
most that the process held and the most that each it began did, added up. Exports are asked for once more of a server that runs
already, by a client that shares the cores.
"""

import argparse
import asyncio
import csv
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from postgres import create_postgres_database, drop_postgres_database  # noqa: E402
from serving import started_program  # noqa: E402

from app.rules.people import make_people  # noqa: E402

FIELDS = ("firstName", "lastName", "email", "company", "title", "linkedinUrl", "phone", "location", "source")
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


class Ran(NamedTuple):
    wall: float
    cpu: float
    megabytes: float


def run(url: str, *arguments: object) -> Ran:
    """Run a command to its end."""
    return _run(url, "-m", "app", *arguments)


def _run(url: str, *arguments: object) -> Ran:
    started = time.perf_counter()
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, *map(str, arguments)],
        {**os.environ, "LEADGRAPH_DATABASE_URL": url, "PYTHONPATH": str(ROOT)},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)],
    )
    most: dict[int, int] = {}
    ended = threading.Event()
    watching = threading.Thread(target=_watch, args=(process, most, ended))
    watching.start()
    _, status, used = os.wait4(process, 0)
    wall = time.perf_counter() - started
    ended.set()
    watching.join()
    if status:
        raise SystemExit(f"failed: {' '.join(map(str, arguments))}")
    return Ran(wall, used.ru_utime + used.ru_stime, sum(most.values()) / 1_024)


def _watch(process: int, most: dict[int, int], ended: threading.Event) -> None:
    """Note the most memory, in KiB, that a process and those that it began have held, twenty times a second.

    Not what `wait4` gives: Linux hands the peak of this process on to whatever it starts.
    """
    while not ended.wait(0.05):
        for each in [process, *_begun_by(process)]:
            try:
                found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{each}/status").read_text())
            except OSError:  # it has ended meanwhile
                continue
            if found:
                most[each] = max(most.get(each, 0), int(found[1]))


def _begun_by(process: int) -> list[int]:
    begun = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            if int(each.read_text().rpartition(")")[2].split()[1]) == process:
                begun.append(int(each.parent.name))
    return begun


def last_import(url: str) -> float:
    """Give the seconds that the latest import took."""
    return _asked(url, "SELECT {} FROM import_job ORDER BY created_at DESC LIMIT 1")


def last_undo(url: str) -> float:
    """Give the seconds that the latest undo took."""
    return _asked(url, "SELECT {} FROM batch WHERE kind = 'UNDO' ORDER BY created_at DESC LIMIT 1")


def _asked(url: str, asked: str) -> float:
    if url.startswith("sqlite"):
        with sqlite3.connect(url.partition("///")[2]) as connection:
            seconds = "(julianday(finished_at) - julianday(created_at)) * 86400"
            return float(connection.execute(asked.format(seconds)).fetchone()[0])
    import asyncpg

    async def ask() -> float:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return float(await connection.fetchval(asked.format("extract(epoch FROM finished_at - created_at)")))
        finally:
            await connection.close()

    return asyncio.run(ask())


def download(url: str, folder: Path) -> Iterator[tuple[str, Ran]]:
    """Ask a running server for each form, and give what it took from the request to the last byte."""
    key = subprocess.run(
        [sys.executable, "-m", "app", "key", "create", "--workspace", "bench", "--name", "bench", "--role", "viewer"],
        env={**os.environ, "LEADGRAPH_DATABASE_URL": url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()[-1]
    with started_program(folder, LEADGRAPH_DATABASE_URL=url) as server:
        for form in ("csv", "ndjson"):
            server.forget_the_most()
            used, started = server.cpu(), time.perf_counter()
            client = HTTPConnection(server.url.removeprefix("http://"))
            client.request("GET", f"/export/leads.{form}", headers={"Authorization": f"Bearer {key}"})
            answer = client.getresponse()
            if answer.status != 200:
                raise SystemExit(f"failed: {answer.read().decode()}")
            while answer.read(65_536):
                pass
            yield form, Ran(time.perf_counter() - started, server.cpu() - used, server.memory(most=True) / 1_048_576)


async def undo_last(url: str) -> None:
    """Take the latest batch back, as `batchUndo` and a worker do."""
    import gc

    import sqlalchemy as sa

    from app.actions import undo
    from app.actions.batches import BATCH, JobStatus
    from app.actions.reads import Read
    from app.actions.work import Caller, Role, Work
    from app.database import Database
    from app.settings import Settings
    from app.worker import Worker

    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    database = Database(Settings(database_url=url, worker_poll_seconds=0.1))
    async with database.writing() as connection:
        asked = sa.select(BATCH).order_by(BATCH.c.created_at.desc()).limit(1)
        batch = (await connection.execute(asked)).mappings().one()
        caller = Caller(workspace_id=batch["workspace_id"], role=Role.ADMIN)
        undo_id = await undo.undo(Work(connection, caller), batch["id"])
    mine = (BATCH.c.workspace_id == sa.bindparam("workspace"), BATCH.c.id == sa.bindparam("batch"))
    looking = Read(sa.select(BATCH.c.status).where(*mine))
    stop = asyncio.Event()
    working = asyncio.create_task(Worker(database, database.settings).run(stop))
    status = JobStatus.PENDING
    while status in (JobStatus.PENDING, JobStatus.RUNNING):
        await asyncio.sleep(0.2)
        async with database.readers.reading() as reading:
            [row] = await looking.rows(reading, workspace=caller.workspace_id, batch=undo_id)
        status = row["status"]
    stop.set()
    await working
    await database.close()


def yardstick(folder: Path) -> float:
    """Tell how fast the machine is: the rows a second that SQLite's driver alone puts into a table with three indexes, 2,000 at a time."""
    rows = [tuple(person[name] for name in FIELDS) for person in people(20_000, 5, "y")]
    columns = ", ".join(f"{name} TEXT" for name in FIELDS)
    with closing(sqlite3.connect(folder / "yardstick.db", isolation_level=None)) as connection:
        connection.executescript(
            f"PRAGMA journal_mode = WAL; CREATE TABLE bare ({columns}); CREATE UNIQUE INDEX bare_email ON bare (email);"
        )
        connection.executescript(
            "CREATE INDEX bare_company ON bare (company, title); CREATE INDEX bare_name ON bare (lastName, firstName);"
        )
        started = time.perf_counter()
        for start in range(0, len(rows), 2_000):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(f"INSERT INTO bare VALUES ({', '.join('?' * len(FIELDS))})", rows[start : start + 2_000])
            connection.execute("COMMIT")
        return len(rows) / (time.perf_counter() - started)


def write(file: Path, people: Iterable[dict[str, str]]) -> Path:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, FIELDS)
        writer.writeheader()
        writer.writerows(people)
    return file


def people(count: int, seed: int, mark: str) -> Iterator[dict[str, str]]:
    """Make people whom no other mark has; never all at once, for a process begins with the memory of who started it as its peak."""
    for row in make_people(count, seed=seed, bad=0, repeated=0):
        # Without the white space that some have around them: behind the mark it would be inside.
        yield {**row.cells, "email": f"{mark}.{row.cells['email'].strip()}"}


def measure(url: str, folder: Path, rows: int, there: int) -> Iterator[tuple[str, str, int, float, Ran]]:
    """Run all steps on one database: each step's name, its bar, its rows, the seconds of the work alone, and what it took."""
    run(url, "migrate")
    run(url, "workspace", "create", "bench")
    own_file = write(folder / "own.csv", people(rows, 1, "a"))

    def imported(name: str, bar: str, file: Path) -> tuple[str, str, int, float, Ran]:
        ran = run(url, "import", file, "--workspace", "bench")
        return name, bar, rows, last_import(url), ran

    yield imported("import into an empty database", "10,000", own_file)
    changed = ({**cells, "title": f"{cells['title']} II", "company": f"{cells['company']} II"} for cells in people(rows, 1, "a"))
    yield imported("the same rows with two fields changed", "6,000", write(folder / "changed.csv", changed))
    yield imported("the same rows once more, unchanged", "15,000", folder / "changed.csv")
    for form in ("csv", "ndjson"):
        ran = run(url, "export", folder / f"out.{form}", "--workspace", "bench", "--format", form)
        yield f"export as {form}", "50,000", rows, ran.wall, ran
    for form, ran in download(url, folder):
        yield f"export as {form} by a running server", "50,000", rows, ran.wall, ran
    taken = min(rows, 100_000)
    run(url, "import", write(folder / "taken.csv", people(taken, 4, "d")), "--workspace", "bench")
    ran = _run(url, __file__, "--undo", url)
    yield f"undo of an import of {taken:,}", "10,000", taken, last_undo(url), ran
    if there:
        run(url, "import", write(folder / "there.csv", people(there, 2, "b")), "--workspace", "bench")
        other = write(folder / "other.csv", people(rows, 3, "c"))
        yield imported(f"import beside {there + rows:,} leads", "80 % of empty", other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--there", type=int, default=1_000_000, help="leads that are there before the last import; 0 leaves it out")
    parser.add_argument("--database", choices=sorted(NAMES), action="append")
    parser.add_argument("--undo", metavar="URL", help="take the latest batch of that database back, and nothing else")
    asked = parser.parse_args()
    if asked.undo:
        asyncio.run(undo_last(asked.undo))
        return
    with tempfile.TemporaryDirectory() as name:
        alone = yardstick(Path(name))
    print(f"Load of the machine at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {asked.rows:,} rows a file.\n")
    print("| database | step | bar, rows/s | rows/s | rows a CPU second | peak MB |\n|---|---|--:|--:|--:|--:|")
    print(f"| the driver of SQLite alone | plain rows into a table with three indexes | | {alone:,.0f} | | |")
    for kind in asked.database or ["sqlite", "postgresql"]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            url = f"sqlite+aiosqlite:///{folder / 'bench.db'}" if kind == "sqlite" else create_postgres_database()
            try:
                for step, bar, rows, seconds, ran in measure(url, folder, asked.rows, asked.there):
                    figures = f"{rows / seconds:,.0f} | {rows / ran.cpu:,.0f} | {ran.megabytes:.0f}"
                    print(f"| {NAMES[kind]} | {step} | {bar} | {figures} |", flush=True)
            finally:
                if kind == "postgresql":
                    drop_postgres_database(url)


if __name__ == "__main__":
    main()
