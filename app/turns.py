"""Turns: so many at once, one a workspace, and a wait for them that ends.

What takes long, and keeps a reader or memory from others meanwhile, waits for its turn here. No workspace takes all of them.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from app.errors import Unavailable


class Busy(Unavailable):
    """Another file of your workspace is on its way, or as many of others as this server sends at once: try again."""


class Turns:
    """Turns of one process."""

    def __init__(self, at_once: int, seconds: float) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._seconds = seconds
        #: By workspace; kept for as long as somebody of it waits or has its turn.
        self._own: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, workspace: str) -> AsyncIterator[None]:
        """Have a turn for as long as the block lasts. Raises Busy where none came in time."""
        async with AsyncExitStack() as taken:
            try:
                async with asyncio.timeout(self._seconds):
                    await taken.enter_async_context(self._own.setdefault(workspace, asyncio.Lock()))
                    await taken.enter_async_context(self._free)
            except TimeoutError:
                raise Busy from None
            yield
