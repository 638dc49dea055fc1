"""Texts as clients send them: trimmed, bounded, and free of what would fool a terminal, a log or a reader's eye.

A reader gives the value as it is kept, or None where it is blank; it raises ValueError with the rule that was broken,
worded to stand behind "name 'value': ".
"""

import re
from math import isfinite

import orjson

#: A text field holds at most this many bytes of UTF-8.
TEXT_BYTES = 10_000
# Greater whole numbers are not exact in the double that most clients read JSON into.
_EXACT = 2**53

# Overrides of the writing direction make a text read as another one (Unicode TR 36, 3.2); in notes they may be meant.
_BAD_IN_A_LINE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_BAD_IN_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class TooLongError(ValueError):
    """A value that breaks no rule but its length's."""


def as_text(value: object) -> str:
    """Read a loose cell as text: `true`, `1`, `1.5` as JSON writes them; a whole number never with `.0`.

    pandas and Excel make a float of a column of ids, and `123.0` is not the id that anybody has.
    """
    if isinstance(value, str):
        return value
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() <= 1024:
        return str(value)
    if isinstance(value, float) and isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) <= _EXACT else orjson.dumps(value).decode()
    if isinstance(value, int | float):
        raise ValueError("is no number that can be kept")  # noqa: TRY004 - a value's fault, not a caller's
    raise ValueError("is no text, number or boolean")


def read_line(value: object) -> str | None:
    """Read a text of one line."""
    text = (value if isinstance(value, str) else as_text(value)).strip()
    if len(text) <= TEXT_BYTES and text.isascii() and text.isprintable():
        return text or None
    return _bounded(text, _BAD_IN_A_LINE)


def read_lines(value: object) -> str | None:
    """Read a text that may have line breaks and tabs."""
    text = (value if isinstance(value, str) else as_text(value)).strip()
    return _bounded(text, _BAD_IN_LINES) if text else None


def read_body(text: str, longest: int) -> str | None:
    """Read a text of many lines and so many bytes at most, as it is; one of white space alone is none."""
    return _bounded(text, _BAD_IN_LINES, longest) if text.strip() else None


def _bounded(text: str, bad: re.Pattern[str], longest: int = TEXT_BYTES) -> str:
    if len(text) > longest:
        raise TooLongError(f"is longer than {longest:,} bytes")
    if bad.search(text):
        raise ValueError("holds a control character")
    if len(text.encode()) > longest:
        raise TooLongError(f"is longer than {longest:,} bytes")
    return text


def read_crm_id(value: object) -> str | None:
    """Read an id of the caller's own: exact, 256 characters at most."""
    text = read_line(value)
    if text is not None and len(text) > 256:
        raise TooLongError("is longer than 256 characters")
    return text


def read_source(value: object) -> str | None:
    """Read where a lead came from: kept folded to lower case, 100 characters at most."""
    text = read_line(value)
    if text is None:
        return None
    folded = text.casefold()
    if len(folded) > 100:
        raise TooLongError("is longer than 100 characters")
    return folded
