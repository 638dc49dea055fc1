"""The check of law 4 itself: it finds a hole, and lets walled statements through."""

import sqlalchemy as sa
import walls

from app.database import table_of
from app.tables import Campaign, CampaignLead, Lead

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
