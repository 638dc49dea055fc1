"""Does an entry of a campaign's criteria fit a lead? Folded on both sides, so that case and accents don't count."""

from functools import lru_cache

from app.rules.folding import fold, words


def fits_words(entry: str, field: str | None) -> bool:
    """Tell whether every word of the entry is a whole word of the field, in any order and place.

    `VP Sales` fits `VP of Sales` and `Sales VP`, `CTO` does not fit `Director`; an entry without a letter or digit fits nothing.
    """
    return any_fits_words((entry,), field)


def fits_equal(entry: str, field: str | None) -> bool:
    """Tell whether the two are equal after folding, white space around them aside; a blank entry fits nothing."""
    return any_fits_equal((entry,), field)


def any_fits_words(entries: tuple[str, ...], field: str | None) -> bool:
    """Tell whether one of the entries fits by its words."""
    if not field:
        return False
    present = _field_words(field) if len(field) <= 100 else frozenset(words(field))
    for entry in _entry_words(entries):  # noqa: SIM110 - asked for every lead and list; `any` costs twice as much
        if entry <= present:
            return True
    return False


def any_fits_equal(entries: tuple[str, ...], field: str | None) -> bool:
    """Tell whether one of the entries fits by being equal."""
    return field is not None and fold(field.strip()) in _entry_texts(entries)


# Titles and places repeat from lead to lead.
@lru_cache(maxsize=4096)
def _field_words(field: str) -> frozenset[str]:
    return frozenset(words(field))


# A campaign's lists are asked about for every lead of a batch.
@lru_cache(maxsize=1024)
def _entry_words(entries: tuple[str, ...]) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(found) for entry in entries if (found := words(entry)))


@lru_cache(maxsize=1024)
def _entry_texts(entries: tuple[str, ...]) -> frozenset[str]:
    return frozenset(text for entry in entries if (text := fold(entry.strip())))
