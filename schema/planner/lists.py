"""What a list is made of: its rows, all that they must meet, and the table that stands between where that has the columns asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from app.errors import BadUserInput, shown
from app.rules.folding import search_words
from app.tables import CampaignLead, Lead
from schema.planner import bindings as b
from schema.planner.dialects import Expression, number, text
from schema.planner.filters import checked_id, conditions
from schema.planner.origins import BindValues

if TYPE_CHECKING:
    from schema.planner.compiler import Arguments, Compiler

#: A search that finds more than this is answered by going through the list in its order, one that finds fewer by what it found.
MANY = 1_000
#: A search of more words than this finds few.
_MOST_WORDS = 6

#: A lead's place in a campaign repeats what its pages are most often sorted and narrowed by.
PLACES = b.Through(CampaignLead, "campaign_id", {"id": "lead_id", "created_at": "lead_created_at", "quality_score": "quality_score"})


@dataclass(frozen=True, slots=True)
class Listed:
    """The rows of a list. `c` gives a column from wherever an index has it: for orders and keysets."""

    rows: b.Row
    source: sa.FromClause
    where: list[Expression]
    c: Mapping[str, Expression]
    #: The least to select from when rows are only counted, and what they must meet there.
    least: sa.FromClause
    counted: list[Expression]
    #: Where a search narrows the whole list, two ways to go about it: when each is to be gone, and what its rows must meet beside `rest`.
    ways: tuple[tuple[Expression, Expression], ...] = ()
    rest: tuple[Expression, ...] = ()

    def select(self, *columns: Expression, parent: b.Row | None) -> sa.Select[Any]:
        """Select from the whole list."""
        return sa.select(*columns).select_from(self.source).where(*self.where).correlate(parent)

    def counts(self, *names: str) -> bool:
        """Tell whether what is counted from has these columns: the index of a search has none, a place but a few."""
        return all(self.least.is_derived_from(column.table) for column in (self.c[name] for name in names) if isinstance(column, sa.Column))

    def count(self, *columns: Expression, parent: b.Row | None) -> sa.Select[Any]:
        """Select what is the same for any columns: how many there are, or whether there is any."""
        return sa.select(*columns).select_from(self.least).where(*self.counted).correlate(parent)


def listed(on: "Compiler", spec: b.Many | b.Stats, args: "Arguments", parent: b.Row | None) -> Listed:
    """Give the rows of a list under its parent (None: of the whole workspace), narrowed by its arguments."""
    model = spec.model if isinstance(spec, b.Many) else Lead
    rows, inside = on.scope.table(model)
    where = dict(args.values.get("where") or {})
    place: tuple[b.Through, Expression] | None = None
    if spec.through is not None and parent is not None:
        place = (spec.through, parent.c.id)
    elif model is Lead and parent is None and list(where.get("campaignId") or ()) == ["eq"] and where["campaignId"]["eq"] is not None:
        del where["campaignId"]
        at = f"{args.path}.where.campaignId.eq"
        place = (PLACES, on.leaf(args.origins["where"].child("campaignId").child("eq"), checked_id(at), sa.Text))
    found = list(_narrowed(on, spec, rows, where, args, parent))
    search = _search(on, args)
    if place is not None:
        return _through(on, rows, inside, found if search is None else [*found, on.dialect.words(rows, on.workspace, search.query)], *place)
    rest = [inside, *found]
    if search is None:
        return Listed(rows, rows, rest, dict(rows.c), rows, rest)
    whole = [*rest, on.dialect.words(rows, on.workspace, search.query)]
    if parent is not None:
        return Listed(rows, rows, whole, dict(rows.c), rows, whole)
    least, _, hit = on.dialect.hits(on.scope, search.query)
    alone = not found and model is Lead
    ways = _ways(on, rows, search) if search.words else ()
    return Listed(rows, rows, whole, dict(rows.c), least if alone else rows, hit if alone else whole, ways, tuple(rest))


def _ways(on: "Compiler", rows: b.Row, search: "Search") -> tuple[tuple[Expression, Expression], ...]:
    """Look up what the index found, where that is little; or look at each row's words in the order of the list."""
    source, lead, conditions = on.dialect.hits(on.scope, search.query)
    hits = sa.select(lead.label("id")).select_from(source).where(*conditions).limit(number(MANY + 1)).cte()
    many = sa.select(sa.func.count()).select_from(hits).scalar_subquery() > number(MANY)
    words = text(" ").concat(rows.c.search_text)
    each = [on.dialect.contains(words, word) for word in search.words]
    return (sa.not_(many), rows.c.id.in_(sa.select(hits.c.id))), (many, sa.and_(*each))


def _through(on: "Compiler", rows: b.Row, inside: Expression, found: list[Expression], through: b.Through, owner: Expression) -> Listed:
    places, walled = on.scope.table(through.model)
    own = {name: places.c[column] for name, column in through.columns.items()}
    first = [walled, places.c[through.owner] == owner]
    moved = [_moved(condition, rows, own) for condition in found]
    met = [*first, *[condition for condition, _ in moved]]
    whole = places.join(rows, sa.and_(inside, rows.c.id == own["id"]))
    # A place goes with its lead: where it knows all that is asked, the leads need not be looked at to be counted.
    least = places if all(alone for _, alone in moved) else whole
    return Listed(rows, whole, met, {**dict(rows.c), **own}, least, met)


def _moved(condition: Expression, rows: b.Row, own: Mapping[str, Expression]) -> tuple[Expression, bool]:
    """Ask of the place what it knows, and tell whether it knows all."""
    parts = list(iterate(condition))
    names = {part.name for part in parts if isinstance(part, sa.Column) and part.table is rows}
    if not names <= own.keys() or any(isinstance(part, sa.SelectBase) for part in parts):
        return condition, False

    def its_own(element: Any, **_: Any) -> Any:
        return own[element.name] if isinstance(element, sa.Column) and element.table is rows else None

    return replacement_traverse(condition, {}, its_own), True


def _narrowed(
    on: "Compiler", spec: b.Many | b.Stats, rows: b.Row, where: Mapping[str, Any], args: "Arguments", parent: b.Row | None
) -> Iterator[Expression]:
    if spec.on is not None and parent is not None:
        yield spec.on(parent, rows, on.scope)
    if isinstance(spec, b.Many) and spec.hidden is not None and not on.admin:
        yield sa.not_(spec.hidden(rows))
    of = spec.where if isinstance(spec, b.Many) else "lead"
    if of is not None and where:
        yield from conditions(on, rows, of, where, args.origins["where"], f"{args.path}.where")


@dataclass(frozen=True, slots=True)
class Search:
    """What a search asks for: a query of the index, and its words, each after a space."""

    query: Expression
    words: list[Expression]


def _search(on: "Compiler", args: "Arguments") -> Search | None:
    """Read `search`; a text without a letter or digit asks nothing."""
    if args.values.get("search") is None:
        return None
    origin, at = args.origins["search"], f"{args.path}.search"

    def look(values: BindValues) -> tuple[Any, tuple[Any, ...]]:
        asked = origin.get(values.variables)
        if "\0" in asked:
            raise BadUserInput(f"{at} {shown(asked)}: a NUL is in no text", argument=at)
        words = search_words(asked)
        apart = words if len(words) <= _MOST_WORDS else []
        return (bool(words), len(apart)), (on.dialect.match(words), *[f" {word}" for word in apart]) if words else ()

    (asks, apart), place = on.probe(look)
    if not asks:
        return None
    words = [on.found(place, 1 + which, sa.Text) for which in range(apart)]
    return Search(on.found(place, 0, sa.Text), words)
