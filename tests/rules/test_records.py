import csv
import io
import sys
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rules.records import LONGEST_CELL, MOST_RECORD, _Lines, read_records

Found = list[tuple[int, list[str], str | None]]


def records(text: str, separator: str = ",") -> Found:
    return list(read_records(io.StringIO(text, newline=""), separator, "mend it"))


@pytest.mark.parametrize("after", [30, 10_000])
def test_a_quote_that_is_not_closed_spoils_its_row_and_no_other(after: int):
    rows = [f"p{n}@example.com,Bob\n" for n in range(after)]
    first, spoilt, *rest = records("".join(['a@example.com,"two\nlines"\n', 'b@example.com,"Ann\n', *rows]))
    assert first == (1, ["a@example.com", "two\nlines"], None)
    assert (spoilt[0], spoilt[1]) == (3, ["b@example.com", '"Ann'])
    assert spoilt[2] in ("unexpected end of data: mend it", f"field larger than field limit ({LONGEST_CELL}): mend it")
    assert rest == [(4 + n, [f"p{n}@example.com", "Bob"], None) for n in range(after)]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_the_cells_before_the_one_at_fault_are_read_and_those_after_it_stand_where_they_stood(ending: str):
    lines = ['a,"two', 'lines, ""quoted""","open,c', 'd,"e ""f"""', 'g,"Bob "the" Builder",h', '"i" ,j', "k,l", ""]
    assert [(line, cells) for line, cells, _ in records(ending.join(lines))] == [
        (1, ["a", f'two{ending}lines, "quoted"', '"open', "c"]),
        (3, ["d", 'e "f"']),
        (4, ["g", '"Bob "the" Builder"', "h"]),
        (5, ['"i" ', "j"]),
        (6, ["k", "l"]),
    ]


def test_a_record_that_would_fill_the_memory_is_cut_and_so_is_a_cell():
    found = records('x","\n' * 600_000)
    assert max(len(cells) for _, cells, _ in found) < MOST_RECORD / 2
    assert found[0][2] == "a row of more than 1,000,000 characters: mend it"
    [(_, cells, broken)] = records("a;" + "x" * 900_000 + ";b\n", ";")
    assert ([len(cell) for cell in cells], broken is None) == ([1, LONGEST_CELL, 1], False)


PIECES = st.sampled_from(['"', '""', '"""', ",", "\n", "\r\n", "a", "b@example.com,", ' " ', ',"'])


@given(st.lists(PIECES, max_size=60).map("".join))
def test_every_line_belongs_to_one_record_and_what_can_be_read_is_read_as_it_always_was(text: str):
    found = records(text)
    begins = [line for line, _, _ in found]
    assert begins == sorted(set(begins))
    for line, _, broken in found:
        rest = io.StringIO("".join(text.splitlines(keepends=True)[line - 1 :]), newline="")
        try:
            assert (next(csv.reader(rest, strict=True)), None) == (found[begins.index(line)][1], broken)
        except csv.Error:
            assert broken
    sound = [("z@example.com", str(number)) for number in range(3)]
    ended = records(f'{text.replace(chr(34), "")}\nq,"open\n' + "".join(f"{email},{number}\n" for email, number in sound))
    assert [tuple(cells) for _, cells, _ in ended[-4:]] == [("q", '"open'), *sound]


@pytest.mark.parametrize("line", [',"x\n', 'x","\n', '""x\n', '"\n', '"""\n', ',""\n,"\n', '"x""\n', ",\n", '","\n', '"a","b\n'])
def test_no_line_is_read_time_and_again(line: str):
    text = line * 5_000
    read = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal read
        read += event == "call" and frame.f_code is _Lines.__iter__.__code__

    sys.setprofile(count)
    try:
        records(text)
    finally:
        sys.setprofile(None)
    assert 0 < read <= 3 * text.count("\n")
