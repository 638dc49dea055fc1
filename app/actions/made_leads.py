"""New leads that are made at once (`rules/making.py`): written beside those that a batch decides, and told in the same order."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from app.actions.activities import ACTIVITY, ActivityKind, Entry, numbered, unnumbered
from app.actions.known_leads import KnownLeads
from app.actions.references import LEAD
from app.actions.scorer import UNSCORED, Scorer
from app.actions.triggers import set_off
from app.actions.work import Work
from app.database import insert_rows, insert_written, written
from app.rules.fields import LEAD_FIELDS, Draft, LeadStatus
from app.rules.making import KEYS, LOGGED, MadeLead, Making, make

#: A lead's place among others in a batch, its folded e-mail and its CRM id, and itself.
Placed = tuple[int, str | None, str | None, MadeLead]


@dataclass(frozen=True, slots=True)
class MadeRows:
    """Rows of a batch, each with what it may be known by and the lead that it is if it is new."""

    making: Making
    keys: Sequence[tuple[str | None, ...]]  #: Values of `KEYS`.
    leads: Sequence[MadeLead]

    def named(self) -> dict[str, set[str]]:
        """Give all that the rows name."""
        return {name: {value for key in self.keys if (value := key[at]) is not None} for at, name in enumerate(KEYS)}

    def parted(self, known: KnownLeads, scorer: Scorer | None) -> "tuple[Fresh | None, Sequence[int]]":
        """Part the rows whose leads are new from the others, as `new_among` does.

        Where the rules of scoring are others by now, all are to be decided.
        """
        if scorer is not None and not scorer.is_of(self.making.rules, self.making.campaign_id, self.making.criteria):
            return None, range(len(self.keys))
        new, others = new_among(self.keys, known)
        fresh = [(place, self.keys[place][1], self.keys[place][2], self.leads[place]) for place in new]
        return Fresh(fresh, self.making) if fresh else None, others


def new_among(keys: Sequence[tuple[str | None, ...]], known: KnownLeads) -> tuple[list[int], list[int]]:
    """Part rows, given by their values of `KEYS`, into those whose leads are new and share nothing with another row, and all others.

    Both by their places; the others are to be decided one by one.
    """
    emails = Counter(key[1] for key in keys)
    crm_ids = Counter(key[2] for key in keys)
    new: list[int] = []
    others: list[int] = []
    for place, (lead_id, email, crm_id) in enumerate(keys):
        twice = (email is not None and emails[email] > 1) or (crm_id is not None and crm_ids[crm_id] > 1)
        known_already = lead_id is not None or twice or known.is_owned("email_key", email) or known.is_owned("crm_id", crm_id)
        (others if known_already else new).append(place)
    return new, others


@dataclass(frozen=True, slots=True)
class Fresh:
    """Rows of a batch whose leads are new, and share nothing that a lead is known by with any other row or lead."""

    leads: Sequence[Placed]
    making: Making
    #: Whether SQLite is to take them in one statement, as those of a request.
    at_once: bool = False

    def joined(self, work: Work) -> list[dict[str, Any]]:
        """Give their places in the campaign that they join."""
        if self.making.campaign_id is None:
            return []
        alike = {"workspace_id": work.workspace, "campaign_id": self.making.campaign_id, "lead_created_at": work.now, "joined_at": work.now}
        return [{**alike, "lead_id": made.id, "quality_score": made.score} for *_, made in self.leads]


#: A request may name any field. With these columns for all there are no more texts of statements than sizes.
_ANY_FIELD = tuple(each.name for each in LEAD_FIELDS)


def make_fresh(
    work: Work,
    drafts: Sequence[Draft],
    places: Iterable[int],
    ids: Sequence[str],
    *,
    source: str,
    campaign_id: str | None,
    scorer: Scorer | None,
) -> tuple[Fresh, list[tuple[int, list[dict[str, Any]]]]]:
    """Make the leads of those rows of a batch that are new (`new_among`), and tell of each what differs from no lead, but for the score."""
    criteria = () if scorer is None or campaign_id is None else tuple(scorer.criteria_of([campaign_id]))
    making = Making(_ANY_FIELD, source, campaign_id, None if scorer is None else scorer.rules, criteria, work.postgres)
    texts: dict[int, tuple[Any, str]] = {}
    leads: list[Placed] = []
    told = []
    for place in places:
        fields = drafts[place].fields
        made, changes = make(fields, making, texts, ids[place])
        leads.append((place, fields.get("email_key"), fields.get("crm_id"), made))
        told.append((place, changes))
    return Fresh(leads, making, at_once=True), told


async def insert_leads(work: Work, fresh: Fresh, others: Sequence[dict[str, Any]]) -> None:
    """Write them and `others`, rows of new leads of the same batch, in the order of every transaction. IntegrityError: a race was lost."""
    making = fresh.making
    columns = making.columns
    scored = {"score_computed_at": work.now, "score_rules_version": making.rules.version} if making.rules is not None else {}
    same = {
        "workspace_id": work.workspace,
        "status": LeadStatus.NEW.value,
        "attributes": {},
        "created_at": work.now,
        "updated_at": work.now,
        "score_stale": UNSCORED["score_stale"],
        **scored,
    }
    rows = [(key or "", crm_id or "", made.row) for _, key, crm_id, made in fresh.leads]
    for other, row in zip(others, written(work.connection, LEAD, others, columns), strict=True):
        rows.append((other["email_key"] or "", other["crm_id"] or "", row))
    rows.sort(key=itemgetter(0, 1))
    alike = {name: value for name, value in same.items() if name not in columns}
    await work.beside(insert_written(work.connection, LEAD, columns, [row for *_, row in rows], alike, at_once=fresh.at_once))


async def record_among(work: Work, fresh: Fresh, told: list[dict[str, Any]], places: Sequence[int]) -> None:
    """Tell the log of them and of what else their batch did: rows of the log, `unnumbered`, each with its place in the batch."""
    turns = [(place, False, at) for at, place in enumerate(places)] + [(place, True, at) for at, (place, *_) in enumerate(fresh.leads)]
    alike = unnumbered(work)(Entry(ActivityKind.LEAD_CREATED))
    rows: list[Any] = []
    numbers: dict[str, int] = {}
    for sequence, (_, new, at) in enumerate(sorted(turns), await numbered(work, len(turns))):
        if new:
            made = fresh.leads[at][-1]
            rows.append(b"%b\t%d" % (made.logged, sequence) if isinstance(made.logged, bytes) else (*made.logged, sequence))
            numbers[made.id] = sequence
        else:
            told[at]["sequence"] = sequence
    same = {name: value for name, value in alike.items() if name not in LOGGED and value is not None}
    await work.beside(insert_written(work.connection, ACTIVITY, LOGGED, rows, same, at_once=fresh.at_once))
    await insert_rows(work.connection, ACTIVITY, told, in_blocks=work.in_chunks)

    def everything() -> list[dict[str, Any]]:
        new = [{**alike, "id": made.activity_id, "lead_id": made.id, "sequence": numbers[made.id]} for *_, made in fresh.leads]
        return sorted(told + new, key=itemgetter("sequence"))

    await set_off(work, everything)
