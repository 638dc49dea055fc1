"""A process that writes to one workspace until somebody kills it."""

import asyncio
import os
from random import Random

from app.actions import leads
from app.actions.upserts import upsert_many
from app.actions.work import Caller, Role, Work
from app.database import Database, lock_workspace
from app.database_errors import is_retryable
from app.settings import Settings

#: Leads that the writers share: they meet.
LEADS = 200


def write(url: str, workspace: str, seed: int, told: str) -> None:
    """Create, change and delete leads, a transaction each time, and append a line to the file `told` when it is committed."""
    asyncio.run(_write(url, Caller(workspace_id=workspace, role=Role.ADMIN), Random(seed), told))  # noqa: S311


async def _write(url: str, caller: Caller, chance: Random, told: str) -> None:
    database = Database(Settings(database_url=url, worker=False))
    file = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while True:
        request = f"req_{os.getpid()}_{chance.getrandbits(60):x}"
        try:
            async with database.writing() as connection:
                await lock_workspace(connection, caller.workspace_id, alone=False)
                await _change(Work(connection, caller, request), chance)
        except Exception as error:
            if not is_retryable(error):
                raise
            continue
        os.write(file, f"{request}\n".encode())
        await asyncio.sleep(chance.random() / 100)


async def _change(work: Work, chance: Random) -> None:
    report = await upsert_many(work, [_row(chance) for _ in range(chance.randint(1, 5))])
    if chance.random() < 0.4:
        found = next(result.lead_id for result in report.results if result.lead_id is not None)
        await leads.delete(work, {"id": found})


def _row(chance: Random) -> dict[str, str]:
    return {"email": f"n{chance.randrange(LEADS)}@example.com", "title": f"title {chance.getrandbits(30)}"}
