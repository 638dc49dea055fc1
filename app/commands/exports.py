"""`leadgraph export`: the leads of a workspace to a file, or to whatever reads them."""

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from graphql import GraphQLError

from app.actions import workspaces
from app.actions.work import Caller, Role
from app.commands.databases import current
from app.commands.terminal import Failure
from schema.exports import Exports, Form

commands = typer.Typer(add_completion=False)


@commands.command("export")
def export(
    file: Annotated[Path | None, typer.Argument(help="The file to write; without it, stdout is.", dir_okay=False)] = None,
    *,
    workspace: Annotated[str, typer.Option(help="The slug of the workspace.")],
    form: Annotated[Form, typer.Option("--format", help="How the leads are written.", case_sensitive=False)] = Form.CSV,
    where: Annotated[str | None, typer.Option(metavar="JSON", help="A filter, as in the query `leads`.")] = None,
    search: Annotated[str | None, typer.Option(help="Words that each start a word of address, name or company.")] = None,
) -> None:
    """Export leads as CSV or as JSON lines, newest first, as they all were at one moment."""
    asyncio.run(_export(file, workspace, form, _filter(where), search))


def _filter(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        where = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"--where is no JSON: {error}") from error
    if not isinstance(where, dict):
        raise typer.BadParameter('--where must be an object, such as {"status": {"eq": "NEW"}}')
    return where


async def _export(file: Path | None, slug: str, form: Form, where: dict[str, Any] | None, search: str | None) -> None:
    async with current() as database:
        async with database.writing() as connection:
            found = await workspaces.find(connection, slug)
        stream = Exports(database).stream(Caller(workspace_id=found["id"], role=Role.ADMIN), form, where, search)
        try:
            first = await anext(stream)
        except GraphQLError as error:
            raise Failure(f"--where or --search: {error.message}") from error
        with ExitStack() as opened:
            try:
                out = sys.stdout.buffer if file is None else opened.enter_context(file.open("wb"))
            except OSError as error:
                raise Failure(f"{file}: {error.strerror}: name a file that can be written") from error
            out.write(first)
            async for piece in stream:
                out.write(piece)
            out.flush()
