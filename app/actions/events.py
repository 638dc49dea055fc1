"""Custom events of leads, one or a thousand: recorded once, whatever a caller sends twice."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

import sqlalchemy as sa

from app.actions import batches, references
from app.actions.activities import ACTIVITY, ActivityKind, Entry, record_rows, unnumbered
from app.actions.batches import BatchKind
from app.actions.lead_rows import Refused
from app.actions.leads import as_error
from app.actions.references import LEAD
from app.actions.upserts import ErrorPolicy
from app.actions.work import Work
from app.database import packed, unpacked, update_rows
from app.errors import BadUserInput, CampaignNotFound, shown
from app.rules.events import read_event
from app.rules.fields import ErrorCode, FieldError
from app.rules.folding import fold
from app.rules.ids import new_id

#: How many events a call may have.
MOST = 1_000
#: What of a lead its events ask for and change.
_OF_A_LEAD = ("id", "email_key", "crm_id", "last_activity_at")


class EventOutcome(StrEnum):
    """What became of an event."""

    ACCEPTED = "ACCEPTED"
    DEDUPLICATED = "DEDUPLICATED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


@dataclass(slots=True)
class EventResult:
    """What became of one event; a deduplicated one gives the activity that was there before it."""

    index: int
    outcome: EventOutcome
    activity_id: str | None = None
    errors: list[FieldError] = field(default_factory=list)


@dataclass(slots=True)
class EventReport:
    """A result an event, in the order given, and the batch, where there is one."""

    results: list[EventResult]
    batch_id: str | None

    def count(self, outcome: EventOutcome) -> int:
        """Count the events of one outcome."""
        return sum(result.outcome is outcome for result in self.results)


@dataclass(slots=True)
class _Draft:
    """An event that was read, and, once that is found, its lead; or what is wrong with it."""

    fields: dict[str, Any]
    errors: list[FieldError]
    lead: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str] | None:
        """What no two events share, where the caller gave it."""
        distinct_id = self.fields.get("distinct_id")
        return None if distinct_id is None else (self.lead["id"], distinct_id)


async def track(work: Work, ref: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[str, bool]:
    """Record an event of one lead; give its activity's id, and whether an event of that `distinctId` was there already.

    `values`: `event`, `distinctId`, `attributes`, `campaignId`, `occurredAt`. Raises LeadNotFound, CampaignNotFound, BadUserInput.
    """
    fields, errors = read_event(values, of_lead=False)
    if errors:
        raise as_error(errors[0], "input")
    if (campaign_id := fields.get("campaign_id")) is not None and not await references.known_campaigns(work, [str(campaign_id)]):
        raise CampaignNotFound(argument="input.campaignId")
    draft = _Draft(fields, [], await references.lead(work, ref, "input.lead"))
    [result] = await _write(work, [draft])
    return str(result.activity_id), result.outcome is EventOutcome.DEDUPLICATED


async def track_many(work: Work, rows: Sequence[Mapping[str, Any]], *, error_policy: ErrorPolicy = ErrorPolicy.REJECT_ROWS) -> EventReport:
    """Record events of many leads, in the order given; a bad row becomes a result with errors, the others go through.

    A row says in loose values, by the contract's names, which lead it is about and what happened. Raises BadUserInput for none or
    more than 1,000 rows. The number of statements does not depend on that of the rows.
    """
    if not 1 <= len(rows) <= MOST:
        raise BadUserInput(f"events: {len(rows):,} given, 1 to {MOST:,} are taken", argument="events")
    drafts = [_Draft(*read_event(row)) for row in rows]
    await _refuse_unknown_campaigns(work, drafts)
    await _find_leads(work, drafts)
    if error_policy is ErrorPolicy.REJECT_ALL and any(draft.errors for draft in drafts):
        return EventReport([_left_out(index, draft) for index, draft in enumerate(drafts)], None)
    batch_before, work.batch_id = work.batch_id, new_id("bat")
    try:
        report = EventReport(await _write(work, drafts), work.batch_id)
        counts = {
            "created": report.count(EventOutcome.ACCEPTED),
            "unchanged": report.count(EventOutcome.DEDUPLICATED),
            "failed": report.count(EventOutcome.FAILED),
        }
        await batches.write_batch(work, str(report.batch_id), BatchKind.EVENTS, counts)
    finally:
        work.batch_id = batch_before
    return report


async def _refuse_unknown_campaigns(work: Work, drafts: Iterable[_Draft]) -> None:
    named = [draft for draft in drafts if not draft.errors and draft.fields.get("campaign_id") is not None]
    known = await references.known_campaigns(work, {draft.fields["campaign_id"] for draft in named}) if named else set()
    for draft in named:
        if (campaign_id := draft.fields["campaign_id"]) not in known:
            message = f"campaignId {shown(campaign_id)}: there is no such campaign in your workspace"
            draft.errors.append(FieldError(ErrorCode.NOT_FOUND, message, "campaignId"))


async def _find_leads(work: Work, drafts: Iterable[_Draft]) -> None:
    """Find the leads of the sound rows, locked in the order of their ids: from here on nobody else adds an event to them."""
    sound = [draft for draft in drafts if not draft.errors]
    if not sound:
        return
    named = {column: {value for draft in sound if (value := draft.fields.get(column)) is not None} for column in _OF_A_LEAD[:3]}
    found = await references.find_leads(work, ids=named["id"], email_keys=named["email_key"], crm_ids=named["crm_id"], columns=_OF_A_LEAD)
    by = {column: {lead[column]: lead for lead in found} for column in named}
    for draft in sound:
        try:
            draft.lead = _lead_of(draft.fields, by)
        except Refused as refused:
            draft.errors.append(refused.error)


def _lead_of(fields: Mapping[str, Any], by: Mapping[str, Mapping[str, dict[str, Any]]]) -> dict[str, Any]:
    """Find a row's lead: by `leadId`, else e-mail address, else CRM id."""
    if (lead_id := fields.get("id")) is not None:
        if lead_id not in by["id"]:
            raise Refused(ErrorCode.NOT_FOUND, f"leadId {shown(lead_id)}: there is no such lead in your workspace", "leadId")
        return by["id"][lead_id]
    email, crm_id = fields.get("email_key"), fields.get("crm_id")
    by_email = None if email is None else by["email_key"].get(email)
    by_crm_id = None if crm_id is None else by["crm_id"].get(crm_id)
    if by_email and by_crm_id and by_email is not by_crm_id:
        message = f"email {shown(fields['email'])} and crmId {shown(crm_id)} name two different leads"
        raise Refused(ErrorCode.AMBIGUOUS_MATCH, message, "crmId")
    if lead := by_email or by_crm_id:
        return lead
    name, value = ("crmId", crm_id) if email is None else ("email", fields["email"])
    raise Refused(ErrorCode.NOT_FOUND, f"{name} {shown(value)}: there is no such lead in your workspace", name)


def _left_out(index: int, draft: _Draft) -> EventResult:
    """Tell what becomes of a row of a batch that one bad row keeps out."""
    return EventResult(index, EventOutcome.FAILED if draft.errors else EventOutcome.SKIPPED, None, draft.errors)


async def _write(work: Work, drafts: Sequence[_Draft]) -> list[EventResult]:
    """Record the sound events that are new, and let their leads' `lastActivityAt` follow."""
    there = await _recorded(work, {draft.key for draft in drafts if not draft.errors and draft.key is not None})
    new: list[_Draft] = []
    place: dict[tuple[str, str], int] = {}
    results: list[EventResult] = []
    waiting: list[tuple[EventResult, int]] = []
    for index, draft in enumerate(drafts):
        if draft.errors:
            result = EventResult(index, EventOutcome.FAILED, errors=draft.errors)
        elif (key := draft.key) in there:
            result = EventResult(index, EventOutcome.DEDUPLICATED, there[key])
        elif key in place:
            result = EventResult(index, EventOutcome.DEDUPLICATED)
            waiting.append((result, place[key]))
        else:
            if key is not None:
                place[key] = len(new)
            result = EventResult(index, EventOutcome.ACCEPTED)
            waiting.append((result, len(new)))
            new.append(draft)
        results.append(result)
    await _touch_leads(work, new)
    rows = await record_rows(work, _rows(work, new))
    for result, at in waiting:
        result.activity_id = rows[at]["id"]
    return results


def _rows(work: Work, drafts: Iterable[_Draft]) -> list[dict[str, Any]]:
    """Make the rows of the log: a thousand differ from each other by little."""
    same = unnumbered(work)(Entry(ActivityKind.EVENT))
    folded: dict[str, str] = {}
    rows = []
    for draft in drafts:
        given = draft.fields.get
        event = draft.fields["event"]
        if event not in folded:
            folded[event] = fold(event)
        row = {
            **same,
            "id": new_id("act"),
            "event": event,
            "event_folded": folded[event],
            "lead_id": draft.lead["id"],
            "campaign_id": given("campaign_id"),
            "attributes": given("attributes") or {},
            "distinct_id": given("distinct_id"),
            "occurred_at": given("occurred_at") or work.now,
        }
        rows.append(row)
    return rows


async def _recorded(work: Work, keys: Iterable[tuple[str, str] | None]) -> dict[tuple[str, str] | None, str]:
    """Give the ids of the events that were there before, by lead and `distinctId`.

    Their leads are locked: what another transaction recorded is committed and seen, and nobody records more until this one ends.
    """
    rows = [{"lead_id": key[0], "distinct_id": key[1]} for key in keys if key is not None]
    if not rows:
        return {}
    text = packed(ACTIVITY, rows, ("lead_id", "distinct_id"), postgres=work.postgres)
    found = await work.rows(_known(postgres=work.postgres), {"rows": text})
    return {(row["lead_id"], row["distinct_id"]): row["id"] for row in found}


@cache
def _known(*, postgres: bool) -> sa.Select[Any]:
    given: Any = unpacked(ACTIVITY, ("lead_id", "distinct_id"), postgres=postgres)
    if not postgres:
        # Without a limit SQLite might make the log the outer loop, and read all of the workspace's.
        given = sa.select(given).limit(sa.literal_column("-1")).subquery("given")
    mine = (ACTIVITY.c.lead_id == given.c.lead_id, ACTIVITY.c.distinct_id == given.c.distinct_id)
    return (
        sa.select(ACTIVITY.c.id, ACTIVITY.c.lead_id, ACTIVITY.c.distinct_id)
        .select_from(given)
        .join(ACTIVITY, sa.and_(ACTIVITY.c.workspace_id == sa.bindparam("workspace"), *mine))
    )


async def _touch_leads(work: Work, drafts: Iterable[_Draft]) -> None:
    """Let `lastActivityAt` be the greatest moment of all that happened; that alone makes no new version of a lead."""
    latest: dict[str, Any] = {}
    for draft in drafts:
        occurred_at = draft.fields.get("occurred_at") or work.now
        known = latest.get(draft.lead["id"], draft.lead["last_activity_at"])
        if known is None or occurred_at > known:
            latest[draft.lead["id"]] = occurred_at
    rows = [{"id": lead_id, "last_activity_at": moment} for lead_id, moment in sorted(latest.items())]
    await update_rows(work.connection, LEAD, work.workspace, rows)
