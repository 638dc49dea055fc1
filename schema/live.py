"""Subscriptions as the queries that they repeat: `activityAdded` pages through `activities`, `importJobUpdated` asks for a `node`.

The field of the subscription is rewritten into that of the query, with what a reader of the log has to know beside what was asked for:
the planner compiles it like any other. So an event is what the query would give, by one statement for many events.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    InlineFragmentNode,
    NamedTypeNode,
    NameNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields
from graphql.execution.values import VariableValues, get_argument_values, get_variable_values

from app.actions import activities
from app.actions.batches import JobStatus
from app.actions.work import Caller, Role
from app.errors import BadUserInput, InvalidCursor, NotFound
from app.readers import Reading
from schema.planner import compiler, cursors
from schema.planner.compiler import Details
from schema.planner.pages import MOST
from schema.planner.plans import Plans, variables_of

#: Names beside those of the document; none can have a space in it.
_SIZE, _PLACE = "size of the page", "place in the log"
#: The argument whose cursor is refused.
_AFTER = "after"
_CURSOR, _STATUS = "cursor of the edge", "status of the job"
#: States that a job does not leave.
_ENDED = {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}


class ImportJobNotFound(NotFound):
    """There is no such import in your workspace."""


class WrongVariables(Exception):
    """Variables that do not fit the operation; the library's errors say how."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__()
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a selection shows of the log from one position to another."""

    #: An object `{"data": ...}` for each activity, as JSON.
    events: tuple[bytes, ...]
    #: All that was asked for up to here is in `events`.
    upto: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How one object stands: `{"data": ...}`, and whether it can still change."""

    event: bytes
    ended: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """One subscription's root field with its variables, for callers who see the same."""

    plans: Plans
    view: compiler.Document
    field: Details
    key: str
    caller: Caller
    #: The same for all that ask the same and may see the same: they share what is read.
    same: Hashable

    async def _read(self, field: Details, variables: Mapping[str, Any], reading: Reading) -> Any:
        given = self.view.variables
        values = VariableValues(given.sources, {**given.coerced, **variables})
        view = compiler.Document(self.view.schema, self.view.operation, self.view.fragments, values)
        found = await self.plans.answer(view, field, self.key, self.caller, reading)
        return None if found is None else orjson.loads(orjson.dumps(found))

    def _event(self, content: Any) -> bytes:
        # Put together of parts: what orjson gives keeps all the room that it made for it, some kilobytes for a few hundred bytes.
        return b"".join((b'{"data":{"', self.key.encode(), b'":', orjson.dumps(content), b"}}"))


@dataclass(frozen=True, slots=True)
class LiveLog(Asked):
    """`activityAdded`."""

    #: The position that was asked for; None: now.
    after: int | None

    name: ClassVar[str] = "activityAdded"

    @classmethod
    def of(cls, arguments: Mapping[str, Any], **asked: Any) -> "LiveLog":
        """Read the arguments; raises InvalidCursor."""
        after, prefix = arguments.get("after"), cursors.prefix(asked["caller"].workspace_id, b"log")
        position = None
        if after is not None:
            try:
                [position] = cursors.decode(after, prefix, 1)
            except InvalidCursor as error:
                raise InvalidCursor(argument=_AFTER) from error
            if type(position) is not int or not 0 <= position < 2**63:
                raise InvalidCursor(argument=_AFTER)
        return cls(after=position, **asked)

    @staticmethod
    def rewritten(node: FieldNode) -> FieldNode:
        """Give `activityAdded(after, where) { ... }` as `activities(where, first, after) { edges { cursor ... } }`."""
        given = [argument for argument in node.arguments or () if argument.name.value == "where"]
        edges = _field("edges", selected=[_field("cursor", alias=_CURSOR), *_selections(node)])
        return _field("activities", [*given, _bound("first", _SIZE), _bound("after", _PLACE)], [edges], of=node)

    async def begin(self, reading: Reading) -> int:
        """Give the position to go on from."""
        last = await activities.last_sequence(reading, self.caller.workspace_id)
        if self.after is None:
            return last
        if self.after > last:
            raise InvalidCursor(argument=_AFTER)
        return self.after

    async def read(self, reading: Reading, position: int, last: int, size: int) -> Stretch:
        """Read at most `size` activities after a position; `last` is a position that the log is known to have reached before this."""
        prefix = cursors.prefix(self.caller.workspace_id, b"log")
        place = {_SIZE: min(size, MOST), _PLACE: cursors.encode(prefix, [position])}
        edges = (await self._read(self.field, place, reading))["edges"]
        if not edges:
            return Stretch((), max(position, last))
        [reached] = cursors.decode(edges[-1][_CURSOR], prefix, 1)
        for edge in edges:
            del edge[_CURSOR]
        return Stretch(tuple(self._event(edge) for edge in edges), reached if len(edges) >= min(size, MOST) else max(reached, last))


@dataclass(frozen=True, slots=True)
class LiveImport(Asked):
    """`importJobUpdated`."""

    name: ClassVar[str] = "importJobUpdated"

    @classmethod
    def of(cls, _arguments: Mapping[str, Any], **asked: Any) -> "LiveImport":
        """Take the arguments as they are."""
        return cls(**asked)

    @staticmethod
    def rewritten(node: FieldNode) -> FieldNode:
        """Give `importJobUpdated(id) { ... }` as `node(id) { ... on ImportJob { status ... } }`."""
        inside = _selected([_field("status", alias=_STATUS), *_selections(node)])
        on = NamedTypeNode(name=NameNode(value="ImportJob"))
        part = InlineFragmentNode(type_condition=on, directives=(), selection_set=inside)
        return _field("node", list(node.arguments or ()), [part], of=node)

    async def read(self, reading: Reading) -> Standing:
        """Read how the import stands."""
        found = await self._read(self.field, {}, reading)
        if found is None or _STATUS not in found:
            raise ImportJobNotFound
        return Standing(ended=found.pop(_STATUS) in _ENDED, event=self._event(found))


_KINDS: dict[str, type[LiveLog | LiveImport]] = {kind.name: kind for kind in (LiveLog, LiveImport)}


def live(
    plans: Plans, document: DocumentNode, operation: OperationDefinitionNode, variables: dict[str, Any], caller: Caller
) -> LiveLog | LiveImport:
    """Read a valid subscription.

    Raises WrongVariables, a GraphQLError with a path for what is wrong with the field's arguments, or BadUserInput where directives
    leave nothing to subscribe to.
    """
    schema, type_ = plans.schema, plans.schema.subscription_type
    if type_ is None or operation.loc is None:
        raise TypeError("a schema without subscriptions")
    values = get_variable_values(schema, operation.variable_definitions or (), variables, max_errors=1)
    if not isinstance(values, VariableValues):
        raise WrongVariables(values)
    nodes = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    fragments = {each: FragmentDetails(node, None) for each, node in nodes.items()}
    collected = collect_fields(schema, fragments, values, type_, operation).grouped_field_set
    if not collected:
        raise BadUserInput("The subscription's field is left out by its directives.")
    [(key, field)] = collected.items()
    field = list(field)
    node = field[0].node
    kind = _KINDS[node.name.value]
    view = compiler.Document(schema, operation, fragments, values)  # type: ignore[arg-type]
    repeated = [FieldDetails(kind.rewritten(each.node), None) for each in field]
    given = {each: variables[each] for each in variables_of(view, repeated) if each in variables}
    # Others than ADMINs see keys and users of their own where they see no others'.
    sees = (caller.workspace_id, caller.role is Role.ADMIN or caller.actor_id)
    same = (
        operation.loc.source.body,
        operation.name and operation.name.value,
        *sees,
        orjson.dumps(given, option=orjson.OPT_SORT_KEYS).decode(),
    )
    try:
        arguments = get_argument_values(type_.fields[node.name.value], node, values)
        return kind.of(arguments, plans=plans, view=view, field=repeated, key=key, caller=caller, same=same)
    except GraphQLError as error:
        raise GraphQLError(error.message, error.nodes or [node], path=[key], original_error=error.original_error) from error
    except InvalidCursor as error:
        raise GraphQLError(error.message, [node], path=[key], original_error=error) from error


def located(asked: Asked, error: Exception) -> GraphQLError:
    """Say where in the answer an error stands."""
    return GraphQLError(str(error), [each.node for each in asked.field[:1]], path=[asked.key], original_error=error)


def _selections(node: FieldNode) -> list[Any]:
    return list(node.selection_set.selections) if node.selection_set else []


def _field(
    name: str,
    arguments: list[ArgumentNode] | None = None,
    selected: list[Any] | None = None,
    *,
    alias: str | None = None,
    of: FieldNode | None = None,
) -> FieldNode:
    return FieldNode(
        name=NameNode(value=name),
        alias=NameNode(value=alias) if alias else None,
        arguments=tuple(arguments or ()),
        directives=(),
        selection_set=_selected(selected) if selected else None,
        loc=of.loc if of else None,
    )


def _selected(selections: list[Any]) -> SelectionSetNode:
    return SelectionSetNode(selections=tuple(selections))


def _bound(name: str, variable: str) -> ArgumentNode:
    return ArgumentNode(name=NameNode(value=name), value=VariableNode(name=NameNode(value=variable)))
