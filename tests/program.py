"""The command line under test: in this process, where a process of its own is not the point."""

import io
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from app.__main__ import main

#: The program itself, for a process of its own.
PROGRAM = Path(sys.executable).with_name("leadgraph")


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line with which it failed."""
        assert self.code in (1, 2), self
        assert self.out == "", self
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("leadgraph: "), self.err
        assert "Traceback" not in self.err, self.err
        return self.err.removeprefix("leadgraph: ").rstrip("\n")


def leadgraph(*arguments: object, **environment: str) -> Ended:
    """Run a command to its end; `LEADGRAPH_DATABASE_URL=...` and the like are its environment."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    # In a thread of its own: the tests' loop runs in this one.
    with ThreadPoolExecutor(1) as thread, patch.dict(os.environ, environment), redirect_stdout(out), redirect_stderr(err):
        running = thread.submit(main, [str(argument) for argument in arguments])
        with pytest.raises(SystemExit) as ended:
            running.result()
    assert isinstance(ended.value.code, int)
    return Ended(ended.value.code, *(stream.buffer.getvalue().decode() for stream in (out, err)))


def free_port() -> int:
    """Find a port that nobody has right now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
