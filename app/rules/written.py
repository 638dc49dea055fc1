"""How values are written: JSON the one way that it is stored and shown, moments as columns and as the API hold them, rows for `COPY`."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson


def dumps(value: Any) -> str:
    """Write JSON the one way that it is stored and shown: sorted keys, no spaces."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z).decode()


def parts_text(value: Any) -> str:
    """Write a list of objects with their members as they come: in the order of the contract; what is inside is sorted."""
    text = orjson.dumps(value).decode()
    if text.count("{") == len(value):
        return text  # no object inside another: nothing to sort
    fragment = orjson.Fragment
    return orjson.dumps(
        [{key: fragment(dumps(part)) if isinstance(part, dict | list) else part for key, part in item.items()} for item in value]
    ).decode()


@lru_cache(maxsize=1_024)  # a transaction has one moment, and writes it thousands of times
def moment_text(value: datetime) -> str:
    """Write a moment as SQLite keeps it: UTC, 27 characters, so that text order is time order."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


_ESCAPED = re.compile(r"[\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def copy_line(values: Iterable[Any]) -> bytes:
    """Write values as PostgreSQL's `COPY` reads them in its text form (its manual, under "File Formats"), without the end of the line."""
    cells = []
    for value in values:
        if value is None:
            cells.append(r"\N")
        elif isinstance(value, str):
            cells.append(value.translate(_ESCAPES) if _ESCAPED.search(value) else value)
        elif isinstance(value, datetime):
            cells.append(moment_text(value))
        else:
            cells.append("tf"[not value] if isinstance(value, bool) else str(value))
    return "\t".join(cells).encode()


@lru_cache(maxsize=1_024)
def moment(value: datetime) -> str:
    """Write a moment as the API does: in UTC, the fraction (six digits) only where there is one."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def change(name: str, before: Any, after: Any) -> dict[str, Any]:
    """Write one changed field as the log keeps it; `name` is the contract's, moments become the API's text."""
    return {"field": name, "before": _plain(before), "after": _plain(after)}


def _plain(value: Any) -> Any:
    return moment(value) if isinstance(value, datetime) else value
