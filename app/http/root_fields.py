"""What the root fields of mutations say of themselves: who may, what is told only once, what is done ahead of the transaction."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from graphql import FragmentDefinitionNode, GraphQLError, GraphQLSchema
from graphql.execution.collect_fields import FragmentDetails, collect_fields
from graphql.execution.values import VariableValues, get_argument_values, get_variable_values

from app.actions.work import Caller, Role
from app.http.checks import Operation
from app.http.requests import Request
from schema.scalars import WithFiles

#: Files that are read at once, each in a thread that asks for the interpreter's lock as often as the loop does.
AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class _Said:
    """What a root field says; by default, what `__typename` would."""

    role: Role = Role.VIEWER
    shows_secret: bool = False
    ahead: Callable[[dict[str, Any]], Awaitable[None]] | None = None


class RootFields:
    """The root fields of a schema's mutations, by name."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self.schema = schema
        self._turns = asyncio.Semaphore(AT_ONCE)
        fields = schema.mutation_type.fields if schema.mutation_type else {}
        told = {name: getattr(field.extensions.get("strawberry-definition"), "metadata", {}) for name, field in fields.items()}
        self._said = {
            name: _Said(each.get("needs", Role.VIEWER), bool(each.get("shows_secret")), each.get("ahead")) for name, each in told.items()
        }

    def check_role(self, caller: Caller, operation: Operation) -> None:
        """Refuse a caller who may not do all of it."""
        for name in operation.tally.root_names:
            caller.require(self._of(name).role)

    def shows_secret(self, operation: Operation) -> bool:
        """Tell whether an answer holds what is told only once."""
        return any(self._of(name).shows_secret for name in operation.tally.root_names)

    async def do_ahead(self, request: Request, operation: Operation) -> None:
        """Do what takes long before the transaction begins: read the files that came. What is wrong is refused later, at its place."""
        if not isinstance(request.variables, WithFiles) or (mutation := self.schema.mutation_type) is None:
            return
        values = get_variable_values(self.schema, operation.node.variable_definitions or (), request.variables, max_errors=1)
        if not isinstance(values, VariableValues):
            return
        fragments = {
            node.name.value: FragmentDetails(node, None)
            for node in operation.document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        for details in collect_fields(self.schema, fragments, values, mutation, operation.node).grouped_field_set.values():
            node = details[0].node
            said = self._of(node.name.value)
            if said.ahead is None or not request.caller.role.covers(said.role):
                continue
            try:
                arguments = get_argument_values(mutation.fields[node.name.value], node, values)
            except GraphQLError:
                continue
            async with self._turns:
                await said.ahead(arguments)

    def _of(self, name: str) -> _Said:
        return self._said.get(name, _Said())
