"""Files that are read to their end before the transaction that keeps them begins: on SQLite nobody else could write meanwhile."""

import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from app.rules.files import FileRow
from app.rules.uploads import Table, pieces, read_table, rows_of

#: Bytes of a file's pieces that are held in memory; more lie in a nameless file.
_IN_MEMORY = 1_000_000


class Kept:
    """A table whose rows were read: they lie in pieces, as they are kept."""

    def __init__(self, table: Table, rows: int | None) -> None:
        self.encoding, self.guessed, self.separator = table.encoding, table.guessed, table.separator
        self.columns, self.exported, self.lines = table.columns, table.exported, table.lines
        self.head, self.first = table.head, table.first
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  (it is closed with the request)
        self._lengths: list[int] = []
        #: What broke off the reading, as a workbook's may.
        self._broken: str | None = None
        try:
            for _, text in pieces(table, rows):
                self._lengths.append(self._file.write(text.encode()))
        except ValueError as error:
            self._broken = str(error)

    def pieces(self) -> Iterator[str]:
        """Give the pieces, one at a time. Raises ValueError where the file breaks off."""
        place = 0
        for length in self._lengths:
            self._file.seek(place)
            yield self._file.read(length).decode()
            place += length
        if self._broken is not None:
            raise ValueError(self._broken)

    def rows(self) -> Iterator[FileRow]:
        """Read the rows, which may be asked for again."""
        for piece in self.pieces():
            yield from rows_of(piece)

    def close(self) -> None:
        """Drop the pieces."""
        self._file.close()


class ReadAhead:
    """A file, and what came of reading it, which is told when it is asked for: what is wrong with the request comes first."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._read: dict[tuple[str | None, int | None], Kept | str] = {}
        self._closed = False

    def read(self, encoding: str | None, rows: int | None) -> Kept | str:
        """Read the file, or its first rows alone, unless that was done: the table, or what is wrong with it. To be done in a thread."""
        found = self._read.get((encoding, rows))
        if found is None:
            try:
                found = Kept(read_table(self.file, encoding), rows)
            except ValueError as error:
                found = str(error)
            self._read[encoding, rows] = found
            if self._closed:  # who sent it left meanwhile
                self.close()
        return found

    def table(self, encoding: str | None, rows: int | None) -> Kept:
        """Give the table. Raises ValueError, as `read_table` does."""
        found = self.read(encoding, rows)
        if isinstance(found, str):
            raise ValueError(found)  # noqa: TRY004  (a file's fault)
        return found

    def close(self) -> None:
        """Drop all that was read."""
        self._closed = True
        for found in self._read.values():
            if isinstance(found, Kept):
                found.close()
