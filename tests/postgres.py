"""Databases of a test run's own, on the PostgreSQL server that there is."""

import asyncio
import os
import secrets

import asyncpg
import pytest

#: As libpq writes it, or as `LEADGRAPH_DATABASE_URL` does: with the driver's name, which the driver itself does not know.
POSTGRES = os.environ.get("LEADGRAPH_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres").replace("+asyncpg:", ":", 1)


async def _on_server(statement: str) -> None:
    connection = await asyncpg.connect(POSTGRES, timeout=5)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def create_postgres_database() -> str:
    """Create an empty database and give its URL; where there is no server, skip, but never on CI."""
    name = f"leadgraph_test_{secrets.token_hex(6)}"
    try:
        asyncio.run(_on_server(f'CREATE DATABASE "{name}"'))
    except OSError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI has PostgreSQL, but {POSTGRES} does not answer: {error}")
        pytest.skip(f"no PostgreSQL at {POSTGRES} (set LEADGRAPH_TEST_POSTGRES_URL)")
    return f"{POSTGRES.rpartition('/')[0]}/{name}".replace("postgresql://", "postgresql+asyncpg://")


def drop_postgres_database(url: str) -> None:
    """Drop it, whoever is still connected."""
    asyncio.run(_on_server(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)'))
