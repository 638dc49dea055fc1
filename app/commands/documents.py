"""`leadgraph run`: a document of `queries/`, or any other, against a server."""

import shlex
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import httpx2
import orjson
import typer
from graphql import (
    GraphQLSyntaxError,
    ListTypeNode,
    NamedTypeNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    OperationType,
    TypeNode,
    parse,
)

from app.commands.terminal import Failure
from app.errors import Code, shown
from app.settings import QUERIES

URL = "http://127.0.0.1:8000/graphql"
#: Seconds: a little longer than a server takes before it gives up by itself.
PATIENCE = 30.0
#: What one does about the error UNAUTHENTICATED in a shell.
KEY_WANTED = "give a valid key with --key or in LEADGRAPH_KEY"
#: Types of variables in which a file is sent.
_WITH_FILE = {"Upload", "LeadImportInput"}

commands = typer.Typer(add_completion=False)


@commands.command()
def run(
    document: Annotated[Path, typer.Argument(help="A file with GraphQL, as in queries/.", exists=True, dir_okay=False)],
    *,
    variables: Annotated[str | None, typer.Option(metavar="FILE|JSON", help="The variables: a file with JSON, or JSON itself.")] = None,
    url: Annotated[str, typer.Option(envvar="LEADGRAPH_URL", help="The server's GraphQL endpoint.")] = URL,
    key: Annotated[str | None, typer.Option(envvar="LEADGRAPH_KEY", help="An API key.", show_envvar=True)] = None,
    operation: Annotated[str | None, typer.Option(help="The operation to run, where the document has several.")] = None,
) -> None:
    """Run a GraphQL document, and print the answer. Exit code 1 where it has errors."""
    body: dict[str, Any] = {"query": _read(document), "variables": _variables(variables)}
    if operation is not None:
        body["operationName"] = operation
    _check_kind(document, body, endpoint(url))
    answer = _post(endpoint(url), key, body)
    typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2))
    errors = answer.get("errors") or []
    if any((error.get("extensions") or {}).get("code") == Code.UNAUTHENTICATED for error in errors):
        raise Failure(f"{endpoint(url)}: {KEY_WANTED}")
    if errors:
        raise typer.Exit(1)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"{file}: no text in UTF-8: save it as such") from error


def _variables(given: str | None) -> dict[str, Any]:
    if given is None:
        return {}
    text = given.strip()
    try:
        # A file whose name begins with a brace has to be written ./{...
        variables = orjson.loads(text if text.startswith("{") else Path(text).read_bytes())
    except OSError as error:
        raise typer.BadParameter(
            f"--variables {shown(text)}: {error.strerror}: name a file with JSON, or write JSON that begins with {{"
        ) from error
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"--variables {shown(text)}: no JSON: {error}") from error
    if not isinstance(variables, dict):
        raise typer.BadParameter(f"--variables {shown(text)}: must be a JSON object")
    return variables


def endpoint(url: str) -> str:
    """Take the server's own address too: GraphQL is at /graphql there."""
    return url.rstrip("/") + "/graphql" if url.count("/") <= 2 or (url.endswith("/") and url.count("/") == 3) else url


def _check_kind(document: Path, body: dict[str, Any], url: str) -> None:
    """Refuse what is more than a question and an answer in JSON, and say who does that; and a variable that would do nothing."""
    try:
        definitions = parse(body["query"], no_location=True).definitions
    except GraphQLSyntaxError:
        return  # the server says where
    name = body.get("operationName")
    asked = [each for each in definitions if isinstance(each, OperationDefinitionNode) and name in (None, each.name and each.name.value)]
    if any(each.operation is OperationType.SUBSCRIPTION for each in asked):
        known = document.resolve()
        if known.is_relative_to(QUERIES):
            body = {"documentId": str(known.relative_to(QUERIES).with_suffix("")), "variables": body["variables"]}
        events = "-H 'Accept: text/event-stream' -H 'Content-Type: application/json'"
        line = f"curl -N {url} -H 'Authorization: Bearer KEY' {events} -d {shlex.quote(orjson.dumps(body).decode())}"
        raise Failure(f"{document} is a subscription, and `run` takes one answer: {line}")
    declared = {variable.variable.name.value: variable for each in asked for variable in each.variable_definitions or ()}
    for given in body["variables"]:
        # GraphQL lets a server pass over it, and a misspelt `dryRun` would be no dry run.
        if asked and given not in declared:
            near = get_close_matches(given[:100], declared, n=1)
            advice = f": did you mean {shown(near[0])}?" if near else f": it has {', '.join(declared) or 'none'}"
            raise typer.BadParameter(f"--variables: {document} has no variable {shown(given)}{advice}")
    if any(_named(variable.type) in _WITH_FILE for variable in declared.values()):
        raise Failure(f"{document} takes a file, and `run` sends none: `leadgraph import` does, or curl as the README says under Files")


def _named(type_: TypeNode) -> str:
    while isinstance(type_, NonNullTypeNode | ListTypeNode):
        type_ = type_.type
    return type_.name.value if isinstance(type_, NamedTypeNode) else ""


def _post(url: str, key: str | None, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Accept": "application/graphql-response+json, application/json;q=0.9", "Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    try:
        response = httpx2.post(url, content=orjson.dumps(body), headers=headers, timeout=PATIENCE)
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
        raise Failure(f"{url} cannot be asked: {error or type(error).__name__}: is the server there (`leadgraph serve`)?") from error
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict) or not {"data", "errors"} & answer.keys():
        raise Failure(f"{url} answered {response.status_code} and no GraphQL: is the address right (it ends in /graphql)?")
    return answer
