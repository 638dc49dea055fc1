"""Variables, read by what is compiled once of each input type: the library asks a type what it is again at every value of a batch.

A sound value comes out as the library gives it. Where one is not sound nothing is said here: the library reads the variables again,
and finds its own words and paths for what is wrong.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from graphql import (
    GraphQLBoolean,
    GraphQLError,
    GraphQLID,
    GraphQLInputObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    Undefined,
    VariableDefinitionNode,
    get_nullable_type,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
)
from graphql.execution.get_variable_signature import get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values
from graphql.utilities.coerce_input_value import coerce_default_value

from schema.scalars import WithFiles, loose

Read = Callable[[Any], Any]
#: Ways in which rows give their fields that are remembered for a type.
_ORDERS_KEPT = 100
#: What of these Python has one type for passes through as it is.
_TAKEN_AS_IT_IS: dict[Any, type] = {GraphQLString: str, GraphQLID: str, GraphQLBoolean: bool}


class _Refused(Exception):
    """A value that the type does not take."""


class _Part(NamedTuple):
    """A field of an input object, or the item of a list: `read` is None where any value is taken as it is."""

    read: Read | None
    required: bool

    def of(self, value: Any) -> Any:
        """Read one value."""
        if value is None:
            if self.required:
                raise _Refused
            return None
        return value if self.read is None else self.read(value)


class Coercion:
    """Reads the variables of a schema's operations."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self.schema = schema
        #: By the name of the input type; None for one that holds itself, whose depth the library looks after.
        self._objects: dict[str, Read | None] = {}

    def variables(self, definitions: Collection[VariableDefinitionNode], given: Mapping[str, Any]) -> VariableValues | None:
        """Read JSON values for the variables of a valid operation; None where one is not taken, or may be a file."""
        if isinstance(given, WithFiles):
            return None
        found = VariableValues({}, {})
        others = []
        for definition in definitions:
            name = definition.variable.name.value
            signature = get_variable_signature(self.schema, definition)
            if name not in given or isinstance(signature, GraphQLError):
                others.append(definition)  # of defaults and of what is missing the library knows
                continue
            try:
                part = self._part(signature.type)
                found.coerced[name] = part.of(given[name])
            except _Recursive:
                others.append(definition)
                continue
            except Exception:  # noqa: BLE001  (a scalar may raise what it likes: whatever it is, the library says it)
                return None
            found.sources[name] = VariableValueSource(signature, given[name])
        if others:
            rest = get_variable_values(self.schema, others, dict(given), max_errors=1)
            if not isinstance(rest, VariableValues):
                return None
            found.sources.update(rest.sources)
            found.coerced.update(rest.coerced)
        return found

    def _part(self, type_: Any) -> _Part:
        return _Part(self._read(get_nullable_type(type_)), is_non_null_type(type_))

    def _read(self, type_: Any) -> Read | None:
        if is_list_type(type_):
            return _list(self._part(type_.of_type))
        if is_input_object_type(type_):
            return self._object(type_)
        return _leaf(type_)

    def _object(self, type_: GraphQLInputObjectType) -> Read:
        if type_.name not in self._objects:
            self._objects[type_.name] = None  # what it holds may hold it
            parts = {name: self._part(field.type) for name, field in type_.fields.items()}
            self._objects[type_.name] = _object(type_, parts)
        read = self._objects[type_.name]
        if read is None:
            raise _Recursive
        return read


class _Recursive(Exception):
    """A type that holds itself."""


def _leaf(type_: Any) -> Read | None:
    if isinstance(type_, GraphQLScalarType) and type_.coerce_input_value is loose:
        return None
    read, kind = type_.coerce_input_value, _TAKEN_AS_IT_IS.get(type_)
    if kind is not None:
        return lambda value: value if type(value) is kind else _defined(read(value))
    return lambda value: _defined(read(value))


def _defined(value: Any) -> Any:
    if value is Undefined:
        raise _Refused
    return value


def _list(item: _Part) -> Read:
    read = item.read

    def read_list(value: Any) -> list[Any]:
        if not isinstance(value, list):
            return [item.of(value)]  # one value stands for a list of it
        if read is None or None in value:
            return [item.of(each) for each in value]
        return [read(each) for each in value]

    return read_list


def _object(type_: GraphQLInputObjectType, parts: Mapping[str, _Part]) -> Read:
    names = frozenset(parts)
    defaults = {name: coerce_default_value(type_.fields[name]) for name in parts}
    missing = {name: value for name, value in defaults.items() if value is not Undefined}
    needed = frozenset(name for name in parts if is_required_input_field(type_.fields[name]))
    # In the order of the type, as the library does: errors of a row are told in it.
    fields = [(name, type_.fields[name].out_name or name, part) for name, part in parts.items()]
    plain = [name for name, out, (read, required) in fields if out == name and read is None and not required and name not in missing]

    #: For the fields that rows give, in the order in which they give them, the same in the order of the type: a batch's are mostly alike.
    orders: dict[tuple[str, ...], tuple[str, ...]] = {}

    def read_loose(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _Refused
        given = tuple(value)
        order = orders.get(given)
        if order is None:
            if not value.keys() <= names:
                raise _Refused
            order = tuple(name for name in plain if name in value)
            if len(orders) < _ORDERS_KEPT:
                orders[given] = order
        return {name: value[name] for name in order}

    def read_object(value: Any) -> Any:
        if not isinstance(value, dict) or not needed <= value.keys() <= names:
            raise _Refused
        read = {}
        for name, out, part in fields:
            if name in value:
                read[out] = part.of(value[name])
            elif name in missing:
                read[out] = missing[name]
        if type_.is_one_of and (len(value) != 1 or len(read) != 1 or None in read.values()):
            raise _Refused
        return type_.out_type(read)

    whole = len(plain) == len(parts) and not type_.is_one_of and type_.out_type is GraphQLInputObjectType.out_type
    return read_loose if whole else read_object
