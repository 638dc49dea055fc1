"""What all commands say and how: one line where they fail, a bar where they take long."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import Progress

from app.errors import LeadgraphError

#: The exit code of a command that was called wrongly.
USAGE = 2
#: Seconds after which something takes long.
LONG = 1.0

#: What the library below the library says of a wrong option, and we don't.
_WORDS = {
    ": Value error, ": ": ",
    "Input should be a valid integer, unable to parse string as an integer": "must be a whole number",
    "Input should be a valid number, unable to parse string as a number": "must be a number",
    "Input should be greater than or equal to": "must be at least",
    "Input should be less than or equal to": "must be at most",
}


class Failure(typer.TyperException):
    """A command cannot do what it was asked to: one line that says why and what to do. Exit code 1."""


def one_line(error: BaseException) -> str:
    """Say on one line what went wrong, and nothing that a terminal would obey; of what nobody expected, where to see more."""
    if isinstance(error, typer.TyperException):
        text = error.format_message() + (" (--help tells more)" if error.exit_code == USAGE else "")
        for theirs, ours in _WORDS.items():
            text = text.replace(theirs, ours)
    elif isinstance(error, LeadgraphError):
        text = str(error)
    else:
        text = f"unexpected {type(error).__name__}: {error} (LEADGRAPH_LOG_LEVEL=DEBUG shows where)"
    line = " ".join(text.split())
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


@contextmanager
def bar(label: str) -> Iterator[Callable[[float], None]]:
    """Show how far something has come, from 0 to 1: on a terminal only, and only from the moment that it takes long."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    progress, started = Progress(console=console, transient=True), time.monotonic()
    task = progress.add_task(label, total=1.0)

    def show(done: float) -> None:
        progress.update(task, completed=done)
        if time.monotonic() - started > LONG:
            progress.start()

    try:
        yield show
    finally:
        progress.stop()
