"""`leadgraph export`: the leads of a workspace to a file, or to whatever reads them."""

import asyncio
import sys
from contextlib import aclosing, nullcontext
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from app.actions import workspaces
from app.actions.work import Caller, Role
from app.commands.databases import current
from app.commands.terminal import Failure
from app.errors import BadUserInput
from schema.exports import Exports, Form

#: Stands for stdout, as a file that is to be written.
STDOUT = Path("-")

commands = typer.Typer(add_completion=False)


@commands.command("export")
def export(
    file: Annotated[
        Path | None, typer.Argument(help="The file to write: .csv or .ndjson. Without it, or as -, stdout.", dir_okay=False)
    ] = None,
    *,
    workspace: Annotated[str, typer.Option(help="The slug of the workspace.")],
    form: Annotated[
        Form | None, typer.Option("--format", help="How the leads are written; as FILE ends, else as csv.", case_sensitive=False)
    ] = None,
    where: Annotated[str | None, typer.Option(metavar="JSON", help="A filter, as in the query `leads`.")] = None,
    search: Annotated[str | None, typer.Option(help="Words that each start a word of address, name or company.")] = None,
) -> None:
    """Export leads as CSV or as JSON lines, newest first, as they all were at one moment."""
    target = None if file == STDOUT else file
    asyncio.run(_export(target, workspace, form or _form_of(target), _filter(where), search))


def _form_of(file: Path | None) -> Form:
    if file is None or not file.suffix:
        return Form.CSV
    try:
        return Form(file.suffix[1:].lower())
    except ValueError as error:
        raise typer.BadParameter(f"{file}: name a file that ends in .csv or .ndjson, or say --format csv or --format ndjson") from error


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
        caller = Caller(workspace_id=found["id"], role=Role.ADMIN)
        async with aclosing(Exports(database).stream(caller, form, where, search)) as stream:
            try:
                first = await anext(stream)
            except BadUserInput as error:
                told = error.message if error.message.startswith(("where", "search")) else f"where: {error.message}"
                raise Failure(f"--{told}") from error
            try:
                with nullcontext(sys.stdout.buffer) if file is None else file.open("wb") as out:
                    out.write(first)
                    async for piece in stream:
                        out.write(piece)
                    out.flush()
            except OSError as error:
                advice = "" if file is None else ": name a file that can be written"
                raise Failure(f"{file or 'stdout'}: {error.strerror}{advice}") from error
