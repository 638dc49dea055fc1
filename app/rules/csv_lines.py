"""CSV written a column at a time: what stands in no cell of a column is looked for once, not in each of its cells.

The library's writer looks at each character of each cell; what comes out is the same, as its default dialect writes it.
"""

import re
from collections.abc import Iterable, Sequence

from app.rules.files import FORMULA_BEGINS, safe_cell

#: A cell with one of these is put into quotes.
_QUOTED = re.compile('[,"\r\n]')


def cells_of(texts: list[str], *, foreign: bool) -> list[str]:
    """Write the texts of a column as cells of a line; `foreign`: others wrote them, and a spreadsheet is to run none."""
    if foreign and not FORMULA_BEGINS.isdisjoint({text[0] for text in texts if text}):
        texts = [safe_cell(text) if text else "" for text in texts]
    whole = "".join(texts)
    if "," in whole or '"' in whole or "\r" in whole or "\n" in whole:
        texts = [_in_quotes(text) if _QUOTED.search(text) else text for text in texts]
    return texts


def _in_quotes(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def lines_of(rows: Iterable[Sequence[str]]) -> str:
    """Write rows of such cells, two or more each, as lines; nothing for no row."""
    return "".join([f"{line}\r\n" for line in map(",".join, rows)])
