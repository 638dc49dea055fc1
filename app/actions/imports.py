"""Imports: a file becomes pieces of 2,000 rows in the database, and a job takes them one by one, through the same upsert as everybody's.

`order` looks the file through, refuses it or keeps it; from then on any host's worker can go on with it. Each `step` takes one piece in one
transaction, with its counts and its bad rows, and the piece is gone with that: so a crash loses no row and doubles none. A trial
(`dry_run`) decides by the same code on top of what it has decided so far (`trials.py`), and writes nothing but its report.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, BinaryIO, TypeVar

import sqlalchemy as sa

from app.actions import batches, jobs, references, table_statistics
from app.actions.batches import COUNTS, BatchKind, JobStatus
from app.actions.import_pieces import ONE, PIECE, Piece, Pieces
from app.actions.read_ahead import Kept, ReadAhead
from app.actions.reads import Read
from app.actions.trials import Trial
from app.actions.upserts import Manner, OnMatch, UpsertReport, rehearse, upsert_drafts, upsert_made
from app.actions.values import refusing
from app.actions.work import Work
from app.database import insert_rows, table_of
from app.errors import BadUserInput, CampaignNotFound, Conflict, LeadgraphError, NotFound, Unavailable
from app.readers import Readers, Reading
from app.rules import uploads
from app.rules.fields import ErrorCode, FieldError, read_source
from app.rules.files import FileRow, raw_names, raw_row
from app.rules.ids import new_id
from app.rules.uploads import Table, UnknownColumns, map_table, read_table
from app.tables import ImportJob, ImportRowError

Found = TypeVar("Found")

IMPORT = table_of(ImportJob)
_WRONG = table_of(ImportRowError)
_ENDED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)
_MINE = (IMPORT.c.workspace_id == sa.bindparam("workspace"), IMPORT.c.id == sa.bindparam("import"))
_COUNT = (
    sa.update(IMPORT)
    .values({name: IMPORT.c[name] + sa.bindparam(f"more_{name}", type_=sa.Integer) for name in COUNTS})
    .values(progress=sa.bindparam("hundredths", type_=sa.Integer))
    .where(*_MINE)
)
_LOCKED = sa.select(IMPORT).where(*_MINE).with_for_update()
_TAKEN = sa.delete(PIECE).where(*ONE)
_LEFT = sa.delete(PIECE).where(*ONE[:2])
_FOUND = sa.select(IMPORT).where(*_MINE)
_REJECTED = (
    sa.select(_WRONG.c.line, _WRONG.c.errors, _WRONG.c.raw)
    .where(
        _WRONG.c.workspace_id == sa.bindparam("workspace"),
        _WRONG.c.import_job_id == sa.bindparam("import"),
        _WRONG.c.line > sa.bindparam("after", type_=sa.Integer),
    )
    .order_by(_WRONG.c.line)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
_READ, _READ_REJECTED = Read(_FOUND), Read(_REJECTED)
#: Rows that a preview shows.
PREVIEWED = 10
#: Rejected rows that are read at a time: whoever takes them slowly has so many in memory.
REJECTED = 500


class ImportNotFound(NotFound):
    """There is no such import in your workspace."""


@dataclass(frozen=True, slots=True)
class Order:
    """How a file is to be imported."""

    file_name: str | None = None
    campaign_id: str | None = None
    #: Columns that were mapped by hand: each with its field, or None.
    given: Mapping[str, str | None] = field(default_factory=dict)
    unknown: UnknownColumns = UnknownColumns.ATTRIBUTES
    encoding: str | None = None
    source: str | None = None
    on_match: OnMatch = OnMatch.UPDATE
    auto_score: bool = True
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Ordered:
    """An import that is kept, and the job that will carry it out."""

    id: str
    job: dict[str, Any]


def look_through(file: BinaryIO | ReadAhead, order: Order, rows: int | None = None) -> tuple[Table, list[tuple[str, str | None]]]:
    """Read a file's header and find its columns' fields. Raises BadUserInput where it can't be imported so.

    Of a file that is read ahead, `rows` says how many were; None: all.
    """
    try:
        table: Table = file.table(order.encoding, rows) if isinstance(file, ReadAhead) else read_table(file, order.encoding)
    except ValueError as error:
        argument = "input.encoding" if order.encoding is not None and "encoding" in str(error) else "input.file"
        raise BadUserInput(f"{argument}: {error}", argument=argument) from error
    try:
        return table, map_table(table, order.given, order.unknown)
    except ValueError as error:
        raise BadUserInput(f"input.mapping: {error}", argument="input.mapping") from error


async def order(work: Work, file: BinaryIO | ReadAhead, asked: Order, *, held: jobs.Hold | None = None) -> Ordered:
    """Keep the file's rows and queue the job that takes them; `held`: for the worker that is named, and nobody else.

    Raises BadUserInput for a file or a mapping that is none, CampaignNotFound.
    """
    source = await _check(work, asked)
    # In a thread: a file may take seconds, and this one belongs to everybody's requests.
    table, mapping = await asyncio.to_thread(look_through, file, asked)
    batch_id = None if asked.dry_run else await batches.open_batch(work, BatchKind.IMPORT)
    row = {
        "workspace_id": work.workspace,
        "id": new_id("imp"),
        "status": JobStatus.PENDING.value,
        "dry_run": asked.dry_run,
        "actor_id": work.caller.actor_id,
        "file_name": None if asked.file_name is None else references.checked(asked.file_name[:200], "input.file"),
        "campaign_id": asked.campaign_id,
        "batch_id": batch_id,
        "mapping": [{"column": column, "field": name} for column, name in mapping],
        "progress": 0,
        "options": {"onMatch": asked.on_match, "source": source, "autoScore": asked.auto_score, "separator": table.separator or ","},
        "created_at": work.now,
        **dict.fromkeys(COUNTS, 0),
    }
    await insert_rows(work.connection, IMPORT, [row])
    count = await _keep(work, str(row["id"]), table)
    job = await jobs.queue_one(work, "import", {"importId": row["id"], "pieces": count}, held)
    return Ordered(str(row["id"]), job)


async def _keep(work: Work, import_id: str, table: Table) -> int:
    """Write the file's rows, piece by piece: one is in memory at a time."""
    insert = sa.insert(PIECE)
    count = 0
    each = table.pieces() if isinstance(table, Kept) else (text for _, text in uploads.pieces(table))
    while (piece := await asyncio.to_thread(_read_on, lambda: next(each, None))) is not None:
        row = {"workspace_id": work.workspace, "import_job_id": import_id, "position": count, "content": piece}
        await work.connection.execute(insert, row)
        count += 1
    return count


def _read_on(read: Callable[[], Found]) -> Found:
    """Read rows of a file whose head was fine. Raises BadUserInput where it breaks off, as a workbook may."""
    try:
        return read()
    except ValueError as error:
        raise BadUserInput(f"input.file: {error}", argument="input.file") from error


async def preview(work: Work, file: BinaryIO | ReadAhead, asked: Order) -> dict[str, Any]:
    """Give the head of a file as an `ImportPreview`; refuses what `order` would refuse."""
    await _check(work, asked)
    table, mapping = await asyncio.to_thread(look_through, file, asked, PREVIEWED)
    head = await asyncio.to_thread(_read_on, lambda: [row.cells for row in islice(table.rows(), PREVIEWED)])
    return {
        "encoding": table.encoding.removesuffix("-sig"),
        "separator": table.separator,
        "columns": table.columns,
        "mapping": [{"column": column, "field": name} for column, name in mapping],
        "rows": head,
    }


async def _check(work: Work, asked: Order) -> str:
    """Check what an order names, and give the source of new leads."""
    if asked.campaign_id is not None:
        references.checked(asked.campaign_id, "input.campaignId")
        if asked.campaign_id not in await references.known_campaigns(work, [asked.campaign_id]):
            raise CampaignNotFound(argument="input.campaignId")
    with refusing(asked.source, "input.source"):
        return (None if asked.source is None else read_source(asked.source)) or "csv"


async def step(work: Work, job: dict[str, Any]) -> tuple[dict[str, Any] | None, int]:
    """Take the next piece of an import; give where to go on, None at its end, and the progress in hundredths."""
    names = {"import": job["payload"]["importId"]}
    row = await work.row(_LOCKED, names)
    if row is None or row["status"] in _ENDED:
        return None, 100
    position = (job["checkpoint"] or {}).get("position", 0)
    trial: Trial | None = None
    if row["dry_run"]:
        trial = job.setdefault("trial", Trial())
        if position and not trial.begun:  # what was decided so far went with the worker that knew it
            position = 0
            await _forget(work, names)
        trial.begun = True
    # What the import does is done by whoever ordered it.
    actor = row["actor_id"]
    caller = replace(work.caller, user_id=None, api_key_id=None)
    if actor is not None:
        caller = replace(caller, **{"api_key_id" if actor.startswith("key_") else "user_id": actor})
    at_work = replace(work, caller=caller, batch_id=row["batch_id"])
    pieces: Pieces | None = job.get("kept")
    if pieces is None:
        pieces = job["kept"] = Pieces(row, job["payload"]["pieces"])
    piece = await pieces.take(work, position)
    if piece is None:
        at = job["checkpoint"] or {}
        if trial is None and "analyzed" not in at and await table_statistics.renew(work, row["created"] + row["updated"]):
            return {**at, "analyzed": True}, 99
        await finish(at_work, row, JobStatus.SUCCEEDED)
        return None, 100
    work.meanwhile = at_work.meanwhile = await pieces.read_on(work, position + 1)
    progress = min(99, 100 * (position + 1) // max(1, job["payload"]["pieces"]))
    try:
        counts = await _take(at_work, row, piece, progress, trial)
    except LeadgraphError as error:
        if isinstance(error, Unavailable):
            raise
        await finish(at_work, row, JobStatus.FAILED, error.message)
        return None, 100
    if row["status"] == JobStatus.PENDING:
        await work.run(sa.update(IMPORT).values(status=JobStatus.RUNNING.value).where(*_MINE), names)
    if trial is None:
        await work.run(_TAKEN, {**names, "position": position})
        pieces.mostly_new = 2 * counts.get("created", 0) > sum(counts.values())
    return {"position": position + 1}, progress


async def _forget(work: Work, names: Mapping[str, Any]) -> None:
    """Begin a trial's report anew."""
    mine = (_WRONG.c.workspace_id == sa.bindparam("workspace"), _WRONG.c.import_job_id == sa.bindparam("import"))
    await work.run(sa.delete(_WRONG).where(*mine), names)
    await work.run(sa.update(IMPORT).values(dict.fromkeys(COUNTS, 0)).where(*_MINE), names)


async def _take(work: Work, row: Mapping[str, Any], piece: Piece, progress: int, trial: Trial | None) -> dict[str, int]:
    """Take a piece, keep its bad rows as they stood in the file, and give its counts."""
    report = await _upsert(work, row, piece, trial)
    refused = [(piece.sound[result.index], result.errors) for result in report.results if result.errors]
    rejected = [*piece.rejected, *(FileRow(sound.line, sound.cells, list(errors)) for sound, errors in refused)]
    rejected.sort(key=lambda each: each.line)
    # A row without a form or a good value never reached the upsert, and failed all the same.
    counts = {**{name: report.summary[name] for name in COUNTS}, "failed": len(rejected)}
    await _keep_rejected(work, row, rejected)
    await work.run(_COUNT, {"import": row["id"], "hundredths": progress, **{f"more_{name}": count for name, count in counts.items()}})
    if work.batch_id is not None:
        await batches.add_counts(work, work.batch_id, counts, progress=progress)
    return counts


async def _upsert(work: Work, row: Mapping[str, Any], piece: Piece, trial: Trial | None) -> UpsertReport:
    options = row["options"]
    manner = Manner(OnMatch(options["onMatch"]), row["campaign_id"], options["source"])
    if trial is not None:
        return await rehearse(work, piece.drafts(), manner, trial)
    if piece.made is not None:
        return await upsert_made(work, piece.made, piece.drafts, manner, auto_score=options["autoScore"])
    return await upsert_drafts(work, piece.drafts(), manner, auto_score=options["autoScore"], batch=False)


async def _keep_rejected(work: Work, row: Mapping[str, Any], rejected: Sequence[FileRow]) -> None:
    columns = [each["column"] for each in row["mapping"]]
    rows = [
        {
            "workspace_id": work.workspace,
            "import_job_id": row["id"],
            "line": each.line,
            "errors": [_as_json(error) for error in each.errors],
            # No text of PostgreSQL holds a NUL, and a workbook's cell may.
            "raw": {name.replace("\0", "␀"): cell.replace("\0", "␀") for name, cell in raw_row(columns, each.cells).items()},
        }
        for each in rejected
    ]
    await insert_rows(work.connection, _WRONG, rows)


def _as_json(error: FieldError) -> dict[str, Any]:
    return {"code": error.code.value, "field": error.field, "message": error.message}


async def finish(work: Work, row: Mapping[str, Any], status: JobStatus, error: str | None = None) -> None:
    """End an import and its batch; `error` says why it did not succeed. The rows that are not in go."""
    names = {"import": row["id"]}
    values: dict[str, Any] = {"status": status.value, "error": error, "finished_at": work.now}
    if status is JobStatus.SUCCEEDED:
        values["progress"] = 100
    values["rejected_url"] = sa.case((IMPORT.c.failed > 0, f"/imports/{row['id']}/rejected.csv"), else_=None)
    await work.run(sa.update(IMPORT).values(values).where(*_MINE), names)
    await work.run(_LEFT, names)
    if row["batch_id"] is not None:
        await batches.close_batch(work, row["batch_id"], status, error)


async def find(work: Work, import_id: str) -> dict[str, Any]:
    """Give the row of an import. Raises ImportNotFound."""
    row = await work.row(_FOUND, {"import": import_id})
    if row is None:
        raise ImportNotFound(argument="id")
    return row


async def drop(work: Work, import_id: str) -> None:
    """Leave nothing of a trial, its report included."""
    await work.run(sa.delete(IMPORT).where(*_MINE, IMPORT.c.dry_run), {"import": import_id})


async def told(reading: Reading, workspace: str, import_id: str) -> dict[str, Any]:
    """Give the row of an import to who only reads. Raises ImportNotFound."""
    rows = [] if "\0" in import_id else await _READ.rows(reading, **{"workspace": workspace, "import": import_id})
    if not rows:
        raise ImportNotFound(argument="id")
    return rows[0]


async def rejected_rows(readers: Readers, row: Mapping[str, Any]) -> AsyncIterator[list[FileRow]]:
    """Give the rows that an import could not take when its row was read, in the order of their lines, some at a time.

    Between two pages no reader is held: whoever takes them may be slow. Raises Conflict where rows of a trial are gone meanwhile.
    """
    columns = [each["column"] for each in row["mapping"]]
    after, left = 0, row["failed"]
    while left:
        # An import that goes on adds rows behind those that it had counted: the first so many stay what they were.
        binds = {"workspace": row["workspace_id"], "import": row["id"], "after": after, "limit": min(left, REJECTED)}
        async with readers.reading() as reading:
            rows = await _READ_REJECTED.rows(reading, **binds)
        if not rows:  # a shorter file would pass for all of them
            raise Conflict("The import has begun anew, or is gone, while its rejected rows were read: ask again.")
        yield [rejected_of(columns, each) for each in rows]
        after, left = rows[-1]["line"], left - len(rows)


def rejected_of(columns: Sequence[str], row: Mapping[str, Any]) -> FileRow:
    """Read a row of `import_row_error` as the row of a file that it was."""
    names = raw_names(columns, len(columns) + len(row["raw"]))
    cells = [row["raw"][name] for name in names if name in row["raw"]]
    errors = [FieldError(ErrorCode(error["code"]), error["message"], error["field"]) for error in row["errors"]]
    return FileRow(row["line"], cells, errors)


async def cancel(work: Work, import_id: str) -> str:
    """Stop an import that has not ended: what is in stays in, and can be undone by its batch. Raises ImportNotFound, Conflict."""
    references.checked(import_id, "id")
    row = await work.row(_LOCKED, {"import": import_id})
    if row is None:
        raise ImportNotFound(argument="id")
    if row["status"] in _ENDED:
        raise Conflict(f"The import has ended already: it is {row['status']}.", argument="id")
    await finish(work, row, JobStatus.CANCELLED)
    return import_id


async def _given_up(work: Work, job: dict[str, Any]) -> None:
    row = await work.row(_LOCKED, {"import": job["payload"]["importId"]})
    if row is not None and row["status"] not in _ENDED:
        await finish(work, row, JobStatus.FAILED, batches.GIVEN_UP)


jobs.GIVEN_UP["import"] = _given_up
