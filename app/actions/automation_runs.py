"""Runs of automations: the actions that an activity set off, done one by one on its lead, each in a transaction of its own."""

from typing import Any

import sqlalchemy as sa

from app.actions import campaigns, leads, references
from app.actions.batches import JobStatus
from app.actions.lanes import Lanes
from app.actions.triggers import DEEPEST, DELIVERY, RUN, WEBHOOK, delivery_of
from app.actions.work import Work
from app.database import insert_rows
from app.errors import Conflict, WebhookNotFound, shown

#: A run that failed is tried again after so many seconds; then it is given up.
RUNS = Lanes(RUN, [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0])


async def act(work: Work, run: dict[str, Any]) -> bool:
    """Do the next action of a claimed run, note that, and tell whether it was the last.

    What an action does may set off further runs; one that would make the chain too long ends this run as FAILED instead. A lead that is
    gone does too: nothing can be done on it any more. All other errors are raised, and roll the action back.
    """
    lead_id, actions, done = run["lane"], run["actions"], run["done"]
    if not await references.find_leads(work, ids=[lead_id], columns=("id",), lock=False):
        await RUNS.end(work.connection, run, JobStatus.FAILED, work.now, "The lead is gone.")
        return True
    await _do(work, run, actions[done])
    run["done"] = done + 1
    if work.cut_off:
        names = ", ".join(shown(name) for name in dict.fromkeys(work.cut_off))
        why = f"What it did would set off {names}, and a chain of runs ends at a depth of {DEEPEST}."
        await RUNS.end(work.connection, run, JobStatus.FAILED, work.now, why, done=done + 1)
        return True
    if done + 1 == len(actions):
        await RUNS.end(work.connection, run, JobStatus.SUCCEEDED, work.now, done=done + 1)
        return True
    await RUNS.note(work.connection, run, {"done": done + 1})
    return False


async def _do(work: Work, run: dict[str, Any], action: dict[str, Any]) -> None:
    lead = {"id": run["lane"]}
    if action["type"] == "SetStatusAction":
        await leads.update(work, lead, {"status": action["status"]})
    elif action["type"] == "AssignAction":
        await leads.assign(work, lead, {"id": action["userId"]})
    elif action["type"] == "AddToCampaignAction":
        await campaigns.add_leads(work, action["campaignId"], [lead])
    else:
        await _call(work, run, action["webhookId"])


async def _call(work: Work, run: dict[str, Any], webhook_id: str) -> None:
    """Queue a delivery of the activity that set the run off, whatever kinds the webhook asks for."""
    enabled = await work.row(_WEBHOOK, {"webhook": webhook_id})
    if enabled is None:
        raise WebhookNotFound
    if not enabled["enabled"]:
        raise Conflict("The webhook is disabled.")
    about = {"id": run["activity_id"], "lead_id": run["lane"], "sequence": run["position"]}
    await insert_rows(work.connection, DELIVERY, [delivery_of(work, webhook_id, about)])


_WEBHOOK = sa.select(WEBHOOK.c.enabled).where(WEBHOOK.c.workspace_id == sa.bindparam("workspace"), WEBHOOK.c.id == sa.bindparam("webhook"))


_OF_ACTIVITY = (
    sa.select(RUN.c.id)
    .where(RUN.c.workspace_id == sa.bindparam("workspace"), RUN.c.activity_id == sa.bindparam("activity"))
    .order_by(RUN.c.id)
)


async def runs_of(work: Work, activity_id: str) -> list[str]:
    """Give the ids of the runs that an activity set off, in order."""
    return [str(row["id"]) for row in await work.rows(_OF_ACTIVITY, {"activity": activity_id})]
