"""`leadgraph demo`: a service with leads in it, from nothing, in a few seconds."""

import asyncio
import csv
import io
import os
import random
import shlex
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import orjson
import typer

from app.actions import campaigns, imports, jobs, users, workspaces
from app.actions.imports import Order
from app.actions.keys import create_key
from app.actions.leads import assign
from app.actions.upserts import MOST, upsert_many
from app.actions.work import Caller, Role, Work
from app.commands.databases import opened, read_settings
from app.commands.serve import HOST, PORT, Host, Port, address, answer, listen
from app.commands.terminal import Failure, bar
from app.database import Database
from app.migrations import upgrade
from app.rules.people import MadeRow, make_people
from app.settings import QUERIES, Settings

FILE = Path("leadgraph-demo.db")
SLUG = "demo"
CAMPAIGN = {
    "name": "Technical buyers",
    "status": "ACTIVE",
    "criteria": {"titles": ["CTO", "VP Engineering", "Software Engineer"], "sources": ["linkedin", "referral"]},
}
ANA = {"email": "ana@leadgraph.example.com", "name": "Ana Ortega", "role": "ADMIN"}
BEN = {"email": "ben@leadgraph.example.com", "name": "Ben Kjær", "role": "EDITOR"}
COLUMNS = ("firstName", "lastName", "email", "company", "title", "linkedinUrl", "phone", "location", "source")
#: How leads come on: to a status, which share of those that came so far, how many days ago.
STEPS = (("CONTACTED", 0.25, 9), ("REPLIED", 0.4, 6), ("QUALIFIED", 0.5, 4), ("CONVERTED", 0.3, 1))
#: Leads that Ben takes.
ASSIGNED = 40
#: Days ago that the story begins; the leads come in during its first half.
DAYS = 30

commands = typer.Typer(add_completion=False)


@commands.command()
def demo(
    *,
    database: Annotated[
        Path | None,
        typer.Option(help=f"A new file for the database; unless given, {FILE}, with the port in its name if not {PORT}, is made anew."),
    ] = None,
    leads: Annotated[int, typer.Option(help="Rows of leads to make.", min=1, max=1_000_000)] = 10_000,
    host: Host = HOST,
    port: Port = PORT,
) -> None:
    """Make a database with leads and what happened to them, print how to ask for them, and serve it."""
    started = time.monotonic()
    with listen(host, port) as listener:  # first of all: a second demo must leave the file of the first alone
        file = _new_file(database, listener.getsockname()[1])
        url = f"sqlite+aiosqlite:///{file}"
        key = asyncio.run(_fill(read_settings(url), leads))
        typer.echo(f"Made {file} from {leads:,} rows of leads in {time.monotonic() - started:.1f} s. Ctrl-C ends the server.\n", err=True)
        typer.echo(_greeting(address(listener), key, url))
        sys.stdout.flush()
        # The server reads its settings as any other does.
        os.environ["LEADGRAPH_DATABASE_URL"] = url
        os.environ.setdefault("LEADGRAPH_LOG_LEVEL", "WARNING")
        answer(listener)


def _new_file(asked: Path | None, port: int) -> Path:
    """Give the file that was asked for, which must be new, or a port's own: a demo on another port goes on with its."""
    if asked is not None:
        if asked.exists():
            raise Failure(f"{asked} is there already: name a new file with --database, or remove it")
        return asked
    mine = FILE if port == PORT else FILE.with_stem(f"{FILE.stem}-{port}")
    for file in mine.parent.glob(f"{mine.name}*"):
        file.unlink()
    return mine


@dataclass(frozen=True, slots=True)
class Story:
    """Writes what happened, each chapter some days ago."""

    database: Database
    workspace_id: str
    user_id: str | None = None

    @asynccontextmanager
    async def chapter(self, days_ago: float) -> AsyncIterator[Work]:
        """Open a transaction that happens that many days ago."""
        caller = Caller(workspace_id=self.workspace_id, role=Role.ADMIN, user_id=self.user_id)
        async with self.database.writing() as connection:
            yield Work(connection, caller, now=datetime.now(UTC) - timedelta(days=days_ago))


async def _fill(settings: Settings, count: int) -> str:
    """Make the database and give a key to it."""
    async with opened(settings, create=True) as database:
        await upgrade(database)
        async with database.writing() as connection:
            workspace = await workspaces.create(connection, slug=SLUG, name="Demo")
        async with Story(database, workspace["id"]).chapter(DAYS) as work:
            ana = await users.create(work, ANA)
            ben = await users.create(work, BEN)
        story = Story(database, workspace["id"], ana["id"])
        async with story.chapter(DAYS) as work:
            campaign = await campaigns.create(work, CAMPAIGN)
        with bar("Making leads") as show:
            known = await _import(story, files(campaign["id"], list(make_people(count))), show)
        await _come_on(story, known, ben["id"])
        async with database.writing() as connection:
            _, key = await create_key(connection, workspace["id"], "demo", Role.ADMIN)
    return key


@dataclass(frozen=True, slots=True)
class File:
    """Rows as if they came in one file, for the leads of a campaign or of none."""

    name: str
    campaign_id: str | None
    rows: Sequence[MadeRow]


def files(campaign_id: str, rows: Sequence[MadeRow]) -> tuple[File, File]:
    """Lay rows out as two files, the first of them for the campaign."""
    half = len(rows) // 2
    return File("webinar.csv", campaign_id, rows[:half]), File("trade-fair.csv", None, rows[half:])


async def _import(story: Story, parts: Iterable[File], show: Callable[[float], None]) -> list[str]:
    """Take the files in, one after the other, and give the addresses of the leads."""
    known: list[str] = []
    parts = list(parts)
    count, first = sum(len(part.rows) for part in parts), 0
    for part in parts:
        known += [made.cells["email"].strip() for made in part.rows if made.fault is None and made.repeats is None]
        text = io.StringIO(newline="")
        csv.writer(text).writerows([COLUMNS, *[[made.cells[name] for name in COLUMNS] for made in part.rows]])
        async with story.chapter(DAYS - first / count * DAYS / 2) as work:
            held = jobs.Hold("demo", datetime.now(UTC) + timedelta(hours=1))
            asked = Order(file_name=part.name, campaign_id=part.campaign_id)
            job = (await imports.order(work, io.BytesIO(text.getvalue().encode()), asked, held=held)).job
        ended = False
        while not ended:
            taken = first + len(part.rows) * job["progress"] // 100
            async with story.chapter(DAYS - taken / count * DAYS / 2) as work:
                job["checkpoint"], job["progress"] = await imports.step(work, job)
                ended = job["checkpoint"] is None
                if ended:
                    await jobs.succeed(work.connection, job, work.now)
            show(taken / count)
        first += len(part.rows)
    return known


async def _come_on(story: Story, known: list[str], ben: str) -> None:
    """Let some of the leads answer, buy and be taken by somebody."""
    dice = random.Random(len(known))  # noqa: S311  (the same story each time, no secrets)
    async with story.chapter(DAYS / 2) as work:
        for email in dice.sample(known, min(ASSIGNED, len(known))):
            await assign(work, {"email": email}, {"id": ben})
    for status, share, days_ago in STEPS:
        known = dice.sample(known, int(len(known) * share))
        for start in range(0, len(known), MOST):
            async with story.chapter(days_ago) as work:
                await upsert_many(work, [{"email": email, "status": status} for email in known[start : start + MOST]])


def _greeting(url: str, key: str, database_url: str) -> str:
    """Say where the service is, and four lines that work when they are pasted: the last goes to the database itself."""
    program = _from_here(Path(sys.argv[0])) if Path(sys.argv[0]).name == "leadgraph" else f"{shlex.quote(sys.executable)} -m app"
    asked = f"--key {key}" + ("" if url == f"http://{HOST}:{PORT}" else f" --url {url}/graphql")
    query = orjson.dumps({"query": "{ leads(first: 3) { totalCount nodes { fullName company qualityScore } } }"}).decode()
    variables = orjson.dumps({"input": {"leads": [{"email": "you@example.com", "firstName": "You", "company": "Example"}]}}).decode()
    return f"""\
Explorer  {url}/explorer#key={key}
Key       {key}

curl -s {url}/graphql -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{query}'
{program} run {_from_here(QUERIES / "leads/list.graphql")} --variables '{{"first": 3}}' {asked}
{program} run {_from_here(QUERIES / "leads/upsert_many.graphql")} --variables '{variables}' {asked}
LEADGRAPH_DATABASE_URL={shlex.quote(database_url)} {program} export demo-leads.csv --workspace {SLUG}
"""


def _from_here(path: Path) -> str:
    """Write a path as one types it in this folder."""
    here = Path.cwd()
    path = path.absolute()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
