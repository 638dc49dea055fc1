"""Campaigns: whom to talk to. Leads join and leave them; a change of their criteria has their leads scored again."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from app.actions import activities, emails, jobs, lead_changes, references
from app.actions.activities import ActivityKind, Entry
from app.actions.values import choice_of, differences, name_of, short_text
from app.actions.work import Work
from app.database import insert_rows, table_of
from app.errors import BadUserInput, CampaignNotFound
from app.rules.folding import fold
from app.rules.ids import new_id
from app.tables import Campaign, CampaignLead

CAMPAIGN = table_of(Campaign)
CAMPAIGN_LEAD = table_of(CampaignLead)

#: The lists of `CampaignCriteria`; an empty one asks nothing.
CRITERIA = ("titles", "companies", "locations", "sources")
MOST_ENTRIES = 100
#: What the log tells of a campaign: the contract's name and the column.
_FIELDS = [("name", "name"), ("status", "status"), *((f"criteria.{name}", name) for name in CRITERIA)]
#: Leads of one rescore job after a deletion: a checkpoint writes the whole row of its job on SQLite.
_LEADS_A_JOB = 5_000

_MINE = (CAMPAIGN.c.workspace_id == sa.bindparam("workspace"), CAMPAIGN.c.id == sa.bindparam("campaign"))
_MEMBERS = (CAMPAIGN_LEAD.c.workspace_id == sa.bindparam("workspace"), CAMPAIGN_LEAD.c.campaign_id == sa.bindparam("campaign"))


class CampaignStatus(StrEnum):
    """Where a campaign is."""

    DRAFT = "DRAFT"
    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"


async def create(work: Work, values: Mapping[str, Any]) -> dict[str, Any]:
    """Create a campaign and give its row.

    `values`: `name`, `status` (DRAFT unless given) and `criteria` (lists, each of them left out or null: asks nothing).
    """
    name = name_of(values.get("name"), "input.name")
    row: dict[str, Any] = {
        "workspace_id": work.workspace,
        "id": new_id("cmp"),
        "name": name,
        "name_folded": fold(name),
        "status": str(choice_of(CampaignStatus, values.get("status", CampaignStatus.DRAFT), "input.status")),
        **{list_name: [] for list_name in CRITERIA},
        **_criteria(values.get("criteria") or {}, "input.criteria"),
        "created_at": work.now,
        "updated_at": work.now,
    }
    await insert_rows(work.connection, CAMPAIGN, [row])
    await activities.record(work, [Entry(ActivityKind.CAMPAIGN_CREATED, campaign_id=row["id"], changes=differences({}, row, _FIELDS))])
    return row


async def update(work: Work, campaign_id: str, patch: Mapping[str, Any]) -> dict[str, Any]:
    """Change what the patch names and give the row; a change of criteria queues a `rescore` of the campaign's leads.

    A criteria list that is given replaces the stored one (null empties it), the others stay. Nothing differs: nothing is written.
    """
    # Alone, not shared: a lead that joins at the same time is scored by the old criteria, and must be there for the rescore.
    before = await _found(work, campaign_id, sa.select(CAMPAIGN).with_for_update())
    after = {**before, **_patched(patch)}
    changes = differences(before, after, _FIELDS)
    if not changes:
        return before
    after["updated_at"] = work.now
    written = {name: after[name] for name in ("name", "name_folded", "status", *CRITERIA, "updated_at")}
    await work.run(sa.update(CAMPAIGN).values(**written).where(*_MINE), {"campaign": campaign_id})
    await activities.record(work, [Entry(ActivityKind.CAMPAIGN_UPDATED, campaign_id=campaign_id, changes=changes)])
    if any(before[name] != after[name] for name in CRITERIA):
        await jobs.queue(work, "rescore", {"campaignId": campaign_id})
    return after


def _patched(patch: Mapping[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    if "name" in patch:
        columns["name"] = name_of(patch["name"], "patch.name")
        columns["name_folded"] = fold(columns["name"])
    if "status" in patch:
        columns["status"] = str(choice_of(CampaignStatus, patch["status"], "patch.status"))
    if "criteria" in patch:
        columns.update(_criteria(patch["criteria"] or dict.fromkeys(CRITERIA), "patch.criteria"))
    return columns


def _criteria(given: Mapping[str, Any], argument: str) -> dict[str, list[str]]:
    columns = {}
    for name in CRITERIA:
        if name not in given:
            continue
        entries = given[name] or []
        if len(entries) > MOST_ENTRIES:
            at = f"{argument}.{name}"
            raise BadUserInput(f"{at}: {len(entries)} entries, at most {MOST_ENTRIES}", argument=at, rule="TOO_LONG")
        texts = [short_text(entry, f"{argument}.{name}[{index}]") for index, entry in enumerate(entries)]
        # A lead's source is kept in lower case, so that the criteria show what they are compared with.
        columns[name] = [text.casefold() if name == "sources" else text for text in texts if text is not None]
    return columns


async def delete(work: Work, campaign_id: str) -> str:
    """Delete a campaign and give its id: its leads leave it, its unsent e-mails are cancelled, a job scores its former leads again."""
    row = await _found(work, campaign_id, sa.select(CAMPAIGN).with_for_update())
    this = {"campaign": campaign_id}
    # Locked in the order of their leads first, as whoever scores those leads does.
    members = sa.select(CAMPAIGN_LEAD.c.lead_id).where(*_MEMBERS).order_by(CAMPAIGN_LEAD.c.lead_id).with_for_update()
    lead_ids = [member["lead_id"] for member in await work.rows(members, this)]
    await work.run(sa.delete(CAMPAIGN_LEAD).where(*_MEMBERS), this)
    cancelled = await emails.cancel_unsent(work, campaign_id, None)
    await work.run(sa.delete(CAMPAIGN).where(*_MINE), this)
    gone = Entry(ActivityKind.CAMPAIGN_DELETED, campaign_id=campaign_id, changes=differences(row, {}, _FIELDS))
    await activities.record(work, [*cancelled, gone])
    parts = [lead_ids[at : at + _LEADS_A_JOB] for at in range(0, len(lead_ids), _LEADS_A_JOB)]
    await jobs.queue_many(work, "rescore", [{"leadIds": part} for part in parts])
    return campaign_id


async def add_leads(work: Work, campaign_id: str, refs: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], int, list[str]]:
    """Let leads join; give the campaign's row, how many were not in it before, and the ids of all that were named, in order."""
    campaign, rows = await _campaign_and_leads(work, campaign_id, refs)
    changed = await lead_changes.join(work, campaign_id, rows)
    return campaign, changed, [row["id"] for row in rows]


async def remove_leads(work: Work, campaign_id: str, refs: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], int, list[str]]:
    """Let leads leave, their unsent e-mails of this campaign cancelled; give what `add_leads` gives."""
    campaign, rows = await _campaign_and_leads(work, campaign_id, refs)
    changed = await lead_changes.leave(work, campaign_id, rows)
    return campaign, changed, [row["id"] for row in rows]


async def _campaign_and_leads(
    work: Work, campaign_id: str, refs: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    # A shared lock: the campaign can neither go nor change its criteria until its new leads are scored and committed.
    campaign = await _found(work, campaign_id, sa.select(CAMPAIGN).with_for_update(read=True, key_share=True))
    return campaign, await references.leads(work, refs)


async def _found(work: Work, campaign_id: str, statement: sa.Select[Any]) -> dict[str, Any]:
    row = await work.row(statement.where(*_MINE), {"campaign": references.checked(campaign_id, "id")})
    if row is None:
        raise CampaignNotFound(argument="id")
    return row
