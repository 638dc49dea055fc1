"""Root fields that read. Each is one SQL statement, whatever is selected below it."""

import strawberry

from app import lane_tables, tables
from schema.activities import Activity, activities_of
from schema.automations import Automation
from schema.batches import Batch, ImportJob
from schema.campaigns import Campaign
from schema.emails import Email
from schema.enums import OrderDirection, Role
from schema.filters import CampaignOrder, CampaignWhere, EmailWhere, LeadWhere, lead_arguments
from schema.inputs import LeadRef
from schema.leads import NEWEST_FIRST, Lead, LeadStats
from schema.nodes import Connection, Node
from schema.planner.bindings import AnyNode, ById, ByReference, Many, Own, Stats, argument, page_arguments, sql
from schema.users import ApiKey, User
from schema.webhooks import Webhook
from schema.workspaces import Viewer, Workspace


@strawberry.type
class Query:
    """Every list takes `first` (50 unless told, at most 200) with `after`, or `last` with `before`; leads also take `offset`."""

    viewer: Viewer = sql(Own(tables.Workspace))
    workspace: Workspace = sql(Own(tables.Workspace))
    node: Node | None = sql(AnyNode(many=False), argument("id", strawberry.ID))
    nodes: list[Node | None] = sql(AnyNode(many=True), argument("ids", list[strawberry.ID]))
    lead: Lead | None = sql(ByReference(), argument("by", LeadRef))
    leads: Connection[Lead] = sql(
        Many(tables.Lead, NEWEST_FIRST, where="lead"),
        *page_arguments(*lead_arguments(), offset=True),
        description="`search`: every word given stands at the start of a word of the e-mail address, the name or the company, "
        "case and accents aside.",
    )
    lead_stats: LeadStats = sql(Stats(), argument("where", LeadWhere | None), argument("search", str | None))
    campaign: Campaign | None = sql(ById(tables.Campaign), argument("id", strawberry.ID))
    campaigns: Connection[Campaign] = sql(
        Many(tables.Campaign, NEWEST_FIRST, where="campaign"),
        *page_arguments(argument("where", CampaignWhere | None), argument("order_by", list[CampaignOrder] | None)),
    )
    activities: Connection[Activity] = activities_of(
        None,
        OrderDirection.ASC,
        description="Everything that happened, oldest first: keep the last `endCursor` and go on from it to sync a copy.",
    )
    emails: Connection[Email] = sql(Many(tables.Email, NEWEST_FIRST, where="email"), *page_arguments(argument("where", EmailWhere | None)))
    users: Connection[User] = sql(Many(tables.User, NEWEST_FIRST), *page_arguments())
    api_keys: Connection[ApiKey] = sql(Many(tables.ApiKey, NEWEST_FIRST, needs=Role.ADMIN), *page_arguments())
    automations: Connection[Automation] = sql(Many(lane_tables.Automation, NEWEST_FIRST), *page_arguments())
    webhooks: Connection[Webhook] = sql(Many(lane_tables.Webhook, NEWEST_FIRST, needs=Role.ADMIN), *page_arguments())
    batches: Connection[Batch] = sql(Many(tables.Batch, NEWEST_FIRST), *page_arguments())
    import_jobs: Connection[ImportJob] = sql(Many(tables.ImportJob, NEWEST_FIRST), *page_arguments())
