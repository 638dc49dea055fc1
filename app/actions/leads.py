"""Leads, one at a time: create, change, delete, assign. Batches of them are in `upserts.py`."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.actions import references
from app.actions.known_leads import NOWHERE, load_known
from app.actions.lead_changes import Move, settle
from app.actions.lead_removal import Removed, remove
from app.actions.lead_rows import Refused, changed_lead, new_lead
from app.actions.races import going_round
from app.actions.scorer import memberships
from app.actions.work import Work
from app.errors import BadUserInput, Conflict, LeadgraphError, Taken
from app.rules.fields import ErrorCode, FieldError, missing_identity, read_input

#: The source of a lead that a request brings without one.
REQUEST_SOURCE = "api"


async def create(
    work: Work,
    values: Mapping[str, Any],
    *,
    campaign_ids: Sequence[str] | None = None,
    assignee: Mapping[str, Any] | None = None,
    auto_score: bool = True,
) -> dict[str, Any]:
    """Create a lead from `LeadInput`'s fields and give its row.

    Raises BadUserInput for a value that breaks a rule, or without e-mail, CRM id and phone; Taken for an e-mail address
    or a CRM id that another lead has; CampaignNotFound, UserNotFound.
    """
    fields, errors = read_input(values, clearing=False)
    _refuse(errors, "input")
    if missing_identity(fields):
        raise BadUserInput("input: a lead needs an e-mail address, a CRM id or a phone", argument="input", rule=ErrorCode.BLANK)

    async def attempt() -> dict[str, Any]:
        campaigns = frozenset(await references.campaigns(work, campaign_ids or (), "input.campaignIds"))
        assignee_id = await references.user_id(work, assignee, "input.assignee")
        try:
            (await load_known(work, [fields], lock=False, with_campaigns=False)).refuse_taken(fields)
        except Refused as refused:
            raise as_error(refused.error, "input") from refused
        row = new_lead(work, fields, source=REQUEST_SOURCE)
        move = Move(None, {**row, "assignee_id": assignee_id}, is_in=campaigns)
        await settle(work, [move], auto_score=auto_score)
        return move.after

    return await going_round(work, attempt)


async def update(work: Work, ref: Mapping[str, Any], patch: Mapping[str, Any], if_version: int | None = None) -> dict[str, Any]:
    """Set the fields that `patch` names (None clears; `attributes` merge by key) and give the lead's row.

    Raises LeadNotFound, UserNotFound; Conflict where the lead is no longer at `if_version`; BadUserInput; Taken. A
    patch that changes nothing writes nothing.
    """
    fields, errors = read_input(patch, clearing=True)
    _refuse(errors, "patch")

    async def attempt() -> dict[str, Any]:
        lead = await _at_version(work, ref, if_version)
        if "assignee" in patch:
            fields["assignee_id"] = await references.user_id(work, patch["assignee"], "patch.assignee")
        try:
            # Not locked: the lead itself is, and a second lock could wait in a circle.
            others = [fields] if "email_key" in fields or "crm_id" in fields else []
            (await load_known(work, others, lock=False, with_campaigns=False)).refuse_taken(fields, lead["id"])
            return await _change(work, lead, fields)
        except Refused as refused:
            raise as_error(refused.error, "patch") from refused

    return await going_round(work, attempt)


async def assign(work: Work, ref: Mapping[str, Any], user: Mapping[str, Any] | None, if_version: int | None = None) -> dict[str, Any]:
    """Give a lead to a user, or take it from whoever has it (None), and give its row.

    Raises LeadNotFound, UserNotFound; Conflict where the lead is no longer at `if_version`.
    """

    async def attempt() -> dict[str, Any]:
        lead = await _at_version(work, ref, if_version)
        return await _change(work, lead, {"assignee_id": await references.user_id(work, user, "user")})

    return await going_round(work, attempt)


async def _change(work: Work, lead: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    after = changed_lead(work, lead, fields)
    if after is lead:
        return lead
    held = (await memberships(work, [lead["id"]])).get(lead["id"], NOWHERE)
    move = Move(lead, after, held, held)
    await settle(work, [move])
    return move.after


async def _at_version(work: Work, ref: Mapping[str, Any], if_version: int | None) -> dict[str, Any]:
    lead = await references.lead(work, ref)
    if if_version is not None and if_version != lead["version"]:
        message = f"ifVersion {if_version}: the lead is at version {lead['version']}; read it again and decide anew"
        raise Conflict(message, argument="ifVersion", currentVersion=lead["version"])
    return lead


async def delete(work: Work, ref: Mapping[str, Any], if_version: int | None = None) -> Removed:
    """Delete a lead, its memberships and its unsent e-mails; the log keeps what it takes to bring them back.

    Raises LeadNotFound; Conflict where the lead is no longer at `if_version`. Sent e-mails stay.
    """
    [gone] = await remove(work, [await _at_version(work, ref, if_version)])
    return gone


def _refuse(errors: Sequence[FieldError], argument: str) -> None:
    if errors:
        raise as_error(errors[0], argument)


def as_error(error: FieldError, argument: str) -> LeadgraphError:
    """Make of what is wrong with a field the error of a whole request; `argument` is what the field is in."""
    at = argument if error.field is None else f"{argument}.{error.field}"
    if error.code is ErrorCode.TAKEN:
        return Taken(error.message, argument=at)
    return BadUserInput(error.message, argument=at, rule=error.code)
