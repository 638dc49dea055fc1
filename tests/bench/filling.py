"""The data: the same leads, campaigns and activities on both databases, made once for each number of leads and kept.

SQLite is filled by the service's own actions; PostgreSQL gets a copy, row by row, so that both answer with the same ids.
"""

import asyncio
import os
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlmodel import SQLModel

from app.actions import activities, campaigns, upserts, workspaces
from app.actions.activities import ActivityKind, Entry
from app.actions.keys import create_key
from app.actions.work import Caller, Role, Work
from app.database import Database, insert_rows, table_of
from app.migrations import upgrade
from app.rules.ids import suffix_of
from app.rules.people import make_people
from app.settings import Settings
from app.tables import CampaignLead

FOLDER = Path(__file__).resolve().parent.parent.parent / ".bench"
POSTGRES = os.environ.get("LEADGRAPH_BENCH_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
#: Names of the databases on the server: what `--clean` drops.
PREFIX = "leadgraph_bench_"

CAMPAIGNS = 200
#: Moments at which leads came in, each with as many; a campaign gets those of every 200th.
MOMENTS = 800
ACTIVITIES_A_LEAD = 5
STATUSES = ("NEW", "NEW", "NEW", "CONTACTED", "CONTACTED", "REPLIED", "QUALIFIED", "CONVERTED")
EVENTS = ("mail.opened", "mail.clicked", "page.viewed", "webinar.joined")
START = datetime(2026, 1, 5, 8, tzinfo=UTC)
#: Rows that are copied in one go.
CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class Data:
    """A filled pair of databases, and who may ask."""

    leads: int
    file: Path
    key: str
    workspace: str

    @property
    def sqlite_url(self) -> str:
        """Where the service finds it."""
        return f"sqlite+aiosqlite:///{self.file}"

    @property
    def postgres_url(self) -> str:
        """Where the service finds the copy."""
        return f"{POSTGRES.rpartition('/')[0]}/{self.postgres_name}".replace("postgresql://", "postgresql+asyncpg://")

    @property
    def postgres_name(self) -> str:
        """Named for the workspace, so that a file that was made anew is copied anew."""
        return f"{PREFIX}{suffix_of(self.workspace)}"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the file."""
        with closing(sqlite3.connect(self.file)) as connection:
            return connection.execute(sql).fetchall()


async def filled(leads: int, *, postgres: bool) -> Data:
    """Find the data of this many leads, or make it."""
    FOLDER.mkdir(exist_ok=True)
    file, key_file = FOLDER / f"{leads}.db", FOLDER / f"{leads}.key"
    if not key_file.exists():
        file.unlink(missing_ok=True)
        print(f"Making {leads:,} leads in {file} ...", flush=True)
        key = await _make(leads, file)
        key_file.write_text(key)
    else:
        database = Database(Settings(database_url=f"sqlite+aiosqlite:///{file}"))
        await upgrade(database)
        await database.close()
    with closing(sqlite3.connect(file)) as connection:
        [(workspace,)] = connection.execute("SELECT id FROM workspace")
    data = Data(leads, file, key_file.read_text(), workspace)
    if postgres:
        await _copy(data)
    return data


async def _make(leads: int, file: Path) -> str:
    database = Database(Settings(database_url=f"sqlite+aiosqlite:///{file}"))
    await upgrade(database)
    dice = random.Random(leads)
    async with database.writing() as connection:
        workspace = await workspaces.create(connection, slug="bench", name="Bench")
    caller = Caller(workspace["id"], Role.ADMIN, workspace_ids=(workspace["id"],))
    async with database.writing() as connection:
        work = Work(connection, caller, now=START)
        ids = [(await campaigns.create(work, _campaign(number)))["id"] for number in range(CAMPAIGNS)]
    people = make_people(leads, seed=7, bad=0, repeated=0)
    for moment in range(MOMENTS):
        rows = [_row(made.cells, dice) for made in islice(people, leads // MOMENTS)]
        async with database.writing() as connection:
            work = Work(connection, caller, now=START + timedelta(hours=moment))
            await upserts.upsert_many(work, rows, campaign_id=ids[moment % CAMPAIGNS])
    await _join_more(database, caller, ids, dice)
    await _happen(database, caller, dice)
    async with database.writing() as connection:
        await connection.execute(sa.text("ANALYZE"))
        _, key = await create_key(connection, workspace["id"], "bench", Role.ADMIN)
    await database.close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return key


def _campaign(number: int) -> dict[str, Any]:
    criteria = ({"titles": ["CTO", "Founder"]}, {"sources": ["linkedin"]}, {"locations": ["Paris", "London"]}, {})
    return {"name": f"Campaign {number + 1}", "status": "ACTIVE", "criteria": criteria[number % 4]}


def _row(cells: dict[str, str], dice: random.Random) -> dict[str, Any]:
    return {
        **cells,
        "crmId": f"C{dice.randrange(10**12):012}",
        "status": dice.choice(STATUSES),
        "attributes": {"seats": dice.randrange(500)},
    }


async def _join_more(database: Database, caller: Caller, ids: Sequence[str], dice: random.Random) -> None:
    """Let every lead be in a second campaign, the one after its own or the next."""
    lead, member = SQLModel.metadata.tables["lead"], table_of(CampaignLead)
    async with database.writing() as connection:
        found = await connection.execute(
            sa.select(lead.c.id, lead.c.quality_score, lead.c.created_at, member.c.campaign_id)
            .join(member, (member.c.workspace_id == lead.c.workspace_id) & (member.c.lead_id == lead.c.id))
            .where(lead.c.workspace_id == caller.workspace_id, member.c.workspace_id == caller.workspace_id)
            .order_by(lead.c.id)
        )
        place = {campaign: number for number, campaign in enumerate(ids)}
        joined = [
            {
                "workspace_id": caller.workspace_id,
                "campaign_id": ids[(place[own] + dice.choice((1, 2))) % CAMPAIGNS],
                "lead_id": lead_id,
                "quality_score": score,
                "lead_created_at": created,
                "joined_at": created,
            }
            for lead_id, score, created, own in found
        ]
        for chunk in _chunks(joined):
            await insert_rows(connection, member, chunk)


async def _happen(database: Database, caller: Caller, dice: random.Random) -> None:
    """Write to the log what brings each lead to five activities: events, after its creation."""
    lead = SQLModel.metadata.tables["lead"]
    async with database.writing() as connection:
        found = await connection.execute(sa.select(lead.c.id).where(lead.c.workspace_id == caller.workspace_id).order_by(lead.c.id))
        lead_ids = [row[0] for row in found]
    for step in range(ACTIVITIES_A_LEAD - 1):
        for chunk in _chunks(lead_ids):
            entries = [
                Entry(ActivityKind.EVENT, lead_id=lead_id, event=dice.choice(EVENTS), attributes={"page": dice.randrange(100)})
                for lead_id in chunk
            ]
            async with database.writing() as connection:
                await activities.record(Work(connection, caller, now=START + timedelta(days=60 + step)), entries)


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


async def _copy(data: Data) -> None:
    """Copy the file to the server, unless that was done; a copy that was cut off has another name."""
    server = await asyncpg.connect(POSTGRES, timeout=5)
    try:
        if not await server.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", data.postgres_name):
            print(f"Copying them to {data.postgres_name} ...", flush=True)
            unfinished = f"{data.postgres_name}_unfinished"
            await server.execute(f'DROP DATABASE IF EXISTS "{unfinished}" WITH (FORCE)')
            await server.execute(f'CREATE DATABASE "{unfinished}"')
            await _copy_rows(data, data.postgres_url + "_unfinished")
            await server.execute(f'ALTER DATABASE "{unfinished}" RENAME TO "{data.postgres_name}"')
            return
    finally:
        await server.close()
    database = Database(Settings(database_url=data.postgres_url))
    await upgrade(database)
    await database.close()


async def _copy_rows(data: Data, url: str) -> None:
    target = Database(Settings(database_url=url))
    await upgrade(target)
    source = sa.create_engine(f"sqlite:///{data.file}")
    with source.connect() as reading:
        for table in SQLModel.metadata.sorted_tables:
            found = reading.execution_options(yield_per=CHUNK).execute(sa.select(table))
            for part in found.mappings().partitions():
                async with target.writing() as connection:
                    await insert_rows(connection, table, [dict(row) for row in part])
    source.dispose()
    await target.close()
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=5)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def clean() -> None:
    """Remove all that was kept."""
    for file in FOLDER.glob("*"):
        if file.is_file():
            file.unlink()
    server = await asyncpg.connect(POSTGRES, timeout=5)
    for row in await server.fetch("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", PREFIX):
        await server.execute(f'DROP DATABASE "{row["datname"]}" WITH (FORCE)')
    await server.close()


if __name__ == "__main__":
    print(asyncio.run(filled(20_000, postgres=True)))
