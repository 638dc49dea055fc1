"""The queue of e-mails: the verbs, and what they tell."""

from typing import Any

import strawberry

from app.actions import mail_queue
from schema.context import Context
from schema.inputs import EmailInput
from schema.replies import Ref
from schema.scalars import DateTime

Data = dict[str, Any]
ID = strawberry.ID


async def email_schedule(context: Context, input: EmailInput) -> Data:  # noqa: A002  (the contract's name)
    """Schedule an e-mail to a lead, for a sender to claim when its time has come."""
    return _told(await mail_queue.schedule(context.writing, input))  # type: ignore[arg-type]


async def email_cancel(context: Context, id: ID) -> Data:  # noqa: A002
    """Cancel an e-mail that is SCHEDULED or FAILED; any other is a CONFLICT."""
    return _told(await mail_queue.cancel(context.writing, id))


async def email_claim(context: Context, first: int = 50, lease_seconds: int = 300) -> Data:
    """Hand scheduled e-mails that are due to one sender for `leaseSeconds`; nobody else gets them until then."""
    claim_id, ids = await mail_queue.claim(context.writing, first, lease_seconds)
    return {"claimId": claim_id, "emails": [Ref("Email", one) for one in ids]}


async def email_report(context: Context, id: ID, claim_id: ID, sent_at: DateTime | None = None, error: str | None = None) -> Data:  # noqa: A002
    """Note what became of an e-mail: with `error` it failed, else it was sent, at `sentAt` or now.

    A stale claim may still report that it sent; its failure gets CONFLICT.
    """
    return _told(await mail_queue.report(context.writing, id, claim_id, sent_at=sent_at, error=error))  # type: ignore[arg-type]


def _told(row: Data) -> Data:
    return {"email": Ref("Email", row["id"])}
