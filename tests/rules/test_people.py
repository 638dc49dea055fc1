import re
from collections import Counter

from app.rules.emails import email_key
from app.rules.fields import ROW_IDENTITY, missing_identity, read_row
from app.rules.people import make_people


def test_the_same_seed_makes_the_same_people_and_another_seed_others():
    assert list(make_people(200, seed=7)) == list(make_people(200, seed=7))
    assert list(make_people(200, seed=7)) != list(make_people(200, seed=8))


def test_a_row_knows_why_it_is_bad_and_whether_its_address_stood_before():
    first: dict[str, int] = {}
    rows = list(make_people(5_000))
    for index, row in enumerate(rows):
        fields, errors = read_row(row.cells, clearing=False)
        code = errors[0].code.value if errors else "BLANK" if missing_identity(fields, ROW_IDENTITY) else None
        assert code == row.fault
        assert {error.field for error in errors} <= {"email"}
        if code is None:
            assert first.setdefault(str(fields["email_key"]), index) == (index if row.repeats is None else row.repeats)
    kinds = Counter("bad" if row.fault else "repeated" if row.repeats is not None else "new" for row in rows)
    assert 25 <= kinds["bad"] <= 100
    assert 50 <= kinds["repeated"] <= 200


def test_nobody_real_can_be_written_to():
    for row in make_people(2_000):
        address = row.cells["email"].strip()
        assert row.fault or re.search(r"[@.]example\.(com|org|net)$", address, re.IGNORECASE)
        assert row.cells["phone"] == "" or row.cells["phone"].startswith("+44 7700 900")


def test_shares_of_none_make_clean_lists():
    rows = list(make_people(1_000, bad=0, repeated=0))
    assert all(row.fault is None and row.repeats is None for row in rows)
    assert len({email_key(row.cells["email"]) for row in rows}) == 1_000


def test_the_dirt_is_there():
    cells = [row.cells for row in make_people(2_000)]
    assert any(row["email"] != row["email"].lower() for row in cells)
    assert any(row["email"].startswith(" ") for row in cells)
    assert any(row["company"] == "" for row in cells)
    assert any(row["lastName"].isupper() for row in cells)
    assert any(not row["firstName"].isascii() for row in cells)
