"""`leadgraph schema`: what the graph looks like, printed for review."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.terminal import Failure

PRINTED = Path(__file__).resolve().parents[2] / "schema" / "schema.graphql"

commands = typer.Typer(add_completion=False)


@commands.command()
def schema(
    *, check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where the printed schema is not the graph's.")] = False
) -> None:
    """Print the schema to schema/schema.graphql."""
    from schema.graph import graph  # noqa: PLC0415  (a second to load, which `leadgraph --help` need not wait for)

    sdl = graph.as_str().rstrip("\n") + "\n"
    same = PRINTED.is_file() and PRINTED.read_text(encoding="utf-8") == sdl
    if check and not same:
        raise Failure(f"{PRINTED} is not what the graph is now: run `leadgraph schema` and review the difference")
    if not same:
        PRINTED.write_text(sdl, encoding="utf-8", newline="\n")
    typer.echo(f"{PRINTED} {'is up to date' if same else 'is written'}", err=True)
