"""Requests that may be sent again: the answer of a mutation is kept under the caller's key, in the transaction that did it."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.actions.reads import Read
from app.actions.work import Work
from app.column_types import Moment
from app.database import table_of
from app.errors import Code, Conflict, LeadgraphError
from app.readers import Reading
from app.tables import Idempotency

_KEPT = table_of(Idempotency)
_MINE = (
    _KEPT.c.workspace_id == sa.bindparam("workspace"),
    _KEPT.c.caller_id == sa.bindparam("caller"),
    _KEPT.c.key == sa.bindparam("name"),
)


class KeyReused(LeadgraphError):
    """This Idempotency-Key was sent with another request: take a new key for a new request."""

    code = Code.IDEMPOTENCY_KEY_REUSED
    status = 422


class NotShownAgain(Conflict):
    """The request with this Idempotency-Key was carried out, and its answer may not be shown again."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """A request's key, and what tells it from other requests."""

    key: str
    request_hash: str

    @staticmethod
    def of(key: str, request: bytes) -> "Keyed":
        """Take the request in a form that is the same whenever it is sent."""
        return Keyed(key, hashlib.sha256(request).hexdigest())


async def begin(work: Work, keyed: Keyed, lifetime: timedelta) -> str | None:
    """Take the key for this transaction, or give the answer that is kept under it.

    Before all else in the transaction: who waits here for another request with the key holds nothing that this one wants.
    Raises KeyReused where the key came with another request, NotShownAgain where its answer is not kept.
    """
    taking = (postgresql if work.postgres else sqlite).insert(_KEPT)
    row = {
        "workspace_id": work.workspace,
        "caller_id": _caller(work),
        "key": keyed.key,
        "request_hash": keyed.request_hash,
        "response": None,
        "created_at": work.now,
        "expires_at": work.now + lifetime,
    }
    fresh = {name: taking.excluded[name] for name in ("request_hash", "response", "created_at", "expires_at")}
    # A key that has expired and is not cleared yet is as good as none.
    statement = (
        taking.values(row)
        .on_conflict_do_update(index_elements=["workspace_id", "caller_id", "key"], set_=fresh, where=_KEPT.c.expires_at <= work.now)
        .returning(_KEPT.c.key)
    )
    if (await work.connection.execute(statement)).first() is not None:
        return None
    kept = await work.row(sa.select(_KEPT.c.request_hash, _KEPT.c.response).where(*_MINE), {"caller": _caller(work), "name": keyed.key})
    if kept is None or kept["request_hash"] != keyed.request_hash:
        raise KeyReused
    if kept["response"] is None:
        raise NotShownAgain
    return str(kept["response"])


async def keep(work: Work, keyed: Keyed, response: str) -> None:
    """Keep the answer, to be given byte for byte to whoever sends the request again."""
    await work.run(sa.update(_KEPT).values(response=response).where(*_MINE), {"caller": _caller(work), "name": keyed.key})


def _caller(work: Work) -> str:
    return work.caller.actor_id or ""


_EXPIRED = _KEPT.c.expires_at <= sa.bindparam("now", type_=Moment)
ANY_EXPIRED = Read(sa.select(_KEPT.c.key).where(_EXPIRED).limit(1))
CLEAR = sa.delete(_KEPT).where(_EXPIRED)


async def any_expired(reading: Reading, now: datetime) -> bool:
    """Tell whether there is anything to clear, in whatever workspace, without asking for the right to write."""
    return bool(await ANY_EXPIRED.rows(reading, now=now))


async def clear(connection: AsyncConnection, now: datetime) -> int:
    """Forget all answers whose time is over, and give their number."""
    return (await connection.execute(CLEAR, {"now": now})).rowcount
