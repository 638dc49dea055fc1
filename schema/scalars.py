"""Scalars: what a value must look like before anything else sees it."""

import hashlib
from typing import Any, BinaryIO, NewType

import strawberry
from graphql import GraphQLError, ListValueNode, ObjectValueNode, ValueNode, VariableNode, value_from_ast_untyped
from strawberry.types.scalar import ScalarDefinition

from app.actions.read_ahead import ReadAhead
from app.errors import BadUserInput, shown
from app.rules.attributes import read_attributes
from app.rules.moments import read_datetime
from app.rules.texts import TooLongError

DateTime = NewType("DateTime", object)
JSONObject = NewType("JSONObject", object)
JSONValue = NewType("JSONValue", object)
Cell = NewType("Cell", object)
Upload = NewType("Upload", object)


class Uploaded:
    """A file that came with the request: its bytes, for as long as the request lasts, and its name."""

    def __init__(self, file: BinaryIO, name: str | None) -> None:
        self.file, self.name = file, name
        self.ahead = ReadAhead(file)

    def digest(self) -> str:
        """Tell these bytes from all others."""
        self.file.seek(0)
        whole = hashlib.sha256()
        while piece := self.file.read(1 << 20):
            whole.update(piece)
        return whole.hexdigest()

    def __repr__(self) -> str:
        """Show it in a message: neither type nor address is a client's business."""
        return "a file"

    __inspect__ = __repr__  # by which graphql-core shows it


class WithFiles(dict[str, Any]):
    """The variables of a request that brought files: a `map` may have put one where any value is taken."""


def _upload(value: Any) -> Any:
    if not isinstance(value, Uploaded):
        raise BadUserInput(f"{shown(value)}: is no file; send one by the GraphQL multipart request specification")
    return value


def _upload_literal(node: ValueNode, _variables: dict[str, Any] | None = None) -> Any:
    raise GraphQLError("A file cannot stand in the document: send it as a variable.", node)


def _moment(value: Any) -> Any:
    if not isinstance(value, str):
        raise BadUserInput(f"{shown(value)}: is no RFC 3339 text")
    try:
        return read_datetime(value)
    except ValueError as error:
        raise BadUserInput(f"{shown(value)}: {error}") from error


def _object(value: Any) -> Any:
    try:
        return read_attributes(value)
    except ValueError as error:
        _refuse_files(value)
        raise BadUserInput(f"{shown(value)}: {error}", rule="TOO_LONG" if isinstance(error, TooLongError) else "INVALID") from error


def _literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
    if isinstance(node, VariableNode):
        raise GraphQLError("Send the whole value as a variable: none may stand inside it.", node)
    if isinstance(node, ObjectValueNode):
        names = [part.name.value for part in node.fields]
        if len(set(names)) < len(names):
            raise GraphQLError("A key stands twice.", node)
    return value_from_ast_untyped(node, variables)


def _moment_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
    return _moment(_literal(node, variables))


def _object_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
    value = _literal(node, variables)
    # Validation asks before the variables are known; what they bring is looked at when they are.
    return value if variables is None and _holds_variable(node) else _object(value)


def _holds_variable(node: ValueNode) -> bool:
    if isinstance(node, ObjectValueNode):
        return any(_holds_variable(part.value) for part in node.fields)
    if isinstance(node, ListValueNode):
        return any(_holds_variable(part) for part in node.values)
    return isinstance(node, VariableNode)


def unread(value: Any) -> Any:
    """Take any value as it is."""
    return value


def loose(value: Any) -> Any:
    """Take any value of JSON as it is."""
    _refuse_files(value)
    return value


def _refuse_files(value: Any) -> None:
    if isinstance(value, Uploaded):
        raise BadUserInput("is a file, where none may be")
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _refuse_files(each)


#: How Strawberry knows them.
SCALARS: dict[object, ScalarDefinition] = {
    DateTime: strawberry.scalar(
        name="DateTime",
        description="RFC 3339 with an offset, read as given, written in UTC: `2026-01-20T10:00:00Z`. A value without an offset is refused.",
        serialize=unread,
        parse_value=_moment,
        parse_literal=_moment_literal,
    ),
    JSONObject: strawberry.scalar(
        name="JSONObject",
        description="A JSON object (never a list or a bare value), finite numbers only. As input: at most 64 KiB, 8 levels, 200 keys.",
        serialize=unread,
        parse_value=_object,
        parse_literal=_object_literal,
    ),
    JSONValue: strawberry.scalar(
        name="JSONValue", description="Any JSON value.", serialize=unread, parse_value=loose, parse_literal=_literal
    ),
    Upload: strawberry.scalar(
        name="Upload",
        description="A file sent by the GraphQL multipart request specification.",
        serialize=unread,
        parse_value=_upload,
        parse_literal=_upload_literal,
    ),
    Cell: strawberry.scalar(
        name="Cell",
        description="One value of a row. Any JSON is let in; an object or a list is that row's INVALID. "
        "Numbers and booleans are read as text.",
        serialize=unread,
        parse_value=loose,
        parse_literal=_literal,
    ),
}
