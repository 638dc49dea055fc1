"""E-mails to leads: what becomes of the unsent ones when a lead goes, or leaves their campaign."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from app.actions.activities import ActivityKind, Entry
from app.actions.work import Work
from app.database import among, listed, table_of
from app.rules.written import moment
from app.tables import Email

EMAIL = table_of(Email)


class EmailStatus(StrEnum):
    """Where an e-mail stands; SENDING is one that a sender has claimed."""

    SCHEDULED = "SCHEDULED"
    SENDING = "SENDING"
    SENT = "SENT"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


#: An e-mail that nobody has got and nobody is sending.
UNSENT = (EmailStatus.SCHEDULED.value, EmailStatus.FAILED.value)
_UNSENT = EMAIL.c.status.in_(UNSENT)


async def delete_unsent(work: Work, lead_ids: Iterable[str]) -> list[dict[str, Any]]:
    """Delete the unsent e-mails of these leads and give their rows, by id; what was sent or is being sent stays."""
    statement = (
        sa.delete(EMAIL)
        .where(EMAIL.c.workspace_id == sa.bindparam("workspace"), _UNSENT, among(EMAIL.c.lead_id, "leads", postgres=work.postgres))
        .returning(*EMAIL.c)
    )
    rows = await work.rows(statement, {"leads": listed(lead_ids, postgres=work.postgres)})
    return sorted(rows, key=lambda row: row["id"])


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """Write an e-mail as the log keeps it, so that an undo can bring it back."""
    return {
        "id": row["id"],
        "campaignId": row["campaign_id"],
        "toAddress": row["to_address"],
        "subject": row["subject"],
        "body": row["body"],
        "status": row["status"],
        "scheduledAt": moment(row["scheduled_at"]),
        "error": row["error"],
        "createdAt": moment(row["created_at"]),
    }


async def cancel_unsent(work: Work, campaign_id: str, lead_ids: Iterable[str] | None) -> list[Entry]:
    """Cancel a campaign's unsent e-mails to these leads (None: to all) and give what to record, by lead and e-mail."""
    statement = (
        sa.update(EMAIL)
        .values(status=EmailStatus.CANCELLED.value)
        .where(EMAIL.c.workspace_id == sa.bindparam("workspace"), EMAIL.c.campaign_id == sa.bindparam("campaign", type_=sa.Text), _UNSENT)
        .returning(EMAIL.c.id, EMAIL.c.lead_id)
    )
    binds: dict[str, Any] = {"campaign": campaign_id}
    if lead_ids is not None:
        statement = statement.where(among(EMAIL.c.lead_id, "leads", postgres=work.postgres))
        binds["leads"] = listed(lead_ids, postgres=work.postgres)
    rows = await work.rows(statement, binds)
    return [
        Entry(ActivityKind.EMAIL_CANCELLED, lead_id=row["lead_id"], campaign_id=campaign_id, email_id=row["id"])
        for row in sorted(rows, key=lambda row: (row["lead_id"], row["id"]))
    ]
