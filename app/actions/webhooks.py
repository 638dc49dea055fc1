"""Webhooks: where activities are posted to, and what became of each delivery.

A delivery is queued in the transaction that records its activity, and sent by the worker; those of one lead to one webhook go in order.
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.actions import activities, references
from app.actions.activities import ACTIVITY, ActivityKind
from app.actions.batches import JobStatus
from app.actions.lanes import Lanes
from app.actions.triggers import DELIVERY, WEBHOOK
from app.actions.values import choice_of, differences, refusing
from app.actions.work import Caller, Role, Work
from app.database import insert_rows, table_of
from app.errors import BadUserInput, Conflict, WebhookDeliveryNotFound, WebhookNotFound
from app.rules.ids import new_id
from app.rules.webhook_urls import NOTHING, Allowed, read_webhook_url
from app.rules.written import change, moment
from app.tables import WorkspaceCounter

#: Seconds before each further attempt: within two days ten of them, and then the delivery is given up.
WAITS = (5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400)
#: A webhook that has failed for so long, without one success, is disabled.
FAILING = timedelta(days=7)

_COUNTER = table_of(WorkspaceCounter)
_FIELDS = [("url", "url"), ("kinds", "kinds"), ("enabled", "enabled")]
_MINE = (WEBHOOK.c.workspace_id == sa.bindparam("workspace"), WEBHOOK.c.id == sa.bindparam("webhook"))
_DISABLED = (
    sa.select(sa.literal_column("1"))
    .select_from(WEBHOOK)
    .where(WEBHOOK.c.workspace_id == DELIVERY.c.workspace_id, WEBHOOK.c.id == DELIVERY.c.webhook_id, WEBHOOK.c.enabled.is_(sa.false()))
    .correlate(DELIVERY)
    .exists()
)
#: What waits for a webhook that is disabled goes on when it is enabled again.
DELIVERIES = Lanes(DELIVERY, WAITS, passed_over=_DISABLED, unlike="webhook_id")


async def create(work: Work, values: Mapping[str, Any], allowed: Allowed = NOTHING) -> tuple[dict[str, Any], str]:
    """Create a webhook from `url` and `kinds` (None: all; an empty list: what automations send alone); give its row and its secret.

    The secret is shown once. Raises BadUserInput for a URL that is none, or is of a private network that `allowed` does not name.
    """
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    row: dict[str, Any] = {
        "workspace_id": work.workspace,
        "id": new_id("whk"),
        "url": _url(values.get("url"), "input.url", allowed),
        "kinds": _kinds(values.get("kinds"), "input.kinds"),
        "enabled": True,
        "secret": secret,
        "failing_since": None,
        "created_at": work.now,
    }
    await insert_rows(work.connection, WEBHOOK, [row])
    await activities.administered(work, "webhook.created", row["id"], differences({}, row, _FIELDS))
    return row, secret


def _url(value: Any, argument: str, allowed: Allowed) -> str:
    if value is None:
        raise BadUserInput(f"{argument}: is blank", argument=argument, rule="BLANK")
    with refusing(value, argument):
        return read_webhook_url(value, allowed)


def _kinds(value: Sequence[Any] | None, argument: str) -> list[str]:
    if value is None:
        return [kind.value for kind in ActivityKind]
    given = {choice_of(ActivityKind, kind, f"{argument}[{index}]") for index, kind in enumerate(value)}
    return [kind.value for kind in ActivityKind if kind in given]


async def update(work: Work, webhook_id: str, patch: Mapping[str, Any], allowed: Allowed = NOTHING) -> dict[str, Any]:
    """Change what the patch names and give the row; what waited for a webhook that is enabled again is sent then."""
    before = await _found(work, webhook_id)
    after = dict(before)
    if "url" in patch:
        after["url"] = _url(patch["url"], "patch.url", allowed)
    if "kinds" in patch:
        after["kinds"] = _kinds(patch["kinds"], "patch.kinds")
    if patch.get("enabled") is not None:
        after["enabled"] = bool(patch["enabled"])
    changes = differences(before, after, _FIELDS)
    if changes:
        written = {column: after[column] for _, column in _FIELDS}
        if after["enabled"] and not before["enabled"]:
            written["failing_since"] = None
        await work.run(sa.update(WEBHOOK).values(written).where(*_MINE), {"webhook": webhook_id})
        await activities.administered(work, "webhook.updated", webhook_id, changes)
    return after


async def delete(work: Work, webhook_id: str) -> str:
    """Delete a webhook and give its id; what waits for it is cancelled, its other deliveries stay as a record."""
    row = await _found(work, webhook_id)
    waiting = (
        DELIVERY.c.workspace_id == sa.bindparam("workspace"),
        DELIVERY.c.webhook_id == sa.bindparam("webhook"),
        DELIVERY.c.status == JobStatus.PENDING,
    )
    await work.run(sa.update(DELIVERY).values(status=JobStatus.CANCELLED, finished_at=work.now).where(*waiting), {"webhook": webhook_id})
    await work.run(sa.delete(WEBHOOK).where(*_MINE), {"webhook": webhook_id})
    await activities.administered(work, "webhook.deleted", webhook_id, differences(row, {}, _FIELDS))
    return webhook_id


async def _found(work: Work, webhook_id: str) -> dict[str, Any]:
    row = await work.row(sa.select(WEBHOOK).where(*_MINE).with_for_update(), {"webhook": references.checked(webhook_id, "id")})
    if row is None:
        raise WebhookNotFound(argument="id")
    return row


async def redeliver(work: Work, delivery_id: str) -> str:
    """Send a delivery once more, with the same id, behind what waits for its lead; give its id.

    Raises WebhookDeliveryNotFound; Conflict for one that is not done with, or whose webhook is gone.
    """
    this = (DELIVERY.c.workspace_id == sa.bindparam("workspace"), DELIVERY.c.id == sa.bindparam("delivery"))
    binds = {"delivery": references.checked(delivery_id, "deliveryId")}
    row = await work.row(sa.select(DELIVERY).where(*this).with_for_update(), binds)
    if row is None:
        raise WebhookDeliveryNotFound(argument="deliveryId")
    if row["status"] in (JobStatus.PENDING, JobStatus.RUNNING):
        raise Conflict(f"The delivery is {row['status']}: it is sent without being asked for.", argument="deliveryId")
    if not await work.rows(sa.select(WEBHOOK.c.id).where(*_MINE), {"webhook": row["webhook_id"]}):
        raise Conflict("The webhook of this delivery is gone.", argument="deliveryId")
    last = sa.select(_COUNTER.c.sequence).where(_COUNTER.c.workspace_id == sa.bindparam("workspace")).scalar_subquery()
    again = {"status": JobStatus.PENDING, "attempts": 0, "run_at": work.now, "position": last, "error": None, "finished_at": None}
    await work.run(sa.update(DELIVERY).values(again).where(*this), binds)
    return delivery_id


_ACTIVITY = sa.select(ACTIVITY).where(ACTIVITY.c.workspace_id == sa.bindparam("workspace"), ACTIVITY.c.id == sa.bindparam("activity"))


async def to_send(work: Work, delivery: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Give the webhook of a claimed delivery, and what to post; None where the webhook is gone, and the delivery cancelled."""
    webhook = await work.row(sa.select(WEBHOOK).where(*_MINE), {"webhook": delivery["webhook_id"]})
    activity = await work.row(_ACTIVITY, {"activity": delivery["activity_id"]})
    if webhook is None or activity is None:
        await DELIVERIES.end(work.connection, delivery, JobStatus.CANCELLED, work.now, "The webhook is gone.")
        return None
    return webhook, payload(activity)


def payload(activity: Mapping[str, Any]) -> dict[str, Any]:
    """Write an activity as the Standard Webhooks specification has it: `type`, `timestamp`, and by the API's names the `data`."""
    data = {
        "id": activity["id"],
        "kind": activity["kind"],
        "event": activity["event"],
        "leadId": activity["lead_id"],
        "campaignId": activity["campaign_id"],
        "actorId": activity["actor_id"],
        "emailId": activity["email_id"],
        "subjectId": activity["subject_id"],
        "changes": activity["changes"],
        "attributes": activity["attributes"],
        "distinctId": activity["distinct_id"],
        "occurredAt": moment(activity["occurred_at"]),
        "recordedAt": moment(activity["recorded_at"]),
        "batchId": activity["batch_id"],
        "requestId": activity["request_id"],
    }
    return {"type": activity["kind"], "timestamp": moment(activity["recorded_at"]), "data": data}


async def note_delivered(connection: AsyncConnection, delivery: Mapping[str, Any], status: int, now: datetime) -> None:
    """Note that a delivery was taken; its webhook is well."""
    await DELIVERIES.end(connection, delivery, JobStatus.SUCCEEDED, now, response_status=status)
    well = sa.update(WEBHOOK).values(failing_since=None).where(*_MINE, WEBHOOK.c.failing_since.is_not(sa.null()))
    await connection.execute(well, {"workspace": delivery["workspace_id"], "webhook": delivery["webhook_id"]})


async def note_failed(
    connection: AsyncConnection, delivery: Mapping[str, Any], error: str, now: datetime, *, status: int | None = None, at_least: float = 0
) -> None:
    """Note that a delivery was not taken: it is sent again after a while, `at_least` that of seconds, or given up.

    A receiver that answers 410 wants no more, and one that has failed for a week is not there: their webhooks are disabled.
    """
    gone = status == 410
    if gone:
        await DELIVERIES.end(connection, delivery, JobStatus.FAILED, now, error, response_status=status)
    else:
        await DELIVERIES.retry(connection, delivery, error, now, at_least=min(at_least, WAITS[-1]), response_status=status)
    work = Work(connection, Caller(workspace_id=delivery["workspace_id"], role=Role.ADMIN), now=now)
    webhook = await work.row(sa.select(WEBHOOK).where(*_MINE).with_for_update(), {"webhook": delivery["webhook_id"]})
    if webhook is None or not webhook["enabled"]:
        return
    since = webhook["failing_since"]
    if gone or (since is not None and now - since >= FAILING):
        await work.run(sa.update(WEBHOOK).values(enabled=False).where(*_MINE), {"webhook": webhook["id"]})
        await activities.administered(work, "webhook.disabled", webhook["id"], [change("enabled", before=True, after=False)])
    elif since is None:
        await work.run(sa.update(WEBHOOK).values(failing_since=now).where(*_MINE), {"webhook": webhook["id"]})
