"""Webhooks: the verbs, and what they tell."""

from typing import Any

import strawberry

from app.actions import webhooks
from schema.context import Context
from schema.inputs import WebhookInput, WebhookPatch
from schema.replies import Ref

Data = dict[str, Any]
ID = strawberry.ID


async def webhook_create(context: Context, input: WebhookInput) -> Data:  # noqa: A002  (the contract's name)
    """The only answer that shows the secret."""
    row, secret = await webhooks.create(context.writing, input, context.webhooks_may_reach)  # type: ignore[arg-type]
    return {"webhook": Ref("Webhook", row["id"]), "secret": secret}


async def webhook_update(context: Context, id: ID, patch: WebhookPatch) -> Data:  # noqa: A002
    """Change the fields given; what waited for a webhook that is enabled again is sent."""
    row = await webhooks.update(context.writing, id, patch, context.webhooks_may_reach)  # type: ignore[arg-type]
    return {"webhook": Ref("Webhook", row["id"])}


async def webhook_delete(context: Context, id: ID) -> Data:  # noqa: A002
    """Delete a webhook; its deliveries stay as a record, those that wait are cancelled."""
    return {"deletedId": await webhooks.delete(context.writing, id)}


async def webhook_redeliver(context: Context, delivery_id: ID) -> Data:
    """Send a finished or failed delivery once more."""
    return {"delivery": Ref("WebhookDelivery", await webhooks.redeliver(context.writing, delivery_id))}
