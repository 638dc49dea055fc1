import re
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.rules.ids import ALPHABET, PREFIXES, new_id, new_secret, prefix_of, search_key, suffix_of


def decoded(text: str) -> UUID:
    number = 0
    for character in suffix_of(text):
        number = number * 32 + ALPHABET.index(character)
    return UUID(int=number)


def test_an_id_is_its_prefix_and_a_uuid_of_version_7():
    made = new_id("lead")
    assert re.fullmatch("lead_[0-7][0-9a-hjkmnp-tv-z]{25}", made)
    assert decoded(made).version == 7
    assert decoded(made).variant == "specified in RFC 4122"


def test_ids_sort_by_creation():
    made = [new_id("act") for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == 20_000


def test_the_prefix_of_every_type_is_found():
    assert len(set(PREFIXES.values())) == len(PREFIXES)
    for prefix in PREFIXES.values():
        assert prefix_of(new_id(prefix)) == prefix


def test_what_is_no_id_has_no_prefix():
    good = new_id("lead")
    for text in (
        "",
        "lead",
        "lead_",
        "lead_123",
        good.upper(),
        good + "0",
        good[:-1],
        good + "\n",
        good.replace("lead", "nope"),
        "lead_8" + good[6:],
        good[:-1] + "u",
        good[:-1] + "٣",
        "lead_\x00" + good[6:],
    ):
        assert prefix_of(text) is None, text


@given(st.text())
def test_any_text_has_a_prefix_or_none(text: str):
    assert prefix_of(text) in {None, *PREFIXES.values()}


def test_the_search_key_is_the_low_63_bits():
    made = new_id("lead")
    assert search_key(made) == decoded(made).int & (2**63 - 1)
    assert 0 <= search_key(made) < 2**63


def test_a_secret_is_43_characters_of_base62_and_never_the_same():
    assert re.fullmatch("[0-9A-Za-z]{43}", new_secret())
    assert len({new_secret() for _ in range(100)}) == 100
    assert len(new_secret(8)) == 8
