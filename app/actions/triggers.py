"""What an activity sets off: runs of automations and deliveries to webhooks, queued in the very transaction that records it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from app.actions.lanes import queued
from app.actions.work import Work
from app.database import insert_rows, table_of
from app.lane_tables import Automation, AutomationRun, Webhook, WebhookDelivery
from app.rules.ids import new_id

AUTOMATION = table_of(Automation)
RUN = table_of(AutomationRun)

WEBHOOK = table_of(Webhook)
DELIVERY = table_of(WebhookDelivery)

#: How long a chain of runs may be, each set off by what the one before it did.
DEEPEST = 5

# One statement for both: every mutation asks it.
_ENABLED = sa.union_all(
    sa.select(
        AUTOMATION.c.id,
        AUTOMATION.c.created_at,
        AUTOMATION.c.name,
        AUTOMATION.c.event,
        AUTOMATION.c.kind,
        AUTOMATION.c.actions,
        sa.type_coerce(sa.null(), WEBHOOK.c.kinds.type).label("kinds"),
    ).where(AUTOMATION.c.workspace_id == sa.bindparam("workspace"), AUTOMATION.c.enabled.is_(sa.true())),
    sa.select(
        WEBHOOK.c.id,
        WEBHOOK.c.created_at,
        sa.null(),
        sa.null(),
        sa.null(),
        sa.type_coerce(sa.null(), AUTOMATION.c.actions.type),
        WEBHOOK.c.kinds,
    ).where(WEBHOOK.c.workspace_id == sa.bindparam("workspace"), WEBHOOK.c.enabled.is_(sa.true())),
).order_by("created_at", "id")


async def set_off(work: Work, told: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
    """Queue what the workspace wants done about the rows of the log that `told` gives, in their order.

    Within a run, what would make the chain too long is not queued but told in `work.cut_off`.
    """
    enabled = await work.rows(_ENABLED)
    if not enabled:
        return
    activities = told()
    await insert_rows(work.connection, RUN, list(_runs(work, activities, [row for row in enabled if row["kinds"] is None])))
    webhooks = [(row["id"], frozenset(row["kinds"])) for row in enabled if row["kinds"] is not None]
    wanted = [delivery_of(work, webhook, each) for each in activities for webhook, kinds in webhooks if each["kind"] in kinds]
    await insert_rows(work.connection, DELIVERY, wanted)


def delivery_of(work: Work, webhook_id: str, activity: Mapping[str, Any]) -> dict[str, Any]:
    """Make the row of a delivery: those of one lead, and those of none, go to a webhook in order."""
    row = {"workspace_id": work.workspace, "id": new_id("dlv"), "webhook_id": webhook_id, "activity_id": activity["id"]}
    lane = f"{webhook_id} {activity['lead_id'] or ''}"
    return queued(row, lane=lane, position=activity["sequence"], now=work.now)


def _runs(work: Work, activities: Sequence[Mapping[str, Any]], automations: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for activity in activities:
        lead_id = activity["lead_id"]
        if lead_id is None:
            continue
        for automation in automations:
            by_name = activity["kind"] == "EVENT" and automation["event"] == activity["event"]
            if not by_name and automation["kind"] != activity["kind"]:
                continue
            if work.depth >= DEEPEST:
                work.cut_off.append(automation["name"])
                continue
            row = {
                "workspace_id": work.workspace,
                "id": new_id("run"),
                "automation_id": automation["id"],
                "activity_id": activity["id"],
                "depth": work.depth + 1,
                "actions": automation["actions"],
                "done": 0,
            }
            yield queued(row, lane=lead_id, position=activity["sequence"], now=work.now)
