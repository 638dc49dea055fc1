"""New leads made ready: of a batch once it is known who is new, of a long file before by a process of its own (`import_reader.py`).

Each row of a file is read into values, and made into the lead that it is if nobody has it yet: its row of the table, its entry of the
search index, its row of the log, each as the database is given it. Whoever writes the piece takes these for the leads that are new
indeed, and decides all others by their values.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from app.rules.fields import LEAD_FIELDS, FieldError, LeadStatus, read_draft
from app.rules.files import FileRow, row_reader
from app.rules.ids import new_id, search_key
from app.rules.lead_values import EMPTY, FOLDED, columns_of, field_changes
from app.rules.scoring import PROFILE, Criteria, Profile, ScoringRules, score
from app.rules.uploads import rows_of
from app.rules.written import change, copy_line, dumps, moment_text, parts_text

#: Rows that are read at a time, where something else goes on beside: about a millisecond.
BIT = 25
#: What each of them has of its own in the log. The number comes last: it is given when the row is written.
LOGGED = ("id", "lead_id", "changes", "sequence")
#: By what a row may say which lead it is about.
KEYS = ("id", "email_key", "crm_id")
_COLUMNS = {each.name: each.column for each in LEAD_FIELDS}
#: Every column that `Making.columns` may name, as a new lead has it.
_NEW = {
    **EMPTY,
    **dict.fromkeys(("id", "email_key", "search_text", *(f"{name}_folded" for name in (*FOLDED, "attributes")))),
    **dict.fromkeys(("quality_score", "score_components", "score_campaign_id", "last_activity_at")),
    "status": LeadStatus.NEW.value,
    "version": 1,
}
_profile = itemgetter(*PROFILE)


@dataclass(frozen=True, slots=True)
class Making:
    """All that it takes, beside a row, to make the lead that it would be."""

    fields: tuple[str | None, ...]  #: Of the file's columns.
    source: str  #: Of leads that name none.
    campaign_id: str | None
    rules: ScoringRules | None  #: None: they get no score.
    criteria: tuple[Criteria, ...]
    postgres: bool  #: It is given lines for `COPY`, SQLite the values.
    columns: tuple[str, ...] = field(init=False)  #: In which the leads of such a file may differ from each other.

    def __post_init__(self) -> None:
        """Name the columns."""
        names = {"id", "version", "search_text", "source", "source_folded"}
        for given in self.fields:
            name = (given or "id").partition(".")[0]
            column = _COLUMNS.get(name, "id")
            names |= {column, f"{column}_folded"} if column in FOLDED or column == "attributes" else {column}
            names |= {"email": {"email_key"}, "status": {"last_activity_at"}}.get(column, set())
        if self.rules is not None:
            names |= {"quality_score", "score_components", "score_campaign_id"}
        object.__setattr__(self, "columns", tuple(sorted(names)))


class SoundRow(NamedTuple):
    """A row whose values are good: the line on which it begins, its cells, and the columns that it sets."""

    line: int
    cells: list[str]
    fields: dict[str, Any]


class MadeLead(NamedTuple):
    """What a row is if its lead is new, as the database is given it: values for SQLite, lines of `COPY` for PostgreSQL."""

    id: str
    activity_id: str
    score: int | None
    row: list[Any] | bytes
    entry: tuple[int, bytes]  #: Of SQLite's search index: its key, and all of it as JSON.
    logged: tuple[str, ...] | bytes  #: Up to its number.


class ReadPiece(NamedTuple):
    """A piece of a file: what cannot be taken of it, the sound rows, and what each of those is if it is new, where that was asked for."""

    rejected: list[FileRow]
    sound: list[SoundRow]
    made: list[MadeLead]


def read_piece(content: str, making: Making, *, made: bool) -> ReadPiece:
    """Read a piece, and make its leads where that is asked for."""
    piece = ReadPiece([], [], [])
    for _ in read_bits(content, making, piece, made=made):
        pass
    return piece


def read_bits(content: str, making: Making, piece: ReadPiece, *, made: bool = False) -> Iterator[None]:
    """Read a piece as `read_piece` does, so many rows at a time."""
    read = row_reader(making.fields).read
    texts: dict[int, tuple[Any, str]] = {}
    for count, row in enumerate(rows_of(content), 1):
        if count % BIT == 0:
            yield
        errors: list[FieldError] = row.errors
        if not errors:
            fields, errors = read_draft(read(row.cells), clearing=False)
            if not errors:
                piece.sound.append(SoundRow(row.line, row.cells, fields))
                if made:
                    piece.made.append(make(fields, making, texts)[0])
                continue
        piece.rejected.append(row._replace(errors=errors))


def make(
    fields: dict[str, Any], making: Making, texts: dict[int, tuple[Any, str]], lead_id: str | None = None
) -> tuple[MadeLead, list[dict[str, Any]]]:
    """Make the lead of a row, and tell what differs from no lead, but for the score.

    In `texts` those of equal parts of a score are kept, by the part's identity. `lead_id`: what it is called, where that is known.
    """
    lead_id, activity_id = lead_id or new_id("lead"), new_id("act")
    lead = {**_NEW, **columns_of(fields, source=making.source), "id": lead_id}
    told = changes = field_changes(None, lead)
    if making.campaign_id is not None:
        changes.append(change("campaigns", None, [making.campaign_id]))
    value = None
    if making.rules is not None:
        scored = score(Profile(*_profile(lead)), making.rules, making.criteria)
        value = scored.value
        if id(scored.components) not in texts:
            texts[id(scored.components)] = scored.components, parts_text(scored.components)
        lead |= {"quality_score": value, "score_components": texts[id(scored.components)][1], "score_campaign_id": scored.campaign_id}
        told = [*changes, change("qualityScore", None, value)]
    for name in ("attributes", "attributes_folded"):
        if lead[name] is not None:
            lead[name] = dumps(lead[name])
    if lead["opt_in_at"] is not None:
        lead["opt_in_at"] = moment_text(lead["opt_in_at"])
    row = [lead[name] for name in making.columns]
    logged = activity_id, lead_id, parts_text(told)
    if making.postgres:
        return MadeLead(lead_id, activity_id, value, copy_line(row), (0, b""), copy_line(logged)), changes
    key = search_key(lead_id)
    return MadeLead(lead_id, activity_id, value, row, (key, orjson.dumps([key, lead_id, lead["search_text"]])), logged), changes
