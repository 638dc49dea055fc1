import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.rules.columns import map_columns
from app.rules.fields import read_row
from app.rules.scoring import DEFAULT_SOURCES, DEFAULT_WEIGHTS, PARTS, Criteria, Profile, ScoreComponentKind, ScoringRules, score

RULES = ScoringRules()
ANY = (Criteria("cmp_any"),)
MARIE = Profile(
    email_key="marie.dubois@techcorp.com",
    first_name="Marie",
    last_name="Dubois",
    title="CTO",
    linkedin_url="https://linkedin.com/in/mariedubois",
    phone="+33 6 12 34 56 78",
    company="TechCorp SAS",
    website="https://techcorp.com",
    source="linkedin",
)
JEAN = replace(MARIE, email_key="jean.martin@startup.io", phone=None, website=None)
FIELDS = tuple(Profile.__dataclass_fields__)


def points(profile: Profile, kind: str, rules: ScoringRules = RULES, campaigns: tuple[Criteria, ...] = ()) -> int:
    return next(part["points"] for part in score(profile, rules, campaigns).components if part["kind"] == kind)


def test_marie_scores_92_with_a_reason_for_every_point():
    assert score(MARIE, RULES, ANY) == (
        92,
        [
            {"kind": "EMAIL_VALIDITY", "points": 30, "maximum": 30, "reasons": ["address on a business domain +30"]},
            {
                "kind": "PROFILE_COMPLETENESS",
                "points": 20,
                "maximum": 20,
                "reasons": ["first name +4", "last name +4", "title +5", "LinkedIn profile +4", "phone +3"],
            },
            {
                "kind": "COMPANY_DATA",
                "points": 20,
                "maximum": 20,
                "reasons": ["company name +10", "e-mail on a business domain +8", "website +2"],
            },
            {"kind": "SOURCE_RELIABILITY", "points": 15, "maximum": 15, "reasons": ["source linkedin, which counts 1.0 +15"]},
            {"kind": "CAMPAIGN_MATCH", "points": 7, "maximum": 15, "reasons": ["no campaign that asks anything +7"]},
        ],
        None,
    )


def test_jean_who_has_no_phone_and_website_scores_87():
    scored = score(JEAN, RULES, ANY)
    assert scored.value == 87
    assert "no phone +0" in scored.components[1]["reasons"]
    assert "no website +0" in scored.components[2]["reasons"]


def test_an_empty_lead_scores_what_no_source_and_no_campaign_count_and_each_zero_has_a_reason():
    scored = score(Profile(), RULES, ())
    assert scored.value == 3 + 7
    assert [len(part["reasons"]) for part in scored.components] == [1, 5, 3, 1, 1]


def test_a_row_of_a_file_scores_what_its_columns_say():
    headers = ["firstName", "lastName", "email", "company", "position", "linkedinUrl"]
    cells = ["Marie", "Dubois", "marie@techcorp.com", "TechCorp", "CTO", "https://linkedin.com/in/mariedubois"]
    row = {field: cell for (_, field), cell in zip(map_columns(headers, {}), cells, strict=True) if field}
    columns, errors = read_row(row, clearing=False)
    assert errors == []
    profile = Profile(**{name: columns.get(name) for name in FIELDS})
    assert score(replace(profile, source="linkedin"), RULES, ANY).value == 87
    assert score(replace(profile, source="csv"), RULES, ANY).value == 81


@pytest.mark.parametrize(
    ("address", "expected", "reason"),
    [
        ("marie@techcorp.com", 30, "address on a business domain +30"),
        ("marie@gmail.com", 22, "address on a free-mail domain +22"),
        ("info@techcorp.com", 15, "role address, not a person's own +15"),
        ("info@gmail.com", 15, "role address, not a person's own +15"),
        ("marie@mailinator.com", 5, "address on a disposable domain +5"),
        ("info@mailinator.com", 5, "address on a disposable domain +5"),
        (None, 0, "no e-mail address +0"),
    ],
)
def test_what_speaks_against_an_address_most_decides(address: str | None, expected: int, reason: str):
    part = score(Profile(email_key=address), RULES, ()).components[0]
    assert (part["points"], part["reasons"]) == (expected, [reason])


def test_a_phone_that_nobody_could_dial_counts_nothing():
    assert score(replace(MARIE, phone="n/a"), RULES, ()).components[1]["reasons"][-1] == "a phone that nobody could dial +0"


@pytest.mark.parametrize(
    ("source", "expected"),
    [("linkedin", 15), ("website", 13), ("referral", 13), ("api", 12), ("csv", 9), ("instagram", 7), ("fair", 6), (None, 3)],
)
def test_a_source_counts_as_far_as_it_can_be_trusted(source: str | None, expected: int):
    assert points(Profile(source=source), "SOURCE_RELIABILITY") == expected


def test_a_workspace_s_own_list_of_sources_replaces_ours():
    rules = ScoringRules(sources={"fair": 0.58, "spam": 0.0, "sure": 1})
    assert [points(Profile(source=name), "SOURCE_RELIABILITY", rules) for name in ("fair", "spam", "sure", "linkedin")] == [8, 0, 15, 6]


def test_the_best_campaign_counts_by_the_share_of_its_lists_that_the_lead_meets():
    lead = Profile(title="VP of Sales", company="TechCorp", location="Paris, France", source="linkedin")
    third = Criteria("cmp_1", titles=("CTO",), companies=("techcorp",), locations=("Berlin",))
    half = Criteria("cmp_2", titles=("CTO", "vp sales"), companies=("Tech",))
    half_too = Criteria("cmp_3", locations=("lyon", "PARIS"), sources=("csv",))
    scored = score(lead, RULES, (third, half, half_too, Criteria("cmp_4")))
    assert scored.campaign_id == "cmp_2"
    assert scored.components[4] == {
        "kind": "CAMPAIGN_MATCH",
        "points": 7,
        "maximum": 15,
        "reasons": ["campaign: meets titles; misses companies +7"],
    }
    assert score(lead, RULES, (half_too, half)).campaign_id == "cmp_3"
    assert points(lead, "CAMPAIGN_MATCH", campaigns=(third,)) == 5
    assert points(lead, "CAMPAIGN_MATCH", campaigns=(Criteria("cmp_5", sources=("LinkedIn",)),)) == 15


def test_a_campaign_that_asks_for_others_counts_nothing_and_before_one_that_asks_nothing():
    scored = score(Profile(), RULES, (Criteria("cmp_1"), Criteria("cmp_2", titles=("CTO",))))
    assert scored.campaign_id == "cmp_2"
    assert scored.components[4]["reasons"] == ["campaign: misses titles +0"]


def test_points_for_a_custom_weight_are_rounded_down_and_the_reasons_add_up_to_them():
    weights = {"EMAIL_VALIDITY": 50, "PROFILE_COMPLETENESS": 9, "COMPANY_DATA": 31, "SOURCE_RELIABILITY": 0, "CAMPAIGN_MATCH": 10}
    scored = score(replace(MARIE, phone=None, email_key="m@gmail.com"), ScoringRules(weights=weights), ())
    assert [(part["points"], part["maximum"]) for part in scored.components] == [(36, 50), (7, 9), (18, 31), (0, 0), (4, 10)]
    assert scored.components[1]["reasons"] == ["first name +1", "last name +2", "title +2", "LinkedIn profile +2", "no phone +0"]
    assert scored.value == 65


def test_a_score_is_ready_for_json_in_the_contract_s_order():
    scored = score(MARIE, RULES, ())
    assert json.loads(json.dumps(scored.components)) == scored.components
    assert [part["kind"] for part in scored.components] == list(ScoreComponentKind) == list(DEFAULT_WEIGHTS)
    assert {kind: maximum for kind, maximum, _ in PARTS} == DEFAULT_WEIGHTS
    assert sum(DEFAULT_WEIGHTS.values()) == 100


TEXTS = st.sampled_from(["CTO", "VP Sales", "Paris", "TechCorp", "+33612345678", "n/a", "linkedin", "csv", "x"]) | st.text(max_size=10)
KEYS = st.sampled_from(["a@techcorp.com", "info@techcorp.com", "a@gmail.com", "a@mailinator.com"])
PROFILES = st.builds(Profile, email_key=st.none() | KEYS, **{name: st.none() | TEXTS for name in FIELDS if name != "email_key"})
ENTRIES = st.lists(TEXTS, max_size=2).map(tuple)
CAMPAIGNS = st.lists(st.builds(Criteria, st.just("cmp_1"), ENTRIES, ENTRIES, ENTRIES, ENTRIES), max_size=3)


@st.composite
def weights(draw: st.DrawFn) -> dict[str, int]:
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=4, max_size=4)))
    parts = [high - low for low, high in zip([0, *cuts], [*cuts, 100], strict=True)]
    return dict(zip(DEFAULT_WEIGHTS, parts, strict=True))


ALL_RULES = st.builds(ScoringRules, weights=st.just(DEFAULT_WEIGHTS) | weights())


@settings(max_examples=150, deadline=None)
@given(PROFILES, ALL_RULES, CAMPAIGNS)
def test_a_score_is_0_to_100_and_the_sum_of_its_parts_which_are_the_sums_of_their_reasons(profile, rules, campaigns):
    scored = score(profile, rules, campaigns)
    assert 0 <= scored.value <= 100
    assert scored.value == sum(part["points"] for part in scored.components)
    assert sum(part["maximum"] for part in scored.components) == 100
    for part in scored.components:
        assert 0 <= part["points"] <= part["maximum"]
        assert part["points"] == sum(int(reason.rpartition("+")[2]) for reason in part["reasons"])


@settings(max_examples=150, deadline=None)
@given(PROFILES, ALL_RULES, CAMPAIGNS, st.sampled_from(FIELDS), TEXTS)
def test_filling_an_empty_field_never_lowers_a_score(profile, rules, campaigns, name, text):
    emptied = replace(profile, **{name: None})
    filled = replace(profile, **{name: "a@techcorp.com" if name == "email_key" else text})
    assert score(filled, rules, campaigns).value >= score(emptied, rules, campaigns).value


def test_default_sources_are_folded_as_leads_keep_them():
    assert all(name == name.casefold() for name in DEFAULT_SOURCES)
