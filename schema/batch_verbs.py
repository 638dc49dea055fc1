"""Writing many leads by a filter, and taking batches back: the verbs, and what they tell."""

from typing import Any

import strawberry

from app.actions import lead_batches, undo
from schema.context import Context
from schema.filters import LeadWhere
from schema.inputs import LeadPatch
from schema.matching import chosen
from schema.replies import Ref

Data = dict[str, Any]


async def lead_update_many(context: Context, where: LeadWhere, patch: LeadPatch, expected_count: int, dry_run: bool = False) -> Data:
    """Set the fields given on all leads that `where` finds; refused with CONFLICT, and nothing written, when these are not `expectedCount`.

    `email` and `crmId` can't be set. Above 10,000 leads it goes on as a job: `batch` tells how far it has come.
    """
    work = context.writing
    found = chosen(where, postgres=work.postgres)  # type: ignore[arg-type]
    return _many(await lead_batches.update_many(work, found, patch, expected_count=expected_count, dry_run=dry_run))  # type: ignore[arg-type]


async def lead_delete_many(context: Context, where: LeadWhere, expected_count: int, dry_run: bool = False) -> Data:
    """Delete all leads that `where` finds; refused with CONFLICT, and nothing written, when these are not `expectedCount`.

    Above 10,000 leads it goes on as a job: `batch` tells how far it has come.
    """
    work = context.writing
    found = chosen(where, postgres=work.postgres)  # type: ignore[arg-type]
    return _many(await lead_batches.delete_many(work, found, expected_count=expected_count, dry_run=dry_run))


def _many(report: lead_batches.ManyReport) -> Data:
    batch = None if report.batch_id is None else Ref("Batch", report.batch_id)
    return {"count": report.count, "deletedIds": report.lead_ids, "summary": report.summary, "batch": batch}


async def batch_undo(context: Context, id: strawberry.ID) -> Data:  # noqa: A002  (the contract's name)
    """Take a batch back: what it created goes, what it changed or deleted returns, unless that has changed since (`conflicts`).

    An undo is a batch, and can be undone. Above 10,000 leads it goes on as a job: `batch` tells how far it has come.
    """
    return {"batch": Ref("Batch", await undo.undo(context.writing, id))}
