"""Posting to webhooks: signed, in ten seconds, to public addresses alone, and never where a redirect points."""

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any

import httpcore2
from standardwebhooks import Webhook

from app.rules.webhook_urls import Allowed, check_host, may_reach
from app.rules.written import dumps

#: Seconds for the whole of a delivery, from looking up the name to the last byte of the answer's head.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered; `retry_after`: seconds that it asks for, 0 where it does not."""

    status: int
    retry_after: float = 0.0


class NotReached(Exception):
    """No answer came: why, in words for who reads the list of deliveries."""


class PublicOnly(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses alone. What was looked at is what is connected to: a name cannot change its mind in between."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  (the library's name)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Look the name up, refuse what is private, and connect to what is left, one after the other."""
        try:
            check_host(host, self._allowed)
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except ValueError as error:
            raise NotReached(f"The host {error}.") from error
        except OSError as error:
            raise NotReached("The host name is not known.") from error
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        trusted = host.lower().rstrip(".") in self._allowed.names
        public = [each for each in addresses if trusted or may_reach(ip_address(each.partition("%")[0]), self._allowed)]
        if not public:
            raise NotReached("The host is on a private network.")
        last: Exception | None = None
        for address in public:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                last = error
        raise NotReached("The host cannot be connected to.") from last

    async def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Any = None) -> Any:  # noqa: ASYNC109
        """Refuse: no webhook is a file."""
        raise NotReached("The host is no host.")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def signed(secret: str, delivery_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """Give the headers of the Standard Webhooks specification; the id is that of the delivery, whichever attempt this is."""
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(delivery_id, now, body.decode()),
    }


async def post(url: str, secret: str, delivery_id: str, payload: dict[str, Any], allowed: Allowed, *, patience: float = PATIENCE) -> Answer:
    """Post a payload and give the answer's status. Raises NotReached where none came in time."""
    body = dumps(payload).encode()
    named = {"content-type": "application/json", "user-agent": "Leadgraph", **signed(secret, delivery_id, datetime.now(UTC), body)}
    headers = [(name.encode(), value.encode()) for name, value in named.items()]
    try:
        # A connection for each: one that is kept would have been looked at too long ago.
        async with (
            asyncio.timeout(patience),
            httpcore2.AsyncConnectionPool(network_backend=PublicOnly(allowed)) as pool,
            pool.stream("POST", url, headers=headers, content=body) as response,
        ):
            return Answer(response.status, _retry_after(response.headers))
    except TimeoutError as error:
        raise NotReached(f"No answer within {patience:g} seconds.") from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, httpcore2.UnsupportedProtocol, OSError) as error:
        raise NotReached(f"The connection broke ({type(error).__name__}).") from error


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float:
    """Read `Retry-After`: seconds, or a date (RFC 9110, 10.2.3)."""
    value = next((value.decode("latin-1").strip() for name, value in headers if name.lower() == b"retry-after"), "")
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        asked = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (asked.replace(tzinfo=asked.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
