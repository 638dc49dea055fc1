"""What a batch of 1,000 new leads costs: `leadUpsertMany` over the endpoint against the bare statement of the driver plus scoring.

`python tests/bench/upsert_cost.py [--rounds 9] [--profile FILE]`. CPU of this process, which is all of it on SQLite; a PostgreSQL server's
own is in neither side. The bare side reads nothing, checks nothing, logs nothing: rows that are ready go in with one
`INSERT ... VALUES (...), ... ON CONFLICT DO NOTHING`, each with its score. Bar: 3 times its CPU.
"""

import argparse
import asyncio
import cProfile
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import orjson
from sqlalchemy.dialects import postgresql, sqlite

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from postgres import create_postgres_database, drop_postgres_database

from app.actions import keys, workspaces
from app.actions.lead_rows import new_lead
from app.actions.references import LEAD
from app.actions.scorer import PROFILE, rules_of, workspace_row
from app.actions.work import Caller, Role, Work
from app.asgi import build
from app.column_types import Json
from app.database import Database
from app.rules.fields import read_row
from app.rules.people import make_people
from app.rules.scoring import Profile, score
from app.rules.written import moment_text
from app.settings import QUERIES, Settings

ROWS = 1_000
BAR = 3.0


def people(number: int) -> list[dict[str, Any]]:
    """Make the rows of a round; no two rounds have a lead in common."""
    rows = []
    for place, made in enumerate(make_people(ROWS, seed=number, bad=0, repeated=0)):
        address = made.cells.get("email", "").strip() or "x@example.com"
        rows.append({**made.cells, "email": f"r{number}p{place}.{address}", "crmId": f"{number}-{place}"})
    return rows


async def bare(database: Database, caller: Caller, rows: Sequence[dict[str, Any]]) -> Callable[[], Awaitable[None]]:
    """Get the rows ready, and give what scores them and writes them."""
    async with database.writing() as connection:
        work = Work(connection, caller)
        rules = rules_of(await workspace_row(work, alone=False))
        leads = [new_lead(work, read_row(row, clearing=True)[0], source="api") for row in rows]
    names = [name for name in leads[0] if any(lead[name] is not None for lead in leads) or name in ("quality_score", "score_components")]
    columns = [LEAD.c[name] for name in names]
    insert = (postgresql if database.is_postgres else sqlite).insert(LEAD).on_conflict_do_nothing()
    insert = insert.values([dict.fromkeys(names)] * len(leads))
    dialect: Any = database.engine.dialect
    text = str(insert.compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))

    def value(column: Any, found: Any) -> Any:
        if isinstance(column.type, Json):
            return None if found is None else column.type.write(found)
        return moment_text(found) if not database.is_postgres and hasattr(found, "tzinfo") else found

    async def write() -> None:
        for lead in leads:
            scored = score(Profile(**{name: lead[name] for name in PROFILE}), rules, [])
            lead["quality_score"], lead["score_components"] = scored.value, scored.components
        values = [value(column, lead[name]) for lead in leads for name, column in zip(names, columns, strict=True)]
        async with database.writing() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            if database.is_postgres:
                await driver.execute(text, *values)
            else:
                await driver.execute(text, values)

    return write


async def cpu(run: Callable[[], Awaitable[None]]) -> float:
    """Give the CPU, in milliseconds, of what runs."""
    started = time.process_time()
    await run()
    return (time.process_time() - started) * 1_000


async def measure(url: str, rounds: int, profile: str | None) -> None:
    """Let both sides write in turn, and tell the medians."""
    settings = Settings(database_url=url, worker=False, log_level="WARNING", request_seconds=120)
    app = build(settings)
    profiler = cProfile.Profile()
    document = (QUERIES / "leads/upsert_many.graphql").read_text()
    async with app.router.lifespan_context(app):
        database: Database = app.state.database
        async with database.writing() as connection:
            workspace = await workspaces.create(connection, slug="bench")
            _, key = await keys.create_key(connection, workspace["id"], "bench", Role.EDITOR)
        caller = Caller(workspace["id"], Role.ADMIN, workspace_ids=(workspace["id"],))
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://leadgraph.example", headers=headers) as client:
            whole, alone = [], []
            for number in range(rounds + 2):
                body = orjson.dumps({"query": document, "variables": {"input": {"leads": people(2 * number)}}})

                async def over_the_endpoint(body: bytes = body) -> None:
                    answer = (await client.post("/graphql", content=body)).json()
                    if answer["data"]["leadUpsertMany"]["summary"]["created"] != ROWS:
                        raise RuntimeError(answer["data"]["leadUpsertMany"]["summary"])

                write = await bare(database, caller, people(2 * number + 1))
                if profile and number > 1:
                    profiler.enable()
                taken = await cpu(over_the_endpoint)
                profiler.disable()
                baseline = await cpu(write)
                if number > 1:  # the first two warm both up
                    whole.append(taken)
                    alone.append(baseline)
    if profile:
        profiler.dump_stats(profile)
    ratio = statistics.median(taken / baseline for taken, baseline in zip(whole, alone, strict=True))
    print(
        f"{'PostgreSQL' if database.is_postgres else 'SQLite'}: {ROWS:,} new leads, {rounds} rounds: over the endpoint"
        f" {statistics.median(whole):.1f} ms of CPU, the bare statement with scoring {statistics.median(alone):.1f} ms,"
        f" ratio {ratio:.2f} (bar {BAR:g}: {'met' if ratio <= BAR else 'missed'})"
    )


def main() -> None:
    """Measure both databases."""
    reading = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reading.add_argument("--rounds", type=int, default=9)
    reading.add_argument("--profile", help="write cProfile's figures of the endpoint's side (SQLite) to this file, and skip PostgreSQL")
    given = reading.parse_args()
    gc.set_threshold(50_000, 20, 50)  # as the program does
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(f"sqlite+aiosqlite:///{folder}/bench.db", given.rounds, given.profile))
    if not given.profile:
        url = create_postgres_database()
        try:
            asyncio.run(measure(url, given.rounds, None))
        finally:
            drop_postgres_database(url)


if __name__ == "__main__":
    main()
