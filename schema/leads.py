"""Leads and their scores."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import sqlalchemy as sa
import strawberry

from app import tables
from app.rules.written import moment_text
from schema.activities import Activity, activities_of
from schema.emails import Email
from schema.enums import LeadStatus, ScoreComponentKind
from schema.filters import EmailWhere
from schema.nodes import Connection, Node
from schema.planner import cursors, pages
from schema.planner.bindings import Computed, Inline, Many, One, Order, Parts, Row, Scope, Through, argument, page_arguments, planned, sql
from schema.planner.dialects import Expression, text
from schema.scalars import DateTime, JSONObject
from schema.users import User

if TYPE_CHECKING:
    from schema.campaigns import Campaign

NEWEST_FIRST = (Order("created_at", descending=True),)
#: A lead's campaigns are looked up by its places: SQLite would else go through every campaign for each lead of a page.
OF_LEAD = Through(tables.CampaignLead, "lead_id", {"id": "campaign_id"}, sorted_by=())


def full_name(row: Row, _scope: Scope) -> Expression:
    """Join the names that there are; null where there is none."""
    joined = sa.func.coalesce(row.c.first_name, text("")).concat(text(" ")).concat(sa.func.coalesce(row.c.last_name, text("")))
    return sa.func.nullif(sa.func.trim(joined), text(""))


def meets_threshold(row: Row, scope: Scope) -> Expression:
    """Compare with what the workspace asks today."""
    workspace, inside = scope.table(tables.Workspace)
    return row.c.quality_score >= sa.select(workspace.c.threshold).where(inside).scalar_subquery()


def default_cursor(workspace: str, row: Mapping[str, Any]) -> str:
    """Write the cursor of a lead in the list of all leads, in its own order, without a filter."""
    order = [(key.column, key.descending) for key in pages.ordered(NEWEST_FIRST, None, "")]
    return cursors.encode(cursors.list_prefix(workspace, "Lead", order, {}), [moment_text(row["created_at"]), row["id"]])


@planned()
@strawberry.type
class ScoreComponent:
    """A part of a score, and why it is what it is."""

    kind: ScoreComponentKind
    points: int
    maximum: int
    reasons: list[str]


@planned()
@strawberry.type
class Score:
    """How good a lead is, and every reason for it."""

    value: int = sql(Computed(lambda row, _scope: row.c.quality_score))
    meets_threshold: bool = sql(Computed(meets_threshold))
    stale: bool = sql(Computed(lambda row, _scope: row.c.score_stale), description="The lead changed since, with `autoScore: false`.")
    components: list[ScoreComponent] = sql(Parts("score_components"))
    computed_at: DateTime = sql(Computed(lambda row, _scope: row.c.score_computed_at))
    rules_version: int = sql(Computed(lambda row, _scope: row.c.score_rules_version))
    campaign: Annotated["Campaign", strawberry.lazy("schema.campaigns")] | None = sql(
        One(tables.Campaign, lambda lead, campaign, _scope: campaign.c.id == lead.c.score_campaign_id)
    )


@planned(tables.Lead)
@strawberry.type
class Lead(Node):
    """A person somebody wants to talk to."""

    crm_id: str | None
    email: str | None
    first_name: str | None
    last_name: str | None
    full_name: str | None = sql(Computed(full_name))
    company: str | None
    title: str | None
    phone: str | None
    website: str | None
    linkedin_url: str | None
    location: str | None
    source: str | None
    status: LeadStatus
    notes: str | None
    attributes: JSONObject = strawberry.field(description="The caller's own fields.")
    opt_in_at: DateTime | None
    quality_score: int | None = strawberry.field(description="0 to 100; null until the lead is scored.")
    score: Score | None = sql(Inline(when=lambda row: row.c.quality_score.is_not(None)))
    assignee: User | None = sql(One(tables.User, lambda lead, user, _scope: user.c.id == lead.c.assignee_id))
    campaigns: Connection[Annotated["Campaign", strawberry.lazy("schema.campaigns")]] = sql(
        Many(tables.Campaign, NEWEST_FIRST, through=OF_LEAD), *page_arguments()
    )
    activities: Connection[Activity] = activities_of(lambda lead, activity, _scope: activity.c.lead_id == lead.c.id)
    emails: Connection[Email] = sql(
        Many(tables.Email, NEWEST_FIRST, on=lambda lead, email, _scope: email.c.lead_id == lead.c.id, where="email"),
        *page_arguments(argument("where", EmailWhere | None)),
    )
    created_at: DateTime
    updated_at: DateTime
    last_activity_at: DateTime | None
    version: int = strawberry.field(description="Goes up by one at every change; pass it back as `ifVersion`.")


@strawberry.type
class StatusCount:
    """How many leads have a status."""

    status: LeadStatus
    count: int


@strawberry.type
class SourceCount:
    """How many leads came from a source."""

    source: str | None
    count: int


@strawberry.type
class ScoreBucket:
    """Ten buckets of ten points; 100 counts in the last."""

    from_: int = strawberry.field(name="from")
    to: int
    count: int


@strawberry.type
class LeadStats:
    """Counts and averages of leads."""

    count: int
    average_score: float | None
    by_status: list[StatusCount]
    by_source: list[SourceCount]
    score_histogram: list[ScoreBucket]
