"""Automations: what is to be done about a lead when something happens to it."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from app.actions import activities, references
from app.actions.activities import ActivityKind
from app.actions.batches import JobStatus
from app.actions.triggers import AUTOMATION, RUN, WEBHOOK
from app.actions.values import choice_of, differences, name_of, refusing
from app.actions.work import Work
from app.database import insert_rows
from app.errors import AutomationNotFound, BadUserInput, CampaignNotFound, WebhookNotFound
from app.rules.events import read_name
from app.rules.fields import LeadStatus
from app.rules.ids import new_id

#: Actions of one automation.
MOST_ACTIONS = 20
#: Kinds of activities that are of no lead, on which no action could run.
_OF_NO_LEAD = {
    ActivityKind.CAMPAIGN_CREATED,
    ActivityKind.CAMPAIGN_UPDATED,
    ActivityKind.CAMPAIGN_DELETED,
    ActivityKind.ADMINISTERED,
}
_FIELDS = [("name", "name"), ("event", "event"), ("kind", "kind"), ("enabled", "enabled"), ("actions", "actions")]
_MINE = (AUTOMATION.c.workspace_id == sa.bindparam("workspace"), AUTOMATION.c.id == sa.bindparam("automation"))


async def create(work: Work, values: Mapping[str, Any]) -> dict[str, Any]:
    """Create an automation and give its row.

    `values`: `name`; exactly one of `event` and `kind`; `actions`, 1 to 20; `enabled`. Raises BadUserInput, UserNotFound,
    CampaignNotFound, WebhookNotFound.
    """
    trigger = _trigger(values, "input")
    if trigger is None:
        raise BadUserInput("input: exactly one of event and kind is needed, none given", argument="input", rule="BLANK")
    row: dict[str, Any] = {
        "workspace_id": work.workspace,
        "id": new_id("aut"),
        "name": name_of(values.get("name"), "input.name"),
        **trigger,
        "enabled": bool(values.get("enabled", True)),
        "actions": await _actions(work, values["actions"], "input.actions"),
        "created_at": work.now,
    }
    await insert_rows(work.connection, AUTOMATION, [row])
    await activities.administered(work, "automation.created", row["id"], differences({}, row, _FIELDS))
    return row


def _trigger(values: Mapping[str, Any], argument: str) -> dict[str, Any] | None:
    """Read what sets it off; None where neither is given."""
    given = [name for name in ("event", "kind") if values.get(name) is not None]
    if len(given) > 1:
        raise BadUserInput(f"{argument}: exactly one of event and kind is needed, both given", argument=argument)
    if not given:
        return None
    at = f"{argument}.{given[0]}"
    if given == ["event"]:
        with refusing(values["event"], at):
            event = read_name(values["event"])
        if event is None:
            raise BadUserInput(f"{at}: is blank", argument=at, rule="BLANK")
        return {"event": event, "kind": None}
    kind = choice_of(ActivityKind, values["kind"], at)
    if kind in _OF_NO_LEAD:
        raise BadUserInput(f"{at} {kind}: happens to no lead that an action could run on", argument=at)
    return {"event": None, "kind": kind.value}


async def _actions(work: Work, given: Sequence[Mapping[str, Any]], argument: str) -> list[dict[str, Any]]:
    if not 1 <= len(given) <= MOST_ACTIONS:
        raise BadUserInput(f"{argument}: {len(given)} given, 1 to {MOST_ACTIONS} are taken", argument=argument)
    return [await _action(work, one, f"{argument}[{index}]") for index, one in enumerate(given)]


async def _action(work: Work, given: Mapping[str, Any], argument: str) -> dict[str, Any]:
    """Read an action into the form in which it is kept: its type in the graph, and what it needs."""
    [(name, value)] = given.items()
    at = f"{argument}.{name}"
    if name == "setStatus":
        return {"type": "SetStatusAction", "status": choice_of(LeadStatus, value, at).value}
    if name == "assignTo":
        return {"type": "AssignAction", "userId": await references.user_id(work, value, at)}
    if name == "callWebhook":
        mine = (WEBHOOK.c.workspace_id == sa.bindparam("workspace"), WEBHOOK.c.id == sa.bindparam("webhook"))
        if not await work.rows(sa.select(WEBHOOK.c.id).where(*mine), {"webhook": references.checked(value, at)}):
            raise WebhookNotFound(argument=at)
        return {"type": "CallWebhookAction", "webhookId": value}
    if not await references.known_campaigns(work, [references.checked(value, at)]):
        raise CampaignNotFound(argument=at)
    return {"type": "AddToCampaignAction", "campaignId": value}


async def update(work: Work, automation_id: str, patch: Mapping[str, Any]) -> dict[str, Any]:
    """Change what the patch names and give the row; runs that are queued keep the actions that they were queued with.

    One of `event` and `kind` that is given replaces the other.
    """
    before = await _found(work, automation_id)
    after = {**before, **(_trigger(patch, "patch") or {})}
    if "name" in patch:
        after["name"] = name_of(patch["name"], "patch.name")
    if patch.get("actions") is not None:
        after["actions"] = await _actions(work, patch["actions"], "patch.actions")
    if patch.get("enabled") is not None:
        after["enabled"] = bool(patch["enabled"])
    changes = differences(before, after, _FIELDS)
    if changes:
        written = {column: after[column] for _, column in _FIELDS}
        await work.run(sa.update(AUTOMATION).values(written).where(*_MINE), {"automation": automation_id})
        await activities.administered(work, "automation.updated", automation_id, changes)
    return after


async def delete(work: Work, automation_id: str) -> str:
    """Delete an automation and give its id; of its runs those that wait are cancelled, the others stay as a record."""
    row = await _found(work, automation_id)
    waiting = (
        RUN.c.workspace_id == sa.bindparam("workspace"),
        RUN.c.automation_id == sa.bindparam("automation"),
        RUN.c.status == JobStatus.PENDING,
    )
    await work.run(sa.update(RUN).values(status=JobStatus.CANCELLED, finished_at=work.now).where(*waiting), {"automation": automation_id})
    await work.run(sa.delete(AUTOMATION).where(*_MINE), {"automation": automation_id})
    await activities.administered(work, "automation.deleted", automation_id, differences(row, {}, _FIELDS))
    return automation_id


async def _found(work: Work, automation_id: str) -> dict[str, Any]:
    row = await work.row(sa.select(AUTOMATION).where(*_MINE).with_for_update(), {"automation": references.checked(automation_id, "id")})
    if row is None:
        raise AutomationNotFound(argument="id")
    return row
