"""Cursors: opaque, versioned, checked, and useless in another list.

A cursor is base64url of `check + prefix + payload`. The prefix says which list it belongs to: the version, and a digest of
the workspace and of what that list is ordered and filtered by (a position in the log binds the workspace alone). The payload
is a JSON array of the order's keys. The databases write cursors themselves: `cursor_text` of `app/readers.py` for SQLite, `postgres.py`.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from app.errors import InvalidCursor
from app.readers import cursor_text
from schema.planner.origins import written

_VERSION = "1"
_CHECK, _PREFIX = 16, 17
_LONGEST = 100_000


def prefix(workspace: str, belongs_to: bytes) -> str:
    """Name a list of a workspace in 17 characters."""
    digest = hashlib.blake2b(workspace.encode() + b"\0" + belongs_to, digest_size=8).hexdigest()
    return _VERSION + digest


def list_prefix(workspace: str, of: str, order: list[tuple[str, bool]], asked: Mapping[str, Any]) -> str:
    """Name a list by what it is of, how it is sorted, and what it was asked for."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME
    return prefix(workspace, orjson.dumps([of, order, asked], option=options, default=written))


def encode(of: str, keys: list[Any]) -> str:
    """Write the cursor of a position in the list that `of` names."""
    return cursor_text(of, orjson.dumps(keys).decode())


def decode(text: str, of: str, length: int) -> list[Any]:
    """Read the keys back, or refuse: another list's, another version's, or edited."""
    try:
        raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
        if len(text) > _LONGEST or cursor_text(raw[_CHECK : _CHECK + _PREFIX], raw[_CHECK + _PREFIX :]) != text:
            raise InvalidCursor
        keys = orjson.loads(raw[_CHECK + _PREFIX :])
    except (ValueError, binascii.Error) as error:
        raise InvalidCursor from error
    if raw[_CHECK : _CHECK + _PREFIX] != of or not isinstance(keys, list) or len(keys) != length:
        raise InvalidCursor
    return keys
