"""What a list is made of: its rows, all that they must meet, and the table that stands between where that has the columns asked for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from app.errors import BadUserInput, shown
from app.rules.folding import search_words
from app.tables import CampaignLead, Lead
from schema.planner import bindings as b
from schema.planner.dialects import Expression, Search, number
from schema.planner.filters import checked_id, conditions
from schema.planner.origins import BindValues, Origin

if TYPE_CHECKING:
    from schema.planner.compiler import Arguments, Compiler

#: A search that finds more than this is answered by going through the list in its order, one that finds fewer by what it found.
MANY = 1_000
#: Columns of a lead by which what a search found is sorted without a look at the lead, where the index has them.
_KNOWN = ("created_at", "updated_at")
#: A search of more words than this finds few.
_MOST_WORDS = 6

#: A lead's place in a campaign repeats what its pages are most often sorted and narrowed by.
PLACES = b.Through(
    CampaignLead,
    "campaign_id",
    {"id": "lead_id", "created_at": "lead_created_at", "quality_score": "quality_score"},
    sorted_by=("created_at", "id"),
)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to go about a list: when it is to be gone, what its rows must meet, and what has just those rows, where something has."""

    gate: Expression
    where: tuple[Expression, ...]
    found: sa.FromClause | None = None


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
    #: The table between, where all that is asked can be read there, and the columns by which an index has it sorted.
    places: sa.FromClause | None = None
    sorted_by: tuple[str, ...] = ()
    #: Where a search narrows the whole list, two ways to go about it.
    ways: tuple["Way", ...] = ()

    def select(self, *columns: Expression, parent: b.Row | None) -> sa.Select[Any]:
        """Select from the whole list."""
        return sa.select(*columns).select_from(self.source).where(*self.where).correlate(parent)

    def counts(self, *names: str) -> bool:
        """Tell whether what is counted from has these columns: the index of a search has none, a place but a few."""
        return all(self.least.is_derived_from(column.table) for column in (self.c[name] for name in names) if isinstance(column, sa.Column))

    def cut_first(self, keys: Sequence[b.Order]) -> bool:
        """Tell whether a page is better cut in the table between, and its rows looked up last: all of the list must be sorted for it."""
        columns = tuple(key.column for key in keys)
        return self.places is not None and columns != self.sorted_by and all(self.c[name] is not self.rows.c[name] for name in columns)

    def count(self, *columns: Expression, parent: b.Row | None) -> sa.Select[Any]:
        """Select what is the same for any columns: how many there are, or whether there is any."""
        return sa.select(*columns).select_from(self.least).where(*self.counted).correlate(parent)


def listed(on: "Compiler", spec: b.Many | b.Stats, args: "Arguments", parent: b.Row | None) -> Listed:
    """Give the rows of a list under its parent (None: of the whole workspace), narrowed by its arguments."""
    model = spec.model if isinstance(spec, b.Many) else Lead
    rows, inside = on.scope.table(model)
    where: Mapping[str, Any] = args.values.get("where") or {}
    place: _Place | None = None
    if spec.through is not None and parent is not None:
        place = _Place(spec.through, parent.c.id)
    elif model is Lead and parent is None and where:
        where, place = _place(on, where, args.origins["where"], f"{args.path}.where")
    found = list(_narrowed(on, spec, rows, where, args, parent))
    search = _search(on, args)
    if place is not None:
        return _through(on, rows, inside, found if search is None else [*found, on.dialect.words(rows, on.workspace, search)], place)
    rest = [inside, *found]
    if search is None:
        return Listed(rows, rows, rest, dict(rows.c), rows, rest)
    whole = [*rest, on.dialect.words(rows, on.workspace, search)]
    if parent is not None:
        return Listed(rows, rows, whole, dict(rows.c), rows, whole)
    hits = on.dialect.hits(on.scope, search)
    alone = not found and model is Lead
    ways = tuple(_ways(on, rows, search, rest, alone=alone)) if search.words else ()
    return Listed(rows, rows, whole, dict(rows.c), hits.source if alone else rows, hits.where if alone else whole, ways=ways)


def _ways(on: "Compiler", rows: b.Row, search: Search, rest: list[Expression], *, alone: bool) -> Iterator[Way]:
    """Look up what the index found, where that is little; or look at each row's words in the order of the list."""
    found = on.dialect.hits(on.scope, search)
    known = {name: found.known[name] for name in _KNOWN if alone and name in found.known}
    columns = [found.id.label("id"), *[column.label(name) for name, column in known.items()]]
    hits = sa.select(*columns).select_from(found.source).where(*found.where).limit(number(MANY + 1)).cte()
    many = sa.select(sa.func.count()).select_from(hits).scalar_subquery() > number(MANY)
    yield Way(sa.not_(many), (*rest, rows.c.id.in_(sa.select(hits.c.id))), hits if known else None)
    yield Way(many, (*rest, *on.dialect.begun(rows.c.search_text, search.words)))


@dataclass(frozen=True, slots=True)
class _Place:
    """The table between, and whose places in it: those of one owner, or of any in a list that is one bind."""

    through: b.Through
    owner: Expression
    several: bool = False


def _place(on: "Compiler", where: Mapping[str, Any], origin: Origin, path: str) -> tuple[Mapping[str, Any], _Place | None]:
    """Take the campaigns that all leads of a list must be in out of its filter, wherever in it AND alone leads to them."""
    asked = where.get("campaignId") or {}
    for operator in ("eq", "in"):
        if asked.get(operator) is not None:
            at, inner = f"{path}.campaignId.{operator}", origin.child("campaignId").child(operator)
            others = {name: value for name, value in asked.items() if name != operator}
            return {**where, "campaignId": others}, _one(on, inner, at) if operator == "eq" else _several(on, [(operator, inner, at)])
    if (either := list(_either(where, origin, path))) and len(either) == len(where["or"]):
        return {name: value for name, value in where.items() if name != "or"}, _several(on, either)
    every = list(where.get("and") or ())
    for which, part in enumerate(every):
        left, place = _place(on, part, origin.child("and").child(which), f"{path}.and[{which}]")
        if place is not None:
            every[which] = left
            return {**where, "and": every}, place
    return where, None


def _one(on: "Compiler", origin: Origin, path: str) -> _Place:
    return _Place(PLACES, on.leaf(origin, checked_id(path), sa.Text))


#: An operator that names campaigns, where its value comes from, and its place in the arguments.
_Named = tuple[str, Origin, str]


def _either(where: Mapping[str, Any], origin: Origin, path: str) -> Iterator[_Named]:
    """Give those parts of an OR that ask for campaigns and for nothing else."""
    for which, part in enumerate(where.get("or") or ()):
        for operator in ("eq", "in"):
            if list(part) == ["campaignId"] and list(part["campaignId"] or ()) == [operator] and part["campaignId"][operator] is not None:
                inner = origin.child("or").child(which).child("campaignId").child(operator)
                yield operator, inner, f"{path}.or[{which}].campaignId.{operator}"


def _several(on: "Compiler", asked: Sequence[_Named]) -> _Place:
    """Walk a list of one campaign as that campaign; in several a lead may have several places."""
    made = [(operator, origin, checked_id(path)) for operator, origin, path in asked]

    def look(values: BindValues) -> tuple[Any, tuple[Any, ...]]:
        found: list[Any] = []
        for operator, origin, make in made:
            value = origin.get(values.variables)
            found += map(make, value if operator == "in" else [value])
        ids = list(dict.fromkeys(found))
        return (True, (ids[0],)) if len(ids) == 1 else (False, (ids,))

    alone, at = on.probe(look)
    if alone:
        return _Place(PLACES, on.found(at, 0, sa.Text))
    return _Place(PLACES, on.found(at, 0, on.dialect.list_of(sa.Text())), several=True)


def _through(on: "Compiler", rows: b.Row, inside: Expression, found: list[Expression], place: _Place) -> Listed:
    through = place.through
    places, walled = on.scope.table(through.model)
    own = {name: places.c[column] for name, column in through.columns.items()}
    owner = places.c[through.owner]
    moved = [_moved(condition, rows, own) for condition in found]
    first = [walled, on.dialect.among(owner, place.owner) if place.several else owner == place.owner]
    known = [condition for condition, alone in moved if alone]
    rest = [condition for condition, alone in moved if not alone]
    source: sa.FromClause = places
    met = [*first, *known]
    if place.several:
        # Each lead once, however many of the campaigns it is in.
        source = sa.select(*[column.label(name) for name, column in own.items()]).where(*met).distinct().subquery()
        own, met = {name: source.c[name] for name in own}, []
    met = [*met, *rest]
    whole = source.join(rows, sa.and_(inside, rows.c.id == own["id"]))
    # A place goes with its lead: where it knows all that is asked, the leads need not be looked at to be counted.
    least = whole if rest else source
    return Listed(
        rows, whole, met, {**dict(rows.c), **own}, least, met, None if rest else source, () if place.several else through.sorted_by
    )


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


def _search(on: "Compiler", args: "Arguments") -> Search | None:
    """Read `search`; a text without a letter or digit asks nothing."""
    if args.values.get("search") is None:
        return None
    origin, at, match = args.origins["search"], f"{args.path}.search", on.dialect.match

    def look(values: BindValues) -> tuple[Any, tuple[Any, ...]]:
        asked = origin.get(values.variables)
        if "\0" in asked:
            raise BadUserInput(f"{at} {shown(asked)}: a NUL is in no text", argument=at)
        words = search_words(asked)
        apart = words if len(words) <= _MOST_WORDS else []
        return (bool(words), len(apart)), (match(words, cut=len(apart) > 1), *[f" {word}" for word in apart]) if words else ()

    (asks, apart), place = on.probe(look)
    if not asks:
        return None
    words = [on.found(place, 1 + which, sa.Text) for which in range(apart)]
    return Search(on.found(place, 0, sa.Text), words)
