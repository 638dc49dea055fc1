"""The upkeep of SQLite's search index. PostgreSQL keeps its own on `lead.search_text`."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from app.actions.work import Work
from app.rules.ids import search_key
from app.rules.written import moment_text

_FORGET = sa.text("DELETE FROM lead_search WHERE workspace_id = :workspace AND rowid IN (SELECT value FROM json_each(:keys))")
_REMEMBER = sa.text(
    "INSERT INTO lead_search (rowid, workspace_id, lead_id, created_at, words) SELECT json_extract(value, '$[0]'), :workspace, "
    "json_extract(value, '$[1]'), coalesce(json_extract(value, '$[3]'), :now), json_extract(value, '$[2]') FROM json_each(:entries)"
)


# Both in the order of the keys: wherever the next is no greater, FTS5 writes out what it has gathered, and a batch of a thousand would be
# hundreds of segments, to be merged again. That was more than half of what an entry cost.


async def forget(work: Work, lead_ids: Iterable[str]) -> None:
    """Take leads out of the index."""
    keys = [] if work.postgres else sorted([search_key(lead_id) for lead_id in lead_ids])
    if keys:
        await work.run(_FORGET, {"keys": orjson.dumps(keys).decode()})


async def remember(work: Work, leads: Sequence[dict[str, Any]], made: Iterable[tuple[int, bytes]] = ()) -> None:
    """Put leads into the index that are not in it; `made`: entries of new ones that are JSON already, each with its key."""
    if work.postgres:
        return
    entries = [*made]
    for lead in leads:
        key = search_key(lead["id"])
        entries.append((key, orjson.dumps([key, lead["id"], lead["search_text"], moment_text(lead["created_at"])])))
    if entries:
        text = b",".join([entry for _, entry in sorted(entries)])
        await work.run(_REMEMBER, {"entries": f"[{text.decode()}]", "now": moment_text(work.now)})
