"""E-mails to leads."""

from typing import TYPE_CHECKING, Annotated

import sqlalchemy as sa
import strawberry

from app import tables
from schema.enums import EmailStatus
from schema.nodes import Node
from schema.planner.bindings import Computed, One, Row, Scope, planned, sql
from schema.planner.dialects import Expression
from schema.scalars import DateTime

if TYPE_CHECKING:
    from schema.campaigns import Campaign
    from schema.leads import Lead


def to_address(row: Row, scope: Scope) -> Expression:
    """Give the address at the time of the claim, or else the lead's of today."""
    lead, inside = scope.table(tables.Lead)
    today = sa.select(lead.c.email).where(inside, lead.c.id == row.c.lead_id)
    return sa.func.coalesce(row.c.to_address, today.correlate(row).scalar_subquery())


@planned(tables.Email)
@strawberry.type
class Email(Node):
    """A mail to a lead."""

    lead_id: strawberry.ID
    lead: Annotated["Lead", strawberry.lazy("schema.leads")] | None = sql(
        One(tables.Lead, lambda row, lead, _scope: lead.c.id == row.c.lead_id)
    )
    campaign_id: strawberry.ID | None
    campaign: Annotated["Campaign", strawberry.lazy("schema.campaigns")] | None = sql(
        One(tables.Campaign, lambda row, campaign, _scope: campaign.c.id == row.c.campaign_id)
    )
    to_address: str | None = sql(Computed(to_address), description="The lead's address when it was claimed; before that, as it is now.")
    subject: str
    body: str
    status: EmailStatus
    scheduled_at: DateTime
    sent_at: DateTime | None
    error: str | None
    lease_until: DateTime | None
    created_at: DateTime
