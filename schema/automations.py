"""Automations, and their runs."""

from typing import Annotated, Union

import strawberry

from app import lane_tables, tables
from schema.activities import Activity
from schema.campaigns import Campaign
from schema.enums import ActivityKind, JobStatus, LeadStatus
from schema.filters import JobStatusFilter
from schema.leads import NEWEST_FIRST
from schema.nodes import Connection, Node
from schema.planner.bindings import Many, One, Variants, argument, page_arguments, planned, sql
from schema.scalars import DateTime
from schema.users import User
from schema.webhooks import Webhook


@planned()
@strawberry.type
class SetStatusAction:
    """Gives the lead a status."""

    status: LeadStatus


@planned()
@strawberry.type
class AssignAction:
    """Gives the lead to a user."""

    user: User | None = sql(One(tables.User, lambda action, user, _scope: user.c.id == action.c.userId))


@planned()
@strawberry.type
class AddToCampaignAction:
    """Puts the lead into a campaign."""

    campaign: Campaign | None = sql(One(tables.Campaign, lambda action, campaign, _scope: campaign.c.id == action.c.campaignId))


@planned()
@strawberry.type
class CallWebhookAction:
    """Posts the activity to a webhook, whatever kinds that asks for."""

    webhook: Webhook | None = sql(One(lane_tables.Webhook, lambda action, webhook, _scope: webhook.c.id == action.c.webhookId))


AutomationAction = Annotated[
    Union[SetStatusAction, AssignAction, AddToCampaignAction, CallWebhookAction],  # noqa: UP007  (the library reads it so)
    strawberry.union("AutomationAction", description="What is done."),
]


@planned(lane_tables.AutomationRun)
@strawberry.type
class AutomationRun(Node):
    """An automation at work on a lead, once, because of an activity."""

    automation: Annotated["Automation", strawberry.lazy("schema.automations")] | None = sql(
        One(lane_tables.Automation, lambda run, automation, _scope: automation.c.id == run.c.automation_id)
    )
    activity: Activity | None = sql(One(tables.Activity, lambda run, activity, _scope: activity.c.id == run.c.activity_id))
    depth: int = strawberry.field(description="1 for a run that no other run set off; at most 5.")
    status: JobStatus
    attempts: int
    error: str | None
    created_at: DateTime
    finished_at: DateTime | None


@planned(lane_tables.Automation)
@strawberry.type
class Automation(Node):
    """When a custom event of this name is recorded, or an activity of this kind, its actions run on that lead, once, in order."""

    name: str
    event: str | None
    kind: ActivityKind | None
    enabled: bool
    actions: list[AutomationAction] = sql(Variants("actions", ("status", "userId", "campaignId", "webhookId")))
    runs: Connection[AutomationRun] = sql(
        Many(
            lane_tables.AutomationRun,
            NEWEST_FIRST,
            on=lambda automation, run, _scope: run.c.automation_id == automation.c.id,
            where="queued",
        ),
        *page_arguments(argument("status", JobStatusFilter | None)),
    )
    created_at: DateTime
