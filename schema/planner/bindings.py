"""What a type's fields are in SQL, said beside the field.

`@planned` marks a type that the database writes. A field of it is by default the column of its name; `sql(...)` says anything
else. A field that is neither is an error when the schema is built.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import sqlalchemy as sa
import strawberry
from graphql import GraphQLEnumType, GraphQLObjectType, GraphQLSchema, get_named_type, is_leaf_type
from sqlmodel import SQLModel
from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import StrawberryField

from app.actions.work import Role
from app.column_types import Json
from app.database import table_of
from schema.planner.dialects import Dialect, Expression, Kind, Leaf

T = TypeVar("T", bound=type)
_MARK, _DEFINITION = "planned", "strawberry-definition"


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may use beside its row."""

    dialect: Dialect
    workspace: Expression
    #: Binds a value that belongs to the caller rather than to the document.
    bind: Callable[[Callable[[Any], Any], Any], Expression]
    admin: bool

    def table(self, model: type[SQLModel]) -> tuple[sa.FromClause, Expression]:
        """Give a fresh alias of a table, and the predicate that keeps it inside the workspace."""
        rows = table_of(model).alias()
        return rows, wall(rows, self.workspace)


def wall(rows: sa.FromClause, workspace: Expression) -> Expression:
    """Law 4: each table in each statement has its own predicate."""
    own = rows.c.get("workspace_id")
    return (rows.c.id if own is None else own) == workspace


Row = sa.FromClause
Where = Callable[[Row, Row, Scope], Expression]


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Computed:
    """A leaf by an expression."""

    expression: Callable[[Row, Scope], Expression]


@dataclass(frozen=True, slots=True)
class Inline:
    """An object made of the same row; null where `when` is false."""

    when: Callable[[Row], Expression] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """A list of objects kept in one JSON column, their members in the order of the type's fields."""

    column: str


@dataclass(frozen=True, slots=True)
class Variants:
    """A list of objects of several types kept in one JSON column; `type` in each names its own, `members` the others that there may be."""

    column: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class One:
    """The row of another table that `on` finds."""

    model: type[SQLModel]
    on: Where


@dataclass(frozen=True, slots=True)
class OneOf:
    """A union: the first of these that is there, by GraphQL type name."""

    choices: Mapping[str, One]


@dataclass(frozen=True, slots=True)
class Order:
    """One key that a list is sorted by."""

    column: str
    descending: bool = False
    nullable: bool = False
    #: Whether an index of the table begins with it.
    indexed: bool = False

    @property
    def reversed(self) -> "Order":
        """The same key the other way round."""
        return replace(self, descending=not self.descending)


@dataclass(frozen=True, slots=True)
class Through:
    """A table that stands between a row and its list, and repeats some of the list's columns: a page is one walk of its index."""

    model: type[SQLModel]
    owner: str  #: Its column with the id of the row.
    columns: Mapping[str, str]  #: The list's columns that it has, and their names in it; `id` is one.
    sorted_by: tuple[str, ...]  #: Those by which an index has the rows of one owner sorted.


@dataclass(frozen=True, slots=True)
class Many:
    """A connection: the rows of another table that `on` finds (from the root: all of the workspace)."""

    model: type[SQLModel]
    order: tuple[Order, ...]
    on: Where | None = None
    #: The name of the filter set that its `where` uses (`filters.FILTERS`).
    where: str | None = None
    #: What callers below ADMIN don't see of it.
    hidden: Callable[[Row], Expression] | None = None
    #: A position in the log: good with any filter, and refused when it lies ahead of the log.
    log: bool = False
    #: How the rows are found, in place of `on`.
    through: Through | None = None
    needs: Role = Role.VIEWER


@dataclass(frozen=True, slots=True)
class Workspaces:
    """All workspaces that the caller may choose from: the one edge that leaves the workspace."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts and averages of the leads that `on` finds, or those `through` a table."""

    on: Where | None = None
    through: Through | None = None


@dataclass(frozen=True, slots=True)
class ByReference:
    """A root field: the lead that a `LeadRef` names."""


@dataclass(frozen=True, slots=True)
class ById:
    """A root field: the object with the id in `argument`."""

    model: type[SQLModel]
    argument: str = "id"
    hidden: Callable[[Row], Expression] | None = None


@dataclass(frozen=True, slots=True)
class AnyNode:
    """A root field: objects of any type, by ids."""

    many: bool


@dataclass(frozen=True, slots=True)
class Own:
    """A root field: the caller's own row of a table (the workspace, say)."""

    model: type[SQLModel]


Spec = Column | Computed | Inline | Parts | Variants | One | OneOf | Many | Workspaces | Stats | ByReference | ById | AnyNode | Own


@dataclass(frozen=True, slots=True)
class BoundField:
    """A field of a planned type, and the kind of its leaf if it is one."""

    spec: Spec
    kind: Kind


@dataclass(frozen=True, slots=True)
class Bindings:
    """Every planned type by name, and the planned fields of `Query`."""

    types: Mapping[str, Mapping[str, BoundField]]
    models: Mapping[str, type[SQLModel]]
    hidden: Mapping[str, Callable[[Row], Expression]]
    admin_only: frozenset[str]


def planned(
    model: type[SQLModel] | None = None, *, hidden: Callable[[Row], Expression] | None = None, admin_only: bool = False
) -> Callable[[T], T]:
    """Mark a type that the database writes; without a model it is a part of its holder's row.

    `hidden` and `admin_only` say what of it only ADMINs may see.
    """

    def mark(cls: T) -> T:
        cls.__planned__ = (model, hidden, admin_only)  # type: ignore[attr-defined]
        return cls

    return mark


def sql(spec: Spec, *arguments: StrawberryArgument, description: str | None = None) -> Any:
    """Declare a field of a planned type by what it is in SQL."""
    field = strawberry.field(metadata={_MARK: spec}, description=description)
    field.arguments = list(arguments)
    return field


def argument(name: str, annotation: Any, **default: Any) -> StrawberryArgument:
    """Declare an argument; without a default it may be left out where its type allows null."""
    return StrawberryArgument(name, None, StrawberryAnnotation(annotation), **default)


def page_arguments(*before: StrawberryArgument, offset: bool = False) -> Sequence[StrawberryArgument]:
    """Declare what every connection takes, after the arguments of its own."""
    names = [("first", int), ("after", str), ("last", int), ("before", str), *([("offset", int)] if offset else [])]
    return [*before, *(argument(name, kind | None) for name, kind in names)]


def bind(schema: GraphQLSchema) -> Bindings:
    """Read the bindings off a schema, or say which field of a planned type has no SQL."""
    types: dict[str, dict[str, BoundField]] = {}
    models: dict[str, type[SQLModel]] = {}
    hidden: dict[str, Callable[[Row], Expression]] = {}
    admin_only = set()
    for name, type_ in schema.type_map.items():
        definition = (type_.extensions or {}).get(_DEFINITION)
        mark = getattr(getattr(definition, "origin", None), "__planned__", None)
        if not isinstance(type_, GraphQLObjectType) or (mark is None and type_ is not schema.query_type):
            continue
        model, hide, only = mark or (None, None, False)
        if model is not None:
            models[name] = model
        if hide is not None:
            hidden[name] = hide
        if only:
            admin_only.add(name)
        types[name] = {
            field_name: _bound(name, field_name, field.type, field.extensions[_DEFINITION], model)
            for field_name, field in type_.fields.items()
        }
    return Bindings(types, models, hidden, frozenset(admin_only))


def _bound(owner: str, name: str, type_: Any, field: StrawberryField, model: type[SQLModel] | None) -> BoundField:
    spec = field.metadata.get(_MARK)
    if spec is None:
        spec = Column(field.python_name)
        if not is_leaf_type(get_named_type(type_)) or (model is not None and field.python_name not in table_of(model).c):
            raise TypeError(f"{owner}.{name} is planned, but has no SQL: no column {field.python_name!r}, no sql(...)")
    return BoundField(spec, _kind(get_named_type(type_)))


_KINDS = {
    "Boolean": Kind.BOOLEAN,
    "DateTime": Kind.MOMENT,
    "JSONObject": Kind.JSON,
    "JSONValue": Kind.JSON,
    "Float": Kind.HUNDREDTHS,
}


def _kind(type_: Any) -> Kind:
    if isinstance(type_, GraphQLEnumType):
        return Kind.PLAIN
    return _KINDS.get(type_.name, Kind.PLAIN)


def leaf(expression: Expression, kind: Kind) -> Leaf:
    """Pair an expression with its kind; a list of strings in a JSON column is JSON whatever its GraphQL type."""
    is_json = isinstance(getattr(expression, "type", None), Json)
    return Leaf(expression, Kind.JSON if is_json else kind)
