"""The short way in: a query whose root fields are all planned runs as cached plans on the coerced variables, without an executor.

The answer is the one that the long way gives, byte for byte. Whatever is not plainly data (a value that can't be coerced, a field
that fails, a null where none may be) goes on to the long way, which tells it; what the plans came to goes along in the context, so
that no statement runs twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    FragmentDefinitionNode,
    GraphQLBoolean,
    GraphQLID,
    GraphQLInt,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLString,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_nullable_type,
    is_non_null_type,
    type_from_ast,
)
from graphql.execution.collect_fields import FragmentDetails, collect_fields
from graphql.execution.values import VariableValues, get_variable_values
from orjson import Fragment

from app.actions.work import Caller
from schema.context import Context
from schema.documents import Document
from schema.latest import Latest
from schema.planner import compiler
from schema.planner.arrays import Columns
from schema.planner.compiler import Details
from schema.planner.origins import BindValues
from schema.planner.plans import Plan, Plans

#: Types of whose values none is refused or changed, beyond the range of an `Int`.
_PLAIN: dict[Any, type] = {GraphQLString: str, GraphQLID: str, GraphQLInt: int, GraphQLBoolean: bool}


@dataclass(frozen=True, slots=True)
class _Field:
    """A root field under its response key."""

    key: str
    details: Details
    required: bool


@dataclass(frozen=True, slots=True)
class _Query:
    operation: OperationDefinitionNode
    fragments: Mapping[str, Any]
    fields: tuple[_Field, ...]
    #: By variable, what a plain value of it passes through as it is; None where some may not.
    plain: dict[str, type] | None

    def coerced(self, schema: GraphQLSchema, variables: dict[str, Any]) -> VariableValues | None:
        """Coerce the variables; None where one is wrong."""
        plain = self.plain
        if plain is not None and len(variables) == len(plain):
            # Exactly one text or number for each: the library would give them back as they are, and take ten times as long.
            for name, kind in plain.items():
                if type(variables.get(name)) is not kind or (kind is int and not -(2**31) <= variables[name] < 2**31):
                    break
            else:
                return VariableValues({}, {name: variables[name] for name in plain})
        values = get_variable_values(schema, self.operation.variable_definitions or (), variables, max_errors=1)
        return values if isinstance(values, VariableValues) else None


@dataclass(frozen=True, slots=True)
class Planned:
    """A query of one root field, and what its statement is to be run with."""

    key: str
    required: bool
    plan: Plan
    values: BindValues

    def data(self, rows: list[Any]) -> dict[str, Fragment | None] | None:
        """Give the `data` that the rows come to; None where only the long way can tell it."""
        found = self.plan.finish(rows, self.values)
        return {self.key: found} if type(found) is Fragment or (found is None and not self.required) else None


class ShortWay:
    """Answers queries by their plans alone."""

    def __init__(self, schema: GraphQLSchema, plans: Plans) -> None:
        self.schema, self.plans = schema, plans
        self._queries: Latest[tuple[str, str | None], _Query | None] = Latest(lambda key: key[0])

    async def answer(
        self, document: Document, operation_name: str | None, variables: dict[str, Any], context: Context
    ) -> dict[str, Fragment | None] | None:
        """Give the `data` of a valid document's query; None where only the long way can tell the answer."""
        query = self._query(document, operation_name)
        if query is None or context.reading is None:
            return None
        values = query.coerced(self.schema, variables)
        if values is None:
            return None
        view = compiler.Document(self.schema, query.operation, query.fragments, values)
        whole = True
        for field in query.fields:
            try:
                found = await self.plans.answer(view, field.details, field.key, context.caller, context.reading)
            except Exception as error:  # noqa: BLE001  (the long way raises it again, at its place)
                found = error
            context.answered[field.key] = found
            whole = whole and (type(found) is Fragment or (found is None and not field.required))
        return context.answered if whole else None

    async def columns(self, document: Document, variables: dict[str, Any], context: Context) -> Columns | None:
        """Give a page of the one root field of a query column by column; None where a variable is not of its type."""
        query = self._query(document, None)
        if query is None or context.reading is None or (values := query.coerced(self.schema, variables)) is None:
            return None
        [field] = query.fields
        view = compiler.Document(self.schema, query.operation, query.fragments, values)
        return await self.plans.columns(view, field.details, field.key, context.caller, context.reading)

    def plan(
        self, document: Document, operation_name: str | None, variables: dict[str, Any], caller: Caller, *, postgres: bool
    ) -> "Planned | None":
        """Give what answers a query of one root field that was asked before in this shape; None for any other."""
        query = self._query(document, operation_name)
        if query is None or len(query.fields) != 1:
            return None
        values = query.coerced(self.schema, variables)
        if values is None:
            return None
        [field] = query.fields
        view = compiler.Document(self.schema, query.operation, query.fragments, values)
        found = self.plans.known(view, field.key, caller, postgres=postgres)
        return None if found is None else Planned(field.key, field.required, *found)

    def _query(self, document: Document, operation_name: str | None) -> _Query | None:
        return self._queries.of((document.text, operation_name), lambda: self._read(document, operation_name))

    def _read(self, document: Document, operation_name: str | None) -> _Query | None:
        operation, type_ = document.operation(operation_name), self.schema.query_type
        if document.ast is None or document.errors or operation is None or type_ is None:
            return None
        if operation.operation is not OperationType.QUERY or operation.directives:
            return None
        definitions = {node.name.value: node for node in document.ast.definitions if isinstance(node, FragmentDefinitionNode)}
        if not _plain(operation.selection_set, definitions):
            return None
        fragments = {name: FragmentDetails(node, None) for name, node in definitions.items()}
        collected = collect_fields(self.schema, fragments, VariableValues({}, {}), type_, operation).grouped_field_set
        fields = tuple(_field(key, details, type_) for key, details in collected.items())
        return _Query(operation, fragments, fields, _plain_types(self.schema, operation))


def _plain(selections: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> bool:
    """Tell whether the root fields are the same in every run, and all of them the planner's."""
    for node in selections.selections:
        if node.directives:
            return False
        below: SelectionSetNode | None
        if node.kind == "field":
            if node.name.value.startswith("__"):  # type: ignore[attr-defined]
                return False
            below = None
        elif node.kind == "fragment_spread":
            below = fragments[node.name.value].selection_set  # type: ignore[attr-defined]
        else:
            below = node.selection_set  # type: ignore[attr-defined]
        if below is not None and not _plain(below, fragments):
            return False
    return True


def _plain_types(schema: GraphQLSchema, operation: OperationDefinitionNode) -> dict[str, type] | None:
    kinds: dict[str, type] = {}
    for definition in operation.variable_definitions or ():
        type_: Any = type_from_ast(schema, definition.type)
        kind = _PLAIN.get(get_nullable_type(type_))
        if kind is None:
            return None
        kinds[definition.variable.name.value] = kind
    return kinds


def _field(key: str, details: Iterable[Any], type_: GraphQLObjectType) -> _Field:
    details = list(details)
    declared = type_.fields[details[0].node.name.value]
    return _Field(key, details, is_non_null_type(declared.type))
