"""Walks of the graph: every place where a value goes in, and selections of all that comes out.

They are made from the schema, so that a field or an argument is attacked from the day it is declared.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLUnionType,
    get_named_type,
    get_nullable_type,
    is_input_object_type,
    is_leaf_type,
    is_list_type,
    is_required_argument,
    is_required_input_field,
)

from schema.graph import graph

TYPES = graph.core.type_map
ROOTS: dict[str, GraphQLObjectType] = {"Query": graph.core.query_type, "Mutation": graph.core.mutation_type}
#: What has an id; any of it is reached by `node`.
NODES = sorted(type_.name for type_ in graph.core.get_possible_types(TYPES["Node"]))
#: How many of a list a selection asks for: the made data fits, and lists within lists stay small.
PAGE = 3
#: What a selection that goes through no row still shows of objects: a page, and in it ids; what became of a batch's rows.
PAGE_PARTS = {"nodes", "edges", "pageInfo", "results", "errors"}


@dataclass(frozen=True)
class Place:
    """Where one value goes: into an argument of a root field, or of a field of an object that `node` finds."""

    owner: str
    field: str
    argument: str
    path: tuple[str | int, ...]
    leaf: GraphQLNamedType

    def __str__(self) -> str:
        below = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return f"{self.owner}.{self.field}({self.argument}{below})"

    @property
    def names(self) -> list[str]:
        """The argument and the input fields above the value, from the outside in."""
        return [self.argument, *(step for step in self.path if isinstance(step, str))]

    @property
    def held(self) -> list[tuple[str, str]]:
        """The same, each behind what holds it: the field, and then the input types."""
        type_, found = get_named_type(arguments_of(self.owner, self.field)[self.argument].type), [(self.field, self.argument)]
        for step in self.names[1:]:
            found.append((type_.name, step))
            type_ = get_named_type(type_.fields[step].type)
        return found


def fields_with_arguments() -> list[tuple[str, str]]:
    """Name each root field and each field of a `Node` that takes arguments: a test a field."""
    owners = {**ROOTS, **{name: TYPES[name] for name in NODES}}
    return [(name, each) for name, type_ in owners.items() for each, declared in type_.fields.items() if declared.args]


def fields_out_of_reach() -> set[str]:
    """Name the fields with arguments that no walk comes to: of types that are neither roots nor have an id."""
    reached = {*ROOTS, *NODES}
    return {
        f"{name}.{each}"
        for name, type_ in TYPES.items()
        if isinstance(type_, GraphQLObjectType) and name not in reached and not name.startswith("__")
        for each, declared in type_.fields.items()
        if declared.args
    }


def arguments_of(owner: str, name: str) -> dict[str, GraphQLArgument]:
    """Give what a field takes."""
    return TYPES[owner].fields[name].args


def places(owner: str, name: str) -> Iterator[Place]:
    """Walk every leaf of a field's arguments."""
    for argument, declared in arguments_of(owner, name).items():
        for path, leaf in _leaves(declared.type, ()):
            yield Place(owner, name, argument, path, leaf)


def _leaves(type_: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str | int, ...], GraphQLNamedType]]:
    type_ = get_nullable_type(type_)
    if is_list_type(type_):
        yield from (((0, *path), leaf) for path, leaf in _leaves(type_.of_type, above))
    elif is_input_object_type(type_):
        # `and`, `or` and `not` hold their own type: one way further down, one field shows that they are looked into.
        again = above.count(type_.name)
        for name, inner in list(type_.fields.items())[: 1 if again else None]:
            if not (again and get_named_type(inner.type) is type_):
                yield from (((name, *path), leaf) for path, leaf in _leaves(inner.type, (*above, type_.name)))
    else:
        yield (), type_


def put(place: Place, arguments: dict[str, Any], value: Any) -> dict[str, Any]:
    """Give the arguments with the value at its place, and whatever must stand beside it."""
    declared = arguments_of(place.owner, place.field)[place.argument]
    put_in = _put(declared.type, deepcopy(arguments.get(place.argument)), place.path, value)
    return {**arguments, place.argument: put_in}


def _put(type_: Any, held: Any, path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    type_ = get_nullable_type(type_)
    if is_list_type(type_):
        items = held or []
        return [_put(type_.of_type, items[0] if items else None, path[1:], value), *items[1:]]
    step, inner = path[0], type_.fields[path[0]].type
    one_of = type_.extensions["strawberry-definition"].is_one_of  # the library doesn't tell the core
    held = {} if one_of else (held or smallest(type_))
    return {**held, step: _put(inner, held.get(step), path[1:], value)}


def smallest(type_: Any) -> Any:
    """Give the smallest value of an input type: what is required, and nothing else."""
    type_ = get_nullable_type(type_)
    if is_list_type(type_):
        return [smallest(type_.of_type)]
    if isinstance(type_, GraphQLInputObjectType):
        return {name: smallest(each.type) for name, each in type_.fields.items() if is_required_input_field(each)}
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    return {"Int": 1, "Float": 1.0, "Boolean": True, "DateTime": "2999-01-01T00:00:00Z", "JSONObject": {}}.get(type_.name, "a")


def literal(value: Any, type_: Any) -> str:
    """Write a value as it stands in a document."""
    type_ = get_nullable_type(type_)
    if isinstance(value, list):
        return f"[{', '.join(literal(item, type_.of_type if is_list_type(type_) else type_) for item in value)}]"
    if isinstance(value, dict):
        inner = type_.fields if isinstance(type_, GraphQLInputObjectType) else {}
        parts = [f"{name}: {literal(part, inner[name].type if name in inner else type_)}" for name, part in value.items()]
        return f"{{{', '.join(parts)}}}"
    if isinstance(value, bytes):
        return "$file"  # a file stands in no document
    return str(value) if isinstance(type_, GraphQLEnumType) and value is not None else json.dumps(value)


def document(
    owner: str, name: str, arguments: dict[str, Any], *, depth: int = 1, as_literals: bool = False, only: str | None = None
) -> str:
    """Write the operation that asks for one field, its arguments as variables (`node` is that of the object above it) or in the text.

    `depth`: through how many rows it selects, none: their ids alone; `only`: of `node`, this type.
    """
    given = {argument: declared for argument, declared in arguments_of(owner, name).items() if argument in arguments}
    variables = {} if as_literals else {argument: str(declared.type) for argument, declared in given.items()}
    texts = {
        argument: literal(arguments[argument], declared.type) if as_literals else f"${argument}" for argument, declared in given.items()
    }
    shown = TYPES[owner].fields[name].type
    selection = Selection(depth, only)
    call = name + (f"({', '.join(f'{argument}: {text}' for argument, text in texts.items())})" if texts else "")
    asked = f"{call} {selection.of(shown, depth - is_row(shown))}"
    if owner not in ROOTS:
        variables["node"] = "ID!"
        asked = f"node(id: $node) {{ ... on {owner} {{ {asked} }} }}"
    if as_literals and any("$file" in text for text in texts.values()):
        variables["file"] = "Upload!"
    declarations = f"({', '.join(f'${variable}: {type_}' for variable, type_ in variables.items())})" if variables else ""
    operation = "mutation" if owner == "Mutation" else "query"
    return f"{operation} Attack{declarations} {{ {asked} }}\n{selection.text}"


def is_row(type_: Any) -> bool:
    """Tell a field that shows what has an id of its own."""
    type_ = get_named_type(type_)
    return type_.name in NODES or isinstance(type_, GraphQLUnionType | GraphQLInterfaceType)


@dataclass
class Selection:
    """All that a type shows, through so many rows: a fragment for each type and depth, each written once."""

    depth: int
    only: str | None = None
    fragments: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The fragments that were asked for."""
        return "\n".join(self.fragments.values())

    def of(self, type_: Any, depth: int) -> str:
        """Give the selection of a field of this type; none for a leaf."""
        type_ = get_named_type(type_)
        if is_leaf_type(type_):
            return ""
        if depth < 0:
            return "{ __typename id }"
        if isinstance(type_, GraphQLUnionType | GraphQLInterfaceType):
            return self._of_any(type_, depth)
        return f"{{ {self.all_of(type_, depth)} }}"

    def all_of(self, type_: GraphQLObjectType, depth: int) -> str:
        """Spread the fragment of an object type."""
        name = f"{type_.name}{depth}"
        if name not in self.fragments:
            self.fragments[name] = ""  # known before it is written: it may hold itself through parts of a row
            self.fragments[name] = f"fragment {name} on {type_.name} {{ {self._fields(type_, depth)} }}"
        return f"...{name}"

    def _fields(self, type_: GraphQLObjectType, depth: int, but: frozenset[str] = frozenset()) -> str:
        asked = ["__typename"]
        for name, declared in type_.fields.items():
            inner = get_named_type(declared.type)
            below = depth - is_row(inner)
            left_out = below < 0 if self.depth else not (is_leaf_type(inner) or name in PAGE_PARTS)
            if name in but or left_out:
                continue
            if type_.name.endswith("Edge") and name == "node":
                asked.append("node { __typename }")  # the same as in `nodes`
                continue
            required = [argument for argument, each in declared.args.items() if is_required_argument(each)]
            assert not required, f"{type_.name}.{name} needs {required}: say what a selection gives them"
            asked.append(f"{name}{f'(first: {PAGE})' if 'first' in declared.args else ''} {self.of(inner, below)}")
        return " ".join(asked)

    def _of_any(self, type_: GraphQLUnionType | GraphQLInterfaceType, depth: int) -> str:
        """Select from each member; what two of them type differently cannot be asked of both, and is asked of the first alone."""
        known: dict[str, str] = {}
        parts = ["__typename"]
        for member in graph.core.get_possible_types(type_):
            if self.only not in (None, member.name) and isinstance(type_, GraphQLInterfaceType):
                continue
            types = {name: str(declared.type) for name, declared in member.fields.items()}
            but = frozenset(name for name, written in types.items() if known.get(name, written) != written)
            known |= {name: written for name, written in types.items() if name not in but}
            parts.append(f"... on {member.name} {{ {self._fields(member, depth, but)} }}")
        return f"{{ {' '.join(parts)} }}"
