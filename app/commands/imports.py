"""`leadgraph import`: a file into a workspace, through the same job as an upload's."""

import asyncio
import csv
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import orjson
import typer

from app.actions import imports, jobs, workspaces
from app.actions.batches import JobStatus, summary_of
from app.actions.imports import Order
from app.actions.upserts import OnMatch
from app.actions.work import Caller, Role, Work
from app.commands.databases import current
from app.commands.terminal import Failure, Stop, bar, one_line, stoppable
from app.database import Database, lock_workspace
from app.errors import BadUserInput, CampaignNotFound, shown
from app.rules.columns import ATTRIBUTES, COMPUTED, NAMES_ARE_TWO, is_full_name
from app.rules.files import FileRow, rejected_header, rejected_row
from app.rules.uploads import Table, UnknownColumns
from app.worker import Worker

#: Rejected rows that are told one by one where they are written to a file anyway.
TOLD = 20

commands = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for: the import itself, and what is the command line's."""

    file: Path
    workspace: str
    order: Order
    rejected: Path | None


@commands.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="A CSV file or an Excel workbook whose first line names the columns.", exists=True, dir_okay=False)
    ],
    *,
    workspace: Annotated[str, typer.Option(help="The slug of the workspace that takes it.")],
    campaign: Annotated[str | None, typer.Option(help="The id of a campaign that the leads join.")] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="The lead field that a column fills; COLUMN= for none. Repeatable."),
    ] = None,
    on_match: Annotated[OnMatch, typer.Option(help="What a row does to a lead that is there.", case_sensitive=False)] = OnMatch.UPDATE,
    unknown_columns: Annotated[
        UnknownColumns, typer.Option(help="What becomes of columns that no field takes.", case_sensitive=False)
    ] = UnknownColumns.ATTRIBUTES,
    encoding: Annotated[str | None, typer.Option(help="The encoding of a CSV file; found, where it is left out.")] = None,
    source: Annotated[str | None, typer.Option(help="The source of new leads that name none; csv, where it is left out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would happen, and write nothing.")] = False,
    rejected: Annotated[Path | None, typer.Option(help="Write the rejected rows to this file, to be mended and imported.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the counts and the batch's id as one JSON object.")] = False,
) -> None:
    """Import leads from a CSV file or an Excel workbook.

    Columns find their fields by name, in five languages; others are kept as attributes. Rejected rows are told on stderr, with
    --rejected the first twenty. Ctrl-C stops it after the rows under way.
    """
    order = Order(
        file_name=file.name,
        campaign_id=campaign,
        given=_given(map_ or ()),
        unknown=unknown_columns,
        encoding=encoding,
        source=source,
        on_match=on_match,
        dry_run=dry_run,
    )
    started = time.monotonic()
    counts, batch_id = asyncio.run(_import(Asked(file, workspace, order, rejected)))
    if json:
        typer.echo(orjson.dumps({**counts, "batchId": batch_id}))
    else:
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if name not in ("total", "deleted"))
        seconds = time.monotonic() - started
        rate = f"{seconds:.1f} s, {counts['total'] / seconds:,.0f} rows a second"
        typer.echo(f"{'Nothing was written. ' if dry_run else ''}{_rows(counts['total'])}: {told} ({rate}){_undone_by(batch_id)}")


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"


def _undone_by(batch_id: str | None) -> str:
    return "" if batch_id is None else f"; batchUndo takes {batch_id} back"


def _given(pairs: Sequence[str]) -> dict[str, str | None]:
    given: dict[str, str | None] = {}
    for pair in pairs:
        # No field's name holds an equals sign; a column's may.
        column, sign, name = pair.rpartition("=")
        if not sign or not column:
            raise typer.BadParameter(f"--map {pair}: write COLUMN=FIELD")
        given[column] = name or None
    return given


async def _import(asked: Asked) -> tuple[dict[str, int], str | None]:
    """Import the file; give its counts, and the id of its batch."""
    with asked.file.open("rb") as raw:
        if not raw.seekable():
            raise Failure(f"{asked.file} can be read only once, and has to be read twice: save it to a file first")
        table, mapping = _looked_through(raw, asked)
        async with current() as database:
            async with database.writing() as connection:
                workspace = await workspaces.find(connection, asked.workspace)
            stopping = stoppable("Stopping after the rows under way; once more interrupts them too.")
            with _rejected_file(asked, table, mapping) as reject, stopping as stop, bar("Importing") as show:
                run = _Run(database, Caller(workspace_id=workspace["id"], role=Role.ADMIN), asked, stop)
                row = await run.whole(raw, show)
                count = 0
                async for each in run.rejected():
                    count += 1
                    if asked.rejected is None or count <= TOLD:
                        typer.echo(f"line {each.line}: {'; '.join(error.message for error in each.errors)}", err=True)
                    reject(each)
                await run.tidy()
    if asked.rejected is not None and count > TOLD:
        typer.echo(f"and {_rows(count - TOLD)} more: {asked.rejected} has them all", err=True)
    typer.echo(_columns(table, mapping), err=True)
    return summary_of(row), row["batch_id"]


def _columns(table: Table, mapping: Sequence[tuple[str, str | None]]) -> str:
    """Say which column goes where, so that a wrong guess is seen before it matters."""
    fields = [f"{column} → {field_}" for column, field_ in mapping if field_ and not field_.startswith(ATTRIBUTES)]
    own = {column: field_.removeprefix(ATTRIBUTES) for column, field_ in mapping if field_ and field_.startswith(ATTRIBUTES)}
    left = [column for column, field_ in mapping if not field_ and column.strip()]
    computed = [left.pop(left.index(column)) for column in COMPUTED if table.exported and column in left]
    nameless = [at for at, (column, field_) in enumerate(mapping) if not (column or field_)]
    told = {
        "kept as attributes": [column if column in (name, f"{ATTRIBUTES}{name}") else f"{column} → {name}" for column, name in own.items()],
        "left out": left,
        "left out, as nobody can set them": computed,
        "left out, as they have no name": [
            f"column {at + 1}" for at in nameless if any(at < len(row.cells) and row.cells[at].strip() for row in table.first)
        ],
        f"to be split or mapped, as {NAMES_ARE_TWO}": [column for column in (*own, *left) if is_full_name(column)],
    }
    parts = [", ".join(fields), *(f"{words}: {', '.join(columns)}" for words, columns in told.items() if columns)]
    # A header may hold what a terminal would obey.
    said = " ".join("; ".join(parts).split())
    return "Columns: " + "".join(character for character in said if character.isprintable())


def _looked_through(raw: BinaryIO, asked: Asked) -> tuple[Table, list[tuple[str, str | None]]]:
    try:
        table, mapping = imports.look_through(raw, asked.order)
    except BadUserInput as error:
        advice = " (--map COLUMN=FIELD says which field a column fills)" if error.argument == "input.mapping" else ""
        raise Failure(f"{asked.file}: {error.message.partition(': ')[2].rstrip('.')}{advice}") from error
    if table.guessed:
        typer.echo(
            f"{asked.file} is not UTF-8: read as Windows-1252. If letters look wrong, import it again with its encoding, such as "
            "--encoding windows-1251, or saved as UTF-8.",
            err=True,
        )
    return table, mapping


@contextmanager
def _rejected_file(asked: Asked, table: Table, mapping: Sequence[tuple[str, str | None]]) -> Iterator[Callable[[FileRow], object]]:
    """Open the file for rejected rows, before anything is imported: in the separator of the other, and in UTF-8."""
    if asked.rejected is None:
        yield lambda _: None
        return
    if asked.rejected.exists() and asked.rejected.samefile(asked.file):
        raise typer.BadParameter(f"--rejected {asked.rejected} is the file to be imported: name another")
    try:
        # The mark at its start tells spreadsheets that it is UTF-8.
        out = asked.rejected.open("w", encoding="utf-8-sig", newline="")
    except OSError as error:
        raise Failure(f"--rejected {asked.rejected}: {error.strerror}: name a file that can be written") from error
    with out:
        writer = csv.writer(out, delimiter=table.separator or ",")
        writer.writerow(rejected_header(mapping))
        yield lambda row: writer.writerow(rejected_row(row, row.errors))


class _Run:
    """One import, carried out by this process; should it die, any worker goes on with it once its lease has run out."""

    def __init__(self, database: Database, caller: Caller, asked: Asked, stop: Stop) -> None:
        self.database, self.caller, self.asked, self.stop = database, caller, asked, stop
        self.worker = Worker(database, database.settings)
        self.id = ""

    async def whole(self, raw: BinaryIO, show: Callable[[float], None]) -> dict[str, Any]:
        """Import the file and give the row of its import."""
        asked, stop = self.asked, self.stop.wanted
        try:
            async with self.database.writing() as connection:
                await lock_workspace(connection, self.caller.workspace_id, alone=False)
                ordered = await imports.order(Work(connection, self.caller), raw, asked.order, held=self.worker.hold())
                if stop.is_set():
                    raise self.stop.failure(f"{asked.file}: stopped before the first row")
        except CampaignNotFound as error:
            wrong = f"--campaign {shown(asked.order.campaign_id)}: there is no such campaign in the workspace {asked.workspace}"
            raise Failure(wrong) from error
        except BadUserInput as error:
            raise Failure(f"{asked.file}: {error.message}") from error
        self.id = ordered.id
        try:
            ended = await self.worker.run_held(ordered.job, lambda hundredths: show(hundredths / 100), stop)
        except (Exception, asyncio.CancelledError) as error:
            raise await self._failed(ordered.job, error) from error
        if not ended:
            row = await self._end(ordered.job, JobStatus.CANCELLED)
            raise self.stop.failure(f"{asked.file}: {_taken(row)}.{'' if asked.order.dry_run else _AGAIN}")
        row = await self._row()
        if row["status"] != JobStatus.SUCCEEDED:
            raise Failure(f"{asked.file}: {_taken(row)}: {row['error'] or row['status'].lower()}")
        return row

    async def _row(self) -> dict[str, Any]:
        async with self.database.writing() as connection:
            return await imports.find(Work(connection, self.caller), self.id)

    async def _end(self, job: dict[str, Any], status: JobStatus, error: str | None = None) -> dict[str, Any]:
        """Note that the rest never comes: what is in is in, and of a trial nothing is kept. Gives the import as it was left."""
        async with self.database.writing() as connection:
            work = Work(connection, self.caller)
            row = await imports.find(work, self.id)
            if self.asked.order.dry_run:
                await imports.drop(work, self.id)
            else:
                await imports.finish(work, row, status, error)
            await jobs.end(connection, job, status, error, work.now)
        return row

    async def _failed(self, job: dict[str, Any], error: BaseException) -> BaseException:
        """Note it where the database still takes that, and give what is to be said."""
        status = JobStatus.FAILED if isinstance(error, Exception) else JobStatus.CANCELLED
        row = {"dry_run": self.asked.order.dry_run}
        noted = False
        with suppress(Exception):
            row = await self._row()  # first: where the disk is full, the rest fails
            await self._end(job, status, one_line(error) if status is JobStatus.FAILED else None)
            noted = True
        if status is JobStatus.CANCELLED:
            goes_on = "" if noted else f". A worker goes on with it, unless importJobCancel {self.id} is sooner"
            typer.echo(f"{self.asked.file}: interrupted; {_taken(row)}{goes_on}", err=True)
            return error
        if self.asked.order.dry_run:
            return error
        return Failure(f"{self.asked.file}: {_taken(row)}: {one_line(error)}{_AGAIN}")

    async def rejected(self) -> AsyncIterator[FileRow]:
        """Give the rows that could not be taken."""
        async with self.database.readers.reading() as reading:
            found = await imports.told(reading, self.caller.workspace_id, self.id)
        async for rows in imports.rejected_rows(self.database.readers, found):
            for row in rows:
                yield row

    async def tidy(self) -> None:
        """Leave nothing of a trial."""
        if self.asked.order.dry_run:
            async with self.database.writing() as connection:
                await imports.drop(Work(connection, self.caller), self.id)


_AGAIN = " Run the same command again: those rows will be unchanged."


def _taken(row: Mapping[str, Any]) -> str:
    """Tell what is in of an import that ended early."""
    if row["dry_run"]:
        return "stopped, and nothing was written"
    if "id" not in row:
        return "stopped; the rows that were taken are in, and cannot be counted now"
    return f"stopped after {_rows(summary_of(row)['total'])}, which are in{_undone_by(row.get('batch_id'))}"
