"""All leads that a filter or a search finds, as a stream of CSV or of JSON lines: one snapshot, one page in memory at a time.

The pages are those of the query `leads`, each asked for behind the last one of the page before, so that an export finds exactly what the
query finds, in its order.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Any

import orjson

from app.actions.work import Caller
from app.column_types import dumps
from app.database import Database
from app.errors import Internal
from app.rules.files import safe_cell
from schema.context import Context
from schema.graph import document, graph

#: The columns of an export, by the contract's names: a file of them can be imported again.
COLUMNS = (
    "id", "crmId", "email", "firstName", "lastName", "company", "title", "phone", "website", "linkedinUrl", "location", "source", "status",
    "notes", "attributes", "optInAt", "qualityScore", "createdAt", "updatedAt", "lastActivityAt", "version",
)  # fmt: skip
#: Leads of one page.
PAGE = 200
QUERY = f"""query LeadExport($where: LeadWhere, $search: String, $after: String, $first: Int!) {{
  leads(where: $where, search: $search, after: $after, first: $first) {{
    nodes {{ {" ".join(COLUMNS)} }}
    pageInfo {{ hasNextPage endCursor }}
  }}
}}"""
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
    ) -> AsyncIterator[bytes]:
        """Give the bytes of a file, piece by piece. What is wrong with the filter is raised before the first."""
        write = _csv if form is Form.CSV else _ndjson
        first = True
        async with self._turns:
            async for leads in self._pages(caller, {"where": where, "search": search}):
                yield write(leads, header=first)
                first = False

    async def _pages(self, caller: Caller, asked: dict[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
        after: str | None = None
        async with self._database.readers.reading(snapshot=True) as reading:
            while True:
                context = Context(caller=caller, request_id="export", reading=reading)
                found = await _page(context, {**asked, "after": after, "first": PAGE})
                yield found["nodes"]
                if not found["pageInfo"]["hasNextPage"]:
                    return
                after = found["pageInfo"]["endCursor"]


async def _page(context: Context, variables: dict[str, Any]) -> dict[str, Any]:
    data = await graph.short_way.answer(document(QUERY), None, variables, context)
    if data is None:  # it refuses, and the long way says why
        result = await graph.execute(QUERY, variable_values=variables, context_value=context)
        for error in result.errors or ():
            raise error
        if result.data is None:
            raise Internal
        data = result.data
    page: dict[str, Any] = orjson.loads(orjson.dumps(data))["leads"]
    return page


def _ndjson(leads: list[dict[str, Any]], *, header: bool) -> bytes:
    del header
    return b"".join(orjson.dumps(lead, option=orjson.OPT_APPEND_NEWLINE) for lead in leads)


def _csv(leads: list[dict[str, Any]], *, header: bool) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    if header:
        out.write("\ufeff")  # tells spreadsheets that it is UTF-8
        writer.writerow(COLUMNS)
    writer.writerows([_cell(value) for value in lead.values()] for lead in leads)
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return safe_cell(value)
    if isinstance(value, dict):
        return dumps(value) if value else ""
    return value
