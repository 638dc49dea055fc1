"""Deadlines that cost nothing until there is something to wait for."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Give what `work` comes to; raise TimeoutError where it takes longer, and cancel it.

    It runs at once, as far as it gets. Most bodies are there with their heads, and most statements of SQLite end in the loop's own
    thread: setting and dropping a timer for each would take as long as some answers. The clock starts at the first wait.
    """
    try:
        waited = work.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    try:
        async with asyncio.timeout(seconds):
            rest: T = await _Rest(work, waited)
            return rest
    finally:
        work.close()


class _Rest:
    """What is left of a coroutine that has begun, and the future that it waits for."""

    def __init__(self, work: Coroutine[Any, Any, Any], waited: Any) -> None:
        self._work, self._waited = work, waited

    def __await__(self) -> Generator[Any, Any, Any]:
        waited = self._waited
        while True:
            try:
                try:
                    given = yield waited
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001  (the waiter's cancellation, or the future's error: the work's own)
                    waited = self._work.throw(error)
                else:
                    waited = self._work.send(given)
            except StopIteration as ended:
                return ended.value
