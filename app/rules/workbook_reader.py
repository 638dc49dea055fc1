"""Reads one workbook, in a process of its own whose memory and time have a bound: run by `workbooks.py`, the file on its standard input.

The library keeps room for the whole rectangle around a sheet's cells, and a kilobyte can name one of terabytes: it then ends the process
that it runs in, which must not be the one that serves. Nothing of this service is imported, so that it starts at once.

Writes lines of JSON: `{"lines": 12}`, the rows of the first visible sheet, or `{"wrong": "..."}`, why there is none; then lists of rows,
from the sheet's first one on, each a list of texts.
"""

import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from typing import Any, BinaryIO

import orjson
from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

MEMORY, SECONDS = 1 << 30, 300
#: Characters of a cell that are handed on, one more than any field takes: the row is refused for it, and not kept by the megabyte.
LONGEST = 131_073
#: Characters that are written at a time.
_AT_ONCE = 500_000


def read(file: BinaryIO) -> Iterator[Any]:
    """Read the first visible sheet: what is written, line by line."""
    try:
        book = CalamineWorkbook.from_filelike(file)
        names = [
            each.name for each in book.sheets_metadata if each.typ is SheetTypeEnum.WorkSheet and each.visible is SheetVisibleEnum.Visible
        ]
        if not names:
            yield {"wrong": "the workbook has no visible sheet"}
            return
        sheet = book.get_sheet_by_name(names[0])
        yield {"lines": sheet.total_height}
        rows: list[list[str]] = []
        size = 0
        for cells in sheet.iter_rows():
            row = [(cell if type(cell) is str else _text(cell))[:LONGEST] for cell in cells]
            rows.append(row)
            size += sum(map(len, row)) + len(row)
            if size > _AT_ONCE:
                yield rows
                rows, size = [], 0
        yield rows
    except CalamineError as error:
        yield {"wrong": f"the file is a zip archive, and no Excel workbook (.xlsx): save it as .xlsx or as CSV ({_said(error)})"}
    except (OverflowError, ValueError) as error:
        yield {"wrong": f"the workbook holds a value that cannot be read ({_said(error)}): save it as CSV"}


def _said(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:100]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) <= 1 << 53 else repr(value)
    if isinstance(value, datetime):
        return value.isoformat(sep="T")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    return str(value)


if __name__ == "__main__":
    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # not every system has each
            resource.setrlimit(kind, (most, most))
    for each in read(sys.stdin.buffer):
        sys.stdout.buffer.write(orjson.dumps(each) + b"\n")
        sys.stdout.buffer.flush()
