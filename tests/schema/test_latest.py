"""What is kept of texts has a bound in their number and in their characters."""

import pytest

from schema.latest import Latest


def kept(latest, texts):
    """Ask for what is made of each text in turn, and tell for which it had to be made."""
    made = []
    for text in texts:
        assert latest.of(text, lambda text=text: made.append(text) or text.upper()) == text.upper()
    return made


def test_what_was_made_is_found_again():
    latest = Latest(lambda text: text)
    assert kept(latest, ["a", "b", "a", "b"]) == ["a", "b"]


def test_the_one_that_was_not_asked_for_the_longest_goes_first():
    latest = Latest(lambda text: text, most=2)
    assert kept(latest, ["a", "b", "a", "c", "a", "b"]) == ["a", "b", "c", "b"]
    assert len(latest) == 2


def test_long_texts_push_out_more_than_short_ones():
    latest = Latest(lambda text: text, characters=10)
    assert kept(latest, ["aaa", "bbb", "ccc", "dddddd", "ccc", "aaa"]) == ["aaa", "bbb", "ccc", "dddddd", "aaa"]
    assert len(latest) == 2


def test_the_latest_is_kept_however_long_it_is():
    latest = Latest(lambda text: text, characters=10)
    assert kept(latest, ["a", "b" * 100, "b" * 100, "a"]) == ["a", "b" * 100, "a"]


def test_what_cannot_be_made_is_not_kept():
    latest = Latest(lambda text: text, characters=10)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            latest.of("a", lambda: 1 / 0)
    assert len(latest) == 0
    assert kept(latest, ["b" * 10, "a"]) == ["b" * 10, "a"]
