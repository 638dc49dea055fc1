"""`leadgraph serve`: HTTP for the world, by uvicorn on uvloop and httptools."""

import asyncio
import errno
import socket
from typing import Annotated

import typer
import uvicorn
from uvicorn.supervisors import Multiprocess

from app.commands.databases import opened, read_settings
from app.commands.terminal import Failure
from app.http.one_write import OneWrite
from app.migrations import upgrade
from app.settings import Settings

HOST, PORT = "127.0.0.1", 8000
#: Seconds that requests have to end in when the server is told to.
GRACE = 15
#: Seconds between pings of a WebSocket, and in which a pong must come: one that pauses for a minute is slow, not gone.
PING_EVERY, PONG_WITHIN = 20.0, 120.0

Host = Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 is every one of this machine.")]
Port = Annotated[int, typer.Option(help="The port to listen at.", min=0, max=65_535)]

commands = typer.Typer(add_completion=False)


@commands.command()
def serve(
    *,
    host: Host = HOST,
    port: Port = PORT,
    workers: Annotated[int, typer.Option(help="Processes that serve.", min=1, max=64)] = 1,
) -> None:
    """Serve GraphQL at /graphql, the explorer at /explorer, and /livez and /readyz. Brings the database up to date first."""
    settings = read_settings()
    with listen(host, port) as listener:
        asyncio.run(migrate(settings))
        typer.echo(f"Leadgraph serves {address(listener)}: GraphQL at /graphql, the explorer at /explorer. Ctrl-C ends it.", err=True)
        answer(listener, workers)


def listen(host: str, port: int) -> socket.socket:
    """Take the port: from now on nobody else gets it, and who connects waits until there is an answer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2_048)
    except OSError as error:
        reason = "another program has that port: end it, or choose another with --port"
        raise Failure(
            f"cannot listen at {host}:{port}: {reason if error.errno == errno.EADDRINUSE else error.strerror or error}"
        ) from error


def address(listener: socket.socket) -> str:
    """Give the URL that reaches a listening socket from this machine."""
    host, port = listener.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (read here, not listened at)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


async def migrate(settings: Settings) -> None:
    """Bring the database up to date. Of two servers that start on an empty one, one does it and the other waits."""
    async with opened(settings, create=True) as database:
        await upgrade(database)


def answer(listener: socket.socket, workers: int = 1) -> None:
    """Answer on a listening socket until a signal ends it: what was asked before that is answered, within 15 seconds."""
    config = uvicorn.Config(
        "app.asgi:build",
        factory=True,
        workers=workers,
        loop="uvloop",
        http=OneWrite,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here depends on the client's address or the scheme
        timeout_graceful_shutdown=GRACE,
        ws="websockets-sansio",
        ws_max_size=Settings().max_message_bytes,
        ws_ping_interval=PING_EVERY,
        ws_ping_timeout=PONG_WITHIN,
        ws_per_message_deflate=False,  # a hundred kilobytes a socket, for messages of a few hundred bytes
    )
    if workers > 1:
        Multiprocess(config, sockets=[listener]).run()
        return
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return  # uvicorn raises the signal once more after it has ended in good order
    if not server.started:
        raise Failure("the server did not start: the log above says why")
