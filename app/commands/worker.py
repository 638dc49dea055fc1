"""`leadgraph worker`: runs due jobs, beside servers that need not do so themselves."""

import asyncio
import signal

import typer

from app import logs
from app.commands.databases import opened, read_settings
from app.migrations import upgrade
from app.settings import Settings
from app.worker import work

commands = typer.Typer(add_completion=False)


@commands.command()
def worker() -> None:
    """Run due jobs until SIGTERM or Ctrl-C; then end the steps under way, and give the jobs back. Brings the database up to date first.

    `serve` runs a worker too unless LEADGRAPH_WORKER=false; any number of them share the jobs of one database.
    """
    settings = read_settings()
    logs.configure(settings.log_level)
    asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with opened(settings, create=True) as database:
        await upgrade(database)
        typer.echo("Leadgraph works: it runs the jobs that are due. Ctrl-C ends it.", err=True)
        async with database.listening():
            await work(database, settings, stop)
