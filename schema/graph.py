"""The schema, built once: Strawberry's types, with planned root fields answered by the planner."""

from dataclasses import replace
from typing import Any

import strawberry
from graphql import DocumentNode, GraphQLInputObjectType, GraphQLResolveInfo, GraphQLSchema, get_operation_ast
from orjson import Fragment
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from app.errors import Internal
from schema.coercion import Coercion
from schema.context import Context
from schema.documents import Documents, ReadOnce
from schema.inputs import LeadEventRow
from schema.mutations import Mutation
from schema.planner.plans import Plans, details_of
from schema.queries import Query
from schema.scalars import SCALARS, Cell
from schema.short_way import ShortWay
from schema.subscriptions import Subscription


class PlannedExecution(StrawberryGraphQLCoreExecutionContext):
    """Take finished JSON as the completed value of its field, whatever the field's type, and variables that were read already."""

    @classmethod
    def build(
        cls,
        schema: GraphQLSchema,
        document: DocumentNode,
        root_value: Any = None,
        context_value: Any = None,
        raw_variable_values: dict[str, Any] | None = None,
        operation_name: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Read the variables the short way, and build on an operation that has none; where one is wrong, let the library tell it."""
        operation = get_operation_ast(document, operation_name)
        coercion = getattr(schema.extensions.get("strawberry-definition"), "coercion", None)
        values = None
        if operation is not None and operation.variable_definitions and isinstance(coercion, Coercion):
            values = coercion.variables(operation.variable_definitions, raw_variable_values or {})
        if operation is None or values is None:
            return super().build(schema, document, root_value, context_value, raw_variable_values, operation_name, *args, **kwargs)
        bare = replace(operation, variable_definitions=())
        without = replace(document, definitions=tuple(bare if node is operation else node for node in document.definitions))
        built: Any = super().build(schema, without, root_value, context_value, {}, operation_name, *args, **kwargs)
        if not isinstance(built, list):
            built.operation, built.variable_values = operation, values
        return built

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.context_value, Context):
            self.context_value.executor = self

    def complete_value(self, return_type: Any, field_details_list: Any, info: Any, path: Any, result: Any, position_context: Any) -> Any:
        """Hand a `Fragment` through untouched."""
        if type(result) is Fragment:
            return result
        return super().complete_value(return_type, field_details_list, info, path, result, position_context)


def described(schema: GraphQLSchema) -> GraphQLSchema:
    """Let a type's docstring describe it to clients, where nothing else does."""
    for type_ in schema.type_map.values():
        definition = (type_.extensions or {}).get("strawberry-definition")
        origin = getattr(definition, "origin", None) or getattr(definition, "wrapped_cls", None)
        if type_.description is None and origin is not None:
            type_.description = _words_of(origin)
    return schema


def _words_of(origin: type) -> str | None:
    """Give a class's docstring, or its base's: a dataclass without one is given its signature."""
    for cls in origin.__mro__:
        if cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}("):
            return " ".join(cls.__doc__.split())
    return None


class Graph(strawberry.Schema):
    """The library's schema with its documents and plans; silent: a client's mistake is answered, not logged with a traceback."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: graphql-core's schema, for which the library has no public name.
        self.core: GraphQLSchema = described(self._schema)
        for type_ in self.core.type_map.values():
            # The library prints @oneOf and checks it while it converts, too late for a document to be refused.
            if isinstance(type_, GraphQLInputObjectType) and getattr(type_.extensions.get("strawberry-definition"), "is_one_of", False):
                type_.is_one_of = True
        self.coercion = Coercion(self.core)
        self.documents = Documents(self.core)
        self.plans = Plans(self.core)
        self.short_way = ShortWay(self.core, self.plans)

    def process_errors(self, errors: Any, execution_context: Any = None) -> None:
        """Log nothing here; the endpoint logs what was not expected."""


graph = Graph(
    Query,
    Mutation,
    Subscription,
    extensions=[ReadOnce],
    execution_context_class=PlannedExecution,
    config=StrawberryConfig(scalar_map=SCALARS),
)
document = graph.documents.read
# Rows of a batch were read, and are kept, as they came: as it does with scalars, the library hands a list of them on. It would else ask
# a dozen questions about each.
graph.schema_converter.scalar_registry[LeadEventRow] = graph.schema_converter.scalar_registry[Cell]


async def _planned(_source: Any, info: GraphQLResolveInfo[Context], **_arguments: Any) -> Any:
    """Answer a root field of a query. The planner reads the arguments itself, for it needs to know where each came from."""
    context: Context = info.context
    if context.reading is None:
        raise Internal
    key = str(info.path.key)
    if key in context.answered:
        found = context.answered[key]
        if isinstance(found, Exception):
            raise found
        return found
    view = graph.plans.view(context.executor)
    return await graph.plans.answer(view, details_of(info.field_nodes), key, context.caller, context.reading)


for _field in graph.core.type_map["Query"].fields.values():  # type: ignore[attr-defined]
    _field.resolve = _planned
