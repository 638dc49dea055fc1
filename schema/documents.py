"""Documents, parsed and validated once and kept by their text."""

from collections.abc import Iterator
from functools import cached_property

from graphql import DocumentNode, GraphQLError, GraphQLSchema, GraphQLSyntaxError, OperationDefinitionNode, parse, specified_rules, validate
from strawberry.extensions import SchemaExtension

from schema.latest import Latest


class Document:
    """A text, and what came of parsing and validating it."""

    def __init__(self, schema: GraphQLSchema, text: str, max_tokens: int | None) -> None:
        self.text = text
        self._schema = schema
        self._failed: GraphQLError | None = None
        self.ast: DocumentNode | None = None
        try:
            self.ast = parse(text, max_tokens=max_tokens)
            _unlink_tokens(self.ast)
        except GraphQLSyntaxError as error:
            self._failed = error.with_traceback(None)  # it would hold this document, and all that the parser held

    @cached_property
    def errors(self) -> tuple[GraphQLError, ...]:
        """What the parser or validation found. Validation waits until it is asked for: a bomb is measured before."""
        if self.ast is None:
            return () if self._failed is None else (self._failed,)
        return tuple(validate(self._schema, self.ast, specified_rules, max_errors=20))

    @property
    def parsed(self) -> bool:
        """Tell whether it is GraphQL at all."""
        return self.ast is not None

    def operations(self) -> list[OperationDefinitionNode]:
        """Give its operations in order."""
        return [] if self.ast is None else [node for node in self.ast.definitions if isinstance(node, OperationDefinitionNode)]

    def operation(self, name: str | None) -> OperationDefinitionNode | None:
        """Find the operation to run: the only one, or the one of that name."""
        found = [node for node in self.operations() if name is None or (node.name is not None and node.name.value == name)]
        return found[0] if len(found) == 1 else None


def _unlink_tokens(document: DocumentNode) -> None:
    """Let a document go as soon as nobody holds it.

    Its tokens know their neighbours, which nobody asks for: such rings stay in memory until the collector of them comes to the
    oldest objects, after thousands of documents.
    """
    token = document.loc.start_token if document.loc else None
    while token is not None:
        following, token.prev, token.next = token.next, None, None
        token = following


class Documents:
    """The latest documents of a schema."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self.schema = schema
        self._kept: Latest[str, Document] = Latest(lambda text: text)

    def read(self, text: str, *, max_tokens: int | None = 2_000) -> Document:
        """Parse and validate, or find what came of it the last time."""
        return self._kept.of(text, lambda: Document(self.schema, text, max_tokens))


class ReadOnce(SchemaExtension):
    """Give the library the document that was read already."""

    def _document(self) -> Document:
        documents: Documents = self.execution_context.schema.documents  # type: ignore[attr-defined]
        return documents.read(self.execution_context.query or "")

    def on_parse(self) -> Iterator[None]:
        """Parse, unless it was done."""
        found = self._document()
        if found.ast is None:
            raise found.errors[0]
        self.execution_context.graphql_document = found.ast
        yield

    def on_validate(self) -> Iterator[None]:
        """Validate, unless it was done."""
        self.execution_context.pre_execution_errors = list(self._document().errors)
        yield
