"""The door of the command line: `leadgraph COMMAND`, or `python -m app COMMAND`."""

import gc
import os
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from app.commands.terminal import one_line

#: Each command's module in `app.commands`, loaded when it is asked for: `leadgraph run` needs no database.
COMMANDS = {
    "serve": "serve",
    "worker": "worker",
    "demo": "demo",
    "migrate": "migrate",
    "workspace": "workspaces",
    "key": "keys",
    "import": "imports",
    "export": "exports",
    "run": "documents",
    "send": "send",
    "schema": "graph",
}


class Commands(TyperGroup):
    """Knows the commands by name, and loads them one by one."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name them in the order of their first use."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a command; None where there is none of the name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command = get_command(import_module(f"app.commands.{COMMANDS[cmd_name]}").commands)
        command.name = cmd_name
        gc.freeze()  # what was loaded stays, and need not be looked through again and again
        return command


commands = typer.Typer(cls=Commands, add_completion=False, pretty_exceptions_enable=False)


@commands.callback(invoke_without_command=True)
def leadgraph(context: typer.Context) -> None:
    """Leadgraph: sales leads behind one GraphQL schema. Settings come from LEADGRAPH_... in the environment."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run a command: exit code 0, or 1 or 2 (how it was called) and one line on stderr that says what to do."""
    # Rows by the thousand and hardly a cycle among them: looking for cycles every 700 objects cost a tenth of an import.
    gc.set_threshold(50_000, 20, 50)
    try:
        code = commands(arguments, prog_name="leadgraph", standalone_mode=False)
    except typer.Abort:
        code = 1
    except Exception as error:
        if os.environ.get("LEADGRAPH_LOG_LEVEL") == "DEBUG":
            raise
        typer.echo(f"leadgraph: {one_line(error)}", err=True)
        code = getattr(error, "exit_code", 1)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
