"""The second page of `tables.py`: what is done in lanes, runs of automations and deliveries to webhooks, and what asks for them."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, text
from sqlmodel import Field

from app.column_types import Json, Moment, Parts, Plain
from app.tables import Owned


class Automation(Owned, table=True):
    """What is to be done about a lead when something happens to it."""

    __table_args__ = (ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),)
    name: str
    event: str | None = Field(sa_type=Plain)  #: A custom event's name, exact; or else `kind` says when.
    kind: str | None = Field(sa_type=Plain)
    enabled: bool
    actions: list[dict[str, Any]] = Field(sa_type=Parts)  #: `[{"type": "AssignAction", "userId"}, ...]`, of their types in the graph.
    created_at: datetime = Field(sa_type=Moment)


class Queued(Owned):
    """Something to do once, in its turn: what stands in one lane is done one by one, by position and then id."""

    lane: str = Field(sa_type=Plain)
    position: int = Field(sa_type=BigInteger)  #: The log's number of what it is about.
    status: str = Field(sa_type=Plain)
    attempts: int = 0
    run_at: datetime = Field(sa_type=Moment)  #: Not before.
    claimed_by: str | None = Field(default=None, sa_type=Plain)
    lease_until: datetime | None = Field(default=None, sa_type=Moment)
    error: str | None = None
    created_at: datetime = Field(sa_type=Moment)
    finished_at: datetime | None = Field(default=None, sa_type=Moment)


_OPEN = text("status IN ('PENDING', 'RUNNING')")


def _lanes(name: str) -> tuple[Index, Index]:
    """What claiming walks: the open rows that are due, and those before them in their lanes."""
    return (
        Index(f"{name}_due", "status", "run_at", sqlite_where=_OPEN, postgresql_where=_OPEN),
        Index(f"{name}_lane", "workspace_id", "lane", "position", "id", sqlite_where=_OPEN, postgresql_where=_OPEN),
    )


class AutomationRun(Queued, table=True):
    """An automation at work on a lead (its lane) because of an activity. No keys to either: it outlives them."""

    __tablename__ = "automation_run"
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        *_lanes("automation_run"),
        Index("automation_run_automation", "workspace_id", "automation_id", "created_at", "id"),
        Index("automation_run_activity", "workspace_id", "activity_id"),
    )
    automation_id: str = Field(sa_type=Plain)
    activity_id: str = Field(sa_type=Plain)
    depth: int
    actions: list[dict[str, Any]] = Field(sa_type=Parts)  #: The automation's, as they were when this was queued.
    done: int  #: How many of the actions are.


class Webhook(Owned, table=True):
    """Where activities are posted to. The secret signs them, so that it is kept as it is; it is shown once."""

    __table_args__ = (ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),)
    url: str
    kinds: list[str] = Field(sa_type=Json)
    enabled: bool
    secret: str
    failing_since: datetime | None = Field(sa_type=Moment)  #: The first failure after the last success.
    created_at: datetime = Field(sa_type=Moment)


class WebhookDelivery(Queued, table=True):
    """An activity on its way to a webhook; its lane is the webhook and the lead. No keys to either: it outlives them."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        *_lanes("webhook_delivery"),
        Index("webhook_delivery_webhook", "workspace_id", "webhook_id", "created_at", "id"),
    )
    webhook_id: str = Field(sa_type=Plain)
    activity_id: str = Field(sa_type=Plain)
    response_status: int | None = None
