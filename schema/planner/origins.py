"""Where the values of a statement come from, so that a compiled statement serves every value of the same shape.

The *shape* of the variables decides the SQL: which are given, which keys an object has, how long a list of objects is, each
boolean and each enum value that chooses SQL. All other values are leaves, found again at run time by their origin.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from graphql import ListValueNode, ObjectValueNode, ValueNode, VariableNode
from graphql.pyutils import Undefined

EnumType = TypeVar("EnumType", bound=type[Enum])

#: Enums whose value chooses SQL rather than being compared with a column.
STRUCTURAL: set[str] = set()


def structural(enum: EnumType) -> EnumType:
    """Mark an enum whose value is part of the shape."""
    STRUCTURAL.add(enum.__name__)
    return enum


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that the document itself holds."""

    value: Any

    def get(self, variables: Mapping[str, Any]) -> Any:
        return self.value

    def child(self, key: Any) -> "Origin":
        return Constant(self.value[key])


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, or a part of one."""

    name: str
    path: tuple[Any, ...] = ()

    def get(self, variables: Mapping[str, Any]) -> Any:
        value = variables[self.name]
        for key in self.path:
            value = value[key]
        return value

    def child(self, key: Any) -> "Origin":
        return Variable(self.name, (*self.path, key))


@dataclass(frozen=True, slots=True)
class Built:
    """An object or list of the document with variables inside."""

    parts: Mapping[Any, "Origin"]
    is_list: bool

    def get(self, variables: Mapping[str, Any]) -> Any:
        values = {key: part.get(variables) for key, part in self.parts.items()}
        return list(values.values()) if self.is_list else values

    def child(self, key: Any) -> "Origin":
        return self.parts[key]


Origin = Constant | Variable | Built


def origin_of(node: ValueNode | None, value: Any) -> Origin:
    """Find where the coerced `value` of this piece of a document came from."""
    if isinstance(node, VariableNode):
        return Variable(node.name.value)
    if isinstance(node, ObjectValueNode) and isinstance(value, dict):
        nodes = {field.name.value: field.value for field in node.fields}
        return Built({key: origin_of(nodes.get(key), part) for key, part in value.items()}, is_list=False)
    if isinstance(node, ListValueNode) and isinstance(value, list):
        return Built({place: origin_of(part, value[place]) for place, part in enumerate(node.values)}, is_list=True)
    if isinstance(value, list) and len(value) == 1 and isinstance(node, ObjectValueNode):
        return Built({0: origin_of(node, value[0])}, is_list=True)  # one value where a list is meant
    return Constant(value)


def shape_of(value: Any) -> Any:
    """Give what the SQL depends on, hashable."""
    if value is None or value is Undefined or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return value if type(value).__name__ in STRUCTURAL else "leaf"
    if isinstance(value, dict):
        return tuple((key, shape_of(part)) for key, part in value.items())
    if isinstance(value, list):
        inner = tuple(shape_of(part) for part in value)
        return "list" if all(part == "leaf" for part in inner) else inner
    return "leaf"


@dataclass(slots=True)
class BindValues:
    """All that binds are made from."""

    variables: Mapping[str, Any]
    workspace: str
    caller: Any
    found: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Bind:
    """One bind of a statement: how to make its value."""

    make: Callable[[BindValues], Any]


@dataclass(frozen=True, slots=True)
class Probe:
    """A value whose *content* chooses SQL: a cursor with a null in it, a search without a word.

    `look` gives the pattern that the SQL depends on, and the values for the binds.
    """

    look: Callable[[BindValues], tuple[Any, tuple[Any, ...]]]


def written(value: Any) -> Any:
    """Give a leaf in a form that JSON can hold, for digests."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no part of an argument")
