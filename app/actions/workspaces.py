"""Workspaces: the tenants. Made from the command line; inside one, only its scoring rules change (`scores.py`)."""

import re
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import insert_rows, table_of
from app.errors import BadUserInput, NotFound, Taken, shown
from app.rules.ids import new_id
from app.rules.scoring import DEFAULT_SOURCES, DEFAULT_WEIGHTS
from app.tables import Workspace, WorkspaceCounter

WORKSPACE = table_of(Workspace)
#: Before a workspace is known there is none to ask in.
BY_SLUG = sa.select(WORKSPACE).where(WORKSPACE.c.slug == sa.bindparam("slug"))
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class WorkspaceNotFound(NotFound):
    """There is no such workspace."""


async def create(connection: AsyncConnection, *, slug: str, name: str | None = None) -> dict[str, Any]:
    """Create a workspace with the default scoring rules and give its row.

    `slug`: 1 to 63 lower-case letters, digits and hyphens, unique in the database (BadUserInput, Taken).
    """
    if not _SLUG.fullmatch(slug):
        raise BadUserInput(f"slug {shown(slug)}: 1 to 63 of a-z, 0-9 and -, with no - at either end", argument="slug")
    row = {
        "id": new_id("wsp"),
        "slug": slug,
        "name": (name or slug).strip(),
        "rules_version": 1,
        "threshold": 85,
        "weights": [{"kind": kind, "maximum": maximum} for kind, maximum in DEFAULT_WEIGHTS.items()],
        "sources": [{"source": source, "reliability": value} for source, value in DEFAULT_SOURCES.items()],
        "created_at": datetime.now(UTC),
    }
    if not await insert_rows(connection, WORKSPACE, [row], ignore=True, returning=["id"]):
        raise Taken(f"slug {shown(slug)}: another workspace has it", argument="slug")
    await insert_rows(connection, table_of(WorkspaceCounter), [{"workspace_id": row["id"], "sequence": 0}])
    return row


async def find(connection: AsyncConnection, slug: str) -> dict[str, Any]:
    """Find a workspace by its slug."""
    found = (await connection.execute(BY_SLUG, {"slug": slug})).mappings().first()
    if found is None:
        raise WorkspaceNotFound(f"There is no workspace {shown(slug)}.")
    return dict(found)
