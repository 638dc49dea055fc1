"""The queue of e-mails: schedule and cancel them, hand them to senders for a while, and hear what became of them.

The service sends nothing itself. A sender claims what is due, sends it, and reports; whoever claimed holds the e-mail until the lease
ends, and after that somebody else may get it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from app.actions import references
from app.actions.activities import ActivityKind, Entry, record
from app.actions.emails import EMAIL, UNSENT, EmailStatus
from app.actions.references import LEAD
from app.actions.values import refusing
from app.actions.work import Work
from app.column_types import Moment
from app.database import among, insert_rows, listed, update_rows
from app.errors import BadUserInput, CampaignNotFound, Conflict, EmailNotFound, NotFound, shown
from app.rules.ids import PREFIXES, new_id, prefix_of
from app.rules.texts import TEXT_BYTES, read_body, read_line

#: Bytes of an e-mail's body.
BODY_BYTES = 256_000
#: E-mails of one claim, and seconds of its lease: at most.
MOST_CLAIMED = 200
LONGEST_LEASE = 86_400

_MINE = (EMAIL.c.workspace_id == sa.bindparam("workspace"), EMAIL.c.id == sa.bindparam("email"))


async def schedule(work: Work, values: Mapping[str, Any]) -> dict[str, Any]:
    """Schedule an e-mail to a lead and give its row; one whose time is past is due at once.

    `values`: `lead` (a ref), `campaignId`, `subject`, `body`, `scheduledAt`. Raises LeadNotFound, CampaignNotFound, BadUserInput (BLANK
    for a lead without an address).
    """
    subject = _text(values.get("subject"), "input.subject")
    body = _text(values.get("body"), "input.body", BODY_BYTES)
    campaign_id = values.get("campaignId")
    if campaign_id is not None:
        references.checked(campaign_id, "input.campaignId")
        if not await references.known_campaigns(work, [campaign_id]):
            raise CampaignNotFound(argument="input.campaignId")
    # Locked: were the lead deleted meanwhile, its e-mails would go, and this one not yet be among them.
    lead = await references.lead(work, values["lead"], "input.lead")
    if lead["email"] is None:
        raise BadUserInput("input.lead: has no e-mail address to send to", argument="input.lead", rule="BLANK")
    row = {
        "workspace_id": work.workspace,
        "id": new_id("eml"),
        "lead_id": lead["id"],
        "campaign_id": campaign_id,
        "subject": subject,
        "body": body,
        "status": EmailStatus.SCHEDULED.value,
        "scheduled_at": values["scheduledAt"],
        "created_at": work.now,
    }
    await insert_rows(work.connection, EMAIL, [row])
    await record(work, [_entry(row, ActivityKind.EMAIL_SCHEDULED)])
    return row


def _text(value: Any, argument: str, longest: int | None = None) -> str:
    with refusing(value, argument):
        text = read_line(value) if longest is None else read_body(value, longest)
    if text is None:
        raise BadUserInput(f"{argument} {shown(value)}: is blank", argument=argument, rule="BLANK")
    return text


def _entry(row: Mapping[str, Any], kind: ActivityKind, **more: Any) -> Entry:
    return Entry(kind, lead_id=row["lead_id"], campaign_id=row["campaign_id"], email_id=row["id"], **more)


async def cancel(work: Work, email_id: str) -> dict[str, Any]:
    """Cancel an e-mail that nobody is sending or has sent, and give its row.

    Raises EmailNotFound; Conflict for one that is SENDING, SENT or CANCELLED.
    """
    row = await _locked(work, email_id)
    if row["status"] not in UNSENT:
        raise Conflict(f"The e-mail is {row['status']}: only one that is SCHEDULED or FAILED can be cancelled.", argument="id")
    await work.run(sa.update(EMAIL).values(status=EmailStatus.CANCELLED.value).where(*_MINE), {"email": email_id})
    await record(work, [_entry(row, ActivityKind.EMAIL_CANCELLED)])
    return {**row, "status": EmailStatus.CANCELLED.value}


async def _locked(work: Work, email_id: str) -> dict[str, Any]:
    found = await work.row(sa.select(EMAIL).where(*_MINE).with_for_update(), {"email": references.checked(email_id, "id")})
    if found is None:
        raise EmailNotFound(argument="id")
    return found


async def claim(work: Work, first: int = 50, lease_seconds: int = 300) -> tuple[str, list[str]]:
    """Hand out at most `first` e-mails that are due, longest due first, until the lease ends: the claim's id, and theirs.

    Due are those SCHEDULED by now, and those of a claim whose lease ran out. An e-mail whose lead has lost its address waits for one.
    Two claims at once never get the same e-mail, and neither waits for the other. Raises BadUserInput.
    """
    if not 1 <= first <= MOST_CLAIMED:
        raise BadUserInput(f"first {first}: must be 1 to {MOST_CLAIMED}", argument="first")
    if not 1 <= lease_seconds <= LONGEST_LEASE:
        raise BadUserInput(f"leaseSeconds {lease_seconds}: must be 1 to {LONGEST_LEASE}", argument="leaseSeconds")
    await _give_up_lost(work)
    due = await work.rows(_DUE, {"now": work.now, "most": first})
    claim_id = new_id(PREFIXES["claim"])
    until = work.now + timedelta(seconds=lease_seconds)
    taken = {"status": EmailStatus.SENDING.value, "claim_id": claim_id, "lease_until": until, "error": None}
    rows = [{"id": row["id"], "to_address": row["address"], **taken} for row in due]
    await update_rows(work.connection, EMAIL, work.workspace, rows)
    return claim_id, [row["id"] for row in due]


_LEASE_OVER = sa.and_(EMAIL.c.status == EmailStatus.SENDING.value, EMAIL.c.lease_until <= sa.bindparam("now", type_=Moment))
_ADDRESSED = (LEAD.c.workspace_id == sa.bindparam("workspace"), LEAD.c.id == EMAIL.c.lead_id)
_DUE = (
    sa.select(EMAIL.c.id, LEAD.c.email.label("address"))
    .join_from(EMAIL, LEAD, sa.and_(*_ADDRESSED))
    .where(
        EMAIL.c.workspace_id == sa.bindparam("workspace"),
        sa.or_(
            sa.and_(EMAIL.c.status == EmailStatus.SCHEDULED.value, EMAIL.c.scheduled_at <= sa.bindparam("now", type_=Moment)),
            _LEASE_OVER,
        ),
        LEAD.c.email.is_not(sa.null()),
    )
    .order_by(EMAIL.c.scheduled_at, EMAIL.c.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
    .with_for_update(of=EMAIL, skip_locked=True)
)


async def _give_up_lost(work: Work) -> None:
    """Cancel what a sender was lost with whose lead is gone by now: nobody may be sent it any more."""
    rows = await work.rows(_GONE, {"now": work.now})
    if not rows:
        return
    await work.run(_cancel_all(postgres=work.postgres), {"ids": listed([row["id"] for row in rows], postgres=work.postgres)})
    await record(work, [_entry(row, ActivityKind.EMAIL_CANCELLED) for row in rows])


_GONE = (
    sa.select(EMAIL.c.id, EMAIL.c.lead_id, EMAIL.c.campaign_id)
    .where(
        EMAIL.c.workspace_id == sa.bindparam("workspace"),
        _LEASE_OVER,
        ~sa.select(sa.literal_column("1")).select_from(LEAD).where(*_ADDRESSED).correlate(EMAIL).exists(),
    )
    .order_by(EMAIL.c.id)
    .with_for_update(skip_locked=True)
)


@cache
def _cancel_all(*, postgres: bool) -> sa.Update:
    mine = (EMAIL.c.workspace_id == sa.bindparam("workspace"), among(EMAIL.c.id, "ids", postgres=postgres))
    return sa.update(EMAIL).values(status=EmailStatus.CANCELLED.value, lease_until=None).where(*mine)


async def report(work: Work, email_id: str, claim_id: str, *, sent_at: datetime | None = None, error: str | None = None) -> dict[str, Any]:
    """Note what became of a claimed e-mail, and give its row: with `error` it failed, else it was sent, at `sent_at` or now.

    A claim that was followed by another may still say that it sent; its failure is a Conflict, for the other may succeed. Saying again
    what is known changes nothing. Raises EmailNotFound; Conflict for an e-mail that nobody claimed; BadUserInput.
    """
    references.checked(claim_id, "claimId")
    told = None
    if error is not None:
        with refusing(error, "error"):
            told = read_body(error, TEXT_BYTES) or "failed"
    row = await _locked(work, email_id)
    if prefix_of(claim_id) != PREFIXES["claim"]:
        raise NotFound("There is no such claim.", argument="claimId")
    if row["claim_id"] is None:
        raise Conflict("Nobody claimed this e-mail: claim it first.", argument="claimId")
    if row["status"] == EmailStatus.SENT and told is None:
        return row
    if told is None:
        return await _sent(work, row, sent_at or work.now)
    if row["claim_id"] != claim_id or row["status"] in (EmailStatus.SENT, EmailStatus.CANCELLED):
        raise Conflict("Another claim has this e-mail by now, or it is sent or cancelled: this failure is not noted.", argument="claimId")
    if row["status"] == EmailStatus.FAILED:
        return row
    values = {"status": EmailStatus.FAILED.value, "error": told, "lease_until": None}
    await work.run(sa.update(EMAIL).values(values).where(*_MINE), {"email": email_id})
    await record(work, [_entry(row, ActivityKind.EMAIL_FAILED, attributes={"error": told})])
    return {**row, **values}


async def _sent(work: Work, row: dict[str, Any], sent_at: datetime) -> dict[str, Any]:
    values = {"status": EmailStatus.SENT.value, "sent_at": sent_at, "error": None, "lease_until": None}
    await work.run(sa.update(EMAIL).values(values).where(*_MINE), {"email": row["id"]})
    await work.run(_TOUCH, {"lead": row["lead_id"], "moment": sent_at})
    await record(work, [_entry(row, ActivityKind.EMAIL_SENT, occurred_at=sent_at)])
    return {**row, **values}


_MOMENT = sa.bindparam("moment", type_=Moment)
_TOUCH = (
    sa.update(LEAD)
    .values(last_activity_at=_MOMENT)
    .where(
        LEAD.c.workspace_id == sa.bindparam("workspace"),
        LEAD.c.id == sa.bindparam("lead"),
        sa.or_(LEAD.c.last_activity_at.is_(sa.null()), LEAD.c.last_activity_at < _MOMENT),
    )
)
