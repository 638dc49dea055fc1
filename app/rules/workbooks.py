"""Excel workbooks (.xlsx) as tables: the first visible sheet, each row a row of texts."""

import re
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any, BinaryIO

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from app.rules.files import FileRow, Head, read_head

SIGNATURE = b"PK\x03\x04"
#: Bytes of a workbook's parts once they are unpacked: a few kilobytes can hold gigabytes.
MOST_UNPACKED = 200_000_000
#: Cells of the rectangle that holds a sheet: the reader keeps room for all of them, though two in far corners be the only ones.
MOST_CELLS = 5_000_000
_PIECE = 1 << 20
_WHERE = re.compile(rb"""\br\s*=\s*["']([A-Za-z]{0,4})([0-9]{1,8})["']""")
_TOO_LARGE = f"the workbook has more than {MOST_UNPACKED:,} bytes once it is unpacked: save it as CSV"
_NO_WORKBOOK = "the file is a zip archive, and no Excel workbook (.xlsx): save it as .xlsx or as CSV"


class Workbook:
    """The first visible sheet of a workbook: its first row that is not empty names the columns."""

    encoding = "xlsx"
    guessed = False
    separator: str | None = None

    def __init__(self, sheet: CalamineSheet, head: Head, header: int) -> None:
        self._sheet, self._head, self._header = sheet, head, header
        self.columns, self.exported = head.columns, head.exported
        #: Rows of the whole sheet.
        self.lines = sheet.total_height

    def rows(self) -> Iterator[FileRow]:
        """Read the rows after the header. A row without any text in its cells is no row; empty cells at its end are none."""
        for line, cells in islice(_texts(self._sheet), self._header, None):
            if any(cell and not cell.isspace() for cell in cells):
                yield self._head.row(line, _trimmed(cells, self._head.before + len(self.columns)))


def read_workbook(file: BinaryIO) -> Workbook:
    """Look through a workbook and read its header.

    Raises ValueError, with one line that says what to do, where it is none, too large once unpacked, or empty.
    """
    _check_size(file)
    file.seek(0)
    try:
        book = CalamineWorkbook.from_filelike(file)
        names = [
            each.name for each in book.sheets_metadata if each.typ is SheetTypeEnum.WorkSheet and each.visible is SheetVisibleEnum.Visible
        ]
        if not names:
            raise ValueError("the workbook has no visible sheet")
        sheet = book.get_sheet_by_name(names[0])
    except CalamineError as error:
        raise ValueError(f"{_NO_WORKBOOK} ({str(error).splitlines()[0][:100]})") from error
    for at, (_, cells) in enumerate(_texts(sheet), start=1):
        if any(cell and not cell.isspace() for cell in cells):
            return Workbook(sheet, read_head(_trimmed(cells, 0)), at)
    raise ValueError("the file is empty: its first line must name the columns")


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


def _texts(sheet: CalamineSheet) -> Iterator[tuple[int, list[str]]]:
    """Give each row of the sheet, the empty ones before its first cell too: its number and its cells as texts."""
    for line, cells in enumerate(sheet.iter_rows(), start=1):
        yield line, [cell if type(cell) is str else _text(cell) for cell in cells]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        return value.isoformat(sep="T")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    return str(value)


def _trimmed(cells: list[str], least: int) -> list[str]:
    """Drop the empty cells that a sheet has to the right of a row, and fill up a row that ends early."""
    end = len(cells)
    while end > least and not cells[end - 1].strip():
        end -= 1
    return cells[:end] + [""] * (least - end)
