"""What makes objects and pages of a driver's rows, where these come as columns."""

from collections.abc import Callable
from typing import Any

import orjson
from orjson import Fragment

Shape = Callable[[Any], Any]


class Page:
    """What is known of a page beside its rows."""

    __slots__ = ("ahead", "all", "given")

    def __init__(self, rows: list[Any], ahead: bool, given: str | None) -> None:
        self.all, self.ahead, self.given = rows, ahead, given


#: What PostgreSQL puts between the elements of an array; no string of JSON can hold a line feed.
_BETWEEN = b", \n "


def compact(written_json: str | None) -> Fragment | None:
    """Hand JSON of PostgreSQL through, with nothing between the elements of an array."""
    return None if written_json is None else _compact(written_json.encode())


def written(value: Any) -> Fragment:
    """Write what shapes made. The JSON of PostgreSQL inside it is made compact here, at once."""
    return _compact(orjson.dumps(value, option=orjson.OPT_UTC_Z))


def _compact(text: bytes) -> Fragment:
    return Fragment(b",".join(text.split(_BETWEEN)) if b"\n" in text else text)  # a quarter quicker than to replace


def shaper(fields: list[tuple[str, int, bool]]) -> Shape:
    """Make the function that turns a driver's row into what `written` takes: key, place, and whether the value is JSON already."""
    keys = [key for key, _, _ in fields]
    places = [place for _, place, _ in fields]
    trees = [key for key, _, is_json in fields if is_json]
    first, last = (places[0], places[-1] + 1) if places else (0, 0)

    def shape(row: Any) -> Any:
        # Where the fields are the row's first columns it need not be cut, which would copy it.
        out = dict(zip(keys, row if first == 0 else row[first:last], strict=False))
        for key in trees:
            if (text := out[key]) is not None:
                out[key] = Fragment(text)
        return out

    return shape


def whole(place: int) -> Shape:
    """Take an object that PostgreSQL wrote."""
    return lambda row: Fragment(row[place])


def each(shape: Shape) -> Callable[[list[Any], Page], Any]:
    """Shape every row of the page."""
    return lambda found, _page: [shape(row) for row in found]


def first(place: int) -> Callable[[list[Any], Page], Any]:
    """Take a value that is the same in all rows from the first."""
    return lambda _found, page: page.all[0][place]


def constant(value: str) -> Callable[[list[Any], Page], Any]:
    """Say the same of any page."""
    return lambda _found, _page: value


def edge_of_page(place: int, which: int) -> Callable[[list[Any], Page], Any]:
    """Take a cursor from the first or last row; an empty page gives back the one that was given."""
    return lambda found, page: found[which][place] if found else page.given


def at(place: int) -> Shape:
    """Take one value of a row."""
    return lambda row: row[place]


def always(value: str) -> Shape:
    """Say the same of any row."""
    return lambda _row: value
