"""The check of law 4 itself: it finds a hole, and lets walled statements through."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa
import walls

from app.database import _block, table_of
from app.tables import Campaign, CampaignLead, Lead, Workspace

LEAD, CAMPAIGN, PLACE = table_of(Lead), table_of(Campaign), table_of(CampaignLead)
MINE = sa.bindparam("workspace")


def found(statement):
    return [name.partition(" ")[0] for name in walls.holes(statement, "select")]


def test_a_statement_with_a_predicate_for_each_table_passes():
    inner = sa.select(PLACE.c.lead_id).where(PLACE.c.workspace_id == MINE, PLACE.c.campaign_id == CAMPAIGN.c.id)
    statement = sa.select(LEAD.c.id).where(LEAD.c.workspace_id == MINE, LEAD.c.id.in_(inner))
    assert found(statement.where(CAMPAIGN.c.workspace_id == MINE)) == []
    assert found(sa.update(LEAD).values(status="NEW").where(LEAD.c.workspace_id == MINE)) == []


def test_a_join_to_a_walled_table_is_no_wall():
    joined = sa.select(LEAD.c.id).join(PLACE, sa.and_(PLACE.c.workspace_id == LEAD.c.workspace_id, PLACE.c.lead_id == LEAD.c.id))
    assert found(joined.where(LEAD.c.workspace_id == MINE)) == ["campaign_lead"]


def test_a_hole_in_a_subquery_is_found():
    inner = sa.select(sa.func.count()).select_from(PLACE).where(PLACE.c.lead_id == LEAD.c.id).correlate(LEAD).scalar_subquery()
    assert found(sa.select(inner).select_from(LEAD).where(LEAD.c.workspace_id == MINE)) == ["campaign_lead"]
    assert found(sa.select(LEAD.alias().c.id)) == ["lead"]
    assert found(sa.delete(LEAD).where(LEAD.c.id == "x")) == ["lead"]
    assert found(sa.select(LEAD.c.id).where(sa.or_(LEAD.c.workspace_id == MINE, LEAD.c.id == "x"))) == ["lead"]


def test_another_workspace_by_a_constant_is_no_wall():
    assert found(sa.select(LEAD.c.id).where(LEAD.c.workspace_id == "wsp_other")) == ["lead"]


def test_a_row_of_another_table_names_no_workspace_but_a_row_of_workspaces_does():
    both = sa.select(LEAD.c.id).where(LEAD.c.workspace_id == CAMPAIGN.c.id, CAMPAIGN.c.workspace_id == MINE)
    assert found(both) == ["lead"]
    tenant = table_of(Workspace).alias()
    page = sa.select(tenant.c.id, tenant.c.slug).where(tenant.c.id.in_(sa.bindparam("mine"))).subquery()
    inside = sa.select(sa.func.count()).select_from(LEAD).where(LEAD.c.workspace_id == page.c.id).correlate(page).scalar_subquery()
    assert found(sa.select(page.c.slug, inside)) == []


INDEX = sa.table("lead_search", sa.column("workspace_id"), sa.column("lead_id"), sa.column("lead_search"))


def test_the_search_index_is_a_table_like_others():
    index = INDEX.alias()
    hits = sa.select(index.c.lead_id).where(index.c.lead_search.op("MATCH")(sa.bindparam("words")))
    assert found(hits) == ["lead_search"]
    assert found(hits.where(index.c.workspace_id == MINE)) == []
    leads = sa.select(LEAD.c.id).where(LEAD.c.workspace_id == MINE)
    assert found(leads.where(LEAD.c.id.in_(hits))) == ["lead_search"]
    assert found(sa.delete(INDEX).where(INDEX.c.lead_id == "x")) == ["lead_search"]


@pytest.mark.parametrize(
    ("text", "holes"),
    [
        ("DELETE FROM lead_search WHERE workspace_id = :workspace AND rowid IN (SELECT value FROM json_each(:keys))", []),
        ("DELETE FROM lead_search WHERE rowid IN (SELECT value FROM json_each(:keys))", ["lead_search"]),
        ("UPDATE lead SET status = 'NEW'", ["lead"]),
        ("SELECT 1 FROM lead JOIN campaign ON true WHERE lead.workspace_id = :workspace", ["campaign"]),
        ("INSERT INTO lead_search (workspace_id, words) SELECT :workspace, value FROM json_each(:entries)", []),
        ("INSERT INTO lead_search (workspace_id, words) SELECT workspace_id, email FROM lead", ["lead", "lead_search"]),
        ("ANALYZE", []),
    ],
)
def test_a_statement_that_is_a_text_is_read(text, holes):
    assert found(sa.text(text)) == holes


def test_what_goes_to_the_driver_without_a_compiler_names_no_table():
    root = Path(__file__).resolve().parent.parent
    texts = {
        text
        for folder in ("app", "schema")
        for path in (root / folder).rglob("*.py")
        if "versions" not in path.parts
        for text in re.findall(r"exec_driver_sql\((.*?)\)$", path.read_text(), re.MULTILINE)
    }
    # The last adds rows to a table, each with its workspace.
    block = "_block(table, tuple(names), tuple(same), size), blocks if len(blocks) > 1 else blocks[0]"
    assert texts == {'"SELECT pg_advisory_xact_lock(7310293847)"', '"BEGIN IMMEDIATE"', block}
    assert (
        _block(LEAD, ("id",), ("workspace_id",), 2)
        == "INSERT INTO lead (workspace_id, id) SELECT ?1, given.* FROM (VALUES (?), (?)) AS given WHERE given.column1 IS NOT NULL"
    )
