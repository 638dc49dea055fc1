"""What a verb works with: the transaction, who asks, in which workspace, and the one moment at which all of it happens."""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import Forbidden

Result = TypeVar("Result")


class Role(StrEnum):
    """What a caller may do; each may do what those before it may."""

    VIEWER = "VIEWER"
    EDITOR = "EDITOR"
    ADMIN = "ADMIN"

    def covers(self, needed: "Role") -> bool:
        """Tell whether this role may do what needs `needed`."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: an API key or a user, in one workspace."""

    workspace_id: str
    role: Role
    user_id: str | None = None
    api_key_id: str | None = None
    #: All that this caller may choose from (a user with a token may be in several).
    workspace_ids: tuple[str, ...] = ()

    @property
    def actor_id(self) -> str | None:
        """The id that the log keeps."""
        return self.user_id or self.api_key_id

    def require(self, needed: Role) -> None:
        """Refuse a caller whose role is too low."""
        if not self.role.covers(needed):
            raise Forbidden(f"This needs the role {needed}; yours is {self.role}.")


@dataclass(slots=True)
class Work:
    """One transaction of one caller. Verbs write through it and never commit."""

    connection: AsyncConnection
    caller: Caller
    request_id: str | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    #: The batch that all of this belongs to, if any.
    batch_id: str | None = None
    #: The first and the last number of the log that this work took.
    recorded: tuple[int, int] | None = None
    #: How many runs of automations led here, one setting off the next.
    depth: int = 0
    #: The automations that were not set off because the chain would have become too long.
    cut_off: list[str] = field(default_factory=list)
    #: Whether it is a step of a job, whose chunks may take statements in proportion to their rows; a request's may not.
    in_chunks: bool = False
    #: What there is to compute while the database is busy with a long statement, about a millisecond of it at a time.
    meanwhile: Iterator[None] | None = None

    @property
    def workspace(self) -> str:
        """The id of the workspace."""
        return self.caller.workspace_id

    @property
    def postgres(self) -> bool:
        """Tell PostgreSQL from SQLite."""
        return self.connection.dialect.name == "postgresql"

    async def rows(self, statement: sa.Executable, binds: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run a statement that reads (or returns) and give its rows by column name; `:workspace` is bound."""
        result = await self.connection.execute(statement, {"workspace": self.workspace, **(binds or {})})
        names = tuple(result.keys())
        return [dict(zip(names, row, strict=True)) for row in result]

    async def beside(self, statement: Coroutine[Any, Any, Result]) -> Result:
        """Run what takes the database long, and get on with what is to be computed `meanwhile`."""
        if self.meanwhile is None:
            return await statement
        running = asyncio.ensure_future(statement)
        try:
            # A turn first, for the statement to set out; then one after each bit, to see whether it is back.
            await asyncio.sleep(0)
            for _ in self.meanwhile:
                await asyncio.sleep(0)
                if running.done():
                    break
        except BaseException:
            running.cancel()
            await asyncio.wait([running])
            raise
        return await running

    async def row(self, statement: sa.Executable, binds: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Give the first row, or None."""
        return next(iter(await self.rows(statement, binds)), None)

    async def run(self, statement: sa.Executable, binds: Mapping[str, Any] | None = None) -> int:
        """Run a statement that writes and give the number of rows it touched; `:workspace` is bound."""
        result = await self.connection.execute(statement, {"workspace": self.workspace, **(binds or {})})
        return result.rowcount
