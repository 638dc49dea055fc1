"""Phone numbers are kept as given; the only question is whether a text is one at all."""

import re

from phonenumbers import NumberParseException, parse

_THREE_DIGITS = re.compile(r"(?:\d\D*){3}")


def is_readable_phone(text: str) -> bool:
    """Tell whether somebody could dial this; `n/a` and `-` they could not. Never a reason to refuse a lead.

    Loose on purpose: `+15551234567` is no valid number for libphonenumber, and people enter extensions and short codes.
    """
    if _THREE_DIGITS.search(text[:200]):
        return True
    try:
        parse(text[:200])
    except NumberParseException:
        return False
    return True
