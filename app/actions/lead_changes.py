"""Writing leads, one or a thousand: score them, write what is new and what changed, and tell the log.

Whoever changes leads decides first and makes a `Move` of each decision; `settle` writes all moves with a number of
statements that does not depend on how many there are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from operator import is_, itemgetter
from typing import Any

import sqlalchemy as sa

from app.actions import emails, lead_search
from app.actions.activities import ActivityKind, Entry, record_rows, unnumbered
from app.actions.known_leads import NOWHERE, UNIQUE
from app.actions.made_leads import Fresh, insert_leads, record_among
from app.actions.races import RaceLost
from app.actions.references import LEAD
from app.actions.scorer import CAMPAIGN_LEAD, UNSCORED, Scorer, load_scorer, memberships
from app.actions.work import Work
from app.database import MANY, among, insert_rows, listed, packed, unpacked, update_rows
from app.rules.lead_values import field_changes
from app.rules.making import BIT
from app.rules.written import change


@dataclass(slots=True)
class Move:
    """What one row of a batch, or one mutation field, does to one lead: decided, not yet written.

    Several moves of one lead stand in their order, each beginning where the one before it ended.
    """

    before: dict[str, Any] | None  #: The lead's row as it was; None for a new lead.
    after: dict[str, Any]
    was_in: frozenset[str] = NOWHERE  #: The campaigns that it was in.
    is_in: frozenset[str] = NOWHERE
    score_before: int | None = None  #: Known when it is settled.
    unscored: bool = False  #: Whether the lead is to have no score, as it had none before.
    place: int = 0  #: Of its row in the batch.
    lead_id: str = field(init=False)
    changes: list[dict[str, Any]] = field(init=False)  #: All that differs but the score, in the contract's names.

    def __post_init__(self) -> None:
        """Tell what differs, once: the log and the batch's report both say it."""
        self.lead_id = self.after["id"]
        self.changes = [] if self.before is self.after else field_changes(self.before, self.after)
        assigned = self.before and self.before["assignee_id"]
        if assigned != self.after["assignee_id"]:
            self.changes.append(change("assignee", assigned, self.after["assignee_id"]))
        if self.was_in != self.is_in:
            self.changes.append(change("campaigns", None if self.before is None else sorted(self.was_in), sorted(self.is_in)))


async def settle(
    work: Work, moves: Sequence[Move], *, auto_score: bool = True, scorer: Scorer | None = None, fresh: Fresh | None = None
) -> None:
    """Write all moves, score their leads (without `auto_score`: mark what was scored as stale), and log them in order.

    The leads are locked already. `after` of each move gets the lead's score. Raises RaceLost where another transaction
    has taken an e-mail address or a CRM id of a new lead meanwhile: run inside `going_round`. `scorer` is there where it was read
    before; `fresh` are new leads of the same batch that were made at once, and are written beside.
    """
    if not moves and fresh is None:
        return
    if auto_score:
        _score(moves, scorer or await load_scorer(work, {campaign_id for move in moves for campaign_id in move.is_in}))
    else:
        _keep_scores(moves)
    nets = _nets(moves)
    told: list[dict[str, Any]] = []
    places: list[int] = []
    cancelled: dict[tuple[str | None, str], list[Entry]] = {}
    telling = _telling(work, moves, cancelled, told, places)
    if len(moves) >= MANY and not any(move.was_in - move.is_in for move in moves):
        work.meanwhile = chain(telling, work.meanwhile or ())
    await _write_leads(work, nets, fresh)
    await _write_memberships(work, nets, fresh)
    await _write_search(work, nets, fresh)
    cancelled |= await _cancel_emails(work, moves)
    for _ in telling:
        pass
    await (record_rows(work, told) if fresh is None else record_among(work, fresh, told, places))


def _telling(
    work: Work,
    moves: Iterable[Move],
    cancelled: Mapping[tuple[str | None, str], list[Entry]],
    told: list[dict[str, Any]],
    places: list[int],
) -> Iterator[None]:
    """Make the rows of the log, bit by bit, and note the place of each one's move."""
    row_of = unnumbered(work)
    for count, move in enumerate(moves, 1):
        told += map(row_of, _entries(move, cancelled))
        places += [move.place] * (len(told) - len(places))
        if count % BIT == 0:
            yield


def _score(moves: Iterable[Move], scorer: Scorer) -> None:
    scored: dict[str, int | None] = {}
    for move in moves:
        before = move.before or UNSCORED
        move.score_before = scored.get(move.lead_id, before["quality_score"])
        columns = UNSCORED if move.unscored else scorer.columns(move.after, move.is_in)
        if columns["score_components"] == before["score_components"]:  # the same object need not be written again
            columns = {**columns, "score_components": before["score_components"]}
        if move.after is move.before:
            move.after = {**move.after, **columns}
        else:
            move.after |= columns
        scored[move.lead_id] = move.after["quality_score"]


def _keep_scores(moves: Iterable[Move]) -> None:
    held: dict[str, dict[str, Any]] = {}
    for move in moves:
        before = held.get(move.lead_id) or move.before or UNSCORED
        kept = {name: before[name] for name in UNSCORED}
        move.score_before = before["quality_score"]
        if move.score_before is not None and move.before is not None:
            kept["score_stale"] = before["score_stale"] or bool(move.changes)
        move.after = held[move.lead_id] = {**move.after, **kept}


def _nets(moves: Iterable[Move]) -> list[Move]:
    """Put the moves of each lead together into one."""
    nets: dict[str, Move] = {}
    for move in moves:
        first = nets.get(move.lead_id)
        nets[move.lead_id] = move if first is None else Move(first.before, move.after, first.was_in, move.is_in)
    return list(nets.values())


_UNIQUE = tuple(column for column, _, _ in UNIQUE)
_LEAD_COLUMNS = tuple(name for name in LEAD.c.keys() if name not in ("workspace_id", "created_at"))  # noqa: SIM118 -- columns, no dict
_SCORE_COLUMNS = ("id", *UNSCORED)
_lead_values = itemgetter(*_LEAD_COLUMNS)


async def _write_leads(work: Work, nets: Sequence[Move], fresh: Fresh | None) -> None:
    known = [net for net in nets if net.before is not None]
    freed = await _free(work, known, nets)
    # In this order in every transaction, so that two that bring the same people wait for each other in no circle.
    new = sorted((net.after for net in nets if net.before is None), key=lambda row: (row["email_key"] or "", row["crm_id"] or ""))
    if fresh is not None:
        await insert_leads(work, fresh, new)
    else:
        inserted = await work.beside(insert_rows(work.connection, LEAD, new, ignore=True, returning=["id"]))
        if len(inserted) < len(new):
            raise RaceLost
    changed = [net for net in known if net.before is not None and net.before["version"] != net.after["version"]]
    scored = [net for net in known if net.before is not None and net.before["version"] == net.after["version"]]
    columns = _LEAD_COLUMNS if freed else _touched(changed)
    await work.beside(update_rows(work.connection, LEAD, work.workspace, [net.after for net in changed], columns=columns))
    await update_rows(work.connection, LEAD, work.workspace, [net.after for net in scored], columns=_SCORE_COLUMNS)


def _touched(nets: Sequence[Move]) -> Sequence[str]:
    """Give the columns that hold something else than before in any of many leads: the indexes on the others are left in peace."""
    if len(nets) < MANY:
        return _LEAD_COLUMNS
    # By identity: a value that was left alone is the same object, and to Python 1 and True in an attribute would be equal.
    kinds = {bytes(map(is_, _lead_values(net.before), _lead_values(net.after))) for net in nets if net.before is not None}
    return ["id", *(name for name, *same in zip(_LEAD_COLUMNS, *kinds, strict=True) if name != "id" and not all(same))]


async def _free(work: Work, known: Iterable[Move], nets: Iterable[Move]) -> bool:
    """Take unique values from the leads that give them to others: both databases look at uniqueness row by row.

    Tells whether there were any: all that was taken from them has to be written again.
    """
    taken = {(name, net.after[name]): net.lead_id for net in nets for name in _UNIQUE}
    givers = {
        net.lead_id
        for net in known
        for name in _UNIQUE
        if net.before is not None and net.before[name] is not None and taken.get((name, net.before[name]), net.lead_id) != net.lead_id
    }
    if givers:
        statement = (
            sa.update(LEAD)
            .values(dict.fromkeys(_UNIQUE))
            .where(LEAD.c.workspace_id == sa.bindparam("workspace"), among(LEAD.c.id, "ids", postgres=work.postgres))
        )
        await work.run(statement, {"ids": listed(givers, postgres=work.postgres)})
    return bool(givers)


async def _write_memberships(work: Work, nets: Iterable[Move], fresh: Fresh | None) -> None:
    joined = [] if fresh is None else fresh.joined(work)
    left, rescored = [], []
    for net in nets:
        joined += [_membership(work, net.after, campaign_id) for campaign_id in sorted(net.is_in - net.was_in)]
        left += [{"campaign_id": campaign_id, "lead_id": net.lead_id} for campaign_id in sorted(net.was_in - net.is_in)]
        if net.was_in & net.is_in and net.before is not None and net.before["quality_score"] != net.after["quality_score"]:
            rescored.append({"lead_id": net.lead_id, "quality_score": net.after["quality_score"]})
    if left:
        rows = packed(CAMPAIGN_LEAD, left, ("campaign_id", "lead_id"), postgres=work.postgres)
        await work.run(_leave(postgres=work.postgres), {"rows": rows})
    await insert_rows(work.connection, CAMPAIGN_LEAD, joined)
    await update_rows(work.connection, CAMPAIGN_LEAD, work.workspace, rescored, keys=["lead_id"])


def _membership(work: Work, lead: dict[str, Any], campaign_id: str) -> dict[str, Any]:
    return {
        "workspace_id": work.workspace,
        "campaign_id": campaign_id,
        "lead_id": lead["id"],
        "quality_score": lead["quality_score"],
        "lead_created_at": lead["created_at"],
        "joined_at": work.now,
    }


@cache
def _leave(*, postgres: bool) -> sa.Delete:
    given = unpacked(CAMPAIGN_LEAD, ("campaign_id", "lead_id"), postgres=postgres)
    pair = sa.tuple_(CAMPAIGN_LEAD.c.campaign_id, CAMPAIGN_LEAD.c.lead_id)
    return sa.delete(CAMPAIGN_LEAD).where(
        CAMPAIGN_LEAD.c.workspace_id == sa.bindparam("workspace"), pair.in_(sa.select(given.c.campaign_id, given.c.lead_id))
    )


async def _write_search(work: Work, nets: Iterable[Move], fresh: Fresh | None) -> None:
    other = [net for net in nets if net.before is None or net.before["search_text"] != net.after["search_text"]]
    await work.beside(lead_search.forget(work, [net.lead_id for net in other if net.before is not None]))
    made = () if fresh is None else [made.entry for *_, made in fresh.leads]
    await work.beside(lead_search.remember(work, [net.after for net in other], made))


async def _cancel_emails(work: Work, moves: Iterable[Move]) -> dict[tuple[str | None, str], list[Entry]]:
    """Cancel what a campaign was to send to those who leave it; one statement for each campaign that is left."""
    leaving: dict[str, list[str]] = {}
    for move in moves:
        for campaign_id in move.was_in - move.is_in:
            leaving.setdefault(campaign_id, []).append(move.lead_id)
    cancelled: dict[tuple[str | None, str], list[Entry]] = {}
    for campaign_id, lead_ids in leaving.items():
        for entry in await emails.cancel_unsent(work, campaign_id, lead_ids):
            cancelled.setdefault((entry.lead_id, campaign_id), []).append(entry)
    return cancelled


def _entries(move: Move, cancelled: Mapping[tuple[str | None, str], list[Entry]]) -> Iterator[Entry]:
    score, lead_id = move.after["quality_score"], move.lead_id
    scored = [] if score == move.score_before else [change("qualityScore", move.score_before, score)]
    if move.before is None:
        yield Entry(ActivityKind.LEAD_CREATED, lead_id, changes=[*move.changes, *scored])
        return
    told: dict[str, list[dict[str, Any]]] = {"status": [], "assignee": [], "campaigns": [], "": []}
    for each in move.changes:
        told.get(each["field"], told[""]).append(each)
    if told[""]:
        yield Entry(ActivityKind.LEAD_UPDATED, lead_id, changes=told[""])
    if told["status"]:
        yield Entry(ActivityKind.STATUS_CHANGED, lead_id, status=move.after["status"], changes=told["status"])
    if told["assignee"]:
        yield Entry(ActivityKind.ASSIGNED, lead_id, changes=told["assignee"])
    for campaign_id in sorted(move.is_in - move.was_in):
        yield Entry(ActivityKind.CAMPAIGN_JOINED, lead_id, campaign_id, changes=told["campaigns"])
    for campaign_id in sorted(move.was_in - move.is_in):
        yield Entry(ActivityKind.CAMPAIGN_LEFT, lead_id, campaign_id, changes=told["campaigns"])
        yield from cancelled.get((lead_id, campaign_id), ())
    if scored:
        yield Entry(ActivityKind.SCORED, lead_id, changes=scored)


async def join(work: Work, campaign_id: str, lead_rows: Sequence[dict[str, Any]]) -> int:
    """Put leads into a campaign and give the number of those that were not in it; the rows are locked already."""
    return await _regroup(work, lead_rows, lambda held: held | {campaign_id})


async def leave(work: Work, campaign_id: str, lead_rows: Sequence[dict[str, Any]]) -> int:
    """Take leads out of a campaign, cancel what it was to send them, and give the number of those that were in it."""
    return await _regroup(work, lead_rows, lambda held: held - {campaign_id})


async def _regroup(work: Work, lead_rows: Iterable[dict[str, Any]], regroup: Callable[[frozenset[str]], frozenset[str]]) -> int:
    leads = {lead["id"]: lead for lead in lead_rows}
    held = await memberships(work, leads)
    moves = [Move(lead, lead, was, regroup(was)) for lead_id, lead in leads.items() if regroup(was := held.get(lead_id, NOWHERE)) != was]
    await settle(work, moves)
    return len(moves)
