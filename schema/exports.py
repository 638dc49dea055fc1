"""All leads that a filter or a search finds, as a stream of CSV or of JSON lines: one snapshot, two pages in memory at a time.

The pages are those of the query `leads`, but longer, each asked for behind the last one of the page before, so that an export finds exactly
what the query finds, in its order. While one is written out the next is read.
"""

import asyncio
import csv
import io
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from enum import StrEnum
from typing import Any

import orjson
from graphql import GraphQLError

from app.actions.work import Caller
from app.column_types import dumps
from app.database import Database
from app.errors import BadUserInput, Internal
from app.rules.files import FORMULA_BEGINS, safe_cell
from schema.context import Context
from schema.graph import document, graph
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
    pageInfo {{ hasNextPage endCursor }}
  }}
}}"""
#: The columns that hold what callers wrote; the others hold ids, names, numbers and moments of ours.
_TEXTS = tuple(
    place
    for place, name in enumerate(COLUMNS)
    if name not in {"id", "status", "attributes", "optInAt", "qualityScore", "createdAt", "updatedAt", "lastActivityAt", "version"}
)
_ATTRIBUTES = COLUMNS.index("attributes")
#: The library shows the filter at fault as Python would, and who wrote it has it in JSON.
_FOUND = re.compile(r",? found: .*", re.DOTALL | re.IGNORECASE)
#: Exports that a process runs at once: each keeps a reader for as long as it takes.
AT_ONCE = 2


class Form(StrEnum):
    """How the leads are written."""

    CSV = "csv"
    NDJSON = "ndjson"


class Exports:
    """Exports leads of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def stream(
        self, caller: Caller, form: Form, where: Mapping[str, Any] | None = None, search: str | None = None
    ) -> AsyncGenerator[bytes]:
        """Give the bytes of a file, piece by piece. What is wrong with the filter is raised before the first.

        Close it where it is not read to its end: a reader is held until then.
        """
        write = _csv if form is Form.CSV else _ndjson
        first = True
        async with self._turns, aclosing(self._pages(caller, {"where": where, "search": search})) as pages:
            async for leads in pages:
                for start in range(0, max(1, len(leads)), PIECE):
                    yield write(leads[start : start + PIECE], header=first)
                    first = False

    async def _pages(self, caller: Caller, asked: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
        async with self._database.readers.reading(snapshot=True) as reading:

            def begun(after: str | None) -> asyncio.Task[dict[str, Any]]:
                context = Context(caller=caller, request_id="export", reading=reading)
                return asyncio.create_task(_page(context, {**asked, "after": after, "first": PAGE}))

            reading_on = begun(None)
            try:
                while True:
                    found = await reading_on
                    more: bool = found["pageInfo"]["hasNextPage"]
                    if more:
                        reading_on = begun(found["pageInfo"]["endCursor"])
                        await asyncio.sleep(0)  # for it to set out, before this page takes the thread
                    yield found["nodes"]
                    if not more:
                        return
            finally:  # whoever stops listening leaves no statement behind on the reader
                reading_on.cancel()
                await asyncio.wait([reading_on])


async def _page(context: Context, variables: dict[str, Any]) -> dict[str, Any]:
    with at_most(PAGE):
        return await _answer(context, variables)


async def _answer(context: Context, variables: dict[str, Any]) -> dict[str, Any]:
    data = await graph.short_way.answer(document(QUERY), None, variables, context)
    if data is None:  # it refuses, and the long way says why
        result = await graph.execute(QUERY, variable_values=variables, context_value=context)
        for error in result.errors or ():
            raise _refusal(error) from error
        if result.data is None:
            raise Internal
        data = result.data
    page: dict[str, Any] = orjson.loads(orjson.dumps(data))["leads"]
    return page


def _refusal(error: GraphQLError) -> Exception:
    """Name what is wrong by the export's own arguments, `where` and `search`, and not by the query behind it."""
    below: Exception | None = error
    while isinstance(below, GraphQLError):
        below = below.original_error
    if below is None:  # a variable that is not of its type, and only the filter can be
        told = _FOUND.sub("", error.message)
        return BadUserInput(told if told.endswith(("?", ".")) else f"{told}.", argument="where")
    if isinstance(below, BadUserInput) and below.argument is not None:
        return BadUserInput(below.message.removeprefix("leads."), argument=below.argument.removeprefix("leads."), **below.more)
    return error


def _ndjson(leads: list[dict[str, Any]], *, header: bool) -> bytes:
    del header
    return b"".join(orjson.dumps(lead, option=orjson.OPT_APPEND_NEWLINE) for lead in leads)


def _csv(leads: list[dict[str, Any]], *, header: bool) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    if header:
        out.write("\ufeff")  # tells spreadsheets that it is UTF-8
        writer.writerow(COLUMNS)
    writer.writerows(_cells(lead) for lead in leads)
    return out.getvalue().encode()


def _cells(lead: dict[str, Any]) -> list[Any]:
    cells = list(lead.values())
    for place in _TEXTS:
        # Looked at first: a cell of a million may be a formula, but a look at each is what an export mostly consists of.
        if (cell := cells[place]) and cell[0] in FORMULA_BEGINS:
            cells[place] = safe_cell(cell)
    attributes = cells[_ATTRIBUTES]
    cells[_ATTRIBUTES] = dumps(attributes) if attributes else ""
    return cells
