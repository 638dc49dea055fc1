"""How values are shown inside messages."""

import pytest

from app.errors import shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Ada", "'Ada'"),
        ("a\0\n\x1b[31m", "'a\\x00\\n\\x1b[31m'"),
        (None, "null"),
        (True, "true"),
        (3, "3"),
        ({"a": None, "b": [True, "\u202e\x9b"]}, '{"a": null, "b": [true, "\\u202e\\x9b"]}'),
        ("x" * 100, "'" + "x" * 58 + "…"),
    ],
)
def test_a_value_is_shown_as_json_has_it_and_commands_no_terminal(value, text):
    assert shown(value) == text
