"""The records of a CSV text, and the lines they begin on. One that a quote spoils takes no others with it."""

import csv
import re
from collections.abc import Iterator
from typing import TextIO

#: Characters of one record of several lines: more is no row, and would be held in memory.
MOST_RECORD = 1_000_000
#: Characters of a cell: the csv module's own limit, so that a quote which is never closed does not read on to the end of the file.
LONGEST_CELL = 131_072


def read_records(text: TextIO, separator: str, advice: str) -> Iterator[tuple[int, list[str], str | None]]:
    """Read records: the physical line on which each begins, its cells, and what kept it from being read, with what is to be done.

    After a record that cannot be read, the next one begins on the line after that of the cell at fault: where a quote is not closed,
    nobody but its writer can tell how far the cell was meant to go, and the lines below it are rows, as a rule.
    """
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            count, cells = _spoiled(lines.kept, separator)
            lines.again += reversed(lines.kept[count:])
            yield line, cells, f"{error}: {advice}"
            reader = csv.reader(lines, delimiter=separator, strict=True)
        else:
            count = len(lines.kept)
            if any(cell and not cell.isspace() for cell in cells):
                yield line, cells, None
        line += count
        lines.kept.clear()


class _Lines:
    """The lines of a text. Those of the record under way are kept: some may have to be read again."""

    def __init__(self, text: TextIO) -> None:
        self.text = text
        self.kept: list[str] = []
        #: What comes before the rest of the text, the next line last.
        self.again: list[str] = []

    def __iter__(self) -> Iterator[str]:
        text, kept, again = self.text, self.kept, self.again
        size = 0
        while line := again.pop() if again else next(text, ""):
            size = size + len(line) if kept else len(line)
            kept.append(line)
            if size > MOST_RECORD and len(kept) > 1:
                raise csv.Error(f"a row of more than {MOST_RECORD:,} characters")
            yield line


def _spoiled(lines: list[str], separator: str) -> tuple[int, list[str]]:
    """Give the number of lines that go with a record that cannot be read, and its cells.

    From the cell at fault on a quote is a character like others, up to the end of the line on which that cell begins.
    Every line after that one has its quotes in pairs, but for the last: read as rows, they are not gone through time and again.
    """
    text = "".join(lines)
    between = re.escape(separator)
    cell = rf'"[^"]*+(?:""[^"]*+)*+"|(?!")[^{between}\r\n]*+'
    whole = re.match(rf"(?:(?:{cell}){between})*+", text)
    fault = whole.end() if whole else 0
    count = end = 0
    while count < len(lines) and end <= fault:
        end += len(lines[count])
        count += 1
    cells = [_unquoted(found[1]) for found in re.finditer(f"({cell}){between}", text[:fault])]
    cells += text[fault:end].rstrip("\r\n").split(separator)
    return count, [each[:LONGEST_CELL] for each in cells]


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if cell.startswith('"') else cell
