"""Batches of leads: create those we don't know, change those we do, in the order given, and say what became of each row."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import Any

from app.actions import batches, references
from app.actions.batches import BatchKind
from app.actions.known_leads import KnownLeads, load_known, load_named
from app.actions.lead_changes import Move, settle
from app.actions.lead_rows import Refused, changed_lead, empty_only, new_lead
from app.actions.made_leads import MadeRows, make_fresh, new_among
from app.actions.races import going_round
from app.actions.scorer import load_scorer
from app.actions.trials import Trial
from app.actions.work import Work
from app.database import MANY
from app.errors import BadUserInput, CampaignNotFound, shown
from app.rules.fields import Draft, ErrorCode, FieldError, read_draft
from app.rules.ids import new_id
from app.rules.making import KEYS

#: How many rows a batch may have.
MOST = 1_000


class OnMatch(StrEnum):
    """What a row does to a lead that is already there."""

    UPDATE = "UPDATE"
    FILL = "FILL"
    SKIP = "SKIP"
    FAIL = "FAIL"


class ErrorPolicy(StrEnum):
    """What one bad row does to its batch."""

    REJECT_ROWS = "REJECT_ROWS"
    REJECT_ALL = "REJECT_ALL"


class RowOutcome(StrEnum):
    """What became of a row."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    UNCHANGED = "UNCHANGED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


@dataclass(slots=True)
class RowResult:
    """What became of one row; `changes` tell all that it changed of its lead, but for the score."""

    index: int
    outcome: RowOutcome
    lead_id: str | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)
    errors: list[FieldError] = field(default_factory=list)


@dataclass(slots=True)
class UpsertReport:
    """A result a row, in the order given; their counts (`total` is the sum of the others); the batch, where there is one."""

    results: list[RowResult]
    summary: dict[str, int]
    batch_id: str | None


@dataclass(frozen=True, slots=True)
class Manner:
    """How all rows of a batch are applied."""

    on_match: OnMatch
    campaign_id: str | None
    source: str  #: Of new leads that name none.


async def upsert_many(
    work: Work,
    rows: Sequence[Mapping[str, Any]],
    *,
    campaign_id: str | None = None,
    on_match: OnMatch = OnMatch.UPDATE,
    error_policy: ErrorPolicy = ErrorPolicy.REJECT_ROWS,
    auto_score: bool = True,
    dry_run: bool = False,
    source: str = "api",
    clearing: bool | None = None,
    batch: bool = True,
) -> UpsertReport:
    """Create the leads we don't know and change those we do; a bad row becomes a result with errors, the others go through.

    A row names only the fields it sets, by the contract's names, in loose values. Under UPDATE a null clears, unless
    `clearing` says otherwise. New leads without a source get `source`. With `dry_run` all is done and undone again.
    Without `batch` the caller has one of its own, in `work.batch_id`. Raises BadUserInput for none or more than 1,000
    rows, CampaignNotFound.
    """
    if not 1 <= len(rows) <= MOST:
        raise BadUserInput(f"input.leads: {len(rows):,} rows given, 1 to {MOST:,} are taken", argument="input.leads")
    clears = on_match is OnMatch.UPDATE if clearing is None else clearing and on_match is OnMatch.UPDATE
    drafts = [read_draft(row, clearing=clears) for row in rows]
    manner = Manner(on_match, campaign_id, source)
    return await upsert_drafts(work, drafts, manner, error_policy=error_policy, auto_score=auto_score, dry_run=dry_run, batch=batch)


async def upsert_drafts(
    work: Work,
    drafts: Sequence[Draft],
    manner: Manner,
    *,
    error_policy: ErrorPolicy = ErrorPolicy.REJECT_ROWS,
    auto_score: bool = True,
    dry_run: bool = False,
    batch: bool = True,
) -> UpsertReport:
    """Do what `upsert_many` does with rows that have been read already, however many. Raises CampaignNotFound."""

    async def attempt() -> UpsertReport:
        if manner.campaign_id is not None:
            await _refuse_unknown(work, manner.campaign_id)
        known = await load_known(work, [draft.fields for draft in drafts if not draft.errors])
        new, others = _parted(drafts, known)
        ids = [new_id("lead") for _ in drafts] if new else ()
        results, moves = _decide(work, drafts, others, known, manner, ids)
        if error_policy is ErrorPolicy.REJECT_ALL and any(result.errors for result in results):
            results += [RowResult(place, RowOutcome.CREATED, ids[place]) for place in new]
            return _report(_rejected(results), None)
        scorer = fresh = None
        if new:
            scorer = await load_scorer(work, _campaigns(manner, moves)) if auto_score else None
            fresh, told = make_fresh(work, drafts, new, ids, source=manner.source, campaign_id=manner.campaign_id, scorer=scorer)
            results += [RowResult(place, RowOutcome.CREATED, ids[place], changes) for place, changes in told]
        await settle(work, moves, auto_score=auto_score, scorer=scorer, fresh=fresh)
        report = _report(results, work.batch_id)
        if batch and work.batch_id is not None:
            await batches.write_batch(work, work.batch_id, BatchKind.UPSERT, report.summary)
        if dry_run:
            _forget_created(report)
        return report

    batch_before = work.batch_id
    if batch:
        work.batch_id = new_id("bat")
    try:
        return await going_round(work, attempt, keep=not dry_run)
    finally:
        work.batch_id = batch_before


async def upsert_made(
    work: Work, rows: MadeRows, drafts: Callable[[], Sequence[Draft]], manner: Manner, *, auto_score: bool
) -> UpsertReport:
    """Do what `upsert_drafts` does with rows whose leads were made before their turn; `drafts` gives all rows, should any not be new.

    The results tell only of those that were not new. Raises CampaignNotFound.
    """

    async def attempt() -> UpsertReport:
        campaigns = set[str]()
        if manner.campaign_id is not None:
            await _refuse_unknown(work, manner.campaign_id)
            campaigns.add(manner.campaign_id)
        known = await load_named(work, rows.named())
        campaigns.update(*known.campaigns.values())
        scorer = await load_scorer(work, campaigns) if auto_score else None
        fresh, others = rows.parted(known, scorer)
        # The ids that they were made with, so that what is new is in the order of the file.
        ids = [made.id for made in rows.leads] if others else ()
        results, moves = _decide(work, drafts() if others else (), others, known, manner, ids)
        await settle(work, moves, auto_score=auto_score, scorer=scorer, fresh=fresh)
        return _report(results, work.batch_id, created=len(fresh.leads) if fresh else 0)

    return await going_round(work, attempt)


async def rehearse(work: Work, drafts: Sequence[Draft], manner: Manner, trial: Trial) -> UpsertReport:
    """Tell what a piece of a file would do after the pieces that the trial knows; nothing is locked, and nothing is written."""
    if manner.campaign_id is not None:
        await _refuse_unknown(work, manner.campaign_id)
    named = [draft.fields for draft in drafts if not draft.errors]
    known = trial.over(await load_known(work, named, lock=False), named)
    results, moves = _decide(work, drafts, range(len(drafts)), known, manner)
    trial.take(moves)
    return _report(results, None)


async def _refuse_unknown(work: Work, campaign_id: str) -> None:
    argument = "input.campaignId"
    if references.checked(campaign_id, argument) not in await references.known_campaigns(work, [campaign_id]):
        raise CampaignNotFound(argument=argument)


def _parted(drafts: Sequence[Draft], known: KnownLeads) -> tuple[Sequence[int], Sequence[int]]:
    """Part the rows of many whose leads are new, and can be made without looking at the others, from those to be decided one by one."""
    if len(drafts) < MANY:
        return (), range(len(drafts))
    sound = [place for place, draft in enumerate(drafts) if not draft.errors]
    new, _ = new_among([tuple([drafts[place].fields.get(name) for name in KEYS]) for place in sound], known)
    chosen = {sound[at] for at in new}
    return sorted(chosen), [place for place in range(len(drafts)) if place not in chosen]


def _campaigns(manner: Manner, moves: Iterable[Move]) -> set[str]:
    joined = {campaign_id for move in moves for campaign_id in move.is_in}
    return joined if manner.campaign_id is None else joined | {manner.campaign_id}


def _decide(
    work: Work, drafts: Sequence[Draft], places: Iterable[int], known: KnownLeads, manner: Manner, ids: Sequence[str] = ()
) -> tuple[list[RowResult], list[Move]]:
    """Decide each row at these places on top of those before it. Nothing is asked of the database here, and nothing is written.

    `ids`: what the leads of all rows are called if they are new, where that is known.
    """
    results: list[RowResult] = []
    moves: list[Move] = []
    for index in places:
        draft = drafts[index]
        if draft.errors:
            results.append(RowResult(index, RowOutcome.FAILED, errors=draft.errors))
            continue
        try:
            outcome, move = _decide_row(work, draft.fields, known, manner, ids[index] if ids else None)
        except Refused as refused:
            results.append(RowResult(index, RowOutcome.FAILED, errors=[refused.error]))
            continue
        if move.changes:
            move.place = index
            moves.append(move)
            known.put(move.after, move.is_in)
        results.append(RowResult(index, outcome, move.lead_id, move.changes))
    return results, moves


def _decide_row(work: Work, fields: Mapping[str, Any], known: KnownLeads, manner: Manner, lead_id: str | None) -> tuple[RowOutcome, Move]:
    lead = known.match(fields)
    joins = frozenset([manner.campaign_id]) if manner.campaign_id is not None else frozenset[str]()
    if lead is None:
        return RowOutcome.CREATED, Move(None, new_lead(work, fields, source=manner.source, lead_id=lead_id), is_in=joins)
    if manner.on_match is OnMatch.FAIL:
        raise _already_there(fields, lead)
    if manner.on_match is OnMatch.SKIP:
        fields = {}
    elif manner.on_match is OnMatch.FILL:
        fields = empty_only(lead, fields)
    known.refuse_taken(fields, lead["id"])
    was_in = known.campaigns[lead["id"]]
    move = Move(lead, changed_lead(work, lead, fields), was_in, was_in | joins)
    if manner.on_match is OnMatch.SKIP:
        return RowOutcome.SKIPPED, move
    return RowOutcome.UPDATED if move.changes else RowOutcome.UNCHANGED, move


def _already_there(fields: Mapping[str, Any], lead: Mapping[str, Any]) -> Refused:
    if fields.get("id") is not None:
        name, value = "id", fields["id"]
    elif fields.get("email_key") is not None and fields["email_key"] == lead["email_key"]:
        name, value = "email", fields["email"]
    else:
        name, value = "crmId", fields["crm_id"]
    return Refused(ErrorCode.TAKEN, f"{name} {shown(value)}: a lead has it already", name)


def _rejected(results: Sequence[RowResult]) -> list[RowResult]:
    """Turn the results into those of a batch that one bad row keeps out."""
    new = _created(results)
    return [
        result if result.errors else RowResult(result.index, RowOutcome.SKIPPED, None if result.lead_id in new else result.lead_id)
        for result in results
    ]


def _forget_created(report: UpsertReport) -> None:
    """Take from a report what is not there after a dry run: the batch, and the leads that would have been new."""
    new = _created(report.results)
    report.batch_id = None
    for result in report.results:
        if result.lead_id in new:
            result.lead_id = None


def _created(results: Iterable[RowResult]) -> set[str | None]:
    return {result.lead_id for result in results if result.outcome is RowOutcome.CREATED}


def _report(results: list[RowResult], batch_id: str | None, created: int = 0) -> UpsertReport:
    counts = {outcome.value.lower(): count for outcome, count in Counter([result.outcome for result in results]).items()}
    counts["created"] = counts.get("created", 0) + created
    return UpsertReport(sorted(results, key=attrgetter("index")), batches.summary_of(counts), batch_id)
