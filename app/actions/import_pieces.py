"""The pieces of a file in their turn, each read before it is needed.

Beside the statements that write the piece before; or, of a long file whose leads are mostly new, by a process of their own
(`rules/import_reader.py`), some ahead, which also makes the leads that its rows are if they are new.
"""

import asyncio
import pickle
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
import structlog

from app.actions.batches import COUNTS
from app.actions.made_leads import MadeRows
from app.actions.scorer import load_scorer
from app.actions.work import Work
from app.database import table_of
from app.rules.fields import Draft
from app.rules.files import FileRow
from app.rules.import_reader import LENGTH
from app.rules.making import MadeLead, Making, ReadPiece, SoundRow, read_bits
from app.rules.scoring import Criteria, ScoringRules
from app.tables import ImportPiece

logger = structlog.get_logger("leadgraph.actions")

PIECE = table_of(ImportPiece)
#: A piece of an import.
ONE = (
    PIECE.c.workspace_id == sa.bindparam("workspace"),
    PIECE.c.import_job_id == sa.bindparam("import"),
    PIECE.c.position == sa.bindparam("position", type_=sa.Integer),
)
_NEXT = sa.select(PIECE.c.content).where(*ONE)
#: Pieces that must be left for a process to pay: it takes a tenth of a second to start.
LONG = 3
#: Pieces that are read ahead, or being read.
AHEAD = 2
#: Processes that are begun for one file, should new leads and known ones take turns.
_STARTS = 3
#: Reading processes that one of ours has at once; further files are read in it.
MOST = 2
#: Seconds in which a piece is read, or the process is given up: meanwhile a transaction waits.
PATIENCE = 30
_ROOT = Path(__file__).resolve().parents[2]
_MODULE = "app.rules.import_reader"
#: Bytes that may wait to be taken: what a process has read ahead.
_BUFFER = 1 << 26


class Piece:
    """A piece of a file, read: the rows that cannot be taken, and the sound ones."""

    def __init__(self, position: int, rejected: Sequence[FileRow], sound: bytes | Sequence[SoundRow], made: MadeRows | None = None) -> None:
        self.position, self.rejected, self.made = position, rejected, made
        self._sound = sound

    @property
    def sound(self) -> Sequence[SoundRow]:
        """Give the sound rows."""
        return self.unpack()

    def unpack(self) -> Sequence[SoundRow]:
        """Unpack the sound rows, which is done when somebody asks: for those of leads that are all new nobody does."""
        if isinstance(self._sound, bytes):
            self._sound = [SoundRow(*row) for row in pickle.loads(self._sound)]  # noqa: S301  (our own process wrote it)
        return self._sound

    def drafts(self) -> list[Draft]:
        """Give the sound rows as a batch takes them."""
        return [Draft(row.fields, []) for row in self.sound]


class Pieces:
    """The pieces of an import, for as long as one worker is at it."""

    def __init__(self, row: Mapping[str, Any], count: int) -> None:
        self._row, self._count = row, count
        #: Whether leads are worth being made ahead: most rows of the last piece were new, or of all that another worker took.
        self.mostly_new = not row["dry_run"] and 2 * row["created"] > sum(row[name] for name in COUNTS)
        self._alone = False
        self._starts = _STARTS
        self._process: _Process | None = None
        self._begun: tuple[int, ReadPiece, Iterator[None]] | None = None
        self._last: Piece | None = None
        self._coming: asyncio.Task[Piece | None] | None = None

    async def take(self, work: Work, position: int) -> Piece | None:
        """Give a piece, None behind the last: that which was read ahead, as a rule, and for a step that is run again the same."""
        if self._last is None or self._last.position != position:
            self._last = await self._read(work, position)
        return self._last

    async def _read(self, work: Work, position: int) -> Piece | None:
        if self._begun is None or self._begun[0] != position:
            if self._process is None:
                await self._ask(work, position)
            if self._process is not None and position < self._count:
                coming, self._coming = self._coming or self._process.take(position), None
                if (piece := await coming) is not None:
                    return piece
                logger.warning("import.reader_lost", id=self._row["id"])
                await self.close()
            self._begun = await self._begin(work, position)
        if self._begun is None:
            return None
        _, read, bits = self._begun
        for _ in bits:
            pass
        return Piece(position, read.rejected, read.sound)

    async def read_on(self, work: Work, position: int) -> Iterator[None] | None:
        """Have the pieces from this one on read; gives what is left to do for that while the database is busy."""
        if not self._worthwhile:
            await self._end()
        await self._ask(work, position)
        if self._process is not None:
            # Unpacked while the database is busy with the piece before it.
            if position < self._count and self._coming is None:
                self._coming = asyncio.create_task(self._process.take(position))
            return None if self.mostly_new or self._coming is None else _unpacking(self._coming)
        self._begun = await self._begin(work, position)
        return None if self._begun is None else self._begun[2]

    async def _ask(self, work: Work, position: int) -> None:
        """Have a process read the pieces from this one on, if there are enough of them left to begin one."""
        if self._process is None and self._worthwhile and not self._alone and self._count - position >= LONG:
            self._process = await _Process.begin(await self._making(work))
            self._starts -= 1
            self._alone = self._process is None or not self._starts
        if self._process is None:
            return
        while (wanted := self._process.wanted(position)) is not None and wanted < self._count:
            content = await self._content(work, wanted)
            if content is None:
                break
            self._process.ask(wanted, content, made=self.mostly_new)

    @property
    def _worthwhile(self) -> bool:
        """Tell whether a process gains anything: of leads that are known it wins no time, and takes memory (`tests/bench/FILES.md`)."""
        return self.mostly_new or bool(self._row["dry_run"])

    async def close(self) -> None:
        """End the process that reads, if there is one, and start none again."""
        self._alone = True
        await self._end()

    async def _end(self) -> None:
        process, self._process = self._process, None
        coming, self._coming = self._coming, None
        if process is None:
            return
        process.kill()
        try:
            if coming is not None:
                await asyncio.wait([coming])  # which finds it gone
        finally:
            await process.close()

    async def _content(self, work: Work, position: int) -> str | None:
        row = await work.row(_NEXT, {"import": self._row["id"], "position": position})
        return None if row is None else str(row["content"])

    async def _begin(self, work: Work, position: int) -> tuple[int, ReadPiece, Iterator[None]] | None:
        content = await self._content(work, position)
        if content is None:
            return None
        piece = ReadPiece([], [], [])
        return position, piece, read_bits(content, self._made_of(work), piece)

    def _made_of(self, work: Work, rules: ScoringRules | None = None, criteria: tuple[Criteria, ...] = ()) -> Making:
        row = self._row
        fields = tuple(each["field"] for each in row["mapping"])
        return Making(fields, row["options"]["source"], row["campaign_id"], rules, criteria, work.postgres)

    async def _making(self, work: Work) -> Making:
        if self._row["dry_run"] or not self._row["options"]["autoScore"]:
            return self._made_of(work)
        campaigns = [] if self._row["campaign_id"] is None else [self._row["campaign_id"]]
        # Not locked: whoever writes a piece looks whether these are still the rules.
        scorer = await load_scorer(work, campaigns, lock=False)
        return self._made_of(work, scorer.rules, tuple(scorer.criteria.values()))


def _unpacking(coming: asyncio.Task[Piece | None]) -> Iterator[None]:
    """Unpack the sound rows of a piece that has come by now, and is likely to need them."""
    if coming.done() and not coming.cancelled() and coming.exception() is None and (piece := coming.result()) is not None:
        piece.unpack()
    yield


class _Process:
    """A process that reads pieces in the order in which it is asked."""

    running = 0

    def __init__(self, process: asyncio.subprocess.Process, making: Making) -> None:
        self._process, self._making = process, making
        self._asked: deque[int] = deque()
        self._written(pickle.dumps(making, pickle.HIGHEST_PROTOCOL))

    @classmethod
    async def begin(cls, making: Making) -> Self | None:
        """Start one; None where there are enough of them, or the system gives none."""
        if cls.running >= MOST:
            return None
        cls.running += 1
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _MODULE), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, cwd=_ROOT, limit=_BUFFER
            )
        except BaseException as error:
            cls.running -= 1
            if isinstance(error, OSError):
                return None
            raise
        return cls(process, making)

    def wanted(self, position: int) -> int | None:
        """Tell which piece, from this one on, is to be asked for next; None: enough are."""
        if len(self._asked) >= AHEAD:
            return None
        return self._asked[-1] + 1 if self._asked else position

    def ask(self, position: int, content: str, *, made: bool) -> None:
        """Have a piece read."""
        self._asked.append(position)
        self._written((b"1" if made else b"0") + content.encode())

    async def take(self, position: int) -> Piece | None:
        """Give a piece that was asked for; None where the process is gone, or this was not its next."""
        if not self._asked or self._asked.popleft() != position:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                rejected, keys, made = pickle.loads(await self._frame())  # noqa: S301  (our own process wrote it)
                sound = await self._frame()
        except (asyncio.IncompleteReadError, OSError, TimeoutError):
            return None
        leads = [MadeLead(*each) for each in made]
        return Piece(position, rejected, sound, MadeRows(self._making, keys, leads) if leads else None)

    async def _frame(self) -> bytes:
        out = self._process.stdout
        assert out is not None  # noqa: S101  (it was asked for)
        return await out.readexactly(int.from_bytes(await out.readexactly(LENGTH), "big"))

    def _written(self, content: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101  (it was asked for)
        # Not waited for: what lies here is bounded by the pieces that are asked for, and who is gone is found out by reading.
        self._process.stdin.write(len(content).to_bytes(LENGTH, "big") + content)

    def kill(self) -> None:
        """End the process."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> None:
        """Wait until the process that was killed is gone."""
        type(self).running -= 1
        await self._process.communicate()
