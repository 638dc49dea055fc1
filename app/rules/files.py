"""CSV text as people save it: its encoding, its separator, its rows and the lines they stand on, and what was refused of it.

Reading streams: a file is gone through once to learn its encoding, then once for its rows, and never held whole.
"""

import csv
import json
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import islice
from typing import Any, BinaryIO, NamedTuple, TextIO

import orjson

from app.errors import shown
from app.rules.columns import KEY_FIELDS, OBJECT, find_field, is_export, rejected_columns
from app.rules.fields import ErrorCode, FieldError
from app.rules.ids import prefix_of
from app.rules.moments import with_offset
from app.rules.records import read_records
from app.rules.texts import TEXT_BYTES

SEPARATORS = ",;\t|"
#: Characters of one line of the file: more is no table, and would be held in memory.
MOST_LINE = 1_000_000
#: Characters that are looked at in one go: fewer than a line may have.
_BLOCK = 65_536
#: What the separator is guessed from.
_SAMPLE_LINES = 20
_SAMPLE_CHARACTERS = 4_000
#: Tried in this order; what is valid UTF-8 is hardly ever anything else.
_UTF_8 = ("utf-8", "cp1252")
_MARKS = {b"\xef\xbb\xbf": ("utf-8-sig",), b"\xff\xfe": ("utf-16",), b"\xfe\xff": ("utf-16",)}
#: Control characters that no text has; any eight bits are a text of cp1252 but for these.
_NO_TEXT = re.compile(r"[\x01-\x08\x0e-\x1f\x7f]")
NOT_TEXT = "the file is no text: save it as CSV with the encoding UTF-8"
#: What is to be done about a record that cannot be read.
_ADVICE = f"write a quote inside a cell twice, close each that is open, keep cells under {TEXT_BYTES:,} bytes"

#: A line above the header in which Excel says what stands between the cells.
_TOLD = re.compile(rf"""(["']?)sep=([{SEPARATORS}])\1\2*""", re.IGNORECASE)

#: A spreadsheet would run a cell that begins so.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
#: What such a cell begins with; one with an apostrophe may.
FORMULA_BEGINS = frozenset("'=+-@\t\r")
#: The field that holds a moment: spreadsheets know no offsets.
_MOMENT = "optInAt"
#: A number that may have more than 64 bits.
_LONG = re.compile("[0-9]{19}")
#: Rows and characters that tell what a column holds.
_FIRST_ROWS, _FIRST_CHARACTERS = 100, 500_000
#: The columns that come before a file's own in a file of its rejected rows.
REJECTED_COLUMNS = ("line", "error")


class FileRow(NamedTuple):
    """A row of a file: the line on which it begins, its cells as they stand there, and what is wrong with its form."""

    line: int
    cells: list[str]
    errors: list[FieldError]


class Head(NamedTuple):
    """What the header of a file says of its rows."""

    columns: list[str]
    #: Cells before a row's own: the two of a file of rejected rows.
    before: int = 0
    #: It is an export of leads.
    exported: bool = False

    def row(self, line: int, cells: list[str]) -> FileRow:
        """Read the cells of a row: those of our own files lose the apostrophes that we put before them."""
        if not (self.before or self.exported):
            return FileRow(line, cells, mistakes(self.columns, cells))
        own = [_bare(cell) for cell in cells[self.before :]]
        return FileRow(line, own, mistakes(self.columns, own, OBJECT if self.exported else None))

    def foreign(self, first: Sequence[FileRow]) -> set[str]:
        """Give the columns that are called as `id` is and hold, by the first rows, ids of another system: some, and none of ours.

        In a file of rejected rows there is none: what its columns are was decided by all rows of the file before it.
        """
        found = set()
        for at, column in enumerate(() if self.before else self.columns):
            if find_field(column) == "id":
                ids = [row.cells[at].strip() for row in first if at < len(row.cells)]
                if any(ids) and not any(prefix_of(each) == "lead" for each in ids):
                    found.add(column)
        return found


def read_head(cells: Sequence[str]) -> Head:
    """Read the first row of a file; an export and a file of rejected rows are known by it."""
    # An encoding that says its own order of bytes leaves the mark to whoever reads.
    columns = [cell.removeprefix("\ufeff").strip() if place == 0 else cell.strip() for place, cell in enumerate(cells)]
    before = len(REJECTED_COLUMNS) if tuple(columns[: len(REJECTED_COLUMNS)]) == REJECTED_COLUMNS else 0
    if before:
        columns = [_bare(column) for column in columns[before:]]
    return Head(columns, before, is_export(columns))


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV file that was looked through: how to read it, and what its columns are called."""

    file: BinaryIO
    encoding: str
    #: The encoding is a guess: another of eight bits would have been valid too.
    guessed: bool
    separator: str
    #: Records above the rows: the header, and Excel's line that says the separator.
    above: int
    head: Head
    #: Physical lines of the whole file.
    lines: int
    #: Its first rows.
    first: list[FileRow] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return self.head.columns

    @property
    def exported(self) -> bool:
        """Tell whether it is an export of ours."""
        return self.head.exported

    def rows(self) -> Iterator[FileRow]:
        """Read the rows after the header. A line without any text in its cells is no row."""
        with _text(self.file, self.encoding) as text:
            for line, cells, broken in islice(read_records(text, self.separator, _ADVICE), self.above, None):
                row = self.head.row(line, cells)
                yield row._replace(errors=[FieldError(ErrorCode.INVALID, broken, None)]) if broken else row


def first_rows(rows: Iterator[FileRow]) -> list[FileRow]:
    """Take so many rows as tell what the columns hold, and as can be held themselves."""
    first: list[FileRow] = []
    size = 0
    while len(first) < _FIRST_ROWS and size < _FIRST_CHARACTERS and (row := next(rows, None)):
        first.append(row)
        size += sum(map(len, row.cells)) + len(row.cells)
    return first


def mistakes(columns: Sequence[str], cells: Sequence[str], long: str | None = None) -> list[FieldError]:
    """Tell what is wrong with the form of a row: the number of its cells, the length of one (not of column `long`)."""
    found = []
    if len(cells) != len(columns):
        found.append(FieldError(ErrorCode.INVALID, f"the row has {len(cells)} cells, the header has {len(columns)}", None))
    if sum(map(len, cells)) * 4 > TEXT_BYTES:  # the row as a whole first: hardly any is that long
        for column, cell in zip(columns, cells, strict=False):
            if len(cell) * 4 > TEXT_BYTES and column != long and len(cell.encode()) > TEXT_BYTES:
                found.append(FieldError(ErrorCode.TOO_LONG, f"column {shown(column)}: longer than {TEXT_BYTES:,} bytes", None))
    return found


def read_csv(file: BinaryIO, encoding: str | None = None, called: str | None = None) -> CsvFile:
    """Look through a CSV file and read its header; without `encoding` (a name that Python knows) it is found. It was `called` so.

    Raises ValueError, with one line that says what to do, where it is no text, not in that encoding, or empty.
    """
    encoding, guessed, lines = _survey(file, encoding, called or encoding)
    with _text(file, encoding) as text:
        head = [line for line in islice(text, _SAMPLE_LINES) if line.strip()]
    if head and _is_object(head[0]):
        raise ValueError("the file is lines of JSON, which are not imported: export as CSV, or save it as CSV")
    told = _TOLD.fullmatch(head[0].rstrip("\r\n")) if head else None
    separator = told[2] if told else find_separator("".join(head)[:_SAMPLE_CHARACTERS])
    above = 2 if told else 1
    with _text(file, encoding) as text:
        _, cells, broken = next(islice(read_records(text, separator, _ADVICE), above - 1, None), (0, [], None))
    if broken:
        raise ValueError(f"the header cannot be read: {broken}")
    if not cells:
        raise ValueError("the file is empty: its first line must name the columns")
    table = CsvFile(file, encoding, guessed, separator, above, read_head(cells), lines)
    table.first.extend(first_rows(table.rows()))
    return table


def _is_object(line: str) -> bool:
    try:
        return line.lstrip().startswith("{") and isinstance(orjson.loads(line), dict)
    except ValueError:
        return False


def _survey(file: BinaryIO, asked: str | None, called: str | None) -> tuple[str, bool, int]:
    """Find the encoding by decoding the whole file, and count its lines."""
    file.seek(0)
    start = file.read(4)
    if asked is not None:
        return _survey_as(file, "utf-8-sig" if asked == "utf-8" else asked, called)
    encodings = next((encodings for mark, encodings in _MARKS.items() if start.startswith(mark)), _UTF_8)
    for encoding in encodings:
        guessed = encoding == "cp1252"
        try:
            with _text(file, encoding) as text:
                return encoding, guessed, _count_lines(text, guessed=guessed)
        except UnicodeDecodeError:
            continue
    raise ValueError(NOT_TEXT)


def _survey_as(file: BinaryIO, encoding: str, called: str | None) -> tuple[str, bool, int]:
    try:
        with _text(file, encoding) as text:
            return encoding, False, _count_lines(text, guessed=True)
    except UnicodeError:
        raise ValueError(f"the file is no text in the encoding {shown(called)}: name another, or leave it out") from None


def _count_lines(text: TextIO, *, guessed: bool) -> int:
    """Count lines, block by block: line by line, ten megabytes of line ends would take seconds."""
    count = open_line = 0
    last = ""
    while block := text.read(_BLOCK):
        if "\0" in block or (guessed and _NO_TEXT.search(block)):
            raise ValueError(NOT_TEXT)
        ends = block.count("\n") + block.count("\r") - block.count("\r\n") - (last == "\r" and block[0] == "\n")
        first = next((place for place, character in enumerate(block) if character in "\r\n"), len(block)) if open_line else 0
        if open_line + first >= MOST_LINE:
            raise ValueError(f"line {count + 1} has more than {MOST_LINE:,} characters: save the file as CSV, a row a line")
        count += ends
        end = max(block.rfind("\n"), block.rfind("\r"))
        open_line = len(block) - end - 1 if end >= 0 else open_line + len(block)
        last = block[-1]
    return count + (open_line > 0)


def find_separator(sample: str) -> str:
    """Find the separator of a table from its first lines: a comma, a semicolon, a tab or a bar that its header has.

    The one by which a column says which lead a row is about, before all that the library guesses. Where nothing tells, it is the comma.
    """
    header = next((line for line in sample.splitlines() if line.strip()), "")
    candidates = "".join(separator for separator in SEPARATORS if separator in header)
    if len(candidates) < 2:
        return candidates or ","
    telling = [each for each in candidates if any(find_field(cell.strip('" ')) in KEY_FIELDS for cell in header.split(each))]
    if len(telling) == 1:
        return telling[0]
    try:
        return csv.Sniffer().sniff(sample, candidates).delimiter
    except csv.Error:
        return max(candidates, key=header.count)  # the first, which is the comma, where two are as frequent


@contextmanager
def _text(file: BinaryIO, encoding: str) -> Iterator[TextIO]:
    """Read the file from its start, line endings as they are; it stays open."""
    file.seek(0)
    text = TextIOWrapper(file, encoding, newline="")
    try:
        yield text
    finally:
        text.detach()


def with_attributes(mapping: Iterable[tuple[str, str | None]], settled: Container[str]) -> list[tuple[str, str | None]]:
    """Let each column that no field takes fill an attribute of its name, unless it is `settled` that it fills nothing, or nameless."""
    return [(column, field or (f"attributes.{column}" if column and column not in settled else None)) for column, field in mapping]


def row_reader(fields: Sequence[str | None]) -> "RowReader":
    """Prepare to read cells as lead fields: for each column its field, `attributes.NAME`, `attributes` for an object of them, or None."""
    plain = [(at, field) for at, field in enumerate(fields) if field and not field.startswith("attributes.")]
    own = [(at, field.removeprefix("attributes.")) for at, field in enumerate(fields) if field and field.startswith("attributes.")]
    return RowReader(plain, own)


class RowReader(NamedTuple):
    """Reads the cells of a row as a lead's fields."""

    fields: list[tuple[int, str]]
    attributes: list[tuple[int, str]]

    def read(self, cells: Sequence[str]) -> dict[str, Any]:
        """Give what the row sets; a blank cell is not given, so that a file never clears. A moment without an offset is one in UTC."""
        row: dict[str, Any] = {field: cells[at] for at, field in self.fields if cells[at] and not cells[at].isspace()}
        own = {key: cells[at].strip() for at, key in self.attributes if cells[at] and not cells[at].isspace()}
        if _MOMENT in row:
            row[_MOMENT] = with_offset(row[_MOMENT])
        if OBJECT in row:
            row[OBJECT] = _object(row[OBJECT], own)
        elif own:
            row[OBJECT] = own
        return row


def _object(cell: str, own: dict[str, Any]) -> Any:
    """Read a cell with a JSON object, beside the columns of single attributes; one with anything else stays, and its field refuses it."""
    try:
        given = orjson.loads(cell)
        if _LONG.search(cell):  # of a whole number beyond 64 bits orjson makes another one: as it stands there, its field refuses it
            given = json.loads(cell, parse_int=_whole)
    except (orjson.JSONDecodeError, RecursionError):
        return cell
    return given | own if isinstance(given, dict) else cell


def _whole(digits: str) -> int:
    return int(digits[:40])  # Python refuses thousands; more than twenty are too many anyway


def raw_row(columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Give the cells by column, as they stood in the file; those beyond the header by their number."""
    return dict(zip(raw_names(columns, len(cells)), cells, strict=False))


def raw_names(columns: Sequence[str], count: int) -> list[str]:
    """Name the cells of a row of `count` cells: nameless columns, and cells beyond the header, by their number; no two alike."""
    taken = set(columns)
    names = []
    for place in range(max(count, len(columns))):
        name = columns[place] if place < len(columns) else ""
        if not name:
            name = f"column {place + 1}"
            while name in taken:
                name += " (nameless)"
        names.append(name)
    return names


def rejected_header(mapping: Sequence[tuple[str, str | None]]) -> list[str]:
    """Head a file of rejected rows: it can be mended and imported as it is, without the mapping."""
    return [*REJECTED_COLUMNS, *map(safe_cell, rejected_columns(mapping))]


def rejected_row(row: FileRow, errors: Iterable[FieldError]) -> list[str]:
    """Write a rejected row: its line, why, and its cells, of which a spreadsheet runs none.

    Line and reason come first, so that a row with too many or too few cells stays as it was.
    """
    reasons = "; ".join(error.message for error in errors)
    return [str(row.line), safe_cell(reasons), *map(safe_cell, row.cells)]


def safe_cell(cell: str) -> str:
    """Put an apostrophe before a cell that a spreadsheet would take for a formula; `_bare` takes it away again."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _bare(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
