"""Made data for the tests of verbs: people, campaigns, and what the tables hold afterwards."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from app.actions import campaigns, users, workspaces
from app.actions.activities import ACTIVITY
from app.actions.emails import EMAIL
from app.actions.references import LEAD
from app.actions.scorer import CAMPAIGN_LEAD
from app.actions.work import Work
from app.database import insert_rows
from app.rules.ids import new_id, search_key
from app.rules.written import moment_text

HERE = sa.bindparam("workspace")
MARIE = {
    "firstName": "Marie",
    "lastName": "Dubois",
    "email": "marie@techcorp.com",
    "company": "TechCorp",
    "title": "CTO",
    "phone": "+33 6 12 34 56 78",
    "website": "https://techcorp.com",
    "linkedinUrl": "https://linkedin.com/in/mariedubois",
    "source": "linkedin",
}


@pytest.fixture
def marie() -> dict[str, str]:
    """A lead of whom everything is known that counts: her score is 92."""
    return dict(MARIE)


@pytest.fixture
async def foreign(work: Work) -> Work:
    """The same transaction in another workspace."""
    workspace = await workspaces.create(work.connection, slug=f"other-{secrets.token_hex(6)}")
    return Work(connection=work.connection, caller=replace(work.caller, workspace_id=workspace["id"]), now=work.now)


@pytest.fixture
def log(work: Work) -> Callable[..., Any]:
    """Reads the log: `await log()` all of it, `await log(after=3)` what came later, the number of each entry checked."""

    async def read(after: int = 0, of: Work = work) -> list[dict[str, Any]]:
        rows = await of.rows(sa.select(ACTIVITY).where(ACTIVITY.c.workspace_id == HERE).order_by(ACTIVITY.c.sequence))
        assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
        return rows[after:]

    return read


@pytest.fixture
def stored(work: Work) -> Callable[..., Any]:
    """Reads the leads as they are stored, by id; SQLite's search index must hold exactly these."""

    async def read(of: Work = work) -> dict[str, dict[str, Any]]:
        rows = await of.rows(sa.select(LEAD).where(LEAD.c.workspace_id == HERE).order_by(LEAD.c.id))
        if not of.postgres:
            held = await of.rows(sa.text("SELECT rowid, lead_id, created_at, words FROM lead_search WHERE workspace_id = :workspace"))
            there = {(row["rowid"], row["lead_id"], row["created_at"], row["words"]) for row in held}
            assert there == {(search_key(row["id"]), row["id"], moment_text(row["created_at"]), row["search_text"]) for row in rows}
            assert len(held) == len(rows)
        return {row["id"]: row for row in rows}

    return read


@pytest.fixture
def members(work: Work, stored: Callable[..., Any]) -> Callable[..., Any]:
    """Reads a campaign's leads by id; what the membership repeats of the lead must be as the lead has it."""

    async def read(campaign_id: str) -> list[str]:
        rows = await work.rows(sa.select(CAMPAIGN_LEAD).where(CAMPAIGN_LEAD.c.workspace_id == HERE))
        leads = await stored()
        for row in rows:
            lead = leads[row["lead_id"]]
            assert (row["quality_score"], row["lead_created_at"]) == (lead["quality_score"], lead["created_at"])
        return sorted(row["lead_id"] for row in rows if row["campaign_id"] == campaign_id)

    return read


@pytest.fixture
def campaign_of(work: Work) -> Callable[..., Any]:
    """Makes a campaign with these criteria and gives its id."""

    async def make(of: Work = work, **criteria: list[str]) -> str:
        return str((await campaigns.create(of, {"name": "Spring", "criteria": criteria}))["id"])

    return make


@pytest.fixture
def user_of(work: Work) -> Callable[..., Any]:
    """Makes a user and gives the id."""

    async def make(email: str, of: Work = work) -> str:
        return str((await users.create(of, {"email": email, "name": None, "role": "EDITOR"}))["id"])

    return make


@pytest.fixture
def email_of(work: Work) -> Callable[..., Any]:
    """Puts an e-mail to a lead into its table and gives its id, in any state: the verb that schedules one knows but the first."""

    async def make(lead_id: str, status: str, campaign_id: str | None = None) -> str:
        row = {
            "workspace_id": work.workspace,
            "id": new_id("eml"),
            "lead_id": lead_id,
            "campaign_id": campaign_id,
            "subject": "Hello",
            "body": "How are you?",
            "status": status,
            "scheduled_at": datetime(2026, 1, 20, 10, tzinfo=UTC),
            "created_at": work.now,
        }
        await insert_rows(work.connection, EMAIL, [row])
        return str(row["id"])

    return make


@pytest.fixture
def email_statuses(work: Work) -> Callable[..., Any]:
    """Reads what became of each e-mail, by id."""

    async def read() -> dict[str, str]:
        rows = await work.rows(sa.select(EMAIL.c.id, EMAIL.c.status).where(EMAIL.c.workspace_id == HERE))
        return {row["id"]: row["status"] for row in rows}

    return read
