"""What a document may ask for: its fields and its filters, bounded before it is validated or costs anything.

Fragments are measured once each and added up where they are spread, in the order in which they need each other: a fragment that
spreads the next one twice, 180 times over, is 180 additions.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    ListValueNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)
from graphql.language import Lexer, TokenKind

from app.errors import LeadgraphError, ParseFailed, QueryTooComplex
from app.settings import Settings

#: The standard introspection query is 15 deep; what it may ask twice, validation limits.
MAX_INTROSPECTION_DEPTH = 20
#: Fields once all fragments are spread.
MAX_FIELDS = 10_000
#: How deep a value written into the document may nest.
MAX_LITERAL_DEPTH = 32
#: Where a document that is cut off at its tokens holds more operations than this, it was never meant to be run.
MAX_DEFINITIONS = 50


@dataclass(frozen=True, slots=True)
class Most:
    """How much an operation may have of each, with its fragments spread."""

    depth: int
    aliases: int
    directives: int
    roots: int

    @classmethod
    def of(cls, settings: Settings) -> "Most":
        """Read it off the settings."""
        return cls(settings.max_depth, settings.max_aliases, settings.max_directives, settings.max_root_fields)


@dataclass(slots=True)
class Tally:
    """What a selection comes to once its fragments are spread."""

    depth: int = 0
    introspection: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    #: Fields of the topmost level.
    roots: int = 0
    root_names: set[str] = field(default_factory=set)
    #: Fields of objects written into `where` arguments, and how often a variable stands in one.
    conditions: int = 0
    filters: Counter[str] = field(default_factory=Counter)
    spreads: list[tuple[str, int, bool]] = field(default_factory=list)

    def reach(self, depth: int, *, introspecting: bool) -> None:
        """Note a field at this depth."""
        if introspecting:
            self.introspection = max(self.introspection, depth)
        else:
            self.depth = max(self.depth, depth)

    def add(self, other: "Tally", depth: int, *, introspecting: bool) -> None:
        """Add a fragment that is spread below `depth` fields."""
        self.reach(depth + other.depth, introspecting=introspecting)
        self.reach(depth + other.introspection if other.introspection else 0, introspecting=True)
        self.fields += other.fields
        self.aliases += other.aliases
        self.directives += other.directives
        self.conditions += other.conditions
        self.filters.update(other.filters)
        if depth == 0:
            self.roots += other.roots
            self.root_names |= other.root_names


@dataclass(frozen=True, slots=True)
class Measure:
    """What a document was found to be: what is wrong with it, or what its operations' filters hold, by operation."""

    refusal: LeadgraphError | None
    operations: dict[str | None, Tally]
    #: Conditions in the defaults of an operation's variables.
    defaults: dict[str | None, dict[str, int]]

    def conditions(self, operation: str | None, variables: dict[str, Any]) -> int:
        """Count the conditions of all filters of an operation, those in its variables with them."""
        tally, defaults = self.operations[operation], self.defaults[operation]
        given = (
            times * (count_conditions(variables[name]) if name in variables else defaults.get(name, 0))
            for name, times in tally.filters.items()
        )
        return tally.conditions + sum(given)


def measure(document: DocumentNode, most: Most) -> Measure:
    """Measure a parsed document: it need not be valid, and ought to be measured before anything walks its fragments."""
    refusal: LeadgraphError | None = None
    own: dict[str, Tally] = {}
    operations: dict[str | None, Tally] = {}
    defaults: dict[str | None, dict[str, int]] = {}
    for definition in document.definitions:
        if not isinstance(definition, OperationDefinitionNode | FragmentDefinitionNode):
            continue
        tally, deepest = _tally(definition)
        if deepest > MAX_LITERAL_DEPTH and refusal is None:
            refusal = QueryTooComplex(f"A value in the document nests {deepest} objects and lists: at most {MAX_LITERAL_DEPTH}.")
        if isinstance(definition, FragmentDefinitionNode):
            own[definition.name.value] = tally
        else:
            name = definition.name.value if definition.name else None
            operations[name] = tally
            defaults[name] = {
                each.variable.name.value: _literal(each.default_value)[1]
                for each in definition.variable_definitions or ()
                if each.default_value
            }
    whole = _spread(own)
    for tally in operations.values():
        _add_spreads(tally, whole)
        refusal = refusal or _refusal(tally, most)
    return Measure(refusal, operations, defaults)


def _refusal(tally: Tally, limits: Most) -> LeadgraphError | None:
    for found, most, what in (
        (tally.depth, limits.depth, "levels of fields"),
        (tally.introspection, MAX_INTROSPECTION_DEPTH, "levels of introspection"),
        (tally.roots, limits.roots, "root fields"),
        (tally.aliases, limits.aliases, "aliases"),
        (tally.directives, limits.directives, "directives"),
        (tally.fields, MAX_FIELDS, "fields"),
    ):
        if found > most:
            many = str(found) if found < 1_000_000 else "over a million"  # a bomb's number would be longer than the bomb
            return QueryTooComplex(f"The operation has {many} {what}, with its fragments spread: at most {most}.")
    return None


def _tally(definition: OperationDefinitionNode | FragmentDefinitionNode) -> tuple[Tally, int]:
    """Count what stands in one definition itself, and tell how deep the values in it nest."""
    tally = Tally()
    deepest = 0
    tally.directives += len(definition.directives or ())
    for variable in definition.variable_definitions or ():
        tally.directives += len(variable.directives or ())
        if variable.default_value:
            deepest = max(deepest, _literal(variable.default_value)[0])
    waiting: list[tuple[SelectionSetNode, int, bool]] = [(definition.selection_set, 0, False)]
    while waiting:
        selections, depth, introspecting = waiting.pop()
        for node in selections.selections:
            deepest = max(deepest, _count_arguments(tally, node))
            if isinstance(node, FragmentSpreadNode):
                tally.spreads.append((node.name.value, depth, introspecting))
                continue
            below = (depth, introspecting)
            if isinstance(node, FieldNode):
                below = _count_field(tally, node, depth, introspecting=introspecting)
            inner: SelectionSetNode | None = getattr(node, "selection_set", None)
            if inner:
                waiting.append((inner, *below))
    return tally, deepest


def _count_field(tally: Tally, node: FieldNode, depth: int, *, introspecting: bool) -> tuple[int, bool]:
    name = node.name.value
    introspecting = introspecting or name in {"__schema", "__type"}
    tally.fields += 1
    tally.aliases += node.alias is not None
    if depth == 0:
        tally.roots += 1
        tally.root_names.add(name)
    tally.reach(depth + 1, introspecting=introspecting)
    return depth + 1, introspecting


def _count_arguments(tally: Tally, node: Node) -> int:
    """Count the directives and the conditions of one selection, and tell how deep the values of its arguments nest."""
    deepest = 0
    for directive in getattr(node, "directives", None) or ():
        tally.directives += 1
        for argument in directive.arguments or ():
            deepest = max(deepest, _literal(argument.value)[0])
    for argument in getattr(node, "arguments", None) or ():
        depth, conditions, variables = _literal(argument.value)
        deepest = max(deepest, depth)
        if argument.name.value == "where":
            tally.conditions += conditions
            tally.filters.update(variables)
    return deepest


def _literal(value: ValueNode) -> tuple[int, int, list[str]]:
    """Tell how deep a literal nests, how many fields its objects have, and which variables stand in it."""
    deepest = fields = 0
    variables: list[str] = []
    waiting: list[tuple[ValueNode, int]] = [(value, 1)]
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, VariableNode):
            variables.append(node.name.value)
        elif isinstance(node, ListValueNode):
            deepest = max(deepest, depth)
            waiting += [(item, depth + 1) for item in node.values or ()]
        elif isinstance(node, ObjectValueNode):
            deepest = max(deepest, depth)
            fields += len(node.fields or ())
            waiting += [(each.value, depth + 1) for each in node.fields or ()]
    return deepest, fields, variables


def count_conditions(value: Any) -> int:
    """Count the fields of all objects in a variable's value."""
    count = 0
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            count += len(node)
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return count


def _spread(own: dict[str, Tally]) -> dict[str, Tally]:
    """Add up every fragment with those it spreads, each once, after those; a spread that closes a cycle adds nothing: it is not valid."""
    whole: dict[str, Tally] = {}
    for root, tally in own.items():
        path: list[tuple[str, Iterator[tuple[str, int, bool]]]] = [(root, iter(tally.spreads))] if root not in whole else []
        under_way = {root}
        while path:
            name, spreads = path[-1]
            needed = next((each for each, _, _ in spreads if each in own and each not in whole and each not in under_way), None)
            if needed is not None:
                path.append((needed, iter(own[needed].spreads)))
                under_way.add(needed)
                continue
            path.pop()
            under_way.discard(name)
            _add_spreads(own[name], whole)
            whole[name] = own[name]
    return whole


def _add_spreads(tally: Tally, whole: dict[str, Tally]) -> None:
    for name, depth, introspecting in tally.spreads:
        if name in whole:
            tally.add(whole[name], depth, introspecting=introspecting)


def cut_off(error: GraphQLError) -> LeadgraphError | None:
    """Name what is wrong with a document that the parser stopped reading at its limit of tokens; None for any other mistake."""
    if "tokens. Parsing aborted" not in error.message or error.source is None or not error.positions:
        return None
    lexer, end, depth, definitions = Lexer(error.source), next(iter(error.positions)), 0, 0
    while (token := lexer.advance()).kind is not TokenKind.EOF and token.start < end:
        depth += (token.kind is TokenKind.BRACE_L) - (token.kind is TokenKind.BRACE_R)
        definitions += token.kind is TokenKind.BRACE_R and depth == 0
    if definitions > MAX_DEFINITIONS:
        return ParseFailed(f"The document holds more than {MAX_DEFINITIONS} operations and fragments, and is too long to be read.")
    return QueryTooComplex(error.message.removeprefix("Syntax Error: ").replace(" Parsing aborted.", " Write values as variables."))
