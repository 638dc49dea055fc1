"""What all commands say and how: one line where they fail, a bar where they take long."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

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


@dataclass(slots=True)
class Stop:
    """Whether somebody wants a command to end, and by which signal."""

    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    by: signal.Signals = signal.SIGINT

    def failure(self, message: str) -> Failure:
        """Say how far it came, with the exit code that shells expect of this signal."""
        failure = Failure(message)
        failure.exit_code = 128 + self.by
        return failure


@contextmanager
def stoppable(said: str) -> Iterator[Stop]:
    """Let SIGTERM and the first Ctrl-C ask for an end instead of making one, and say so; the next Ctrl-C interrupts as ever."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # which alone is told of signals
        return
    loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT)

    def ask(number: signal.Signals) -> None:
        stop.by = number
        stop.wanted.set()
        typer.echo(said, err=True)
        forget()

    def forget() -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
        signal.signal(signal.SIGINT, before)  # of which the loop knows nothing

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, ask, each)
    try:
        yield stop
    finally:
        forget()


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
