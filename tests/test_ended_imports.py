import asyncio
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from importing import PLAIN, Place, counts_of, write_csv
from program import PROGRAM
from sqlalchemy.exc import DBAPIError

from app.actions import imports
from app.actions.reads import Read
from app.commands.imports import Asked, _Run
from app.commands.terminal import Failure, Stop
from app.database import table_of
from app.errors import Unavailable
from app.rules.people import make_people
from app.tables import Batch, ImportJob, Job, Lead


async def test_an_import_that_is_cut_off_says_what_is_in_and_goes_on_when_it_is_run_again(
    place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    file = write_csv(folder / "leads.csv", PLAIN, list(make_people(2_500, bad=0, repeated=0)))
    take, chunks = imports._take, iter(range(9))

    async def fails_at_the_second(*arguments: Any, **options: Any) -> Any:
        if next(chunks) == 1:
            raise Unavailable
        return await take(*arguments, **options)

    monkeypatch.setattr(imports, "_take", fails_at_the_second)
    refusal = place.run(file).refusal
    assert "stopped after 2,000 rows, which are in" in refusal
    assert "Run the same command again" in refusal
    [job] = await place.rows(ImportJob)
    [batch] = await place.rows(Batch)
    assert (job["status"], job["created"], batch["status"], batch["created"]) == ("FAILED", 2_000, "FAILED", 2_000)
    assert job["error"] == "The database cannot be reached or cannot be written to right now: try again."
    monkeypatch.undo()
    again = counts_of(place.run(file, "--json"))
    assert (again["created"], again["unchanged"]) == (500, 2_000)


async def test_a_chunk_that_met_a_deadlock_runs_again_three_times_at_most(place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch):
    file = write_csv(folder / "leads.csv", PLAIN, list(make_people(20, bad=0, repeated=0)))
    take, fails = imports._take, [3]

    class Deadlock(Exception):
        sqlstate = "40P01"

    async def deadlocked(*arguments: Any, **options: Any) -> Any:
        taken = await take(*arguments, **options)
        if fails[0]:
            fails[0] -= 1
            raise DBAPIError("UPDATE lead", None, Deadlock("deadlock detected"))
        return taken

    monkeypatch.setattr(imports, "_take", deadlocked)
    assert counts_of(place.run(file, "--json"))["created"] == 20
    assert len(await place.rows(Lead)) == 20
    fails[0] = 4
    assert "stopped after 0 rows" in place.run(file).refusal


@pytest.mark.parametrize(
    ("number", "code", "trial"), [(signal.SIGINT, 130, False), (signal.SIGTERM, 143, False), (signal.SIGINT, 130, True)]
)
async def test_who_stops_an_import_is_told_what_is_in_and_nobody_goes_on_with_it(
    place: Place, folder: Path, number: signal.Signals, code: int, *, trial: bool
):
    file = folder / "leads.csv"
    file.write_text("email\n" + "".join(f"{row}@example.com\n" for row in range(100_000)), encoding="utf-8")
    command = [PROGRAM, "import", file, "--workspace", place.slug, *(["--dry-run"] if trial else [])]
    environment = {**os.environ, "LEADGRAPH_DATABASE_URL": place.database.settings.database_url}
    table = table_of(ImportJob)
    begun = Read(sa.select(table.c.created).where(table.c.workspace_id == sa.bindparam("workspace"), table.c.created > 0))
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        async with asyncio.timeout(60):
            created: list[dict[str, Any]] = []
            while not created:
                await asyncio.sleep(0.02)
                async with place.database.readers.reading() as reading:
                    created = await begun.rows(reading, workspace=place.caller.workspace_id)
            process.send_signal(number)
            out, err = (stream.decode() for stream in await process.communicate())
    finally:
        if process.returncode is None:
            process.kill()
    said = err.splitlines()[-1]
    assert (process.returncode, out) == (code, ""), err
    [job] = await place.rows(Job)
    assert (job["status"], job["lease_until"], job["error"]) == ("CANCELLED", None, None)
    leads = await place.rows(Lead)
    if trial:
        assert f"{file}: stopped, and nothing was written." in said
        assert (leads, await place.rows(ImportJob), await place.rows(Batch)) == ([], [], [])
        return
    [kept], [batch] = await place.rows(ImportJob), await place.rows(Batch)
    assert f"stopped after {len(leads):,} rows, which are in; batchUndo takes {batch['id']} back. Run the same command again" in said
    assert (kept["status"], batch["status"], kept["created"], batch["created"]) == ("CANCELLED", "CANCELLED", len(leads), len(leads))
    assert 0 < len(leads) < 100_000


async def test_an_import_that_is_stopped_before_its_rows_are_kept_leaves_nothing(
    place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    file = write_csv(folder / "leads.csv", PLAIN, list(make_people(20, bad=0, repeated=0)))
    order = imports.order

    async def stopped_meanwhile(*arguments: Any, **options: Any) -> Any:
        run.stop.wanted.set()
        return await order(*arguments, **options)

    database = place.database
    monkeypatch.setattr(imports, "order", stopped_meanwhile)
    asked = Asked(file, place.slug, imports.Order(), None)
    run = _Run(database, place.caller, asked, Stop())
    with file.open("rb") as raw, pytest.raises(Failure, match="stopped before the first row") as ended:
        await run.whole(raw, lambda _: None)
    assert ended.value.exit_code == 130
    for model in (ImportJob, Batch, Job, Lead):
        assert await place.rows(model) == []
