"""Deadlines that cost next to nothing: one timer looks after all that is under way, requests, statements, waits for a connection.

A timer of its own for each, set and dropped, takes as long as some answers: 70 µs with uvloop, where reading one lead from
PostgreSQL takes 140. What needs no wait needs no deadline: the clock starts at the first.
"""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar, cast

T = TypeVar("T")

#: Seconds between two looks at what is under way: so much later than its deadline a request may end.
TICK = 0.05


class _Watched:
    """A task, and when it has had its time."""

    __slots__ = ("cancelling", "expired", "task", "until")

    def __init__(self, task: asyncio.Task[Any], until: float) -> None:
        self.task, self.until = task, until
        #: Cancellations of the task that others had asked for before.
        self.cancelling = task.cancelling()
        self.expired = False


class Deadlines:
    """Cancels what takes too long."""

    def __init__(self) -> None:
        self._watched: set[_Watched] = set()
        #: The loop whose timer is set; None where there is nothing to look after.
        self._ticking: asyncio.AbstractEventLoop | None = None

    async def within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """Give what `work` comes to; raise TimeoutError where it takes longer, and cancel it."""
        try:
            waited_for = work.send(None)
        except StopIteration as ended:
            return cast("T", ended.value)
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[Any]", asyncio.current_task(loop))  # what runs here has one
        watched = _Watched(task, loop.time() + seconds)
        self._watched.add(watched)
        if self._ticking is not loop:
            self._ticking = loop
            loop.call_later(TICK, self._tick, loop)
        try:
            return await _rest(work, waited_for)
        except asyncio.CancelledError:
            if watched.expired and task.cancelling() - 1 <= watched.cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._watched.discard(watched)
            if watched.expired:
                task.uncancel()  # what was asked for here has been answered

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for watched in self._watched:
            if watched.until <= now and not watched.expired:
                watched.expired = True
                watched.task.cancel()
        if self._watched:
            loop.call_later(TICK, self._tick, loop)
        elif self._ticking is loop:
            self._ticking = None


@types.coroutine
def _rest(work: Coroutine[Any, Any, T], waited_for: Any) -> Generator[Any, Any, T]:
    """Go on with what has begun to wait, as `await` would have."""
    while True:
        step: Callable[[Any], Any] = work.send
        sent: Any = None
        try:
            sent = yield waited_for
        except BaseException as error:  # noqa: BLE001  (whatever it is, it is thrown at the work)
            step, sent = work.throw, error
        try:
            waited_for = step(sent)
        except StopIteration as ended:
            return cast("T", ended.value)
