"""What goes wrong, by name: an error is a class, its docstring the message, its `code` what clients branch on."""

import json
from enum import StrEnum
from typing import Any, ClassVar


class Code(StrEnum):
    """Every `extensions.code` that a client may meet."""

    BAD_USER_INPUT = "BAD_USER_INPUT"
    NOT_FOUND = "NOT_FOUND"
    TAKEN = "TAKEN"
    CONFLICT = "CONFLICT"
    AMBIGUOUS_MATCH = "AMBIGUOUS_MATCH"
    SUPPRESSED = "SUPPRESSED"
    INVALID_CURSOR = "INVALID_CURSOR"
    CURSOR_EXPIRED = "CURSOR_EXPIRED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    QUERY_TOO_COMPLEX = "QUERY_TOO_COMPLEX"
    LIMIT = "LIMIT"
    RATE_LIMITED = "RATE_LIMITED"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    DOCUMENT_NOT_FOUND = "DOCUMENT_NOT_FOUND"
    BAD_REQUEST = "BAD_REQUEST"
    BATCHING_DISABLED = "BATCHING_DISABLED"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    CSRF = "CSRF"
    TIMEOUT = "TIMEOUT"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


class LeadgraphError(Exception):
    """Something went wrong."""

    code: ClassVar[Code] = Code.INTERNAL
    #: The HTTP status where the error ends the whole request before GraphQL is reached.
    status: ClassVar[int] = 400

    def __init__(self, message: str | None = None, *, argument: str | None = None, **extensions: Any) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)
        self.argument = argument
        self.more = extensions

    @property
    def extensions(self) -> dict[str, Any]:
        """What goes beside the message: the code, the argument at fault, and what the error adds."""
        at = {} if self.argument is None else {"argument": self.argument}
        return {"code": self.code.value, **at, **self.more}


class BadUserInput(LeadgraphError):
    """A value is not of the form it must have."""

    code = Code.BAD_USER_INPUT

    def __init__(self, message: str, *, argument: str | None = None, rule: str = "INVALID") -> None:
        super().__init__(message, argument=argument, rule=rule)


class NotFound(LeadgraphError):
    """There is no such object in your workspace."""

    code = Code.NOT_FOUND


class LeadNotFound(NotFound):
    """There is no such lead in your workspace."""


class CampaignNotFound(NotFound):
    """There is no such campaign in your workspace."""


class UserNotFound(NotFound):
    """There is no such user in your workspace."""


class EmailNotFound(NotFound):
    """There is no such e-mail in your workspace."""


class AutomationNotFound(NotFound):
    """There is no such automation in your workspace."""


class WebhookNotFound(NotFound):
    """There is no such webhook in your workspace."""


class WebhookDeliveryNotFound(NotFound):
    """There is no such delivery in your workspace."""


class ApiKeyNotFound(NotFound):
    """There is no such API key in your workspace."""


class Taken(LeadgraphError):
    """Another object of your workspace has this value, and it must be unique."""

    code = Code.TAKEN


class Conflict(LeadgraphError):
    """The object is not in the state that the request needs."""

    code = Code.CONFLICT


class AmbiguousMatch(LeadgraphError):
    """The values given name two different leads."""

    code = Code.AMBIGUOUS_MATCH


class InvalidCursor(LeadgraphError):
    """This cursor does not belong to this list: take one from an answer with the same order and filter."""

    code = Code.INVALID_CURSOR

    def __init__(self, *, argument: str | None = None) -> None:
        super().__init__(argument=argument)
        if argument is not None:
            self.message = f"{argument}: {self.message}"


class Unauthenticated(LeadgraphError):
    """Send a valid API key or token: `Authorization: Bearer KEY`."""

    code = Code.UNAUTHENTICATED
    status = 401


class Forbidden(LeadgraphError):
    """Your role does not allow this."""

    code = Code.FORBIDDEN
    status = 403


class QueryTooComplex(LeadgraphError):
    """The document asks for more than one request may."""

    code = Code.QUERY_TOO_COMPLEX


class TooLarge(LeadgraphError):
    """The request is larger than this server takes."""

    code = Code.LIMIT
    status = 413


class RateLimited(LeadgraphError):
    """The workspace sends more requests than this server takes: wait as long as `Retry-After` says."""

    code = Code.RATE_LIMITED
    status = 429

    def __init__(self, most: str, retry_after: int) -> None:
        super().__init__(f"Your workspace may send {most}: wait {retry_after} s.")
        #: Whole seconds, at least 1.
        self.retry_after = retry_after


class TooMany(LeadgraphError):
    """You have as many connections open as one key or user may: close one."""

    code = Code.LIMIT
    status = 429


class ParseFailed(LeadgraphError):
    """The document is not GraphQL."""

    code = Code.GRAPHQL_PARSE_FAILED


class BadRequest(LeadgraphError):
    """The request is not one that this server understands."""

    code = Code.BAD_REQUEST


class MethodNotAllowed(BadRequest):
    """Use POST, or GET for a query."""

    status = 405
    allowed: ClassVar[str] = "GET, POST"


class MutationByGet(MethodNotAllowed):
    """Only queries may be sent by GET: send a mutation by POST."""

    allowed = "POST"


class NotAcceptable(BadRequest):
    """This server answers `application/graphql-response+json`, `application/json` or `text/event-stream`."""

    status = 406


class BatchingDisabled(LeadgraphError):
    """Send one operation a request: an array of operations is not taken."""

    code = Code.BATCHING_DISABLED


class UnsupportedMediaType(LeadgraphError):
    """Send the request as `application/json`, a file as `multipart/form-data`."""

    code = Code.UNSUPPORTED_MEDIA_TYPE
    status = 415


class TookTooLong(LeadgraphError):
    """The request took longer than this server allows."""

    code = Code.TIMEOUT
    status = 503


class Unavailable(LeadgraphError):
    """The database cannot be reached or cannot be written to right now: try again."""

    code = Code.UNAVAILABLE
    status = 503


class Internal(LeadgraphError):
    """Something unexpected went wrong on our side; it has been logged under the request id."""

    code = Code.INTERNAL
    status = 500


def shown(value: object, most: int = 60) -> str:
    """Show a value inside a message, as JSON has it: quoted, on one line, shortened, nothing in it that a terminal would obey.

    A text stands between apostrophes, so that it reads well in an answer, which is JSON itself.
    """
    if value is None or isinstance(value, bool | float | dict | list):  # of floats, for those that are not finite
        text = json.dumps(value, ensure_ascii=False, default=str)
        text = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    else:
        text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
