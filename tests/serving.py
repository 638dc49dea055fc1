"""A real server around an application, or the program itself as a server; and requests to it in bytes."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette

from app.http.one_write import OneWrite

PROGRAM = Path(sys.executable).with_name("leadgraph")


@contextmanager
def serve(app: Starlette) -> Iterator[str]:
    """Serve an application on a free port, in a thread and an event loop of its own, and give its URL."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_config=None,
        access_log=False,
        http=OneWrite,
        ws="websockets-sansio",
        ws_max_size=65_536,
        ws_per_message_deflate=False,
        proxy_headers=False,
        lifespan="on",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


@dataclass(frozen=True)
class Program:
    """`leadgraph serve` in a process of its own, and what it writes to stderr."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def memory(self, *, most: bool = False) -> int:
        """Give the memory that it has, in bytes, or the most that it had since `forget_the_most`; 0 where there is no /proc."""
        status = Path(f"/proc/{self.process.pid}/status")
        found = re.search(rf"{'VmHWM' if most else 'VmRSS'}:\s+(\d+) kB", status.read_text()) if status.exists() else None
        return int(found[1]) * 1_024 if found else 0

    def forget_the_most(self) -> None:
        """Begin anew with the most memory that it had."""
        if (file := Path(f"/proc/{self.process.pid}/clear_refs")).exists():
            file.write_text("5")

    def cpu(self) -> float:
        """Give the seconds of processor that it has used; 0 where there is no /proc."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        times = stat.read_text().rpartition(")")[2].split()[11:13] if stat.exists() else []
        return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def started_program(folder: Path, **environment: str) -> Iterator[Program]:
    """Start `leadgraph serve` on a free port; it must end in good order when it is told to."""
    log = folder / "serve.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [PROGRAM, "serve", "--port", "0"], cwd=folder, env={**os.environ, **environment}, stdout=stderr, stderr=stderr
        )
    try:
        yield Program(_address(process, log), process, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode in (0, -15), log.read_text()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Wait until it answers, and give its URL."""
    until = time.monotonic() + 60
    while not (found := re.search(r"serves (http://\S+):", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, f"it does not start: {log.read_text()}"
        time.sleep(0.05)
    url = found[1]
    exchange(url, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", patience=60)  # it listens already, and answers once it has started
    return url


def exchange(url: str, *parts: bytes, wait: float = 0.0, until_closed: bool = False, patience: float = 30) -> bytes:
    """Send bytes, `wait` seconds apart, and give all that comes back until the server has answered (or hangs up)."""
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    with socket.create_connection((address.hostname, address.port), timeout=patience) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(wait)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
            head, found, body = answer.partition(b"\r\n\r\n")
            if until_closed:
                continue
            if found and b"\r\ncontent-length: " in head and len(body) >= int(head.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]):
                break
        return answer
