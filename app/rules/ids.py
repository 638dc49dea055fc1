"""Names of objects that tell their type and sort by creation: TypeIDs (github.com/jetify-com/typeid, version 0.3).

A prefix, an underscore, and a UUIDv7 (RFC 9562) in 26 characters of lower-case Crockford base32.

The one file of these rules that is not pure: `new_id` reads the clock and chance, `new_secret` chance. Nothing is decided by either.
"""

import re
import secrets
import string
from functools import lru_cache
from itertools import product

from uuid_utils import uuid7

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"

PREFIXES: dict[str, str] = {
    "Lead": "lead",
    "Campaign": "cmp",
    "User": "usr",
    "Activity": "act",
    "Email": "eml",
    "ImportJob": "imp",
    "Batch": "bat",
    "ApiKey": "key",
    "Workspace": "wsp",
    "Automation": "aut",
    "AutomationRun": "run",
    "Webhook": "whk",
    "WebhookDelivery": "dlv",
    "Suppression": "sup",
    "claim": "clm",
    "Job": "job",
}

_KNOWN = frozenset(PREFIXES.values())
# 26 characters hold 130 bits and a UUID has 128: the first is at most 7.
_ID = re.compile(rf"([a-z]+)_[0-7][{ALPHABET}]{{25}}")
_PAIRS = tuple(a + b for a, b in product(ALPHABET, repeat=2))
_TO_PYTHON = str.maketrans(ALPHABET, string.digits + string.ascii_lowercase[:22])
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def new_id(prefix: str) -> str:
    """Make an id; within a process each is greater than the one before."""
    number = uuid7().int
    pairs = _PAIRS
    return (
        f"{prefix}_{_stamp(number >> 80)}"
        f"{pairs[number >> 70 & 1023]}{pairs[number >> 60 & 1023]}{pairs[number >> 50 & 1023]}{pairs[number >> 40 & 1023]}"
        f"{pairs[number >> 30 & 1023]}{pairs[number >> 20 & 1023]}{pairs[number >> 10 & 1023]}{pairs[number & 1023]}"
    )


# The millisecond fills the first 10 characters exactly, and a batch makes hundreds of ids in one.
@lru_cache(maxsize=16)
def _stamp(milliseconds: int) -> str:
    return "".join(_PAIRS[milliseconds >> shift & 1023] for shift in (40, 30, 20, 10, 0))


def prefix_of(text: str) -> str | None:
    """Give the prefix of a well-formed id of a type that we have; None for every other text."""
    match = _ID.fullmatch(text)
    return match[1] if match and match[1] in _KNOWN else None


def suffix_of(id: str) -> str:  # noqa: A002 - the field's own word
    """Give the 26 characters behind the prefix."""
    return id.rpartition("_")[2]


def search_key(id: str) -> int:  # noqa: A002 - the field's own word
    """Give the low 63 bits of the UUID, which are its random ones: the lead's rowid in SQLite's search index.

    Not negative, so that it fits SQLite's signed rowid. Raises ValueError where the text is no id.
    """
    return int(suffix_of(id)[-13:].translate(_TO_PYTHON), 32) & 0x7FFF_FFFF_FFFF_FFFF


def new_secret(length: int = 43) -> str:
    """Make a secret in base62; 43 characters are 256 bits."""
    return "".join([secrets.choice(_BASE62) for _ in range(length)])
