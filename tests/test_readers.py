"""Readers: snapshots, deadlines, lost connections."""

import asyncio
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa

from app.actions.workspaces import WORKSPACE
from app.database import Database
from app.errors import TookTooLong, Unavailable
from app.settings import Settings


def renamed(caller, name):
    return sa.update(WORKSPACE).values(name=name).where(WORKSPACE.c.id == sa.bindparam("workspace", caller.workspace_id))


async def test_all_statements_of_a_snapshot_see_the_same_state(database, caller):
    text = f"SELECT name FROM workspace WHERE id = '{caller.workspace_id}'"
    async with database.readers.reading(snapshot=True) as reading:
        before = (await reading.rows(text, []))[0][0]
        async with database.writing() as connection:
            await connection.execute(renamed(caller, "Changed"))
        assert (await reading.rows(text, []))[0][0] == before == "Test"
    async with database.readers.reading() as reading:
        assert (await reading.rows(text, []))[0][0] == "Changed"


async def test_a_reader_cannot_write(database, caller):
    text = f"UPDATE workspace SET name = 'Written' WHERE id = '{caller.workspace_id}'"
    if database.is_postgres:
        async with database.readers.reading(snapshot=True) as reading:
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await reading.rows(text, [])
    else:
        async with database.readers.reading() as reading:
            with pytest.raises(Unavailable):
                await reading.rows(text, [])


async def test_a_runaway_statement_ends_and_its_connection_is_usable_at_once(settings):
    database = Database(settings.model_copy(update={"statement_seconds": 0.3, "readers": 1}))
    runaway = (
        "SELECT pg_sleep(20)"
        if database.is_postgres
        else "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    )
    try:
        for _ in range(2):
            async with database.readers.reading() as reading:
                with pytest.raises(TookTooLong):
                    await reading.rows(runaway, [])
                assert [tuple(row) for row in await reading.rows("SELECT 1", [])] == [(1,)]
    finally:
        await database.close()


async def test_a_cancelled_read_gives_its_connection_back_idle(settings):
    database = Database(settings.model_copy(update={"readers": 1}))
    runaway = (
        "SELECT pg_sleep(20)"
        if database.is_postgres
        else "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    )
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), database.readers.reading() as reading:
                await reading.rows(runaway, [])
        async with asyncio.timeout(3), database.readers.reading() as reading:
            assert [tuple(row) for row in await reading.rows("SELECT 1", [])] == [(1,)]
    finally:
        await database.close()


async def test_a_killed_connection_is_noticed_by_nobody(settings):
    database = Database(settings)
    if not database.is_postgres:
        pytest.skip("SQLite has no server that could hang up")
    try:
        async with database.readers.reading() as reading:
            [[pid]] = await reading.rows("SELECT pg_backend_pid()", [])
        async with database.writing() as connection:
            await connection.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
        async with database.readers.reading() as reading:
            [[other]] = await reading.rows("SELECT pg_backend_pid()", [])
        assert other != pid
        async with database.readers.reading(snapshot=True) as reading:
            [[now]] = await reading.rows("SELECT pg_backend_pid()", [])
        async with database.writing() as connection:
            await connection.exec_driver_sql(f"SELECT pg_terminate_backend({now})")
        async with database.readers.reading(snapshot=True) as reading:
            assert (await reading.rows("SELECT 1", []))[0][0] == 1
    finally:
        await database.close()


@pytest.mark.parametrize("url", ["sqlite+aiosqlite:////no/such/folder/leads.db", "postgresql+asyncpg://postgres@127.0.0.1:1/nothing"])
async def test_a_database_that_is_away_is_unavailable(url):
    database = Database(Settings(database_url=url))
    try:
        with pytest.raises(Unavailable):
            async with database.readers.reading() as reading:
                await reading.rows("SELECT 1", [])
        with pytest.raises(Unavailable):
            async with database.writing() as connection:
                await connection.exec_driver_sql("SELECT 1")
    finally:
        await database.close()


def test_sqlite_needs_no_driver_of_postgresql():
    without = "import sys; sys.modules['asyncpg'] = None; import app.asgi, app.__main__, app.worker; app.asgi.build()"
    root = Path(__file__).parent.parent
    ran = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, cwd=root, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr


async def test_a_database_in_memory_is_refused():
    with pytest.raises(ValueError, match="must name a file"):
        Database(Settings(database_url="sqlite+aiosqlite://"))


async def test_sqlite_answers_what_is_short_at_once_and_goes_to_a_thread_with_what_is_long(folder):
    database = Database(Settings(database_url=f"sqlite+aiosqlite:///{folder / 'a.db'}"))
    (folder / "a.db").touch()
    long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT max(i) FROM n"
    readers = database.readers
    try:
        async with readers.reading() as reading:
            for _ in range(3_000):  # however often: only its own steps count
                assert await reading.rows(long, [10]) == [(10,)]
            assert readers._idle == []
            for _ in range(2):
                assert await reading.rows(long, [100_000]) == [(100_000,)]
                assert len(readers._idle) == 1
            assert await reading.rows(long, [10]) == [(10,)]  # known by now to be long
            with pytest.raises(Unavailable):
                await reading.rows("PRAGMA user_version = 7", [])
    finally:
        await database.close()
