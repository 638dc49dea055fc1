"""What a request may cost, told before anything runs: objects and rows, counted from the document and the variables.

A field is 0, an object 1, a list its page size times its content; a list inside a row is 1, another one without pages is as long as
the root field's input, or 10. Each fragment is counted once, however often it is spread.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
)
from graphql.utilities import value_from_ast_untyped

from schema.planner.pages import DEFAULT, MOST

#: Lists that are read with their row.
IN_A_ROW = frozenset({"components", "reasons", "changes", "errors", "criteria", "actions"})
#: What a list without pages and without an input is taken for.
UNPAGED = 10
#: Lists among the arguments that nothing is done for each item of.
CHOICES = frozenset({"orderBy"})

Holder = GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType


@dataclass(frozen=True, slots=True)
class _Value:
    """A number or boolean of the document, or the variable (and the field of it) that gives one; `fixed` stands in for an absent one."""

    fixed: Any
    variable: str | None = None
    key: str | None = None

    def of(self, variables: Mapping[str, Any]) -> Any:
        if self.variable is None:
            return self.fixed
        found = variables.get(self.variable)
        if self.key is not None:
            found = found.get(self.key) if isinstance(found, dict) else None
        if type(found) is int:  # more than a page can be is refused by its name, and not for what it would cost
            return min(found, MOST)
        return self.fixed if found is None else found


@dataclass(slots=True)
class _Part:
    """A field with what is selected below it, or a fragment: `times` x (`own` + parts), where its conditions hold."""

    own: int = 0
    times: tuple[_Value, ...] = ()
    parts: list["_Part"] = field(default_factory=list)
    #: Of `@include` (true) and `@skip` (false).
    conditions: tuple[tuple[_Value, bool], ...] = ()


@dataclass(slots=True)
class Cost:
    """The cost of one operation, as far as the document tells it."""

    whole: _Part
    #: The variables that it depends on, and their defaults.
    variables: tuple[str, ...]
    defaults: dict[str, Any]
    _fixed: int | None = None

    def of(self, variables: Mapping[str, Any]) -> int:
        """Give the cost with these variables, as they were sent: what no page can be counts as 1, and is refused later."""
        if self._fixed is not None:
            return self._fixed
        given = {name: variables.get(name, self.defaults.get(name)) for name in self.variables}
        cost = _count(self.whole, given, {})
        if not self.variables:
            self._fixed = cost
        return cost


def _count(part: _Part, variables: Mapping[str, Any], known: dict[int, int]) -> int:
    found = known.get(id(part))
    if found is None:
        if any(value.of(variables) is not wanted for value, wanted in part.conditions):
            found = 0
        else:
            found = part.own + sum(_count(each, variables, known) for each in part.parts)
            for times in part.times:
                found *= _length(times.of(variables))
        known[id(part)] = found
    return found


def _length(value: Any) -> int:
    if isinstance(value, list):
        return max(len(value), 1)
    return max(value, 1) if isinstance(value, int) and not isinstance(value, bool) else 1


def cost_of(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> Cost:
    """Read the cost of an operation of a valid document."""
    defaults = {
        each.variable.name.value: value_from_ast_untyped(each.default_value)
        for each in operation.variable_definitions or ()
        if each.default_value
    }
    type_ = schema.get_root_type(operation.operation)
    walk = _Walk(schema, {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)})
    whole = _Part(parts=list(walk.parts(operation.selection_set, type_, None, None))) if type_ else _Part()
    return Cost(whole, tuple(sorted(walk.variables)), defaults)


@dataclass
class _Walk:
    schema: GraphQLSchema
    fragments: dict[str, FragmentDefinitionNode]
    variables: set[str] = field(default_factory=set)
    _spread: dict[tuple[str, _Value | None, _Value | None], _Part] = field(default_factory=dict)

    def parts(self, selections: SelectionSetNode, type_: Holder, page: _Value | None, given: _Value | None) -> Iterator[_Part]:
        """Give the parts of a selection. `page`: the size of the page that it is in; `given`: the list that the root field was given."""
        for node in selections.selections:
            conditions = tuple(self._conditions(node.directives or ()))
            if isinstance(node, FieldNode):
                part = self._field(node, type_, page, given)
                if part is not None:
                    part.conditions = conditions
                    yield part
            elif isinstance(node, FragmentSpreadNode):
                yield _Part(parts=[self._fragment(node.name.value, page, given)], conditions=conditions)
            else:
                on: Any = self.schema.get_type(node.type_condition.name.value) if node.type_condition else type_  # type: ignore[attr-defined]
                yield _Part(parts=list(self.parts(node.selection_set, on, page, given)), conditions=conditions)  # type: ignore[attr-defined]

    def _fragment(self, name: str, page: _Value | None, given: _Value | None) -> _Part:
        key = (name, page, given)
        if key not in self._spread:
            definition = self.fragments[name]
            type_: Any = self.schema.get_type(definition.type_condition.name.value)
            part = self._spread[key] = _Part()
            part.parts.extend(self.parts(definition.selection_set, type_, page, given))
        return self._spread[key]

    def _field(self, node: FieldNode, owner: Holder, page: _Value | None, given: _Value | None) -> _Part | None:
        name = node.name.value
        if name.startswith("__") or isinstance(owner, GraphQLUnionType):
            return None  # introspection has limits of its own
        declared = owner.fields[name]
        inner = get_named_type(declared.type)
        a_list = is_list_type(get_nullable_type(declared.type))
        if is_leaf_type(inner):
            return _Part(own=1) if a_list and name in IN_A_ROW else None
        if given is None and owner in (self.schema.query_type, self.schema.mutation_type):
            given = self._input(node, declared)
        below = self._page(node) if "first" in declared.args else None
        times: tuple[_Value, ...] = ()
        if a_list and name not in IN_A_ROW:
            times = (page if page is not None else given if given is not None else _Value(UNPAGED),)
        part = _Part(own=1, times=times)
        if node.selection_set:
            part.parts.extend(self.parts(node.selection_set, inner, below, given))
        return part

    def _page(self, node: FieldNode) -> _Value:
        for argument in node.arguments or ():
            if argument.name.value in ("first", "last") and not isinstance(argument.value, NullValueNode):
                size = self._value(argument.value, DEFAULT)
                return size if size.variable else _Value(min(size.fixed, MOST))
        return _Value(DEFAULT)

    def _input(self, node: FieldNode, declared: GraphQLField) -> _Value | None:
        """Find the list that a root field works through: `ids`, `leads`, or one in `input`."""
        for argument in node.arguments or ():
            name, value = argument.name.value, argument.value
            type_ = get_nullable_type(declared.args[name].type)
            if is_list_type(type_) and name not in CHOICES:
                return self._list(value)
            for key, inner in type_.fields.items() if name == "input" and isinstance(type_, GraphQLInputObjectType) else ():
                rows = get_nullable_type(inner.type)
                if is_list_type(rows) and not is_leaf_type(get_named_type(rows)):
                    if isinstance(value, VariableNode):
                        return self._value(value, UNPAGED, key)
                    return next((self._list(each.value) for each in value.fields if each.name.value == key), None)  # type: ignore[attr-defined]
        return None

    def _list(self, node: ValueNode) -> _Value:
        return _Value(len(node.values)) if isinstance(node, ListValueNode) else self._value(node, UNPAGED)

    def _conditions(self, directives: Iterable[DirectiveNode]) -> Iterator[tuple[_Value, bool]]:
        for directive in directives:
            if directive.name.value in ("include", "skip"):
                for argument in directive.arguments or ():
                    yield self._value(argument.value, None), directive.name.value == "include"

    def _value(self, node: ValueNode, absent: Any, key: str | None = None) -> _Value:
        if isinstance(node, VariableNode):
            self.variables.add(node.name.value)
            return _Value(absent, node.name.value, key)
        if isinstance(node, BooleanValueNode):
            return _Value(node.value)
        return _Value(int(node.value) if isinstance(node, IntValueNode) else 1)
