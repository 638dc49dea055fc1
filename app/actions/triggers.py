"""What an activity sets off: runs of automations, queued in the very transaction that records it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from app.actions.lanes import queued
from app.actions.work import Work
from app.database import insert_rows, table_of
from app.rules.ids import new_id
from app.tables import Automation, AutomationRun

AUTOMATION = table_of(Automation)
RUN = table_of(AutomationRun)

#: How long a chain of runs may be, each set off by what the one before it did.
DEEPEST = 5

_ENABLED = (
    sa.select(AUTOMATION.c.id, AUTOMATION.c.name, AUTOMATION.c.event, AUTOMATION.c.kind, AUTOMATION.c.actions)
    .where(AUTOMATION.c.workspace_id == sa.bindparam("workspace"), AUTOMATION.c.enabled.is_(sa.true()))
    .order_by(AUTOMATION.c.created_at, AUTOMATION.c.id)
)


async def set_off(work: Work, activities: Sequence[Mapping[str, Any]]) -> None:
    """Queue what the workspace wants done about these rows of the log, in their order.

    Within a run, what would make the chain too long is not queued but told in `work.cut_off`.
    """
    automations = await work.rows(_ENABLED)
    if automations:
        await insert_rows(work.connection, RUN, list(_runs(work, activities, automations)))


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
