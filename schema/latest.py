"""What was made of texts, kept by them: the latest, within a bound."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

#: What is kept of a document, its nodes with their places above all, is up to 250 times as large as its text.
CHARACTERS = 120_000
MOST = 1_000

Key = TypeVar("Key")
Made = TypeVar("Made")


class Latest(Generic[Key, Made]):
    """Keeps what was made of so many texts, and of so many characters of them; the latest of all, however long it is."""

    def __init__(self, text_of: Callable[[Key], str], *, most: int = MOST, characters: int = CHARACTERS) -> None:
        self._text_of, self._most, self._room = text_of, most, characters
        self._kept: OrderedDict[Key, Made] = OrderedDict()

    def __len__(self) -> int:
        """Tell how many are kept."""
        return len(self._kept)

    def of(self, key: Key, make: Callable[[], Made]) -> Made:
        """Find what was made of a key's text, or make it."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = self._kept[key] = make()
        self._room -= len(self._text_of(key))
        while len(self._kept) > 1 and (self._room < 0 or len(self._kept) > self._most):
            dropped, _ = self._kept.popitem(last=False)
            self._room += len(self._text_of(dropped))
        return made
