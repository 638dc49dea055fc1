"""`leadgraph import`: a CSV file into a workspace, through the same upsert as the API's."""

import asyncio
import csv
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

import orjson
import typer
from sqlalchemy.exc import DBAPIError

from app.actions import imports, workspaces
from app.actions.batches import JobStatus, summary_of
from app.actions.imports import CHUNK, Taken
from app.actions.upserts import OnMatch
from app.actions.work import Caller, Role, Work
from app.commands.databases import current
from app.commands.terminal import Failure, bar, one_line
from app.database import Database, is_retryable, lock_workspace
from app.errors import CampaignNotFound, shown
from app.rules.columns import ATTRIBUTES, map_columns
from app.rules.files import CsvFile, FileRow, read_csv, rejected_header, rejected_row, with_attributes

Result = TypeVar("Result")
#: Runs a verb in a transaction and gives what it gives.
Transaction = Callable[[Callable[[Work], Awaitable[Any]]], Awaitable[Any]]

#: How often a transaction that met a deadlock runs again.
AGAIN = 3

commands = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for."""

    file: Path
    workspace: str
    campaign: str | None
    mapping: Mapping[str, str | None]
    on_match: OnMatch
    dry_run: bool
    rejected: Path | None


@dataclass(slots=True)
class Tally:
    """What became of the file so far."""

    counts: dict[str, int] = field(default_factory=lambda: summary_of({}))
    #: Where each rejected row goes.
    reject: list[Callable[[FileRow], None]] = field(default_factory=list)

    def add(self, taken: Taken) -> None:
        """Count a chunk that is in the database."""
        for name, count in taken.summary.items():
            self.counts[name] += count
        for row in taken.rejected:
            for reject in self.reject:
                reject(row)


@commands.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A CSV file whose first line names the columns.", exists=True, dir_okay=False)],
    *,
    workspace: Annotated[str, typer.Option(help="The slug of the workspace that takes it.")],
    campaign: Annotated[str | None, typer.Option(help="The id of a campaign that the leads join.")] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="The lead field that a column fills; COLUMN= for none. Repeatable."),
    ] = None,
    on_match: Annotated[OnMatch, typer.Option(help="What a row does to a lead that is there.", case_sensitive=False)] = OnMatch.UPDATE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would happen, and write nothing.")] = False,
    rejected: Annotated[Path | None, typer.Option(help="Write the rejected rows to this file, to be mended and imported.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the counts as one JSON object.")] = False,
) -> None:
    """Import leads from a CSV file.

    Columns find their fields by name, in five languages; others are kept as attributes. Each rejected row is told on stderr.
    """
    order = Order(file, workspace, campaign, _given(map_ or ()), on_match, dry_run, rejected)
    counts = asyncio.run(_import(order))
    if json:
        typer.echo(orjson.dumps(counts))
    else:
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if name not in ("total", "deleted"))
        typer.echo(f"{'Nothing was written. ' if dry_run else ''}{counts['total']:,} rows: {told}")


def _given(pairs: Sequence[str]) -> dict[str, str | None]:
    given: dict[str, str | None] = {}
    for pair in pairs:
        # No field's name holds an equals sign; a column's may.
        column, sign, name = pair.rpartition("=")
        if not sign or not column:
            raise typer.BadParameter(f"--map {pair}: write COLUMN=FIELD")
        given[column] = name or None
    return given


async def _import(order: Order) -> dict[str, int]:
    with order.file.open("rb") as raw:
        table, mapping = _looked_through(raw, order)
        async with current() as database:
            async with database.writing() as connection:
                workspace = await workspaces.find(connection, order.workspace)
            caller = Caller(workspace_id=workspace["id"], role=Role.ADMIN)
            tally = Tally(reject=[_tell])
            with _rejected_file(order, table) as reject, bar("Importing") as show:
                tally.reject += reject
                async with _transactions(database, caller, dry_run=order.dry_run) as transaction:
                    await _take_all(order, table, mapping, transaction=transaction, tally=tally, show=show)
    typer.echo(_columns(mapping), err=True)
    return tally.counts


def _columns(mapping: Sequence[tuple[str, str | None]]) -> str:
    """Say which column goes where, so that a wrong guess is seen before it matters."""
    fields = [f"{column} → {field_}" for column, field_ in mapping if field_ and not field_.startswith(ATTRIBUTES)]
    kept = [column for column, field_ in mapping if field_ and field_.startswith(ATTRIBUTES)]
    left = [column for column, field_ in mapping if not field_ and column.strip()]
    parts = [", ".join(fields), f"kept as attributes: {', '.join(kept)}" if kept else "", f"left out: {', '.join(left)}" if left else ""]
    # A header may hold what a terminal would obey.
    said = " ".join("; ".join(part for part in parts if part).split())
    return "Columns: " + "".join(character for character in said if character.isprintable())


def _looked_through(raw: BinaryIO, order: Order) -> tuple[CsvFile, list[tuple[str, str | None]]]:
    if not raw.seekable():
        raise Failure(f"{order.file} can be read only once, and has to be read twice: save it to a file first")
    try:
        table = read_csv(raw)
    except ValueError as error:
        raise Failure(f"{order.file}: {error}") from error
    try:
        mapping = with_attributes(map_columns(table.columns, order.mapping), order.mapping)
    except ValueError as error:
        raise Failure(f"{order.file}: {str(error).rstrip('.')} (--map COLUMN=FIELD says which field a column fills)") from error
    if table.guessed:
        typer.echo(
            f"{order.file} is not UTF-8: read as Windows-1252. If letters look wrong, save it as UTF-8 and import it again.", err=True
        )
    return table, mapping


def _tell(row: FileRow) -> None:
    typer.echo(f"line {row.line}: {'; '.join(error.message for error in row.errors)}", err=True)


@contextmanager
def _rejected_file(order: Order, table: CsvFile) -> Iterator[list[Callable[[FileRow], None]]]:
    """Open the file for rejected rows, before anything is imported: in the separator of the other, and in UTF-8."""
    if order.rejected is None:
        yield []
        return
    if order.rejected.exists() and order.rejected.samefile(order.file):
        raise typer.BadParameter(f"--rejected {order.rejected} is the file to be imported: name another")
    try:
        # The mark at its start tells spreadsheets that it is UTF-8.
        out = order.rejected.open("w", encoding="utf-8-sig", newline="")
    except OSError as error:
        raise Failure(f"--rejected {order.rejected}: {error.strerror}: name a file that can be written") from error
    with out:
        writer = csv.writer(out, delimiter=table.separator)
        writer.writerow(rejected_header(table.columns))
        yield [lambda row: writer.writerow(rejected_row(row, row.errors))]


async def _take_all(
    order: Order,
    table: CsvFile,
    mapping: list[tuple[str, str | None]],
    *,
    transaction: Transaction,
    tally: Tally,
    show: Callable[[float], None],
) -> None:
    begin = partial(
        imports.begin,
        mapping=mapping,
        file_name=order.file.name,
        campaign_id=order.campaign,
        on_match=order.on_match,
        dry_run=order.dry_run,
    )
    try:
        importing = await transaction(begin)
    except CampaignNotFound as error:
        raise Failure(f"--campaign {shown(order.campaign)}: there is no such campaign in the workspace {order.workspace}") from error
    try:
        for chunk in _chunks(table.rows()):
            done = chunk[-1].line / table.lines
            tally.add(await transaction(partial(imports.take, importing=importing, rows=chunk, progress=int(done * 100))))
            show(done)
        await transaction(partial(imports.finish, importing=importing))
    except (Exception, asyncio.CancelledError) as error:
        # What is in is in, each chunk with its counts; that the rest never came is noted where the database still takes it.
        status = JobStatus.FAILED if isinstance(error, Exception) else JobStatus.CANCELLED
        with suppress(Exception):
            await transaction(partial(imports.finish, importing=importing, status=status, error=one_line(error)))
        if order.dry_run or not isinstance(error, Exception):
            raise
        taken = f"stopped after {tally.counts['total']:,} rows, which are in"
        raise Failure(f"{order.file}: {taken}: {one_line(error)} Run the same command again: those rows will be unchanged.") from error


def _chunks(rows: Iterator[FileRow]) -> Iterator[list[FileRow]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


@asynccontextmanager
async def _transactions(database: Database, caller: Caller, *, dry_run: bool) -> AsyncIterator[Transaction]:
    """Give what runs verbs in transactions: each in one of its own, or, for a dry run, all in one that is rolled back."""
    if not dry_run:
        yield lambda verb: _committed(database, caller, verb)
        return
    async with database.writing() as connection:
        savepoint = await connection.begin_nested()
        await lock_workspace(connection, caller.workspace_id, alone=True)
        yield lambda verb: verb(Work(connection, caller))
        await savepoint.rollback()


async def _committed(database: Database, caller: Caller, verb: Callable[[Work], Awaitable[Result]]) -> Result:
    for remaining in reversed(range(AGAIN + 1)):
        try:
            async with database.writing() as connection:
                await lock_workspace(connection, caller.workspace_id, alone=False)
                return await verb(Work(connection, caller))
        except DBAPIError as error:
            if not remaining or not is_retryable(error):
                raise
    raise AssertionError("the last round returns or raises")
