import pytest

from app.rules.phones import is_readable_phone


@pytest.mark.parametrize(
    "text", ["+33 6 12 34 56 78", "+15551234567", "06.12.34.56.78", "112", "555-0100 ext. 3", "+1-800-FLOWERS", "٠١٢٣٤"]
)
def test_what_somebody_could_dial_is_readable(text: str):
    assert is_readable_phone(text)


@pytest.mark.parametrize("text", ["", "n/a", "-", "12", "call me", "+"])
def test_what_nobody_could_dial_is_not(text: str):
    assert not is_readable_phone(text)


def test_a_long_text_is_answered_at_once():
    assert not is_readable_phone("a" * 1_000_000)
