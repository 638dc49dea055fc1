"""The log: one JSON object a line on stderr, of this service and of the libraries below it.

At INFO and above a line never holds a key, an address, a phone number or the text of a query; whatever comes from outside is
written with its control characters escaped, so that nobody forges a line or commands a terminal.
"""

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

#: Said once in the answer to whoever made the mistake; the library would write it here too, with the document beside it.
_SILENT = ("strawberry.execution", "strawberry.ws")
#: These write values of statements or a line a request when they are asked for more than this.
_QUIET = {"aiosqlite": logging.INFO, "httpx2": logging.WARNING, "httpcore2": logging.WARNING, "alembic": logging.WARNING}


def _written(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    """Write a line: JSON in ASCII, and DEL escaped too, which JSON lets stand."""
    return json.dumps(event, default=repr).replace("\x7f", "\\u007f")


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all that this process logs from `level` on to `stream`, stderr unless told. May be called again."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # The traceback as text: it names files and lines, and never the values of variables.
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = _Lines(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.PositionalArgumentsFormatter()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _written],
        )
    )
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, _Lines)] + [handler]
    root.setLevel(level.upper())
    for name in _SILENT:
        logging.getLogger(name).disabled = True
    server = logging.getLogger("uvicorn.error")
    server.removeFilter(_without_sockets)
    server.addFilter(_without_sockets)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))


def _without_sockets(record: logging.LogRecord) -> bool:
    """Leave out what the server tells of each WebSocket that comes: who came, and whatever stood in the URL."""
    return record.levelno > logging.INFO or "websockets" not in record.pathname


class _Lines(logging.Handler):
    """Writes to a stream, or to what stderr is at the time."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        stream = self._stream or sys.stderr
        try:
            stream.write(self.format(record) + "\n")
            stream.flush()
        except Exception:  # noqa: BLE001  (a log that cannot be written ends nothing)
            self.handleError(record)
