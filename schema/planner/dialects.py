"""What differs between SQLite and PostgreSQL when the database writes JSON.

SQLite writes it all the way: its driver is slow with rows. PostgreSQL is slow at `json_build_object` and quick with rows:
a flat outer level comes as columns, whatever has levels below it as rows that are turned into JSON whole (`row_to_json`).
This is what both can; each does it in a file of its own, `sqlite.py` and `postgres.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

Expression = sa.ColumnElement[Any]


class Kind(StrEnum):
    """What a leaf is, as far as writing it as JSON goes."""

    PLAIN = "plain"  #: text and integers: JSON as they are
    BOOLEAN = "boolean"
    MOMENT = "moment"
    JSON = "json"  #: a column of JSON text
    TREE = "tree"  #: JSON that the statement itself has built
    HUNDREDTHS = "hundredths"  #: an integer, shown with two decimals


@dataclass(frozen=True, slots=True)
class Leaf:
    """An expression, and what it is."""

    expression: Expression
    kind: Kind = Kind.PLAIN
    #: Never null: a list, say.
    always: bool = False

    @property
    def is_json(self) -> bool:
        """Tell whether it is JSON text when it leaves the database."""
        return self.kind in (Kind.JSON, Kind.TREE, Kind.HUNDREDTHS)


Fields = Mapping[str, Leaf]


@dataclass(frozen=True, slots=True)
class Search:
    """What a search asks for: a query of the index, and its words, each after a space; none where there are many."""

    query: Expression
    words: Sequence[Expression]

    @property
    def checks(self) -> Sequence[Expression]:
        """The words to be looked for in what the index finds: of several some may be cut in the query."""
        return self.words if len(self.words) > 1 else ()


@dataclass(frozen=True, slots=True)
class Hits:
    """What the index of a search finds: what to select from, the lead's id there, the conditions, and what else is known of a lead."""

    source: sa.FromClause
    id: Expression
    where: list[Expression]
    known: Mapping[str, Expression]


def text(value: str) -> Expression:
    """Write a constant into the SQL itself: a plain string would become a bind of its own. For our own names only."""
    return sa.literal_column("'" + value.replace("'", "''") + "'", sa.Text)


def number(value: int) -> Expression:
    """Write a constant integer into the SQL itself."""
    return sa.literal_column(str(value), sa.Integer)


class Dialect(ABC):
    """One database's way."""

    core: Any

    @abstractmethod
    def written(self, leaf: Leaf) -> Expression:
        """Give a leaf the form in which the database writes it rightly into JSON."""

    @abstractmethod
    def inline(self, fields: Fields, row: sa.FromClause) -> Expression:
        """One JSON object of the row in scope."""

    @abstractmethod
    def one(self, fields: Fields, query: sa.Select[Any], row: sa.FromClause | None, outer: sa.FromClause | None) -> Expression:
        """The JSON object of the one `row` that `query` (still without columns) finds for the `outer` row, or null.

        No row: of what is known beside it.
        """

    def first(self, objects: Sequence[Expression]) -> Expression:
        """Give the first of some objects that is there."""
        return sa.func.coalesce(*objects)

    @abstractmethod
    def items(self, fields: Fields, page: sa.FromClause) -> tuple[sa.FromClause, Expression]:
        """A JSON object for each row of a page: what to select from, and the object in it."""

    @abstractmethod
    def gathered(self, items: Expression, keep: Expression | None = None) -> Expression:
        """A JSON array of such objects; `[]` where there is none."""

    def flattened(self, page: sa.FromClause, fields: Fields, below: Collection[str]) -> tuple[sa.FromClause, Fields]:
        """Give what to select from in place of a page, and fields of it, with what is nested in those named `below` nested less deep."""
        return page, fields

    @abstractmethod
    def read(self, written: Expression) -> Expression:
        """Take a text that the statement wrote for JSON."""

    @abstractmethod
    def outermost(self, leaf: Leaf) -> Expression:
        """A leaf as a column of the statement's own result."""

    @abstractmethod
    def elements(self, column: Expression) -> tuple[sa.FromClause, Expression]:
        """The elements of a JSON array: something to select from, and the element in it."""

    @abstractmethod
    def member(self, element: Expression, name: str) -> Leaf:
        """A member of such an element, JSON as it stands there."""

    @abstractmethod
    def list_of(self, type_: Any) -> Any:
        """Give the type of a bind that holds a list."""

    @abstractmethod
    def among(self, column: Expression, bind: Expression) -> Expression:
        """Tell whether a column is in a list that is one bind, of the type `list_of` gives."""

    @abstractmethod
    def attribute(self, column: Expression, key: Expression, kind: str | None, test: Callable[[Expression], Expression]) -> Expression:
        """Tell whether a JSON object has a key, literally, with a value of this kind that meets the test.

        Kinds: `string`, `number`, `boolean`, `array`, `object`, None for any. The test sees the value: a text as it is, an array or
        object as its JSON, a boolean as 0 or 1, a number in a form for `number_meets`.
        """

    @abstractmethod
    def text_at(self, column: Expression, key: Expression) -> Expression:
        """Give the text under a key of a JSON object of texts, or null."""

    @abstractmethod
    def number_meets(self, value: Expression, compare: Callable[[Any, Any], Any], bind: Callable[[str, Any], Expression]) -> Expression:
        """Compare a number of a JSON object with one that `bind` gives: `exact`, or `real`, or as the `plain` value of the driver.

        A whole number of 64 bits compares exactly, any other as the double that it is.
        """

    @abstractmethod
    def contains(self, column: Expression, piece: Expression) -> Expression:
        """Tell whether a text has a piece in it, no character of which is special."""

    @abstractmethod
    def cursor(self, prefix: Expression, keys: Sequence[Leaf]) -> Expression:
        """Write the cursor of a row (`cursors.py` says what is in it)."""

    @abstractmethod
    def looked_up(self, json_object: Expression, key: Expression) -> Expression:
        """Look a key up in a JSON object that is one bind."""

    @abstractmethod
    def bound(self, value: Any) -> Any:
        """Give a value the form in which the driver takes it."""

    @abstractmethod
    def words(self, lead: sa.FromClause, workspace: Expression, search: "Search") -> Expression:
        """Tell whether a lead's words answer a search."""

    @abstractmethod
    def hits(self, scope: Any, search: "Search") -> "Hits":
        """Find leads by their words alone."""

    @abstractmethod
    def match(self, words: Sequence[str], *, cut: bool) -> str:
        """Write a query for words that must each start a word of the text; with `cut` some may be cut, and what is found is looked at."""

    def begun(self, column: Expression, words: Sequence[Expression]) -> list[Expression]:
        """Tell for each word, given after a space, whether it begins one of a text's."""
        said = text(" ").concat(column)
        return [self.contains(said, word) for word in words]

    def gated(self, query: sa.Select[Any], gate: Expression, size: Expression) -> sa.Select[Any]:
        """Limit a query, and keep it from reading anything where the gate, which is of no row, is shut."""
        return query.where(gate).limit(size)

    def starts(self, column: Expression, piece: Expression) -> Expression:
        """Tell whether a text starts with a piece."""
        return sa.func.substr(column, number(1), sa.func.length(piece)) == piece

    def greatest(self, *parts: Expression) -> Expression:
        """Give the greatest that is not null."""
        return sa.func.greatest(*parts)
