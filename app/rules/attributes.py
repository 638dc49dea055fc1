"""The caller's own fields of a lead or an event: a JSON object within bounds."""

from math import isfinite
from typing import Any

import orjson

from app.rules.folding import fold
from app.rules.texts import TEXT_BYTES, TooLongError

JSON_BYTES = 64 * 1024
LEVELS = 8
KEYS = 200
KEY_LENGTH = 256


def read_attributes(value: object) -> dict[str, Any]:
    """Give the object as it is; raise ValueError with the rule that it breaks.

    Nulls are let in: where objects are merged they drop keys.
    """
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - a value's fault, not a caller's
    check_attributes(value)
    return value


def check_attributes(attributes: dict[str, Any]) -> None:
    """Raise ValueError with the rule that an object breaks: 64 KiB of JSON, 8 levels, 200 keys over all levels, finite numbers.

    To be asked again about the result of a merge, which can break what neither half does.
    """
    keys = _count_keys(attributes, 1)
    if keys > KEYS:
        raise ValueError("has more than 200 keys")
    try:
        size = len(orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS))
    except (TypeError, ValueError) as error:
        # What is left after `_count_keys`: lone surrogates in texts, whole numbers beyond 64 bits.
        raise ValueError("holds a text or number that JSON cannot carry") from error
    if size > JSON_BYTES:
        raise TooLongError("is longer than 64 KiB as JSON")


def _count_keys(value: dict[str, Any] | list[Any], level: int) -> int:
    """Count the keys of an object and of all inside it, and look at every value on the way."""
    if level > LEVELS:
        raise ValueError("is more than 8 levels deep")
    keys = 0
    if isinstance(value, dict):
        keys = len(value)
        if keys > KEYS:
            raise ValueError("has more than 200 keys")
        for key in value:
            if not isinstance(key, str) or not 1 <= len(key) <= KEY_LENGTH or "\x00" in key:
                raise ValueError("has a key that is empty, longer than 256 characters, or holds a NUL")
        value = list(value.values())
    for item in value:
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, float):
            if not isfinite(item):
                raise ValueError("holds a number that is not finite")
        elif isinstance(item, dict | list):
            keys += _count_keys(item, level + 1)
        elif item is not None and not isinstance(item, int):
            raise ValueError("holds a value that is no JSON")
    return keys


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ValueError("holds a NUL")
    if len(text) * 4 > TEXT_BYTES and len(text.encode(errors="surrogatepass")) > TEXT_BYTES:
        raise TooLongError("holds a text longer than 10,000 bytes")


def merge_attributes(stored: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Merge key by key at the top level; a null given drops its key. Gives a new object; ask `check_attributes` about it."""
    if not given:
        return dict(stored)
    merged = stored | given
    return {key: value for key, value in merged.items() if value is not None or key not in given}


def folded_texts(attributes: dict[str, Any]) -> dict[str, str] | None:
    """Fold the texts at the top level, and keep those that folding changes: what `contains` looks in. None where there is no such text."""
    folded = {key: text for key, value in attributes.items() if isinstance(value, str) and (text := fold(value)) != value}
    return folded or None
