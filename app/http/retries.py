"""Requests that are sent again: reading `Idempotency-Key`, and letting those that come at once wait for the first."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

import orjson
from starlette.datastructures import Headers

from app.actions.idempotency import Keyed
from app.actions.work import Caller
from app.errors import BadRequest, Unavailable, shown
from app.http.requests import Request
from schema.scalars import Uploaded

HEADER = "Idempotency-Key"
REPLAYED = {"idempotent-replay": "true"}
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def read_key(headers: Headers) -> str | None:
    """Give the request's key, None where it has none. Raises BadRequest for one that is not 1 to 255 visible ASCII characters."""
    given = headers.getlist(HEADER)
    if not given:
        return None
    if len(given) > 1:
        raise BadRequest(f"{HEADER}: send it once, not {len(given)} times.", argument=HEADER)
    if _KEY.fullmatch(given[0]) is None:
        raise BadRequest(f"{HEADER} {shown(given[0])}: must be 1 to 255 visible ASCII characters.", argument=HEADER)
    return given[0]


def keyed(key: str, given: Request) -> Keyed:
    """Tell a request by all that decides what it does; how its JSON was written is no part of that."""
    whole = [given.query, given.operation_name, given.variables]
    return Keyed.of(key, orjson.dumps(whole, option=orjson.OPT_SORT_KEYS, default=_of_file))


def _of_file(value: Any) -> Any:
    if isinstance(value, Uploaded):
        return [value.name, value.digest()]
    raise TypeError(f"{type(value).__name__} is nothing that a request holds")


class Turns:
    """One request at a time for each key of a caller: the others wait without a connection, so that they are in nobody's way."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[str, str | None, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, caller: Caller, key: str | None, deadline: float) -> AsyncIterator[None]:
        """Wait for a request's turn until `deadline`; one without a key need not wait. Raises Unavailable."""
        if key is None:
            yield
            return
        turn = self._locks.setdefault((caller.workspace_id, caller.actor_id, key), asyncio.Lock())
        try:
            async with asyncio.timeout_at(deadline):
                await turn.acquire()
        except TimeoutError:
            raise Unavailable from None
        try:
            yield
        finally:
            turn.release()
