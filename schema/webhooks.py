"""Webhooks, and what became of each delivery."""

from typing import Annotated

import sqlalchemy as sa
import strawberry

from app import lane_tables, tables
from schema.activities import Activity
from schema.enums import ActivityKind, JobStatus
from schema.filters import JobStatusFilter
from schema.leads import NEWEST_FIRST
from schema.nodes import Connection, Node
from schema.planner.bindings import Computed, Many, One, argument, page_arguments, planned, sql
from schema.planner.dialects import text
from schema.scalars import DateTime


@planned(lane_tables.WebhookDelivery, admin_only=True)
@strawberry.type
class WebhookDelivery(Node):
    """An activity on its way to a webhook; its id is the `webhook-id` of every attempt."""

    webhook: Annotated["Webhook", strawberry.lazy("schema.webhooks")] | None = sql(
        One(lane_tables.Webhook, lambda delivery, webhook, _scope: webhook.c.id == delivery.c.webhook_id)
    )
    activity: Activity | None = sql(One(tables.Activity, lambda delivery, activity, _scope: activity.c.id == delivery.c.activity_id))
    status: JobStatus
    attempts: int
    response_status: int | None
    error: str | None
    next_attempt_at: DateTime | None = sql(
        Computed(lambda delivery, _scope: sa.case((delivery.c.status == text("PENDING"), delivery.c.run_at)))
    )
    created_at: DateTime


@planned(lane_tables.Webhook, admin_only=True)
@strawberry.type
class Webhook(Node):
    """Posts matching activities to a URL, at least once, in order for each lead, signed by the Standard Webhooks specification."""

    url: str
    kinds: list[ActivityKind] = strawberry.field(description="Without any, it gets what automations send alone.")
    enabled: bool
    deliveries: Connection[WebhookDelivery] = sql(
        Many(
            lane_tables.WebhookDelivery,
            NEWEST_FIRST,
            on=lambda webhook, delivery, _scope: delivery.c.webhook_id == webhook.c.id,
            where="queued",
        ),
        *page_arguments(argument("status", JobStatusFilter | None)),
    )
    created_at: DateTime
