"""Walk a selection and build the statement: one row or a page of rows, their parts, edges and nested pages."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from graphql import (
    FragmentDefinitionNode,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    OperationDefinitionNode,
    get_named_type,
)
from graphql.execution.collect_fields import FieldDetails, collect_subfields
from graphql.execution.values import VariableValues, get_argument_values
from sqlalchemy.sql.visitors import iterate

from app.database import table_of
from app.errors import InvalidCursor
from schema.planner import bindings as b
from schema.planner.dialects import Dialect, Expression, Kind, Leaf, text
from schema.planner.origins import Bind, BindValues, Built, Constant, Origin, Probe, origin_of

Details = list[FieldDetails]


@dataclass(frozen=True, slots=True)
class Document:
    """What a compilation reads of a request: the operation, its fragments, the coerced variables."""

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: VariableValues

    def collect(self, type_: GraphQLObjectType, details: Details) -> dict[str, Details]:
        """Collect the subfields of fields, by response key."""
        return collect_subfields(self.schema, self.fragments, self.variables, self.operation, type_, details).grouped_field_set  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one field: their values now, and where each came from."""

    values: Mapping[str, Any]
    origins: Mapping[str, Origin]
    path: str

    def origin(self, name: str, default: Any = None) -> Origin:
        """Give the origin of an argument, or its default as a constant."""
        return self.origins[name] if self.values.get(name) is not None else Constant(default)


@dataclass(frozen=True, slots=True)
class ListField:
    """A field that stands for many rows of another table."""

    spec: b.Spec
    type: GraphQLObjectType
    details: Details
    args: Arguments
    parent: b.Row | None
    #: The type that has the field, unless that is the root.
    owner: str = ""


#: What builds the JSON of such a field, by the kind of its spec; each is written in a file of its own.
LISTS: dict[type, Callable[["Compiler", ListField], Expression]] = {}


def ahead(guarded: Sequence[str]) -> InvalidCursor:
    """Refuse the position of the log that a guard found to be ahead of it; `guarded`: the paths of all such."""
    return InvalidCursor(argument=guarded[0] if len(guarded) == 1 else None)


@dataclass
class Compiler:
    """Builds one statement. Binds, probes and guards pile up as it walks."""

    document: Document
    bindings: b.Bindings
    dialect: Dialect
    now: BindValues
    admin: bool
    binds: dict[str, Bind] = field(default_factory=dict)
    probes: list[Probe] = field(default_factory=list)
    pattern: list[Any] = field(default_factory=list)
    #: Conditions under which the answer is INVALID_CURSOR.
    guards: list[Expression] = field(default_factory=list)
    #: The arguments that the guards are about.
    guarded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workspace: Expression = sa.bindparam("workspace", type_=sa.Text)
        self.binds["workspace"] = Bind(lambda values: values.workspace)
        self.scope = b.Scope(self.dialect, self.workspace, self.bind, self.admin)

    # Binds

    def bind(self, make: Callable[[BindValues], Any], type_: Any = None) -> Expression:
        """Bind what `make` gives at run time."""
        name = f"p{len(self.binds)}"
        self.binds[name] = Bind(make)
        return sa.bindparam(name, type_=type_)

    def leaf(self, origin: Origin, make: Callable[[Any], Any], type_: Any = None) -> Expression:
        """Bind what `make` gives for the value of an origin; it may refuse the value."""
        return self.bind(lambda values: make(origin.get(values.variables)), type_)

    def probe(self, look: Callable[[BindValues], tuple[Any, tuple[Any, ...]]]) -> tuple[Any, int]:
        """Look into a value now, and again in every run; the pattern and the probe's place in `BindValues.found`."""
        pattern, found = look(self.now)
        self.probes.append(Probe(look))
        self.pattern.append(pattern)
        self.now.found.append(found)
        return pattern, len(self.probes) - 1

    def found(self, place: int, index: int, type_: Any) -> Expression:
        """Bind a value that a probe found."""
        return self.bind(lambda values: values.found[place][index], type_)

    # Selections

    def arguments(self, owner: GraphQLObjectType, details: Details, path: str) -> Arguments:
        """Read a field's arguments."""
        node = details[0].node
        values = get_argument_values(owner.fields[node.name.value], node, self.document.variables)
        nodes = {argument.name.value: argument.value for argument in node.arguments or ()}
        origins = {name: origin_of(nodes.get(name), value) for name, value in values.items()}
        if values.get("status") is not None:  # the whole filter of such a list
            values, origins = {**values, "where": {"status": values["status"]}}, {**origins, "where": Built(origins, is_list=False)}
        return Arguments(values, origins, path)

    def fields(self, type_: GraphQLObjectType, details: Details, row: b.Row, path: str) -> dict[str, Leaf]:
        """Give a leaf for each selected field of one row."""
        out: dict[str, Leaf] = {}
        for key, chosen in self.document.collect(type_, details).items():
            name = chosen[0].node.name.value
            if name == "__typename":
                out[key] = Leaf(text(type_.name))
            else:
                out[key] = self.field(type_, name, chosen, row, f"{path}.{key}" if path else key)
        return out

    def field(self, owner: GraphQLObjectType, name: str, details: Details, row: b.Row, path: str) -> Leaf:
        """Give one field of a row."""
        bound = self.bindings.types[owner.name][name]
        spec = bound.spec
        if isinstance(spec, b.Column):
            return b.leaf(row.c[spec.name], bound.kind)
        if isinstance(spec, b.Computed):
            return b.leaf(spec.expression(row, self.scope), bound.kind)
        type_ = get_named_type(owner.fields[name].type)
        if isinstance(spec, b.OneOf):
            found = [self.one(choice, self.named(kind), details, row, path) for kind, choice in spec.choices.items()]
            return Leaf(self.dialect.first(found), Kind.TREE)
        if isinstance(spec, b.Variants) and isinstance(type_, GraphQLUnionType):
            return self.variants(spec, type_, details, row, path)
        if not isinstance(type_, GraphQLObjectType):
            raise TypeError(f"{owner.name}.{name} has an interface for a type, and no SQL for it")
        if isinstance(spec, b.Inline):
            whole = self.dialect.inline(self.fields(type_, details, row, path), row)
            return Leaf(whole if spec.when is None else sa.case((spec.when(row), whole)), Kind.TREE)
        if isinstance(spec, b.Parts):
            return self.parts(row.c[spec.column], type_, details, row)
        if isinstance(spec, b.One):
            return Leaf(self.one(spec, type_, details, row, path), Kind.TREE)
        if isinstance(spec, b.Workspaces):
            return self.workspaces(type_, details, path)
        if type(spec) not in LISTS:
            raise TypeError(f"{owner.name}.{name}: {type(spec).__name__} belongs to the root")
        list_ = ListField(spec, type_, details, self.arguments(owner, details, path), row, owner.name)
        return Leaf(LISTS[type(spec)](self, list_), Kind.TREE, always=True)

    def named(self, name: str) -> GraphQLObjectType:
        """Give an object type by name."""
        type_ = self.document.schema.type_map[name]
        if not isinstance(type_, GraphQLObjectType):
            raise TypeError(f"{name} is no object type")
        return type_

    def one(self, spec: b.One, type_: GraphQLObjectType, details: Details, row: b.Row, path: str) -> Expression:
        """Give the object at the other end of an edge, or null."""
        other, inside = self.scope.table(spec.model)
        query = sa.select().select_from(other).where(inside, spec.on(row, other, self.scope), *self.visible(type_.name, other))
        return self.dialect.one(self.fields(type_, details, other, path), query, other, row)

    def workspaces(self, type_: GraphQLObjectType, details: Details, path: str) -> Leaf:
        """Give the workspaces that the caller may choose from; inside each, the workspace is its own."""
        rows = table_of(self.bindings.models["Workspace"]).alias()
        mine = self.dialect.among(rows.c.id, self.bind(lambda values: list(values.caller.workspace_ids), self.dialect.list_of(sa.Text())))
        page = (
            sa.select(*[rows.c[name] for name in sorted(self.needs(type_, details, rows) | {"id"})])
            .where(mine)
            .order_by(rows.c.slug)
            .subquery()
        )
        outside = self.scope
        self.scope = replace(outside, workspace=page.c.id)
        source, item = self.dialect.items(self.fields(type_, details, page, path), page)
        self.scope = outside
        return Leaf(sa.select(self.dialect.gathered(item)).select_from(source).scalar_subquery(), Kind.TREE)

    def visible(self, type_name: str, row: b.Row) -> Iterator[Expression]:
        """Give the conditions that keep from others what is for ADMINs."""
        if not self.admin:
            if type_name in self.bindings.hidden:
                yield sa.not_(self.bindings.hidden[type_name](row))
            if type_name in self.bindings.admin_only:
                yield self.own(row)

    def own(self, row: b.Row) -> Expression:
        """Tell the caller's own row: what is for ADMINs, everybody may still see of themselves."""
        return row.c.id == self.bind(lambda values: values.caller.actor_id, sa.Text)

    def parts(self, column: Expression, type_: GraphQLObjectType, details: Details, row: b.Row) -> Leaf:
        """Give the objects inside a JSON column; as they are where all is asked for in the order in which it is kept."""
        chosen = {key: names[0].node.name.value for key, names in self.document.collect(type_, details).items()}
        if list(chosen) == list(chosen.values()) == list(type_.fields):
            return Leaf(column, Kind.JSON)
        source, element = self.dialect.elements(column)
        fields = {
            key: Leaf(text(type_.name)) if name == "__typename" else self.dialect.member(element, name) for key, name in chosen.items()
        }
        origin, item = self.dialect.items(fields, source)
        # No column of parts is null where its object is there. SQLite's parser has a stack of 100: nothing is nested in vain.
        return Leaf(sa.select(self.dialect.gathered(item)).select_from(origin).correlate(row).scalar_subquery(), Kind.TREE)

    def variants(self, spec: b.Variants, type_: GraphQLUnionType, details: Details, row: b.Row, path: str) -> Leaf:
        """Give the objects of several types inside a JSON column, each member of them as a column of its own."""
        source, element = self.dialect.elements(row.c[spec.column])
        members = [self.dialect.looked_up(element, text(name)).label(name) for name in ("type", *spec.members)]
        page = sa.select(*members).select_from(source).correlate(row).subquery()
        each = sa.case(
            *[
                (page.c.type == text(one.name), self.dialect.inline(self.fields(one, details, page, path), page))
                for one in self.document.schema.get_possible_types(type_)
            ]
        )
        origin, items = self.dialect.flattened(page, {"": Leaf(self.dialect.read(each), Kind.TREE)}, [""])
        return Leaf(sa.select(self.dialect.gathered(items[""].expression)).select_from(origin).scalar_subquery(), Kind.TREE)

    def needs(self, type_: GraphQLObjectType, details: Details, row: b.Row) -> set[str]:
        """Name the columns that `fields` will ask of a row: the cut of a page holds no others."""
        names: set[str] = set()
        for chosen in self.document.collect(type_, details).values():
            name = chosen[0].node.name.value
            if name == "__typename":
                continue
            spec = self.bindings.types[type_.name][name].spec
            if isinstance(spec, b.Column | b.Parts | b.Variants):
                names.add(spec.name if isinstance(spec, b.Column) else spec.column)
            elif isinstance(spec, b.Inline):
                inner = get_named_type(type_.fields[name].type)
                names |= self.needs(inner, chosen, row)
            for expression in self._of_row(spec, row):
                names |= {part.name for part in iterate(expression) if isinstance(part, sa.Column) and part.table is row}
        return names

    def _of_row(self, spec: b.Spec, row: b.Row) -> Iterator[Expression]:
        """Give the expressions in which a field speaks of its row."""
        if isinstance(spec, b.Computed):
            yield spec.expression(row, self.scope)
        elif isinstance(spec, b.Inline) and spec.when is not None:
            yield spec.when(row)
        elif isinstance(spec, b.Many | b.Stats) and spec.through is not None:
            yield row.c.id
        elif isinstance(spec, b.Many | b.Stats) and spec.on is not None:
            model = spec.model if isinstance(spec, b.Many) else self.bindings.models["Lead"]
            yield spec.on(row, table_of(model).alias(), self.scope)
        else:
            for choice in [spec] if isinstance(spec, b.One) else list(spec.choices.values()) if isinstance(spec, b.OneOf) else []:
                yield choice.on(row, table_of(choice.model).alias(), self.scope)
