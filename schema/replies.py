"""Replies of mutations: what a verb tells, as plain data, with the objects in it read by the planner.

A reply is a dict by the contract's names. `Ref(type, id)` in it stands for an object: all that stand at the same place of the
document are read in one statement, inside the transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import GraphQLObjectType, get_named_type, is_non_null_type
from graphql.execution.values import get_argument_values
from orjson import Fragment

from app.errors import Internal
from app.rules.written import dumps
from schema.context import Context
from schema.planner.compiler import Details
from schema.planner.plans import Plans


@dataclass(slots=True)  # one that is frozen takes three times as long to make, and a batch has a thousand
class Ref:
    """An object of the graph, by type name and id."""

    type_name: str
    id: str


class Reply:
    """Shapes one mutation's reply by what was selected."""

    def __init__(self, plans: Plans, context: Context) -> None:
        self.plans, self.context = plans, context
        self.document = plans.view(context.executor)

    async def write(self, type_: GraphQLObjectType, details: Details, data: dict[str, Any], path: str) -> Fragment:
        """Write the reply as JSON."""
        [shaped] = await self._objects(type_, details, [data], path)
        return Fragment(orjson.dumps(shaped, option=orjson.OPT_UTC_Z))

    async def _objects(self, type_: GraphQLObjectType, details: Details, rows: Sequence[dict[str, Any]], path: str) -> list[dict[str, Any]]:
        """Shape many objects of one type, a field at a time: the selection is read once, not once a row."""
        out: list[dict[str, Any]] = [{} for _ in rows]
        for key, chosen in self.document.collect(type_, details).items():
            name = chosen[0].node.name.value
            if name == "__typename":
                values: Sequence[Any] = [type_.name] * len(rows)
            else:
                given = self._given(rows, name, type_, chosen)
                values = await self._values(type_.fields[name].type, chosen, given, f"{path}.{key}")
            for target, value in zip(out, values, strict=True):
                target[key] = value
        return out

    def _given(self, rows: Sequence[dict[str, Any]], name: str, type_: GraphQLObjectType, details: Details) -> list[Any]:
        """Give the field's value in each row; a value that depends on arguments is a function of them."""
        values = [row[name] for row in rows]
        if not any(map(callable, values)):
            return values
        arguments = get_argument_values(type_.fields[name], details[0].node, self.document.variables)
        return [value(arguments) if callable(value) else value for value in values]

    async def _values(self, declared: Any, details: Details, values: list[Any], path: str) -> list[Any]:
        type_ = get_named_type(declared)
        if type_.name in ("JSONValue", "JSONObject"):
            return [Fragment(dumps(value)) if isinstance(value, dict | list) else value for value in values]
        if not isinstance(type_, GraphQLObjectType) or not any(values):
            return values  # such as the errors of the rows of a batch, where there are none
        if all(value is None or isinstance(value, Fragment) for value in values):
            return values
        flat = [item for value in values for item in (value if isinstance(value, list) else [value]) if item is not None]
        refs = [item for item in flat if isinstance(item, Ref)]
        plain = [item for item in flat if isinstance(item, dict)]
        found = await self._read(type_, details, refs, path) if refs else {}
        shaped = iter(await self._objects(type_, details, plain, path) if plain else [])
        required = is_non_null_type(declared)

        def one(item: Any) -> Any:
            if isinstance(item, Ref):
                if required and item.id not in found:
                    raise Internal
                return found.get(item.id)
            return next(shaped) if isinstance(item, dict) else item

        return [[one(item) for item in value] if isinstance(value, list) else one(value) for value in values]

    async def _read(self, type_: GraphQLObjectType, details: Details, refs: Sequence[Ref], path: str) -> dict[str, Fragment]:
        context = self.context
        if context.reading is None:
            raise Internal
        ids = list(dict.fromkeys(ref.id for ref in refs))
        return await self.plans.objects(self.document, details, path, ids, type_.name, context.caller, context.reading)
