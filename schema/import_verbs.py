"""Importing files: the verbs, and what they tell."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import strawberry

from app.actions import imports, upserts
from app.errors import BadUserInput, shown
from app.rules.uploads import UnknownColumns
from schema.context import Context
from schema.inputs import LeadImportInput
from schema.replies import Ref

Data = dict[str, Any]


def _order(given: Data) -> imports.Order:
    pairs: dict[str, str | None] = {}
    for place, pair in enumerate(given.get("mapping") or ()):
        if pair["column"].strip() in pairs:
            argument = f"input.mapping[{place}].column"
            raise BadUserInput(f"{argument} {shown(pair['column'])}: stands there twice", argument=argument)
        pairs[pair["column"].strip()] = pair.get("field")
    return imports.Order(
        file_name=given["file"].name,
        campaign_id=given.get("campaignId"),
        given=pairs,
        unknown=UnknownColumns(given["unknownColumns"]),
        encoding=given.get("encoding"),
        source=given.get("source"),
        on_match=upserts.OnMatch(given["onMatch"]),
        auto_score=given["autoScore"],
        dry_run=given["dryRun"],
    )


def _ahead(rows: int | None) -> Callable[[Data], Awaitable[None]]:
    async def read(arguments: Data) -> None:
        given = arguments["input"]
        # In a thread: a file may take seconds, and this one belongs to everybody's requests.
        await asyncio.to_thread(given["file"].ahead.read, given.get("encoding"), rows)

    return read


#: What reads the file of an import or of a preview before the transaction begins.
read_whole, read_head = _ahead(None), _ahead(imports.PREVIEWED)


async def lead_import(context: Context, input: LeadImportInput) -> Data:  # noqa: A002
    """Import a file of leads: looked through at once, carried out as a job."""
    given: Any = input
    ordered = await imports.order(context.writing, given["file"].ahead, _order(given))
    return {"importJob": Ref("ImportJob", ordered.id)}


async def lead_import_preview(context: Context, input: LeadImportInput) -> Data:  # noqa: A002
    """Reads the head of the file; writes nothing."""
    given: Any = input
    return await imports.preview(context.writing, given["file"].ahead, _order(given))


async def import_job_cancel(context: Context, id: strawberry.ID) -> Data:  # noqa: A002
    """Stop an import; what is in stays in, and can be undone by its batch."""
    return {"importJob": Ref("ImportJob", await imports.cancel(context.writing, id))}
