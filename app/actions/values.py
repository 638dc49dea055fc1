"""The values that campaigns, users and keys have in common, checked: names and short texts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, TypeVar

from app.errors import BadUserInput, shown
from app.rules.texts import TooLongError, read_line

LONGEST = 200

Choice = TypeVar("Choice", bound=StrEnum)


def name_of(value: Any, argument: str) -> str:
    """Read a name that must be there: 1 to 200 characters once it is trimmed, on one line (BadUserInput)."""
    text = short_text(value, argument)
    if text is None:
        raise BadUserInput(f"{argument} {shown(value)}: is blank", argument=argument, rule="BLANK")
    return text


def short_text(value: Any, argument: str) -> str | None:
    """Read a text of at most 200 characters on one line; null and a blank one are None."""
    if value is None:
        return None
    with refusing(value, argument):
        text = read_line(value)
        if text is not None and len(text) > LONGEST:
            raise TooLongError(f"is longer than {LONGEST} characters")
    return text


@contextmanager
def refusing(value: Any, argument: str) -> Iterator[None]:
    """Turn a broken rule (ValueError) of this value into BadUserInput that names argument, value and rule."""
    try:
        yield
    except ValueError as error:
        rule = "TOO_LONG" if isinstance(error, TooLongError) else "INVALID"
        raise BadUserInput(f"{argument} {shown(value)}: {error}", argument=argument, rule=rule) from error


def choice_of(choices: type[Choice], value: Any, argument: str) -> Choice:
    """Read one of an enum's names; null is BLANK."""
    if value is None:
        raise BadUserInput(f"{argument} null: is blank", argument=argument, rule="BLANK")
    try:
        return choices(value)
    except ValueError:
        raise BadUserInput(f"{argument} {shown(value)}: is none of {', '.join(choices)}", argument=argument) from None


def differences(before: dict[str, Any], after: dict[str, Any], fields: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """List what differs between two rows as the log keeps it, for pairs of the contract's name and the column.

    Of a row that was not there, or is no longer, only what holds something is told.
    """
    changes = []
    for field, column in fields:
        old, new = before.get(column), after.get(column)
        if old != new and not (old in (None, []) and new in (None, []) and not (before and after)):
            changes.append({"field": field, "before": old, "after": new})
    return changes
