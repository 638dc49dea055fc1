"""What a `where` can ask of leads: their own fields, what happened to them, and any nesting of these."""

import random

import pytest

BIG = 2**53 + 1

#: The caller's own fields of each lead, by its first name.
PEOPLE = {
    "Ann": {"plan": "Gold", "seats": 10, "tags": ["a", "B"], "vip": True, "at": {"x": 1, "a": [None]}},
    "Bob": {"plan": "gold Plus", "seats": 10.5, "vip": False, "big": BIG},
    "Cem": {"plan": "ÉTÉ", "seats": "10", "vip": 1, "big": BIG - 1},
    "Dea": {"plan": ["Gold"], "seats": -3, "vip": "true", "big": float(BIG - 1)},
    "Eva": {"a.b": 1, 'q"uote': "x", "back\\slash": "x", "$": "x", "$.plan": "Gold", "[0]": "x", "0": "x", "'": "x", "line\nfeed": "x"},
    "Fay": {"big": 2**63 - 1, "seats": 0.1, "plan": "% _ Straße"},
    "Gus": {"big": 2**64 - 1, "seats": -0.0, "plan": ""},
    "Hal": {"big": 1.5e300, "seats": 5e-324, "é": "x", "e\u0301": "y"},
    "Ida": {},
}


@pytest.fixture
async def people(api):
    """A lead of each name; the names' ids."""
    rows = [{"email": f"{name.lower()}@example.com", "firstName": name, "attributes": own} for name, own in PEOPLE.items()]
    results = (await api("leads/upsert_many", input={"leads": rows}))["leadUpsertMany"]["results"]
    return dict(zip(PEOPLE, [row["leadId"] for row in results], strict=True))


LIST = "query Q($where: LeadWhere) { leads(where: $where, orderBy: [{field: EMAIL}]) { nodes { firstName } totalCount } }"


async def found(api, where):
    leads = (await api(LIST, where=where))["leads"]
    assert leads["totalCount"] == len(leads["nodes"])
    return [node["firstName"] for node in leads["nodes"]]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"key": "plan", "eq": "Gold"}, "Ann"),
        ({"key": "plan", "eq": "gold"}, ""),
        ({"key": "plan", "eq": ""}, "Gus"),
        ({"key": "plan", "eq": ["Gold"]}, "Dea"),
        ({"key": "plan", "contains": "GOLD"}, "Ann Bob"),
        ({"key": "plan", "contains": "ete"}, "Cem"),
        ({"key": "plan", "contains": "STRASSE"}, "Fay"),
        ({"key": "plan", "contains": "% _"}, "Fay"),
        ({"key": "plan", "contains": ""}, "Ann Bob Cem Fay Gus"),
        ({"key": "plan", "exists": True}, "Ann Bob Cem Dea Fay Gus"),
        ({"key": "plan", "exists": False}, "Eva Hal Ida"),
        ({"key": "Plan", "exists": True}, ""),
        ({"key": "seats", "eq": 10}, "Ann"),
        ({"key": "seats", "eq": 10.0}, "Ann"),
        ({"key": "seats", "eq": 10.5}, "Bob"),
        ({"key": "seats", "eq": "10"}, "Cem"),
        ({"key": "seats", "eq": 0.1}, "Fay"),
        ({"key": "seats", "eq": 0}, "Gus"),
        ({"key": "seats", "gt": 10}, "Bob"),
        ({"key": "seats", "gte": 10}, "Ann Bob"),
        ({"key": "seats", "gt": 0, "lt": 1}, "Fay Hal"),
        ({"key": "seats", "lte": 0}, "Dea Gus"),
        ({"key": "seats", "lt": 0.1}, "Dea Gus Hal"),
        ({"key": "vip", "eq": True}, "Ann"),
        ({"key": "vip", "eq": False}, "Bob"),
        ({"key": "vip", "eq": 1}, "Cem"),
        ({"key": "vip", "eq": "true"}, "Dea"),
        ({"key": "vip", "gte": 0}, "Cem"),
        ({"key": "vip", "contains": "tru"}, "Dea"),
        ({"key": "big", "eq": BIG}, "Bob"),
        ({"key": "big", "eq": BIG - 1}, "Cem Dea"),
        ({"key": "big", "eq": float(BIG - 1)}, "Cem Dea"),
        ({"key": "big", "gt": float(BIG - 1)}, "Bob Fay Gus Hal"),
        ({"key": "big", "eq": 2**63 - 1}, "Fay"),
        ({"key": "big", "eq": 2**64 - 1}, "Gus"),
        ({"key": "big", "gte": 2.0**63}, "Gus Hal"),
        ({"key": "big", "eq": 1.5e300}, "Hal"),
        ({"key": "tags", "eq": ["a", "B"]}, "Ann"),
        ({"key": "tags", "eq": ["B", "a"]}, ""),
        ({"key": "tags", "contains": "a"}, ""),
        ({"key": "at", "eq": {"a": [None], "x": 1}}, "Ann"),
        ({"key": "at", "eq": {"x": 1}}, ""),
        ({"key": "a.b", "eq": 1}, "Eva"),
        ({"key": "at.x", "exists": True}, ""),
        ({"key": 'q"uote', "eq": "x"}, "Eva"),
        ({"key": "back\\slash", "eq": "x"}, "Eva"),
        ({"key": "$", "eq": "x"}, "Eva"),
        ({"key": "$.plan", "exists": True}, "Eva"),
        ({"key": "[0]", "eq": "x"}, "Eva"),
        ({"key": "0", "eq": "x"}, "Eva"),
        ({"key": "'", "contains": "X"}, "Eva"),
        ({"key": "line\nfeed", "exists": True}, "Eva"),
        ({"key": "é", "eq": "x"}, "Hal"),
        ({"key": "e\u0301", "eq": "y"}, "Hal"),
        ({"key": "", "exists": True}, ""),
        ({"key": "plan"}, "Ann Bob Cem Dea Eva Fay Gus Hal Ida"),
    ],
)
async def test_the_callers_own_fields_are_found_by_key_and_kind(api, people, statements, asked, names):
    with statements() as ran:
        assert await found(api, {"attributes": [asked]}) == names.split()
    assert len(ran) == 1
    others = [name for name in PEOPLE if name not in names.split()]
    assert await found(api, {"not": {"attributes": [asked]}}) == others
    literal = await api(LIST.replace("($where: LeadWhere)", "").replace("$where", f"{{attributes: [{_literal(asked)}]}}"))
    assert [node["firstName"] for node in literal["leads"]["nodes"]] == names.split()


def _literal(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_literal(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else repr(value)


async def test_all_keys_must_meet_what_is_asked_of_them(api, people):
    assert await found(api, {"attributes": [{"key": "plan", "contains": "gold"}, {"key": "seats", "gt": 10}]}) == ["Bob"]
    assert await found(api, {"attributes": [{"key": "plan", "contains": "gold", "eq": "Gold"}]}) == ["Ann"]
    assert await found(api, {"attributes": []}) == list(PEOPLE)


async def test_one_plan_serves_values_of_each_kind(api, people):
    text = 'query Q($is: JSONValue) { leads(where: {attributes: [{key: "seats", eq: $is}]}) { nodes { firstName } } }'
    for value, name in [(10, "Ann"), ("10", "Cem"), (10.5, "Bob"), (True, None), (0.1, "Fay"), ([1], None), (-3, "Dea")]:
        nodes = (await api(text, **{"is": value}))["leads"]["nodes"]
        assert [node["firstName"] for node in nodes] == ([name] if name else [])


async def test_a_text_that_changes_is_found_by_what_it_is_now(api, people):
    ann = {"id": people["Ann"]}
    await api("leads/update", lead=ann, patch={"attributes": {"plan": "Platinum", "new": "Été"}})
    assert await found(api, {"attributes": [{"key": "plan", "contains": "gold"}]}) == ["Bob"]
    assert await found(api, {"attributes": [{"key": "plan", "contains": "PLAT"}]}) == ["Ann"]
    assert await found(api, {"attributes": [{"key": "new", "contains": "ete"}]}) == ["Ann"]
    await api("leads/update", lead=ann, patch={"attributes": {"plan": None, "new": "ete"}})
    assert await found(api, {"attributes": [{"key": "plan", "contains": "plat"}]}) == []
    assert await found(api, {"attributes": [{"key": "new", "contains": "ÉTÉ"}]}) == ["Ann"]
    await api("leads/update", lead=ann, patch={"attributes": None})
    assert await found(api, {"attributes": [{"key": "new", "exists": True}]}) == []


@pytest.mark.parametrize(
    ("where", "argument"),
    [
        ({"attributes": None}, "attributes"),
        ({"attributes": [{"key": "a", "eq": None}]}, "attributes[0].eq"),
        ({"attributes": [{"key": "a"}, {"key": "a", "gt": None}]}, "attributes[1].gt"),
        ({"attributes": [{"key": "a", "contains": None}]}, "attributes[0].contains"),
        ({"attributes": [{"key": "a", "exists": None}]}, "attributes[0].exists"),
        ({"attributes": [{"key": "a\0", "exists": True}]}, "attributes[0].key"),
        ({"attributes": [{"key": "a\0"}]}, "attributes[0].key"),
        ({"attributes": [{"key": "a", "contains": "a\0"}]}, "attributes[0].contains"),
        ({"attributes": [{"key": "a", "eq": "a\0"}]}, "attributes[0].eq"),
        ({"attributes": [{"key": "a", "eq": {"b": ["\0"]}}]}, "attributes[0].eq"),
        ({"attributes": [{"key": "a", "eq": {"": 1}}]}, "attributes[0].eq"),
        ({"not": {"attributes": [{"key": "a", "eq": [[[[[[[[1]]]]]]]]}]}}, "not.attributes[0].eq"),
        ({"activity": None}, "activity"),
        ({"activity": {"some": None}}, "activity.some"),
        ({"activity": {"none": {"kind": None}}}, "activity.none.kind"),
        ({"activity": {"none": {"kind": {"eq": None}}}}, "activity.none.kind.eq"),
        ({"or": [{}, {"and": None}]}, "or[1].and"),
        ({"campaignId": {"in": None}}, "campaignId.in"),
    ],
)
async def test_what_asks_nothing_or_cannot_be_asked_is_refused_by_its_path(api, statements, where, argument):
    with statements() as ran:
        error = await api.error(LIST, where=where)
    assert (error["extensions"]["code"], error["extensions"]["argument"]) == ("BAD_USER_INPUT", f"leads.where.{argument}")
    assert ran == []


@pytest.mark.parametrize("value", ["1e400", str(2**64), "-1e999", str(10**30)])
async def test_a_number_that_no_attribute_can_hold_is_the_clients_mistake(api, people, value):
    text = '{ leads(where: {attributes: [{key: "big", %s: %s}]}%s) { nodes { firstName } } }'
    for cursor in ("", ', after: "x"'):
        assert (await api.error(text % ("eq", value, cursor)))["extensions"]["code"] == "BAD_USER_INPUT"
    if "e" in value:
        assert (await api.error(text % ("gt", value, "")))["extensions"]["code"] == "BAD_USER_INPUT"
    else:
        # A range compares with any number: Hal's is greater than all of these.
        assert (await api(text % ("gt", value, "")))["leads"]["nodes"] == [{"firstName": "Hal"}]


async def test_leads_are_found_by_what_happened_to_them(api, stranger, people):
    for name in ("Ann", "Bob"):
        await api("leads/update", lead={"id": people[name]}, patch={"status": "REPLIED"})
    await api("leads/update", lead={"id": people["Cem"]}, patch={"status": "CONTACTED"})
    replied = {"kind": {"eq": "STATUS_CHANGED"}, "status": {"eq": "REPLIED"}}
    assert await found(api, {"activity": {"some": {**replied, "occurredAt": {"gt": "2020-01-01T00:00:00Z"}}}}) == ["Ann", "Bob"]
    assert await found(api, {"activity": {"some": {**replied, "occurredAt": {"lt": "2020-01-01T00:00:00Z"}}}}) == []
    never = {"activity": {"none": {"kind": {"eq": "STATUS_CHANGED"}, "status": {"in": ["CONTACTED", "REPLIED"]}}}}
    assert await found(api, never) == [name for name in PEOPLE if name not in ("Ann", "Bob", "Cem")]
    assert await found(api, {"not": never}) == ["Ann", "Bob", "Cem"]
    both = {"activity": {"some": {"kind": {"eq": "STATUS_CHANGED"}}, "none": {"status": {"eq": "REPLIED"}}}}
    assert await found(api, both) == ["Cem"]
    assert await found(api, {"activity": {"some": {}}}) == list(PEOPLE)
    assert await found(api, {"activity": {"none": {}}}) == []
    assert await found(api, {"activity": {}}) == list(PEOPLE)
    assert await found(stranger, {"activity": {"none": {}}}) == []


async def test_every_nesting_of_and_or_and_not_means_what_it_says(api, people):
    """Against the same formula in Python, over leads that lack some of what is asked."""
    tests = [
        ({"attributes": [{"key": "seats", "gt": 0}]}, lambda own: isinstance(own.get("seats"), int | float) and own["seats"] > 0),
        (
            {"attributes": [{"key": "plan", "contains": "gold"}]},
            lambda own: "gold" in str(own.get("plan")).lower() and own["plan"] != ["Gold"],
        ),
        ({"attributes": [{"key": "big", "exists": True}]}, lambda own: "big" in own),
        ({"company": {"ne": "x"}}, lambda _own: True),
        ({"lastName": {"contains": "x"}}, lambda _own: False),
        ({}, lambda _own: True),
    ]
    choose = random.Random(20)  # noqa: S311  (the same formulas every time)

    def formula(depth):
        if depth == 0:
            return choose.choice(tests)
        kind = choose.choice(["and", "or", "not", "two"])
        if kind == "not":
            where, holds = formula(depth - 1)
            return {"not": where}, lambda own: not holds(own)
        parts = [formula(choose.randrange(depth)) for _ in range(choose.randrange(4))]
        if kind == "two":
            (left, left_holds), (right, right_holds) = formula(depth - 1), formula(0)
            return {"not": left, "and": [right]}, lambda own: not left_holds(own) and right_holds(own)
        every = all if kind == "and" else any
        return {kind: [where for where, _ in parts]}, lambda own: every(holds(own) for _, holds in parts)

    for depth in [1, 2, 3, 4, 5, 6] * 5:
        where, holds = formula(depth)
        assert await found(api, where) == [name for name, own in PEOPLE.items() if holds(own)], where


@pytest.mark.parametrize("way", ["not", "and", "or", "both", "beside"])
async def test_a_filter_as_deep_as_a_request_may_be_is_answered(api, people, way):
    gold = {"attributes": [{"key": "plan", "contains": "gold"}]}
    where, holds = gold, True
    for level in range(24 if way in ("not", "beside") else 12):
        if way == "not":
            where, holds = {"not": where}, not holds
        elif way == "beside":
            # Nothing has the company x: `not` alone decides.
            where, holds = {"company": {"ne": "x"}, "not": where}, not holds
        else:
            key = way if way != "both" else ("and", "or")[level % 2]
            beside = {"company": {"isNull": key == "and"}}
            where = {key: [beside, where]}
    assert await found(api, where) == (["Ann", "Bob"] if holds else [name for name in PEOPLE if name not in ("Ann", "Bob")])
