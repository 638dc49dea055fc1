"""Imports: a file's rows go in through the same upsert as everybody's, in chunks of one transaction each.

`begin`, `take` for each chunk, `finish`: the door opens the transactions and commits them. What a chunk counts is in the
database with the chunk, so that an import that is cut off tells exactly what it did; run again, the rows that it took
are unchanged. A trial (`dry_run`) runs these very verbs, all in one transaction that the door rolls back: its report
cannot differ from the deed, at the price of holding SQLite's one writer meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.actions import batches, references
from app.actions.batches import COUNTS, BatchKind, JobStatus, summary_of
from app.actions.upserts import OnMatch, upsert_many
from app.actions.work import Work
from app.database import insert_rows, table_of
from app.rules.fields import FieldError
from app.rules.files import FileRow, raw_row, row_reader
from app.rules.ids import new_id
from app.tables import ImportJob, ImportRowError

#: Rows of one transaction.
CHUNK = 1_000

_JOB = table_of(ImportJob)
_MINE = (_JOB.c.workspace_id == sa.bindparam("workspace"), _JOB.c.id == sa.bindparam("job"))
_COUNT = (
    sa.update(_JOB)
    .values({name: _JOB.c[name] + sa.bindparam(f"more_{name}", type_=sa.Integer) for name in COUNTS})
    .values(progress=sa.bindparam("hundredths", type_=sa.Integer))
    .where(*_MINE)
)


@dataclass(frozen=True, slots=True)
class Import:
    """A file on its way in: what all of its chunks have in common."""

    id: str
    batch_id: str
    #: Each column of the file and the lead field that it fills, or None.
    mapping: Sequence[tuple[str, str | None]]
    campaign_id: str | None = None
    on_match: OnMatch = OnMatch.UPDATE
    source: str = "csv"
    auto_score: bool = True


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a chunk."""

    #: A `BatchSummary`; `total` is the number of rows.
    summary: dict[str, int]
    #: The rows that failed, each with its errors.
    rejected: list[FileRow]


async def begin(
    work: Work,
    mapping: Sequence[tuple[str, str | None]],
    *,
    file_name: str | None = None,
    campaign_id: str | None = None,
    on_match: OnMatch = OnMatch.UPDATE,
    source: str = "csv",
    auto_score: bool = True,
    dry_run: bool = False,
) -> Import:
    """Write the import's job and its batch, both RUNNING. Raises CampaignNotFound."""
    if campaign_id is not None:
        await references.campaigns(work, [campaign_id], "campaignId")
    batch_id = await batches.open_batch(work, BatchKind.IMPORT)
    importing = Import(new_id("imp"), batch_id, mapping, campaign_id, on_match, source, auto_score)
    row = {
        "workspace_id": work.workspace,
        "id": importing.id,
        "status": JobStatus.RUNNING.value,
        "dry_run": dry_run,
        "actor_id": work.caller.actor_id,
        "file_name": file_name,
        "campaign_id": campaign_id,
        "batch_id": batch_id,
        "mapping": [{"column": column, "field": field} for column, field in mapping],
        "progress": 0,
        "created_at": work.now,
        **dict.fromkeys(COUNTS, 0),
    }
    await insert_rows(work.connection, _JOB, [row])
    return importing


async def take(work: Work, importing: Import, rows: Sequence[FileRow], *, progress: int) -> Taken:
    """Take a chunk of at most 1,000 rows, count it, and keep its bad rows as they stood in the file.

    `progress`: hundredths of the file that are done with this chunk.
    """
    work.batch_id = importing.batch_id
    read = row_reader([field for _, field in importing.mapping]).read
    sound = [row for row in rows if not row.errors]
    rejected = [row for row in rows if row.errors]
    counts: dict[str, int] = {}
    if sound:
        report = await upsert_many(
            work,
            [read(row.cells) for row in sound],
            campaign_id=importing.campaign_id,
            on_match=importing.on_match,
            auto_score=importing.auto_score,
            source=importing.source,
            clearing=False,
            batch=False,
        )
        counts = {name: report.summary[name] for name in COUNTS}
        rejected += [sound[result.index]._replace(errors=list(result.errors)) for result in report.results if result.errors]
        rejected.sort(key=lambda row: row.line)
    # A row without a form never reached the upsert, and failed all the same.
    counts["failed"] = len(rejected)
    await _keep(work, importing, rejected)
    await work.run(_COUNT, {"job": importing.id, "hundredths": progress, **{f"more_{name}": counts.get(name, 0) for name in COUNTS}})
    await batches.add_counts(work, importing.batch_id, counts, progress=progress)
    return Taken(summary_of(counts), rejected)


async def _keep(work: Work, importing: Import, rejected: Sequence[FileRow]) -> None:
    columns = [column for column, _ in importing.mapping]
    rows = [
        {
            "workspace_id": work.workspace,
            "import_job_id": importing.id,
            "line": row.line,
            "errors": [_as_json(error) for error in row.errors],
            "raw": raw_row(columns, row.cells),
        }
        for row in rejected
    ]
    await insert_rows(work.connection, table_of(ImportRowError), rows)


def _as_json(error: FieldError) -> dict[str, Any]:
    return {"code": error.code.value, "field": error.field, "message": error.message}


async def finish(work: Work, importing: Import, status: JobStatus = JobStatus.SUCCEEDED, error: str | None = None) -> None:
    """End the import and its batch as SUCCEEDED, FAILED or CANCELLED; `error` says why it is not the first."""
    values: dict[str, Any] = {"status": status.value, "error": error, "finished_at": work.now}
    if status is JobStatus.SUCCEEDED:
        values["progress"] = 100
    await work.run(sa.update(_JOB).values(values).where(*_MINE), {"job": importing.id})
    await batches.close_batch(work, importing.batch_id, status, error)
