"""`leadgraph workspace`."""

import asyncio
from typing import Annotated

import typer

from app.actions import workspaces
from app.commands.databases import current
from app.errors import shown

commands = typer.Typer(add_completion=False)


@commands.callback()
def workspace() -> None:
    """Make workspaces: the tenants, of which none sees anything of another."""


@commands.command()
def create(
    slug: Annotated[str, typer.Argument(help="Its short name in commands and headers: a-z, 0-9 and -.")],
    name: Annotated[str | None, typer.Option(help="Its name for people; the slug unless given.")] = None,
) -> None:
    """Create a workspace, and print its id."""
    asyncio.run(_create(slug, name))


async def _create(slug: str, name: str | None) -> None:
    async with current() as database, database.writing() as connection:
        row = await workspaces.create(connection, slug=slug, name=name)
    typer.echo(row["id"])
    typer.echo(f"Next: leadgraph key create --workspace {slug} --name {shown('first key')} --role ADMIN", err=True)
