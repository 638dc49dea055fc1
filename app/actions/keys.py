"""API keys. The key's text is shown once and carries its workspace, so that looking it up goes to one shard; a hash of it is kept.

`lg_<the 26 characters of the workspace's id>_<43 characters of base62>`
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.actions import activities, references
from app.actions.reads import Read
from app.actions.users import ADMINS, LIVE_ADMIN_KEYS
from app.actions.values import choice_of, differences, name_of
from app.actions.work import Caller, Role, Work
from app.column_types import Moment
from app.database import insert_rows, table_of
from app.errors import ApiKeyNotFound, BadUserInput, Conflict, shown
from app.readers import Reading
from app.rules.ids import new_id, new_secret, suffix_of
from app.rules.written import change, moment
from app.tables import ApiKey

KEY = table_of(ApiKey)

#: How precise `lastUsedAt` is.
USE_NOTED_EVERY = timedelta(minutes=1)

_TEXT = re.compile(r"lg_([0-9a-hjkmnp-tv-z]{26})_[0-9A-Za-z]{43}")
_MINE = (KEY.c.workspace_id == sa.bindparam("workspace"), KEY.c.id == sa.bindparam("key"))


async def create(work: Work, values: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Create a key from `name`, `role` and `expiresAt` (or None), and give its row and the key itself, which is kept nowhere."""
    expires_at = values.get("expiresAt")
    if expires_at is not None and expires_at <= work.now:
        at = "input.expiresAt"
        raise BadUserInput(f"{at} {moment(expires_at)}: must be in the future", argument=at)
    name, role = name_of(values.get("name"), "input.name"), choice_of(Role, values.get("role"), "input.role")
    start = f"lg_{suffix_of(work.workspace)}_"
    key = f"{start}{new_secret(43)}"
    row: dict[str, Any] = {
        "workspace_id": work.workspace,
        "id": new_id("key"),
        "name": name,
        "prefix": key[: len(start) + 4],
        "hash": hash_of(key),
        "role": str(role),
        "created_at": work.now,
        "expires_at": expires_at,
        "last_used_at": None,
        "revoked_at": None,
    }
    await insert_rows(work.connection, KEY, [row])
    changes = differences({}, row, [("name", "name"), ("role", "role")])
    if expires_at is not None:
        changes.append(change("expiresAt", None, expires_at))
    await activities.administered(work, "apiKey.created", row["id"], changes)
    return row, key


async def create_key(connection: AsyncConnection, workspace_id: str, name: str, role: Role) -> tuple[dict[str, Any], str]:
    """Create a key where nobody has one yet, from the command line; the log names nobody as its maker."""
    return await create(Work(connection, Caller(workspace_id=workspace_id, role=Role.ADMIN)), {"name": name, "role": role})


def hash_of(key: str) -> str:
    """Give what is kept of a key. It is random: one pass of SHA-256 is enough, a password's slow hash would guard nothing more."""
    return hashlib.sha256(key.encode()).hexdigest()


async def revoke(work: Work, key_id: str, *, users_log_in: bool = True) -> dict[str, Any]:
    """End a key for good and give its row; one that is revoked already stays as it is.

    Raises Conflict where it is the last by which an ADMIN can get in; users can where tokens are in use (`users_log_in`).
    """
    # Users first, then keys, each in the order of their ids: whoever takes an ADMIN away locks all of them so.
    admins = await work.rows(ADMINS) if users_log_in else []
    live = {row["id"] for row in await work.rows(LIVE_ADMIN_KEYS, {"now": work.now})}
    row = await work.row(sa.select(KEY).where(*_MINE).with_for_update(), {"key": references.checked(key_id, "id")})
    if row is None:
        raise ApiKeyNotFound(argument="id")
    if row["revoked_at"] is not None:
        return row
    if live == {key_id} and not admins:
        raise Conflict(f"{shown(row['name'])} is the last key by which an ADMIN can get in: make another first.", argument="id")
    await work.run(sa.update(KEY).values(revoked_at=work.now).where(*_MINE), {"key": key_id})
    await activities.administered(work, "apiKey.revoked", key_id, [change("revokedAt", None, work.now)])
    return {**row, "revoked_at": work.now}


def workspace_of(key: str) -> str | None:
    """Read a key's workspace from its text; None where it is no key's text."""
    found = _TEXT.fullmatch(key)
    return found and f"wsp_{found[1]}"


_BY_HASH = Read(
    sa.select(KEY.c.id, KEY.c.hash, KEY.c.role, KEY.c.expires_at, KEY.c.last_used_at, KEY.c.revoked_at).where(
        KEY.c.workspace_id == sa.bindparam("workspace"), KEY.c.hash == sa.bindparam("hash")
    )
)


async def find(reading: Reading, key: str, now: datetime) -> dict[str, Any] | None:
    """Find a key by its text; None where there is none, or it is revoked or expired."""
    workspace = workspace_of(key)
    if workspace is None:
        return None
    digest = hash_of(key)
    for row in await _BY_HASH.rows(reading, workspace=workspace, hash=digest):
        ended = row["revoked_at"] is not None or (row["expires_at"] is not None and row["expires_at"] <= now)
        if hmac.compare_digest(row["hash"], digest) and not ended:
            return {**row, "workspace_id": workspace}
    return None


_USED = (
    sa.update(KEY)
    .values(last_used_at=sa.bindparam("now", type_=Moment))
    .where(*_MINE, sa.or_(KEY.c.last_used_at.is_(sa.null()), KEY.c.last_used_at <= sa.bindparam("before", type_=Moment)))
)


async def note_use(connection: AsyncConnection, workspace_id: str, key_id: str, now: datetime) -> None:
    """Note that a key was used, unless that was noted within the last minute."""
    await connection.execute(_USED, {"workspace": workspace_id, "key": key_id, "now": now, "before": now - USE_NOTED_EVERY})
