import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.rules.attributes import check_attributes, merge_attributes, read_attributes
from app.rules.texts import TooLongError


def nested(levels: int) -> dict[str, Any]:
    return {"a": nested(levels - 1)} if levels > 1 else {"a": 1}


def test_objects_within_the_limits_are_given_back_as_they_are():
    for value in (
        {},
        {"plan": {"tier": "gold"}, "n": 1.5, "b": True, "none": None, "list": [1, "é"]},
        nested(8),
        {str(n): n for n in range(200)},
    ):
        assert read_attributes(value) is value
    assert read_attributes({"t": "x" * 10_000})


@pytest.mark.parametrize("value", [None, [], [1], "{}", 1, True])
def test_what_is_no_object_is_refused(value: object):
    with pytest.raises(ValueError, match="is no JSON object"):
        read_attributes(value)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (nested(9), "is more than 8 levels deep"),
        ({"a": [[[[[[[[1]]]]]]]]}, "is more than 8 levels deep"),
        ({str(n): n for n in range(201)}, "has more than 200 keys"),
        ({str(n): n for n in range(10_000)}, "has more than 200 keys"),
        ({"a": [{str(n): 1} for n in range(200)]}, "has more than 200 keys"),
        ({"": 1}, "has a key that is empty, longer than 256 characters, or holds a NUL"),
        ({"k" * 257: 1}, "has a key that is empty, longer than 256 characters, or holds a NUL"),
        ({"a": {"k\x00": 1}}, "has a key that is empty, longer than 256 characters, or holds a NUL"),
        ({"a": ["x\x00"]}, "holds a NUL"),
        ({"a": float("nan")}, "holds a number that is not finite"),
        ({"a": [float("inf")]}, "holds a number that is not finite"),
        ({"a": 2**70}, "holds a text or number that JSON cannot carry"),
        ({"a": "\ud800"}, "holds a text or number that JSON cannot carry"),
        ({"a": object()}, "holds a value that is no JSON"),
    ],
)
def test_an_object_beyond_the_limits_is_refused_with_the_rule(value: dict[str, Any], rule: str):
    with pytest.raises(ValueError, match=f"^{re.escape(rule)}$"):
        read_attributes(value)


@pytest.mark.parametrize("value", [{"t": "x" * 10_001}, {"t": "é" * 5_001}, {str(n): "x" * 9_000 for n in range(8)}, {"a": [1] * 40_000}])
def test_what_is_too_long_is_told_from_what_is_wrong(value: dict[str, Any]):
    with pytest.raises(TooLongError, match="long"):
        check_attributes(value)


def test_a_merge_goes_key_by_key_and_a_null_drops_its_key():
    stored = {"a": 1, "b": {"x": 1}, "kept": None}
    assert merge_attributes(stored, {"a": None, "b": {"y": None}, "c": 3, "nothing": None}) == {"b": {"y": None}, "kept": None, "c": 3}
    assert stored == {"a": 1, "b": {"x": 1}, "kept": None}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_what_is_let_in_comes_back_from_json_as_it_was(value: dict[str, Any]):
    try:
        check_attributes(value)
    except ValueError:
        return
    assert orjson.loads(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)) == value
