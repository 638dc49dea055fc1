"""Uploads, by the GraphQL multipart request specification: https://github.com/jaydenseric/graphql-multipart-request-spec

A file goes to a nameless temporary file as it arrives, and is gone when the request is answered.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Receive

from app.errors import BadRequest, Code, LeadgraphError, shown
from app.http.answers import JSON
from app.http.bodies import BodyTooLarge, ClientLeft, read_json
from app.settings import Settings
from schema.scalars import Uploaded, WithFiles

MULTIPART = "multipart/form-data"
#: Headers that no page of another site can send without asking first (CORS); one of them must be there.
PREFLIGHT = ("graphql-require-preflight", "apollo-require-preflight", "x-apollo-operation-name", "x-requested-with")
#: Files and fields of a request; `operations` and `map` are fields.
MOST_PARTS = 20
#: What the parts' own headers and the two fields may add to the file.
_AROUND = 64_000


class CrossSite(LeadgraphError):
    """An upload needs a header that no page of another site can send: add `GraphQL-Require-Preflight: 1`."""

    code = Code.CSRF
    status = 403


def is_multipart(headers: Headers) -> bool:
    """Tell an upload by its content type."""
    given = headers.getlist("content-type")
    return len(given) == 1 and given[0] != JSON and given[0].partition(";")[0].strip().lower() == MULTIPART


def check_preflight(headers: Headers) -> None:
    """Refuse what a form of another site could have sent."""
    if not any(headers.get(name, "").strip() for name in PREFLIGHT):
        raise CrossSite


class _Parser(MultiPartParser):
    """Notices a body that is cut off, and leaves no file of it open."""

    whole = False

    def on_end(self) -> None:
        self.whole = True

    async def parse(self) -> FormData:
        form = await super().parse()
        if not self.whole:
            for file in self._files_to_close_on_error:
                file.close()
            raise MultiPartException("it ends before its last part does.")
        return form


@asynccontextmanager
async def reading_upload(headers: Headers, receive: Receive, settings: Settings) -> AsyncIterator[Any]:
    """Read the parts, give the content of `operations` with the files in their places, and drop the files when the block ends.

    Raises BadRequest for what is no such request, BodyTooLarge for a file or a request that is too large.
    """
    most = settings.max_upload_bytes
    too_large = f"The upload is larger than this server takes: a file may have {most} bytes (LEADGRAPH_MAX_UPLOAD_BYTES)."
    stream = _bounded(headers, receive, most + settings.max_body_bytes + _AROUND, too_large)
    parser = _Parser(headers, stream, max_files=MOST_PARTS, max_fields=MOST_PARTS, max_part_size=settings.max_body_bytes)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(f"The body is no multipart request: {error.message}") from None
    except (UnicodeDecodeError, LookupError, ValueError):
        raise BadRequest("The body is no multipart request: a name of its parts cannot be read.") from None
    finally:
        await stream.aclose()
    sent: list[Uploaded] = []
    try:
        yield _content(form, settings, sent)
    finally:
        for file in sent:
            file.ahead.close()
        await form.close()


async def _bounded(headers: Headers, receive: Receive, most: int, too_large: str) -> Any:
    declared = headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdecimal()):
        raise BadRequest("Content-Length must be a number.")
    if len(declared) > 18 or int(declared) > most:
        raise BodyTooLarge(too_large)
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece = message.get("body", b"")
        size += len(piece)
        if size > most:
            raise BodyTooLarge(too_large)
        more = bool(message.get("more_body"))
        if piece:
            yield piece


def _content(form: FormData, settings: Settings, sent: list[Uploaded]) -> Any:
    """Give the content of `operations`, with each file in its places; `sent` is given them too."""
    content = read_json(_field(form, "operations"), settings.max_json_depth)
    places = read_json(_field(form, "map"), settings.max_json_depth)
    if not isinstance(places, dict) or not all(
        isinstance(paths, list) and all(isinstance(path, str) for path in paths) for paths in places.values()
    ):
        raise BadRequest("`map` must be an object of lists of paths.", argument="map")
    for name, paths in places.items():
        files = form.getlist(name)
        if len(files) != 1 or not isinstance(files[0], UploadFile):
            raise BadRequest(f"`map` names the file {shown(name)}: send one part of this name, with a file name.", argument="map")
        file = files[0]
        if (file.size or 0) > settings.max_upload_bytes:
            raise BodyTooLarge(
                f"The file {shown(name)} is larger than {settings.max_upload_bytes} bytes, the most that this server takes "
                "(LEADGRAPH_MAX_UPLOAD_BYTES).",
            )
        for path in paths:
            sent.append(Uploaded(file.file, file.filename or None))
            _put(content, path, sent[-1])
    if any(places.values()):  # then there are variables, which hold the files
        content["variables"] = WithFiles(content["variables"])
    return content


def _field(form: FormData, name: str) -> bytes:
    given = form.getlist(name)
    if len(given) != 1 or not isinstance(given[0], str):
        raise BadRequest(f"Send one part `{name}`, as text.", argument=name)
    return given[0].encode()


def _put(content: Any, path: str, file: Uploaded) -> None:
    """Put a file in place of the null that stands at a path such as `variables.input.file`."""
    at = BadRequest(f"`map`: {shown(path)} is no place in the variables of `operations` that holds null.", argument="map")
    steps = path.split(".")
    if steps[0] != "variables" or len(steps) < 2:
        raise at
    holder = content
    for place, step in enumerate(steps):
        key: Any = step
        if isinstance(holder, list):
            if not (step.isascii() and step.isdecimal() and len(step) < 6 and int(step) < len(holder)):
                raise at
            key = int(step)
        elif not isinstance(holder, dict) or step not in holder:
            raise at
        if place == len(steps) - 1:
            if holder[key] is not None:
                raise at
            holder[key] = file
        else:
            holder = holder[key]
