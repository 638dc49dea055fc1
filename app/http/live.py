"""Subscriptions of one process: who waits for what, and one read for all that ask the same.

Nothing is queued for anybody. A subscription is a position in the log; when the log has gone on and its reader has taken what it was
sent, it asks for the stretch after its position. Subscriptions that ask the same share the stretches, which are kept for a moment, up
to a bound; one that is slow finds its stretch gone and reads the log itself. So it costs a slow reader's server no memory.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import structlog

from app.actions import activities
from app.database import Database
from app.errors import TookTooLong, Unavailable
from schema.live import LiveImport, LiveLog, Standing, Stretch

T = TypeVar("T")

logger = structlog.get_logger("leadgraph.live")

#: Seconds after which the log is looked at though nobody woke us: a wake-up is lost with the process that was to send it.
LOOK_EVERY = 1.0
#: Seconds in which a burst of commits is one look.
BURST = 0.005
#: Seconds between two reads of an import that gets on.
IMPORT_EVERY = 0.1
#: Bytes of stretches that are kept for those who ask the same, and for how many seconds: what is erased must not live on here.
KEPT_BYTES, KEPT_SECONDS = 1_000_000, 2.0
#: Bytes that a stretch should have at most: who never reads holds the one that it came to, and there may be hundreds of them.
STRETCH_BYTES = 64_000
#: Seconds before a read is tried again while the database is away.
AGAIN = 1.0


class _Log:
    """How far one workspace's log has come, as far as this process knows."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.moved = asyncio.Event()

    def reach(self, last: int) -> None:
        """Let those who wait know that there is more."""
        if last > self.last:
            self.last = last
            self.moved.set()
            self.moved = asyncio.Event()


class _Shared:
    """What is read of one selection, for all that ask for it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reads: dict[int, asyncio.Task[Any]] = {}

    async def _once(self, place: int, reading: Any) -> Any:
        """Read at a place once for all who ask for it meanwhile."""
        task = self._reads.get(place)
        if task is None:
            task = self._reads[place] = asyncio.create_task(reading)
            task.add_done_callback(lambda done: self._done(place, done))
        else:
            reading.close()
        # Whoever asked first may leave first.
        return await asyncio.shield(task)

    def _done(self, place: int, task: asyncio.Task[Any]) -> None:
        del self._reads[place]
        if not task.cancelled():
            task.exception()  # seen, though everybody who asked may be gone


class _SharedLog(_Shared):
    """Stretches of a log."""

    def __init__(self, database: Database, live: LiveLog, log: _Log, size: int) -> None:
        super().__init__(database)
        self._live, self._log = live, log
        #: How many events to read at once, and how many at most.
        self._size = self._most = size
        #: By the position before them: a stretch, its size, and when it was read.
        self._kept: OrderedDict[int, tuple[Stretch, int, float]] = OrderedDict()
        self._bytes = 0

    async def after(self, position: int) -> Stretch:
        """Give the stretch after a position; its events may be none."""
        self._drop_old()
        kept = self._kept.get(position)
        if kept is not None:
            return kept[0]
        stretch: Stretch = await self._once(position, self._read(position))
        return stretch

    async def _read(self, position: int) -> Stretch:
        last = self._log.last
        while True:
            try:
                async with self._database.readers.reading() as reading:
                    stretch = await self._live.read(reading, position, last, self._size)
                break
            except TookTooLong:
                if self._size == 1:
                    raise
                self._size = self._most = max(1, self._size // 4)
        if stretch.upto > position:
            size = sum(map(len, stretch.events)) + 100
            self._kept[position] = (stretch, size, asyncio.get_running_loop().time())
            self._bytes += size
            self._drop_old()
            # Long events come a few at a time; short ones after them by twice as many each time.
            self._size = min(self._most, 2 * self._size, max(1, self._size * STRETCH_BYTES // size))
        return stretch

    def _drop_old(self) -> None:
        oldest = asyncio.get_running_loop().time() - KEPT_SECONDS
        while self._kept:
            position, (_, size, read_at) = next(iter(self._kept.items()))
            if self._bytes <= KEPT_BYTES and read_at >= oldest:
                return
            del self._kept[position]
            self._bytes -= size


class _SharedImport(_Shared):
    """How an import stands."""

    def __init__(self, database: Database, live: LiveImport) -> None:
        super().__init__(database)
        self._live = live
        self._kept: tuple[int, Standing] | None = None

    async def at(self, look: int) -> Standing:
        """Give how it stands at the hub's look of this number, or later."""
        if self._kept is None or self._kept[0] < look:
            self._kept = (look, await self._once(look, self._read()))
        return self._kept[1]

    async def _read(self) -> Standing:
        async with self._database.readers.reading() as reading:
            return await self._live.read(reading)


class Live:
    """All subscriptions of one process. `run` looks at the logs that somebody follows."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._logs: WeakValueDictionary[str, _Log] = WeakValueDictionary()
        self._shared: WeakValueDictionary[Hashable, _Shared] = WeakValueDictionary()
        #: The number of the last look, and an event that the next one sets.
        self._looks, self._looked = 0, asyncio.Event()

    async def run(self) -> None:
        """Look whenever something was committed, until cancelled."""
        while True:
            bell = self.database.wakeups.committed  # asked for before looking, so that no commit in between is missed
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001  (whatever it is, the next look may go well)
                logger.warning("live.cannot_look", error=type(error).__name__)
            self._looks += 1
            self._looked.set()
            self._looked = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await bell.wait()
            await asyncio.sleep(BURST)

    async def _look(self) -> None:
        if not self._logs:
            return
        async with self.database.readers.reading() as reading:
            for workspace, log in list(self._logs.items()):
                log.reach(await activities.last_sequence(reading, workspace))

    async def follow(self, live: LiveLog, size: int) -> AsyncGenerator[tuple[bytes, ...], None]:
        """Begin, and give an iterator over events, some at a time; `size` is how many may be read at once.

        What is wrong with the arguments is raised here, before the iterator is given.
        """
        workspace = live.caller.workspace_id
        async with self.database.readers.reading() as reading:
            position = await live.begin(reading)
        log = self._logs.get(workspace)
        if log is None:
            log = self._logs[workspace] = _Log(position)
        shared = self._shared.get(live.same)
        if not isinstance(shared, _SharedLog):
            shared = self._shared[live.same] = _SharedLog(self.database, live, log, size)
        first = await shared.after(position)
        return self._following(log, shared, first)

    async def _following(self, log: _Log, shared: _SharedLog, stretch: Stretch) -> AsyncGenerator[tuple[bytes, ...], None]:
        while True:
            position = stretch.upto
            if stretch.events:
                yield stretch.events
            if log.last > position:
                # A reader that catches up lets the others have their turn; its own sending need not ever wait.
                await asyncio.sleep(0)
            while log.last <= position:
                await log.moved.wait()
            stretch = await _once_there(lambda: shared.after(position))  # noqa: B023  (asked for at once)

    async def watch(self, live: LiveImport) -> AsyncGenerator[tuple[bytes, ...], None]:
        """Begin, and give an iterator over how the import stands, each time that has changed."""
        shared = self._shared.get(live.same)
        if not isinstance(shared, _SharedImport):
            shared = self._shared[live.same] = _SharedImport(self.database, live)
        first = await shared.at(self._looks)
        return self._watching(shared, first)

    async def _watching(self, shared: _SharedImport, standing: Standing) -> AsyncGenerator[tuple[bytes, ...], None]:
        told = None
        while True:
            looks = self._looks
            if standing.event != told:
                told = standing.event
                yield (told,)
            if standing.ended:
                return
            await asyncio.sleep(IMPORT_EVERY)
            while self._looks == looks:
                await self._looked.wait()
            standing = await _once_there(lambda: shared.at(self._looks))


async def _once_there(read: Callable[[], Awaitable[T]]) -> T:
    """Read, again and again while the database is away: a subscription outlives that."""
    while True:
        try:
            return await read()
        except Unavailable:
            await asyncio.sleep(AGAIN)
