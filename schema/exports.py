"""All leads that a filter or a search finds, as a stream of CSV or of JSON lines: one snapshot, two pages in memory at a time.

The pages are those of the query `leads`, but longer, each asked for behind the last one of the page before, so that an export finds exactly
what the query finds, in its order. While one is written out the next is read.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from enum import StrEnum
from itertools import islice
from typing import Any

import orjson
from graphql import GraphQLError

from app.actions.work import Caller
from app.database import Database
from app.errors import BadUserInput, Internal
from app.rules.csv_lines import cells_of, lines_of
from app.rules.written import dumps
from app.turns import Turns
from schema.context import Context
from schema.graph import document, graph
from schema.planner.arrays import Columns
from schema.planner.pages import at_most

#: The columns of an export, by the contract's names: a file of them can be imported again.
COLUMNS = (
    "id", "crmId", "email", "firstName", "lastName", "company", "title", "phone", "website", "linkedinUrl", "location", "source", "status",
    "notes", "attributes", "optInAt", "qualityScore", "createdAt", "updatedAt", "lastActivityAt", "version",
)  # fmt: skip
#: Leads of one page: of 200, as anyone may ask for, each cost as much again as its rows did.
PAGE = 1_000
#: Leads that are written at a time, between two turns of everybody else's.
PIECE = 250
QUERY = f"""query LeadExport($where: LeadWhere, $search: String, $after: String, $first: Int!) {{
  leads(where: $where, search: $search, after: $after, first: $first) {{
    nodes {{ {" ".join(COLUMNS)} }}
  }}
}}"""
#: The columns that hold ids, names, numbers and moments of ours, and an object, which no spreadsheet runs: the others callers wrote.
_OURS = frozenset({"id", "status", "attributes", "optInAt", "qualityScore", "createdAt", "updatedAt", "lastActivityAt", "version"})
_NUMBERS = frozenset({"qualityScore", "version"})
_LINE = orjson.OPT_APPEND_NEWLINE
#: The library shows the filter at fault as Python would, and who wrote it has it in JSON.
_FOUND = re.compile(r",? found: .*", re.DOTALL | re.IGNORECASE)
#: Exports that a process runs at once: each keeps a reader, and its snapshot, for as long as it takes.
AT_ONCE = 2


class Form(StrEnum):
    """How the leads are written."""

    CSV = "csv"
    NDJSON = "ndjson"


class Exports:
    """Exports leads of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns = Turns(AT_ONCE, database.settings.request_seconds)

    async def stream(
        self, caller: Caller, form: Form, where: Mapping[str, Any] | None = None, search: str | None = None
    ) -> AsyncGenerator[bytes]:
        """Give the bytes of a file, piece by piece. What is wrong with the filter is raised before the first, and Busy.

        Close it where it is not read to its end: a reader is held until then.
        """
        write = _csv if form is Form.CSV else _ndjson
        header: bytes | None = _header() if form is Form.CSV else b""
        async with self._turns.of(caller.workspace_id), aclosing(self._pages(caller, {"where": where, "search": search})) as pages:
            async for page in pages:
                for piece in write(page):
                    yield header + piece if header else piece
                    header = None
            if header is not None:  # there is no lead
                yield header

    async def _pages(self, caller: Caller, asked: dict[str, Any]) -> AsyncGenerator[list[list[Any]]]:
        async with self._database.readers.reading(snapshot=True) as reading:

            def begun(after: str | None) -> asyncio.Task[Columns]:
                context = Context(caller=caller, request_id="export", reading=reading)
                return asyncio.create_task(_page(context, {**asked, "after": after, "first": PAGE}))

            reading_on = begun(None)
            try:
                while True:
                    cells, end = await reading_on
                    if end is not None:
                        reading_on = begun(end)
                        await asyncio.sleep(0)  # for it to set out, before this page takes the thread
                    yield cells
                    if end is None:
                        return
            finally:  # whoever stops listening leaves no statement behind on the reader
                reading_on.cancel()
                await asyncio.wait([reading_on])


async def _page(context: Context, variables: dict[str, Any]) -> Columns:
    with at_most(PAGE):
        try:
            page = await graph.short_way.columns(document(QUERY), variables, context)
            if page is None:  # the long way says why
                result = await graph.execute(QUERY, variable_values=variables, context_value=context)
                for error in result.errors or ():
                    raise error
                raise Internal
        except (GraphQLError, BadUserInput) as error:
            raise _refusal(error) from error
    return page


def _refusal(error: Exception) -> Exception:
    """Name what is wrong by the export's own arguments, `where` and `search`, and not by the query behind it."""
    below: Exception | None = error
    while isinstance(below, GraphQLError):
        below = below.original_error
    if below is None:  # a variable that is not of its type, and only the filter can be
        told = _FOUND.sub("", str(getattr(error, "message", error)))
        return BadUserInput(told if told.endswith(("?", ".")) else f"{told}.", argument="where")
    if isinstance(below, BadUserInput) and below.argument is not None:
        return BadUserInput(below.message.removeprefix("leads."), argument=below.argument.removeprefix("leads."), **below.more)
    return error


def _ndjson(cells: list[list[Any]]) -> Iterator[bytes]:
    rows = zip(*cells, strict=True)
    while piece := b"".join([orjson.dumps(dict(zip(COLUMNS, row, strict=True)), option=_LINE) for row in islice(rows, PIECE)]):
        yield piece


def _header() -> bytes:
    return f"\ufeff{lines_of([COLUMNS])}".encode()  # the mark tells spreadsheets that it is UTF-8


def _csv(cells: list[list[Any]]) -> Iterator[bytes]:
    columns = []
    for name, values in zip(COLUMNS, cells, strict=True):
        if name in _NUMBERS:
            texts = ["" if value is None else str(value) for value in values]
        elif name == "attributes":
            texts = [dumps(value) if value else "" for value in values]
        else:
            texts = [value or "" for value in values]
        columns.append(cells_of(texts, foreign=name not in _OURS))
    rows = zip(*columns, strict=True)
    while piece := lines_of(islice(rows, PIECE)):
        yield piece.encode()
