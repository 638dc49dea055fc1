"""Automations: the verbs, and what they tell."""

from typing import Any

import strawberry

from app.actions import automations
from schema.context import Context
from schema.inputs import AutomationInput, AutomationPatch
from schema.replies import Ref

Data = dict[str, Any]
ID = strawberry.ID


async def automation_create(context: Context, input: AutomationInput) -> Data:  # noqa: A002  (the contract's name)
    """Create an automation."""
    return {"automation": Ref("Automation", (await automations.create(context.writing, input))["id"])}  # type: ignore[arg-type]


async def automation_update(context: Context, id: ID, patch: AutomationPatch) -> Data:  # noqa: A002
    """Change the fields given; runs that are queued go on with the actions they were queued with."""
    return {"automation": Ref("Automation", (await automations.update(context.writing, id, patch))["id"])}  # type: ignore[arg-type]


async def automation_delete(context: Context, id: ID) -> Data:  # noqa: A002
    """Delete an automation; its runs stay as a record, those that wait are cancelled."""
    return {"deletedId": await automations.delete(context.writing, id)}
