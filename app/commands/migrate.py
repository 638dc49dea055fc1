"""`leadgraph migrate`."""

import asyncio

import typer

from app.commands.databases import opened, read_settings
from app.commands.terminal import bar
from app.migrations import upgrade

commands = typer.Typer(add_completion=False)


@commands.command()
def migrate() -> None:
    """Create the database's tables, or bring them to this version's. Safe to repeat."""
    asyncio.run(_migrate())


async def _migrate() -> None:
    async with opened(read_settings(), create=True) as database:
        with bar("Migrating") as show:
            await upgrade(database, show)
    typer.echo("The database is up to date.", err=True)
