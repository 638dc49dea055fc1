"""Batches and imports."""

from typing import Annotated, Optional

import strawberry

from app import tables
from schema.activities import ACTOR, Actor
from schema.campaigns import Campaign
from schema.enums import BatchKind, ErrorCode, JobStatus
from schema.leads import Lead
from schema.nodes import Connection, Node
from schema.planner.bindings import Computed, Inline, Many, One, Order, Parts, page_arguments, planned, sql
from schema.scalars import DateTime, JSONObject


@planned()
@strawberry.type
class BatchSummary:
    """`total` is the sum of the others.

    Events: accepted is created, deduplicated is unchanged. An undo that brings a lead back: created.
    """

    total: int = sql(
        Computed(lambda row, _scope: row.c.created + row.c.updated + row.c.unchanged + row.c.skipped + row.c.failed + row.c.deleted)
    )
    created: int
    updated: int
    unchanged: int
    skipped: int
    failed: int
    deleted: int


@planned(tables.UndoConflict)
@strawberry.type
class UndoConflict:
    """A field that an undo left alone, because it had changed since."""

    lead_id: strawberry.ID
    lead: Lead | None = sql(One(tables.Lead, lambda row, lead, _scope: lead.c.id == row.c.lead_id))
    field: str


@planned()
@strawberry.type
class RowError:
    """What is wrong with a row."""

    code: ErrorCode
    message: str
    field: str | None = strawberry.field(description="The row's field.")


@planned(tables.ImportRowError)
@strawberry.type
class ImportRowError:
    """A row of a file that could not be taken, as it stood there."""

    line: int
    errors: list[RowError] = sql(Parts("errors"))
    raw: JSONObject


@planned()
@strawberry.type
class ColumnMapping:
    """Column of a file and the lead field that it fills (`attributes.NAME` for the caller's own)."""

    column: str
    field: str | None


@planned(tables.Batch)
@strawberry.type
class Batch(Node):
    """A batch of writes that can be looked up later, and undone."""

    kind: BatchKind
    status: JobStatus
    progress: float = strawberry.field(description="0 to 1.")
    summary: BatchSummary = sql(Inline())
    actor: Actor | None = sql(ACTOR)
    error: str | None
    created_at: DateTime
    finished_at: DateTime | None
    undone_at: DateTime | None
    undone_by: Optional["Batch"] = sql(One(tables.Batch, lambda row, other, _scope: other.c.id == row.c.undone_by_id))
    undoes: Optional["Batch"] = sql(
        One(tables.Batch, lambda row, other, _scope: other.c.id == row.c.undoes_id), description="The batch that this one took back."
    )
    import_job: Annotated["ImportJob", strawberry.lazy("schema.batches")] | None = sql(
        One(tables.ImportJob, lambda row, job, _scope: job.c.batch_id == row.c.id)
    )
    conflicts: Connection[UndoConflict] = sql(
        Many(tables.UndoConflict, (Order("position"),), on=lambda batch, conflict, _scope: conflict.c.batch_id == batch.c.id),
        *page_arguments(),
        description="Fields that an undo left alone, because they had changed since; `lead` for a created lead that had.",
    )


@planned(tables.ImportJob)
@strawberry.type
class ImportJob(Node):
    """A file on its way in."""

    status: JobStatus
    dry_run: bool
    actor: Actor | None = sql(ACTOR)
    file_name: str | None
    campaign: Campaign | None = sql(One(tables.Campaign, lambda job, campaign, _scope: campaign.c.id == job.c.campaign_id))
    summary: BatchSummary = sql(Inline())
    batch: Batch | None = sql(One(tables.Batch, lambda job, batch, _scope: batch.c.id == job.c.batch_id))
    mapping: list[ColumnMapping] = sql(
        Parts("mapping"), description="Column of the file and the lead field that it fills (`attributes.NAME` for the caller's own)."
    )
    progress: float = strawberry.field(description="0 to 1.")
    row_errors: Connection[ImportRowError] = sql(
        Many(tables.ImportRowError, (Order("line"),), on=lambda job, error, _scope: error.c.import_job_id == job.c.id), *page_arguments()
    )
    rejected_url: str | None = strawberry.field(
        description="CSV of the rejected rows with an `error` column, ready to be mended and imported."
    )
    error: str | None
    created_at: DateTime
    finished_at: DateTime | None


__all__ = ["Batch", "BatchSummary", "ColumnMapping", "ImportJob", "ImportRowError", "RowError", "UndoConflict"]
