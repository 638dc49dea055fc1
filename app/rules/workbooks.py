"""Excel workbooks (.xlsx) as tables: the first visible sheet, each row a row of texts.

They are read by a process of its own, `workbook_reader.py`: what a hostile one may do to its reader, it does there.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from app.rules.files import FileRow, Head, first_rows, read_head

_READER = Path(__file__).with_name("workbook_reader.py")
SIGNATURE = b"PK\x03\x04"
#: Bytes of a workbook's parts once they are unpacked: a few kilobytes can hold gigabytes.
MOST_UNPACKED = 200_000_000
#: Cells of the rectangle that holds a sheet: the reader keeps room for all of them, though two in far corners be the only ones.
MOST_CELLS = 5_000_000
_PIECE = 1 << 20
_WHERE = re.compile(rb"""\br\s*=\s*["']([A-Za-z]{0,4})([0-9]{1,8})["']""")
_TOO_LARGE = f"the workbook has more than {MOST_UNPACKED:,} bytes once it is unpacked: save it as CSV"
_UNREADABLE = "the workbook cannot be read: its cells are too many or too far apart, or it is broken: save it as CSV"
_NO_WORKBOOK = "the file is a zip archive, and no Excel workbook (.xlsx): save it as .xlsx or as CSV"


class Workbook:
    """The first visible sheet of a workbook: its first row that is not empty names the columns."""

    encoding = "xlsx"
    guessed = False
    separator: str | None = None

    def __init__(self, head: Head, rest: Iterator[tuple[int, list[str]]], lines: int) -> None:
        self.head, self._rest = head, rest
        self.columns, self.exported = head.columns, head.exported
        #: Rows of the whole sheet.
        self.lines = lines
        #: Its first rows; `rows` gives them again.
        self.first = first_rows(self._read())

    def rows(self) -> Iterator[FileRow]:
        """Read the rows after the header, once. A row without any text in its cells is no row; empty cells at its end are none."""
        return chain(self.first, self._read())

    def _read(self) -> Iterator[FileRow]:
        for line, cells in self._rest:
            if any(cell and not cell.isspace() for cell in cells):
                yield self.head.row(line, _trimmed(cells, self.head.before + len(self.columns)))


def read_workbook(file: BinaryIO) -> Workbook:
    """Look through a workbook and read its header.

    Raises ValueError, with one line that says what to do, where it is none, too large once unpacked, or empty.
    """
    _check_size(file)
    written = _written(file)
    lines = int(_sound(next(written, None))["lines"])
    rows = enumerate(chain.from_iterable(map(_sound, written)), start=1)
    for _, cells in rows:
        if any(cell and not cell.isspace() for cell in cells):
            return Workbook(read_head(_trimmed(cells, 0)), rows, lines)
    raise ValueError("the file is empty: its first line must name the columns")


def _written(file: BinaryIO) -> Iterator[Any]:
    """Give what the reading process writes, line by line, and end it with the iteration, however that ends."""
    file.seek(0)
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        process = subprocess.Popen(  # noqa: S603  (nothing of the request is in the command)
            # In a session of its own: a key that is meant for this process would end it, and the workbook seem broken.
            [sys.executable, "-I", str(_READER)],
            stdin=copy,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    assert process.stdout is not None  # noqa: S101  (it was asked for)
    try:
        for line in process.stdout:
            yield orjson.loads(line)
        if process.wait():
            yield {"wrong": _UNREADABLE}
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def _sound(line: Any) -> Any:
    if line is None or (isinstance(line, dict) and "wrong" in line):
        raise ValueError(line["wrong"] if line else _UNREADABLE)
    return line


def _check_size(file: BinaryIO) -> None:
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            if not any(part.filename == "xl/workbook.xml" for part in parts):
                raise ValueError(_NO_WORKBOOK)
            if sum(part.file_size for part in parts) > MOST_UNPACKED:
                raise ValueError(_TOO_LARGE)
            for part in parts:
                if part.filename.startswith("xl/worksheets/") and part.filename.endswith(".xml"):
                    _check_span(archive, part)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ValueError("the file is a broken zip archive, and no Excel workbook (.xlsx): save it again") from error


def _check_span(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    """Refuse a sheet whose cells stand so far apart that the rectangle around them is too large to be held."""
    columns, rows = {b"A"}, {b"1"}
    read, tail = 0, b""
    with archive.open(part) as sheet:
        while piece := sheet.read(_PIECE):
            read += len(piece)
            if read > MOST_UNPACKED:  # whatever the archive's list of parts says
                raise ValueError(_TOO_LARGE)
            for column, row in _WHERE.findall(tail + piece):
                columns.add(column)
                rows.add(row)
            tail = piece[-40:]
    width, height = max(map(_number, columns)), max(map(int, rows))
    if width * height > MOST_CELLS:
        raise ValueError(f"the sheet spans {width:,} columns and {height:,} rows: delete what is far from the table, or save it as CSV")


def _number(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - 64
    return number


def _trimmed(cells: list[str], least: int) -> list[str]:
    """Drop the empty cells that a sheet has to the right of a row, and fill up a row that ends early."""
    end = len(cells)
    while end > least and not cells[end - 1].strip():
        end -= 1
    return cells[:end] + [""] * (least - end)
