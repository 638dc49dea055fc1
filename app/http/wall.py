"""What stands around everything over HTTP: one well-formed request, and errors that nobody expected, masked."""

from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BadRequest, LeadgraphError
from app.http import answers


class Wall:
    """Around everything: refuses what is not one well-formed HTTP request, and masks what nobody expected."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, once its headers leave no doubt what it is."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if wrong := doubt(scope["headers"], scope["http_version"]):
            request_id = answers.request_id(Headers(scope=scope))
            refused = answers.refusal(wrong, request_id)
            refused.headers["connection"] = "close"
            await refused.send(send, request_id)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            request_id = answers.request_id(Headers(scope=scope))
            masked = answers.refusal(answers.unexpected(error, request_id), request_id)
            if started:
                raise  # half an answer is out: the server hangs up
            await masked.send(send, request_id)


def doubt(headers: Iterable[tuple[bytes, bytes]], version: str) -> LeadgraphError | None:
    """Tell what is in doubt: two readers of such a request might each see another one in it (RFC 9112, 3.2 and 6.3)."""
    hosts = lengths = encodings = 0
    for name, _ in headers:
        hosts += name == b"host"
        lengths += name == b"content-length"
        encodings += name == b"transfer-encoding"
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return BadRequest("Send exactly one Host header.")
    if lengths > 1 or (lengths and encodings):
        return BadRequest("Send one Content-Length, or Transfer-Encoding, not both.")
    return None
