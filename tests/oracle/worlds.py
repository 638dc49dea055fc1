"""Workspaces made at random: plain rows for the reference, and the same rows in the database as the product keeps them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from questions import KEYS, TEXTS, VALUES
from reference import Record, World

from app import tables
from app.actions.lead_rows import LEAD
from app.actions.lead_search import remember
from app.actions.work import Caller, Work
from app.database import Database, insert_rows, table_of
from app.rules.attributes import folded_texts
from app.rules.emails import fold_email
from app.rules.folding import fold, search_text
from app.rules.ids import new_id

NOON = datetime(2026, 1, 20, 10, tzinfo=UTC)
moments = st.sampled_from(
    [NOON, NOON, NOON + timedelta(microseconds=500_000), NOON + timedelta(days=12, microseconds=1), NOON - timedelta(days=400)]
)
texts = st.none() | st.sampled_from(TEXTS)
LOCALS = ["Ann", "zoë", "Zoe", "o_neil", "a%b", "İz"]
DOMAINS = ["Example.com", "Bücher.example", "example.org"]


def made(draw: Any, ids: Record, **strategies: Any) -> Record:
    """Draw one row."""
    return {**ids, **{name: draw(each) if isinstance(each, st.SearchStrategy) else each for name, each in strategies.items()}}


@st.composite
def worlds(draw: Any, most: int = 9) -> World:
    """Draw the rows of a workspace, without its id."""
    world = World(workspace={"threshold": draw(st.sampled_from([0, 55, 85]))})
    world.user = [
        made(draw, {"id": new_id("usr")}, email=f"User{n}@example.com", name=texts, role="EDITOR", created_at=moments) for n in range(2)
    ]
    world.campaign = [
        made(
            draw, {"id": new_id("cmp")}, name=st.sampled_from(TEXTS), status=st.sampled_from(["DRAFT", "ACTIVE"]), created_at=moments,
            updated_at=moments,
        )
        for _ in range(draw(st.integers(1, 3)))
    ]  # fmt: skip
    for number in range(draw(st.integers(0, most))):
        world.lead.append(_lead(draw, number, [None, *(user["id"] for user in world.user)]))
    nobody = new_id("lead")
    for lead in world.lead:
        for campaign in world.campaign:
            if draw(st.booleans()):
                world.place.append({"campaign_id": campaign["id"], "lead_id": lead["id"]})
    leads = [None, nobody, *(lead["id"] for lead in world.lead)]
    campaigns = [None, *(campaign["id"] for campaign in world.campaign)]
    for sequence in range(1, draw(st.integers(0, 8)) + 1):
        world.activity.append(_activity(draw, sequence, leads, campaigns, world.user[0]["id"]))
    for _ in range(draw(st.integers(0, 5))):
        world.email.append(
            made(
                draw, {"id": new_id("eml")}, lead_id=st.sampled_from(leads[1:]), campaign_id=st.sampled_from(campaigns), subject="Hello",
                to_address=st.sampled_from([None, "then@example.com"]), body="Body", status=st.sampled_from(["SCHEDULED", "SENT",
                "FAILED"]),
                scheduled_at=moments, sent_at=st.none() | moments, error=texts, created_at=moments,
            )
        )  # fmt: skip
    return world


def _lead(draw: Any, number: int, assignees: list[Any]) -> Record:
    address = f"{draw(st.sampled_from(LOCALS))}{number}@{draw(st.sampled_from(DOMAINS))}"
    attributes = draw(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=3))
    return made(
        draw, {"id": new_id("lead")}, crm_id=st.sampled_from([None, ("crm-1", "CRM-1", "Crm-1")[number] if number < 3 else f"x{number}"]),
        email=st.sampled_from([None, address, address]), first_name=texts, last_name=texts, company=texts, title=texts, location=texts,
        phone=st.sampled_from([None, "+33612345678", "123"]), source=st.sampled_from([None, "linkedin", "api"]), notes=texts,
        website=texts, linkedin_url=texts, status=st.sampled_from(["NEW", "CONTACTED", "REPLIED"]), attributes=attributes,
        opt_in_at=st.none() | moments, quality_score=st.sampled_from([None, 0, 20, 55, 55, 85, 100]), created_at=moments,
        updated_at=moments,
        assignee_id=st.sampled_from(assignees), last_activity_at=st.none() | moments, version=st.integers(1, 3),
    )  # fmt: skip


def _activity(draw: Any, sequence: int, leads: list[Any], campaigns: list[Any], actor: str) -> Record:
    row = made(
        draw, {"id": new_id("act"), "sequence": sequence},
        kind=st.sampled_from(["LEAD_CREATED", "STATUS_CHANGED", "EVENT", "ADMINISTERED"]), event=texts, lead_id=st.sampled_from(leads),
        campaign_id=st.sampled_from(campaigns), actor_id=st.sampled_from([None, actor]), status=st.sampled_from([None, "NEW", "REPLIED"]),
        attributes=st.just({}), occurred_at=moments, recorded_at=moments, email_id=None, distinct_id=None, batch_id=None,
    )  # fmt: skip
    if row["kind"] == "ADMINISTERED":  # of users, keys and rules, never of a lead
        row["lead_id"] = None
    return row


async def written(database: Database, world: World, caller: Caller) -> None:
    """Put a world into the caller's workspace."""
    leads = {lead["id"]: lead for lead in world.lead}
    places = []
    for place in world.place:
        lead = leads[place["lead_id"]]
        places.append({**place, "quality_score": lead["quality_score"], "lead_created_at": lead["created_at"], "joined_at": NOON})
    async with database.writing() as connection:
        work = Work(connection=connection, caller=caller)
        mine = sa.bindparam("workspace", caller.workspace_id)
        home, counter = table_of(tables.Workspace), table_of(tables.WorkspaceCounter)
        await connection.execute(sa.update(home).values(threshold=world.workspace["threshold"]).where(home.c.id == mine))
        await connection.execute(sa.update(counter).values(sequence=len(world.activity)).where(counter.c.workspace_id == mine))
        criteria = {name: [] for name in ("titles", "companies", "locations", "sources")}
        for model, rows in (
            (tables.User, [{**row, "email_key": row["email"].lower()} for row in world.user]),
            (tables.Campaign, [{**row, **criteria, "name_folded": fold(row["name"])} for row in world.campaign]),
            (tables.CampaignLead, places),
            (tables.Activity, [{**row, "changes": [], "event_folded": row["event"] and fold(row["event"])} for row in world.activity]),
            (tables.Email, world.email),
        ):
            if model is tables.CampaignLead:
                await leads_written(work, world.lead)
            table = table_of(model)
            whole = [{**dict.fromkeys(table.c.keys()), **row, "workspace_id": caller.workspace_id} for row in rows]
            await insert_rows(connection, table, whole)


async def leads_written(work: Work, leads: list[Record]) -> None:
    """Put leads in as the product keeps them: texts folded beside, and in the search index."""
    rows = []
    for lead in leads:
        row = {**dict.fromkeys(LEAD.c.keys()), **lead, "workspace_id": work.workspace, "score_stale": False}
        for name in ("crm_id", "first_name", "last_name", "company", "title", "phone", "location", "source"):
            row[f"{name}_folded"] = None if row[name] is None else fold(row[name])
        row["email_key"] = None if row["email"] is None else fold_email(row["email"])
        row["attributes_folded"] = folded_texts(row["attributes"])
        row["search_text"] = search_text(row["email"], row["first_name"], row["last_name"], row["company"])
        rows.append(row)
    await insert_rows(work.connection, LEAD, rows)
    await remember(work, rows)
