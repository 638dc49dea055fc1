"""A file on its way in, whatever its kind: read as a table, and kept as pieces of 2,000 rows until they are imported."""

import codecs
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import BinaryIO, Protocol

import orjson

from app.errors import shown
from app.rules.attributes import KEY_LENGTH
from app.rules.columns import ATTRIBUTES, map_columns, ours, refuse_shared_fields
from app.rules.fields import ErrorCode, FieldError
from app.rules.files import FileRow, Head, read_csv, with_attributes
from app.rules.workbooks import SIGNATURE, read_workbook

#: Rows of one piece, which one transaction takes: each costs the statements around the rows, and a wait for the disk.
PIECE = 2_000
#: How Excel's files begin that are no zip archives: those of before 2007, and those that are encrypted.
_OLD_WORKBOOK = bytes.fromhex("d0cf11e0a1b11ae1")
#: Columns of a file: more is no list of leads.
MOST_COLUMNS = 1_000
#: Characters of a column's name.
LONGEST_COLUMN = 200
#: Encodings of Python's that are no way to save a text file, with hyphens: Python itself writes their names both ways.
_NO_ENCODINGS = {"charmap", "idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}


class UnknownColumns(StrEnum):
    """What becomes of columns that no field takes."""

    ATTRIBUTES = "ATTRIBUTES"
    IGNORE = "IGNORE"
    FAIL = "FAIL"


class Table(Protocol):
    """A file that was looked through."""

    @property
    def encoding(self) -> str:
        """What it is read as; `xlsx` for a workbook."""

    @property
    def guessed(self) -> bool:
        """Tell whether the encoding is a guess."""

    @property
    def separator(self) -> str | None:
        """What stands between its cells; None in a workbook."""

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""

    @property
    def head(self) -> Head:
        """What its header says of its rows."""

    @property
    def first(self) -> Sequence[FileRow]:
        """Its first rows, which `rows` gives too."""

    @property
    def exported(self) -> bool:
        """Tell whether it is an export of ours."""

    @property
    def lines(self) -> int:
        """The lines of the whole file."""

    def rows(self) -> Iterator[FileRow]:
        """Read the rows after the header."""


def read_table(file: BinaryIO, encoding: str | None = None) -> Table:
    """Look through a file and read its header; without `encoding` it is found. Raises ValueError, worded for the user."""
    file.seek(0)
    start = file.read(len(_OLD_WORKBOOK))
    if start == _OLD_WORKBOOK:
        raise ValueError("the file is an old Excel workbook (.xls), or one with a password: save it as .xlsx without one, or as CSV")
    table: Table
    if start.startswith(SIGNATURE):
        table = read_workbook(file)
    else:
        table = read_csv(file) if encoding is None else read_csv(file, _encoding(encoding), encoding)
    if len(table.columns) > MOST_COLUMNS:
        raise ValueError(f"the file has {len(table.columns):,} columns, at most {MOST_COLUMNS:,} are taken")
    for column in table.columns:
        if "\0" in column:  # a workbook can hold one; PostgreSQL keeps none
            raise ValueError(f"the column {shown(column)} has a NUL in its name: rename it")
        # An attribute of rejected rows may have got its name by hand.
        most = len(ATTRIBUTES) + KEY_LENGTH if column.startswith(ATTRIBUTES) else LONGEST_COLUMN
        if len(column) > most:
            raise ValueError(f"the column {shown(column)} has a name of more than {most} characters")
    return table


def _encoding(name: str) -> str:
    try:
        found = codecs.lookup(name.strip())
    except (LookupError, ValueError):
        found = None
    if found is None or found.name.replace("_", "-") in _NO_ENCODINGS or not getattr(found, "_is_text_encoding", True):
        raise ValueError(f"there is no encoding {shown(name)}: name one such as utf-8, windows-1252 or utf-16")
    return found.name


def map_table(table: Table, given: Mapping[str, str | None], unknown: UnknownColumns) -> list[tuple[str, str | None]]:
    """Give each column with the field that it fills, or None. Raises ValueError, worded for the user.

    The columns of an export go where they came from, those that nobody can set nowhere.
    """
    rejected = table.head.before > 0
    asked = {column.strip(): field for column, field in given.items()}
    if rejected and (gone := next((column for column in asked if column not in table.columns), None)) is not None:
        raise ValueError(f"The file has no column {shown(gone)}: one of rejected rows names its columns so that it needs no mapping.")
    settled = ours(table.columns, exported=table.exported, rejected=rejected) | asked
    mapping = map_columns(table.columns, settled, table.head.foreign(table.first))
    if unknown is UnknownColumns.ATTRIBUTES:
        mapping = with_attributes(mapping, settled)
        refuse_shared_fields(mapping)
        return mapping
    left = [column for column, field in mapping if field is None and column and column not in settled]
    if unknown is UnknownColumns.FAIL and left:
        raise ValueError(f"No field takes the column {shown(left[0])}: map it to a field, or to none.")
    return mapping


def pieces(table: Table, most: int | None = None) -> Iterator[tuple[int, str]]:
    """Read all rows, or the first, and write them as pieces: the number of rows, and the text that `rows_of` reads."""
    rows = islice(table.rows(), most)
    while chunk := list(islice(rows, PIECE)):
        yield len(chunk), orjson.dumps([_packed(row) for row in chunk]).decode()


def _packed(row: FileRow) -> Sequence[object]:
    return (row.line, row.cells, [(error.code, error.message) for error in row.errors]) if row.errors else (row.line, row.cells)


def rows_of(piece: str) -> list[FileRow]:
    """Read the rows of a piece."""
    return [
        FileRow(each[0], each[1], [FieldError(ErrorCode(code), message, None) for code, message in each[2]] if len(each) > 2 else [])
        for each in orjson.loads(piece)
    ]
