"""What a request says: the types it takes and gives, and the parameters in its JSON."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import Headers

from app.actions.work import Caller
from app.errors import BadRequest, BatchingDisabled, UnsupportedMediaType
from app.http.answers import JSON
from app.http.bodies import read_json
from app.http.persisted import Persisted

GRAPHQL = "application/graphql-response+json"
EVENTS = "text/event-stream"
#: A longer `Accept` names nothing that we have.
LONGEST_ACCEPT = 2_000


@dataclass(frozen=True, slots=True)
class Request:
    """One operation that somebody asks for; with GET, one that only reads."""

    id: str
    caller: Caller
    media_type: str
    query: str
    variables: dict[str, Any]
    operation_name: str | None
    reads_only: bool = False
    #: The caller's name for it, under which it may be sent again.
    key: str | None = None
    #: Whether results may follow one another: a subscription is no request for one answer.
    streams: bool = False
    #: What root fields came to before it was begun, by response key.
    answered: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a request names: a document, by its text or its id, its variables, the operation."""

    query: str
    variables: dict[str, Any]
    operation_name: str | None


def read_parameters(content: Any, documents: Persisted, *, known_only: bool) -> Parameters:
    """Read the parameters of a request from its JSON; with `known_only`, of a document that the server knows."""
    if isinstance(content, list) and content and all(isinstance(item, dict) for item in content):
        raise BatchingDisabled
    if not isinstance(content, dict):
        raise BadRequest("The body must be a JSON object with a `query`.")
    query = _text_of(content, documents, known_only=known_only)
    for name in ("variables", "extensions"):
        if not isinstance(content.get(name), dict | None):
            raise BadRequest(f"`{name}` must be an object, null or left out.", argument=name)
    operation_name = content.get("operationName")
    if not isinstance(operation_name, str | None):
        raise BadRequest("`operationName` must be a string, null or left out.", argument="operationName")
    return Parameters(query, content.get("variables") or {}, operation_name or None)


def _text_of(content: dict[str, Any], documents: Persisted, *, known_only: bool) -> str:
    query, document_id = content.get("query"), content.get("documentId")
    if document_id is not None:
        if not isinstance(document_id, str):
            raise BadRequest("`documentId` must be a string, null or left out.", argument="documentId")
        if query is not None:
            raise BadRequest("Send `query` or `documentId`, not both.", argument="documentId")
        return documents.text(document_id)
    if not isinstance(query, str):
        raise BadRequest("`query` must be a string: the text of a GraphQL document.", argument="query")
    if known_only:
        documents.check(query)
    return query


def read_query_string(query_string: bytes, max_depth: int) -> dict[str, Any]:
    """Read the parameters of a GET request: those of the JSON body, the objects among them as JSON."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=20)
    except ValueError:  # of bytes that are no UTF-8 too
        raise BadRequest("The URL's query is not one of `name=value` in UTF-8: send `?query=...`.") from None
    content: dict[str, Any] = dict(pairs)
    if len(content) < len(pairs):
        raise BadRequest("The URL's query names a parameter twice.")
    for name in ("variables", "extensions"):
        if name in content:
            content[name] = read_json(content[name].encode(), max_depth, name) if content[name] else None
    return content


def response_type(headers: Headers) -> str | None:
    """Choose what to answer in: the acceptable type with the highest quality, the first on a tie; None where there is none.

    A client that does not say, or takes anything, may be older than the new type and gets JSON.
    """
    accept = ",".join(headers.getlist("accept")).strip()
    if accept in {"", "*/*", JSON}:
        return JSON
    best, chosen = 0.0, None
    for accepted in accept.split(",") if len(accept) <= LONGEST_ACCEPT else ():
        name, *parameters = (part.strip().lower() for part in accepted.split(";"))
        media_type = {GRAPHQL: GRAPHQL, JSON: JSON, "application/*": JSON, "*/*": JSON}.get(name)
        quality = _quality(parameters)
        if media_type and quality > best:
            best, chosen = quality, media_type
    return chosen


def takes_events(headers: Headers) -> bool:
    """Tell whether the client takes an event stream: a subscription's answer, and any operation's where it takes nothing else."""
    accept = ",".join(headers.getlist("accept"))
    if EVENTS not in accept.lower():  # which is so nearly always
        return False
    for accepted in accept.split(",") if len(accept) <= LONGEST_ACCEPT else ():
        name, *parameters = (part.strip().lower() for part in accepted.split(";"))
        if name == EVENTS and _quality(parameters) > 0:
            return True
    return False


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip('" ') not in {"utf-8", "utf8"}:
            return 0
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0
    return 1


def check_content_type(headers: Headers) -> None:
    """Refuse a body that does not say, once, that it is plain JSON in UTF-8."""
    given = headers.getlist("content-type")
    if given == [JSON] and "content-encoding" not in headers:
        return
    name, *parameters = (part.strip().lower() for part in given[0].split(";")) if len(given) == 1 else ("",)
    if name != JSON or _quality(parameters) == 0 or headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType
