"""What is left of a text when case and accents don't count: what filters, search and matching compare."""

import re
from functools import lru_cache
from unicodedata import combining, normalize

#: A search word is cut to this many code points, on both sides: index entries have a limit, and nobody types more.
WORD_LENGTH = 100

# `\w` is `str.isalnum` and the underscore, so this is: letters and digits, nothing else.
_WORD = re.compile(r"[^\W_]+")


def fold(text: str) -> str:
    """Take case and accents away: NFKD, combining marks dropped, case-folded, NFC.

    The same text comes back from a second fold, whatever the characters (a test goes through all that have case or accents).
    """
    return text.lower() if text.isascii() else _fold(text)


@lru_cache(maxsize=10_000)  # of a list of people most texts are names, firms and places that come again
def _fold(text: str) -> str:
    bare = "".join([character for character in normalize("NFKD", text) if not combining(character)])
    return normalize("NFC", bare.casefold())


def words(text: str) -> list[str]:
    """Fold a text and split it at all that is no letter or digit: `O'Neil-Çelik` is `o`, `neil`, `celik`."""
    return _WORD.findall(fold(text))


def search_words(query: str) -> list[str]:
    """List the words that a search asks for, each once; none where the query has no letter or digit."""
    return list(dict.fromkeys([word[:WORD_LENGTH] for word in words(query)]))


def search_text(*texts: str | None) -> str:
    """Join the distinct words of all the texts by single spaces: what `search` looks in."""
    given = [text for text in texts if text]
    text = " ".join(given)
    # Each folded by itself, for names and firms come again; the space between them keeps one from changing the next.
    text = text.lower() if text.isascii() else " ".join([fold(text) for text in given])
    found = _WORD.findall(text)
    return " ".join(dict.fromkeys([word[:WORD_LENGTH] for word in found] if len(text) > WORD_LENGTH else found))
