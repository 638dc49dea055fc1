"""CSV that is written a column at a time: the same as the library's writer writes."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from app.rules.csv_lines import cells_of, lines_of
from app.rules.files import safe_cell

TEXTS = st.text("ab=+-@'\t\r\n,\" é\u2028", max_size=5)
TABLES = st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(TEXTS, min_size=width, max_size=width), max_size=6))


@given(TABLES, st.booleans())
def test_lines_are_those_of_the_library(rows, foreign):
    columns = [cells_of([row[place] for row in rows], foreign=foreign) for place in range(len(rows[0]) if rows else 0)]
    out = io.StringIO(newline="")
    csv.writer(out).writerows([[safe_cell(text) if foreign else text for text in row] for row in rows])
    assert lines_of(zip(*columns, strict=True)) == out.getvalue()


def test_what_a_spreadsheet_would_run_is_kept_from_it_wherever_a_line_begins():
    assert cells_of(["=1", "a\n=1", "'-1", "'a", "", "x"], foreign=True) == ["'=1", '"a\n=1"', "''-1", "'a", "", "x"]
    assert cells_of(["=1", "x"], foreign=False) == ["=1", "x"]
