"""`leadgraph key`."""

import asyncio
from typing import Annotated

import typer

from app.actions import workspaces
from app.actions.keys import create_key
from app.actions.work import Role
from app.commands.databases import current
from app.commands.terminal import Failure
from app.errors import BadUserInput

commands = typer.Typer(add_completion=False)


@commands.callback()
def key() -> None:
    """Make API keys. A key belongs to one workspace, and is shown once."""


@commands.command()
def create(
    workspace: Annotated[str, typer.Option(help="The workspace's slug.")],
    name: Annotated[str, typer.Option(help="What the key is for.")],
    role: Annotated[Role, typer.Option(help="What it may do.", case_sensitive=False)],
) -> None:
    """Create a key, and print it and nothing else."""
    typer.echo(asyncio.run(_create(workspace, name, role)))


async def _create(slug: str, name: str, role: Role) -> str:
    async with current() as database, database.writing() as connection:
        found = await workspaces.find(connection, slug)
        try:
            _, key = await create_key(connection, found["id"], name, role)
        except BadUserInput as error:
            raise Failure(f"--{error.message.removeprefix('input.')}") from error
    return key
