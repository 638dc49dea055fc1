"""Campaigns: whom to talk to, and how they are doing."""

import strawberry

from app import tables
from schema.enums import CampaignStatus
from schema.filters import LeadWhere, lead_arguments
from schema.leads import NEWEST_FIRST, Lead, LeadStats
from schema.nodes import Connection, Node
from schema.planner.bindings import Inline, Many, Stats, argument, page_arguments, planned, sql
from schema.planner.lists import PLACES
from schema.scalars import DateTime


@planned()
@strawberry.type
class CampaignCriteria:
    """Whom the campaign is for. A lead matches a list when one of its entries fits; an empty list asks nothing."""

    titles: list[str]
    companies: list[str]
    locations: list[str]
    sources: list[str]


@planned(tables.Campaign)
@strawberry.type
class Campaign(Node):
    """Whom to talk to, and why them."""

    name: str
    status: CampaignStatus
    criteria: CampaignCriteria = sql(Inline())
    leads: Connection[Lead] = sql(
        Many(tables.Lead, NEWEST_FIRST, through=PLACES, where="lead"), *page_arguments(*lead_arguments(), offset=True)
    )
    stats: LeadStats = sql(Stats(through=PLACES), argument("where", LeadWhere | None), argument("search", str | None))
    created_at: DateTime
    updated_at: DateTime
