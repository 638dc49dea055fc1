"""Taking leads away, one or a thousand; the log keeps what it takes to bring them back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import sqlalchemy as sa

from app.actions import emails, lead_search
from app.actions.activities import ActivityKind, Entry, record_rows, unnumbered
from app.actions.references import LEAD
from app.actions.scorer import CAMPAIGN_LEAD
from app.actions.work import Work
from app.database import MANY, among, listed
from app.rules.lead_values import NAMES, field_changes
from app.rules.making import BIT, KEYS
from app.rules.written import moment

#: The columns of a lead that it takes to remove it.
TAKEN = tuple(
    dict.fromkeys(
        (*(column for column, _ in NAMES), *KEYS, "attributes", "assignee_id", "quality_score", "created_at", "last_activity_at", "version")
    )
)


@dataclass(frozen=True, slots=True)
class Removed:
    """What went: the lead, its places in campaigns, its unsent e-mails."""

    id: str
    left_campaign_ids: list[str]
    deleted_email_count: int


async def remove(work: Work, leads: Sequence[dict[str, Any]]) -> list[Removed]:
    """Delete leads, locked already, with their memberships and unsent e-mails; sent e-mails stay. As many statements for any number."""
    if not leads:
        return []
    binds = {"leads": listed([lead["id"] for lead in leads], postgres=work.postgres)}
    campaigns: dict[str, list[str]] = {}
    for row in await work.rows(_leave_all(postgres=work.postgres), binds):
        campaigns.setdefault(row["lead_id"], []).append(row["campaign_id"])
    unsent: dict[str, list[dict[str, Any]]] = {}
    for row in await emails.delete_unsent(work, [lead["id"] for lead in leads]):
        unsent.setdefault(row["lead_id"], []).append(row)
    gone = [(lead, sorted(campaigns.get(lead["id"], ())), unsent.get(lead["id"], [])) for lead in leads]
    told: list[dict[str, Any]] = []
    telling = _telling(work, gone, told)
    if len(leads) >= MANY:
        work.meanwhile = chain(telling, work.meanwhile or ())
    await work.beside(lead_search.forget(work, [lead["id"] for lead in leads]))
    await work.beside(work.run(_delete(postgres=work.postgres), binds))
    for _ in telling:
        pass
    await record_rows(work, told)
    return [Removed(lead["id"], left, len(mails)) for lead, left, mails in gone]


#: What went, the campaigns that it left, and its unsent e-mails.
_Gone = tuple[dict[str, Any], list[str], list[dict[str, Any]]]


def _telling(work: Work, gone: Sequence[_Gone], told: list[dict[str, Any]]) -> Iterator[None]:
    """Make the rows of the log, bit by bit, while the database takes the leads away."""
    row_of = unnumbered(work)
    for lead, left, mails in gone:
        told.append(row_of(Entry(ActivityKind.LEAD_DELETED, lead["id"], changes=_changes(lead, left, mails))))
        if len(told) % BIT == 0:
            yield


def _changes(lead: dict[str, Any], campaign_ids: list[str], unsent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    last = lead["last_activity_at"]
    gone = {
        "assignee": lead["assignee_id"],
        "qualityScore": lead["quality_score"],
        "campaigns": campaign_ids or None,
        "emails": [emails.as_json(row) for row in unsent] or None,
        # What an undo must not make up: a lead that comes back is as old, and no younger in versions, than the one that went.
        "createdAt": moment(lead["created_at"]),
        "lastActivityAt": None if last is None else moment(last),
        "version": lead["version"],
    }
    return field_changes(lead, None) + [
        {"field": name, "before": value, "after": None} for name, value in gone.items() if value is not None
    ]


@cache
def _leave_all(*, postgres: bool) -> sa.Executable:
    mine = (CAMPAIGN_LEAD.c.workspace_id == sa.bindparam("workspace"), among(CAMPAIGN_LEAD.c.lead_id, "leads", postgres=postgres))
    return sa.delete(CAMPAIGN_LEAD).where(*mine).returning(CAMPAIGN_LEAD.c.lead_id, CAMPAIGN_LEAD.c.campaign_id)


@cache
def _delete(*, postgres: bool) -> sa.Delete:
    return sa.delete(LEAD).where(LEAD.c.workspace_id == sa.bindparam("workspace"), among(LEAD.c.id, "leads", postgres=postgres))
