"""What a document was found to be before anything of it runs: read, measured, validated, its operation chosen; once, and kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from graphql import DocumentNode, GraphQLError, GraphQLSchema, OperationDefinitionNode, OperationType

from app.errors import BadRequest, LeadgraphError, QueryTooComplex, TooLarge, shown
from app.http import limits
from app.http.limits import Measure, Tally
from app.settings import Settings
from schema.costs import Cost, cost_of
from schema.latest import Latest


class Document(Protocol):
    """A document, parsed and validated once. `errors` is asked for after the document was measured, and may be worked out only then."""

    @property
    def ast(self) -> DocumentNode | None:
        """What was parsed; None where it is no GraphQL."""

    @property
    def errors(self) -> Sequence[GraphQLError]:
        """What the parser or validation found."""

    def operation(self, name: str | None) -> OperationDefinitionNode | None:
        """Choose the operation of this name, or the only one."""


#: Mutations that may touch thousands of rows.
_OF_MANY = (
    *("leadUpsertMany", "leadUpdateMany", "leadDeleteMany", "leadEventTrackMany", "leadScore", "batchUndo"),
    *("campaignAddLeads", "campaignRemoveLeads", "campaignDelete"),
)


@dataclass(frozen=True, slots=True)
class Operation:
    """The operation that runs."""

    name: str | None
    kind: OperationType
    document: DocumentNode
    node: OperationDefinitionNode
    tally: Tally
    measure: Measure
    cost: Cost
    #: Whether it may touch thousands of rows.
    of_many: bool

    @property
    def several(self) -> bool:
        """Tell whether it has more than one root field."""
        return self.tally.roots > 1

    def price(self, variables: dict[str, Any], settings: Settings) -> int:
        """Give what it costs with these variables, or refuse it."""
        conditions = self.measure.conditions(self.name, variables)
        if conditions > settings.max_where_conditions:
            raise QueryTooComplex(f"The filters have {conditions} conditions in all: at most {settings.max_where_conditions}.")
        cost = self.cost.of(variables)
        if cost > settings.max_cost:
            told = str(cost) if cost < 10**12 else "over 10^12"
            many = f"The request asks for up to {told} objects: at most {settings.max_cost}. Ask for smaller pages, or for less in them."
            raise QueryTooComplex(many, cost=min(cost, 10**12))
        return cost


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a document: an operation to run, or what is wrong: an error of ours, or the library's."""

    document: Document
    operation: Operation | None = None
    refusal: LeadgraphError | None = None
    errors: Sequence[GraphQLError] = ()


class Checks:
    """Checks documents, and keeps the latest."""

    def __init__(self, schema: GraphQLSchema, read: Callable[..., Document], settings: Settings) -> None:
        self.schema, self.read, self.settings = schema, read, settings
        self._most = limits.Most.of(settings)
        self._kept: Latest[tuple[str, str | None], Checked] = Latest(lambda key: key[0])

    def of(self, text: str, operation_name: str | None) -> Checked:
        """Check a document and choose its operation, or find what came of it the last time."""
        return self._kept.of((text, operation_name), lambda: self._check(text, operation_name))

    def _check(self, text: str, operation_name: str | None) -> Checked:
        if len(text.encode(errors="surrogatepass")) > self.settings.max_document_bytes:
            raise TooLarge(f"The document is larger than {self.settings.max_document_bytes} bytes, the most that this server takes.")
        document = self.read(text, max_tokens=self.settings.max_tokens)
        if document.ast is None:
            return Checked(document, errors=document.errors)
        measure = limits.measure(document.ast, self._most)
        if measure.refusal is not None:
            return Checked(document, refusal=measure.refusal)
        if document.errors:
            return Checked(document, errors=document.errors)
        node = document.operation(operation_name)
        if node is None:
            return Checked(document, refusal=_no_operation(measure, operation_name))
        name = node.name.value if node.name else None
        cost = cost_of(self.schema, document.ast, node)
        of_many = any(field in text for field in _OF_MANY)  # somewhere in it: being wrong costs a millisecond
        return Checked(document, Operation(name, node.operation, document.ast, node, measure.operations[name], measure, cost, of_many))


def _no_operation(measure: Measure, name: str | None) -> LeadgraphError:
    if name is not None:
        return BadRequest(f"operationName {shown(name)}: the document has no operation of this name.", argument="operationName")
    if not measure.operations:
        return BadRequest("The document has no operation, only fragments.", argument="query")
    return BadRequest("The document has several operations: name one in `operationName`.", argument="operationName")
