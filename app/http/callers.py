"""Who is asking: an API key or a token, settled before anything of a request is read.

`Authorization: Bearer KEY` or `x-org-api-key: KEY`, or a JWT in `Authorization: Bearer`. Whatever is wrong with it, the answer is
the same. Answers are remembered for `caller_cache_seconds` (at most one: so soon does a revoked key end in every process).
"""

import asyncio
import hashlib
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import structlog
from starlette.datastructures import Headers

from app.actions import keys, users
from app.actions.work import Caller, Role
from app.database import Database
from app.errors import BadRequest, LeadgraphError, Unauthenticated
from app.http.tokens import Tokens
from app.settings import Settings

logger = structlog.get_logger("leadgraph.callers")

#: The longest header that is looked at, in characters.
LONGEST_HEADER = 4_096
#: Callers that are remembered, and as many strangers beside them: a flood of these must not push those out.
REMEMBERED = 10_000


class Answer(NamedTuple):
    """Who it is, or what is wrong, and until when that holds, in seconds of the monotonic clock."""

    caller: Caller | LeadgraphError
    until: float


class Callers:
    """Knows who asks. One a process; `close` ends what it does beside the requests."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.tokens = Tokens(settings)
        self._known: dict[bytes, Answer] = {}
        self._strangers: dict[bytes, Answer] = {}
        self._asked: dict[bytes, asyncio.Task[Caller]] = {}
        #: When this process last noted the use of a key, by the key's id, and the notes that are being written.
        self._noted: dict[str, float] = {}
        self._noting: set[asyncio.Task[None]] = set()
        #: Raised by `forget`, so that an answer looked up before it is not remembered after it.
        self._generation = 0

    async def identify(self, headers: Headers) -> Caller:
        """Tell who sends these headers.

        Raises Unauthenticated, or BadRequest where a token's user is in several workspaces and `X-Workspace` names none.
        A key belongs to one workspace, whatever `X-Workspace` says.
        """
        name, credential, slug = named(headers)
        answer = self._known.get(name) or self._strangers.get(name)
        if answer is None or time.monotonic() >= answer.until:
            return await self._once(name, self._look_up(name, credential, slug))
        if isinstance(answer.caller, LeadgraphError):
            raise answer.caller.with_traceback(None)
        return answer.caller

    def known(self, name: bytes) -> Caller | None:
        """Tell who was found by what `named` gave, as long as that holds; None where nobody was, or not lately."""
        answer = self._known.get(name)
        if answer is None or time.monotonic() >= answer.until or isinstance(answer.caller, LeadgraphError):
            return None
        return answer.caller

    async def _once(self, name: bytes, look_up: Coroutine[Any, Any, Caller]) -> Caller:
        """Look a caller up once for all the requests that wait for it."""
        task = self._asked.get(name)
        if task is None:
            task = self._asked[name] = asyncio.create_task(look_up)
            task.add_done_callback(partial(self._answered, name))
        else:
            look_up.close()
        # The request that began it may end before; the others still wait.
        return await asyncio.shield(task)

    def _answered(self, name: bytes, task: asyncio.Task[Caller]) -> None:
        if self._asked.get(name) is task:
            del self._asked[name]
        if not task.cancelled():
            task.exception()  # seen, though every request that waited may be gone

    async def _look_up(self, name: bytes, credential: str, slug: str | None) -> Caller:
        generation, wall = self._generation, time.time()
        until = time.monotonic() + self.settings.caller_cache_seconds
        answers, answer = self._known, None
        try:
            caller, ends = await (self._by_key(credential) if credential.startswith("lg_") else self._by_token(credential, slug))
            answer = Answer(caller, until if ends is None else min(until, time.monotonic() + ends - wall))
        except (Unauthenticated, BadRequest) as error:
            answers, answer = self._strangers, Answer(error, until)
            raise
        finally:
            if answer is not None and generation == self._generation:
                self._known.pop(name, None)
                self._strangers.pop(name, None)
                if len(answers) >= REMEMBERED:
                    del answers[next(iter(answers))]  # the oldest: dicts keep their order
                answers[name] = answer
        return caller

    async def _by_key(self, key: str) -> tuple[Caller, float | None]:
        now = datetime.now(UTC)
        if keys.workspace_of(key) is None:
            raise Unauthenticated
        async with self.database.readers.reading() as reading:
            row = await keys.find(reading, key, now)
        if row is None:
            raise Unauthenticated
        self._note_use(row, now)
        workspace = row["workspace_id"]
        caller = Caller(workspace_id=workspace, role=Role(row["role"]), api_key_id=row["id"], workspace_ids=(workspace,))
        return caller, row["expires_at"] and row["expires_at"].timestamp()

    async def _by_token(self, token: str, slug: str | None) -> tuple[Caller, float | None]:
        claims = await self.tokens.verify(token)
        async with self.database.readers.reading() as reading:
            rows = await users.everywhere(reading, claims.email)
        chosen = [row for row in rows if slug in (None, row["slug"])]
        if not chosen:
            raise Unauthenticated
        if len(chosen) > 1:
            slugs = ", ".join(row["slug"] for row in rows[:20])
            raise BadRequest(
                f"You are in {len(rows)} workspaces: name one in the header X-Workspace, as in X-Workspace: {rows[0]['slug']} ({slugs})."
            )
        row = chosen[0]
        everywhere = tuple(each["workspace_id"] for each in rows)
        return Caller(workspace_id=row["workspace_id"], role=Role(row["role"]), user_id=row["id"], workspace_ids=everywhere), claims.ends

    def _note_use(self, row: dict[str, Any], now: datetime) -> None:
        """Note that a key was used, beside the request and at most once a minute."""
        period = keys.USE_NOTED_EVERY.total_seconds()
        stored = row["last_used_at"]
        if (stored is not None and now - stored < keys.USE_NOTED_EVERY) or time.monotonic() - self._noted.get(row["id"], -period) < period:
            return
        self._noted[row["id"]] = time.monotonic()
        task = asyncio.create_task(self._write_use(row["workspace_id"], row["id"], now))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _write_use(self, workspace_id: str, key_id: str, now: datetime) -> None:
        try:
            async with self.database.writing() as connection:
                await keys.note_use(connection, workspace_id, key_id, now)
        except Exception as error:  # noqa: BLE001  (nobody waits for it, and the next use will try again)
            logger.warning("key.use_not_noted", key=key_id, error=type(error).__name__)

    def forget(self, api_key_id: str | None = None) -> None:
        """Drop what is remembered of a key, or of everybody, and of all strangers: after a key or a user was changed or made here."""
        self._generation += 1
        self._asked.clear()
        self._strangers.clear()
        for name, answer in list(self._known.items()):
            if api_key_id is None or (isinstance(answer.caller, Caller) and answer.caller.api_key_id == api_key_id):
                del self._known[name]

    async def close(self) -> None:
        """Wait for what is written beside the requests."""
        await asyncio.gather(*self._noting, self.tokens.close())


def named(headers: Headers) -> tuple[bytes, str, str | None]:
    """Give the key or token that the headers hold, the workspace that they name beside it, and what both are remembered by."""
    credential = _credential(headers)
    slug = None if credential.startswith("lg_") else _header(headers, "x-workspace")
    # Hashed, so that no list of valid keys lies in memory.
    return hashlib.sha256(f"{slug or ''}\0{credential}".encode()).digest(), credential, slug


def _credential(headers: Headers) -> str:
    """Give the key or token that the headers hold; two that differ are nobody's."""
    given = []
    if (bearer := _header(headers, "authorization")) is not None:
        scheme, _, text = bearer.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated
        given.append(text.strip())
    if (key := _header(headers, "x-org-api-key")) is not None:
        if not key.startswith("lg_"):
            raise Unauthenticated
        given.append(key)
    if len(set(given)) != 1 or not given[0]:
        raise Unauthenticated
    return given[0]


def _header(headers: Headers, name: str) -> str | None:
    values = set(headers.getlist(name))
    if not values:
        return None
    value = values.pop()
    # Keys, tokens and slugs are printable ASCII; asked last, since it reads all of what is sent.
    if values or len(value) > LONGEST_HEADER or not (value.isascii() and value.isprintable()):
        raise Unauthenticated
    return value.strip()
