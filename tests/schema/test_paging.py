"""Pages by cursor: whole and without repeats while others write, one walk of an index, and a cursor is of its list alone."""

import re

import pytest

ORDERS = [
    [],
    [{"field": "CREATED_AT"}],
    [{"field": "QUALITY_SCORE", "direction": "DESC"}],
    [{"field": "QUALITY_SCORE"}],
    [{"field": "EMAIL"}],
    [{"field": "EMAIL", "direction": "DESC"}],
    [{"field": "QUALITY_SCORE", "direction": "DESC"}, {"field": "EMAIL"}],
    [{"field": "COMPANY"}, {"field": "LAST_NAME", "direction": "DESC"}],
    [{"field": "LAST_ACTIVITY_AT", "direction": "DESC"}, {"field": "UPDATED_AT"}],
]
LIST = """query Q($where: LeadWhere, $orderBy: [LeadOrder!], $first: Int, $after: String, $last: Int, $before: String, $offset: Int) {
  leads(where: $where, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before, offset: $offset) {
    nodes { id email company lastName qualityScore lastActivityAt updatedAt createdAt } totalCount
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""


@pytest.fixture
async def crowd(api):
    """Thirty leads of few scores and companies, some without; every third in a campaign. The campaign's id."""
    campaign = (await api("campaigns/create", input={"name": "Spring"}))["campaignCreate"]["campaign"]["id"]
    rows = [
        {
            "crmId": str(number),
            "email": None if number % 5 == 0 else f"lead{number * 7 % 31:02}@example.com",
            "company": None if number % 4 == 0 else f"Company {number % 3}",
            "lastName": "Dubois" if number % 2 else None,
            "status": "NEW" if number % 6 else "CONTACTED",
        }
        for number in range(30)
    ]
    await api("leads/upsert_many", input={"leads": rows[::3], "campaignId": campaign})
    await api("leads/upsert_many", input={"leads": rows[1::3]})
    await api("leads/upsert_many", input={"leads": rows[2::3], "autoScore": False})  # without a score
    return campaign


def expected(rows, order):
    """Sort as is written: nothing last both ways, the id last, in the direction of the key before."""
    names = {
        "QUALITY_SCORE": "qualityScore", "EMAIL": "email", "COMPANY": "company", "LAST_NAME": "lastName",
        "LAST_ACTIVITY_AT": "lastActivityAt", "UPDATED_AT": "updatedAt", "CREATED_AT": "createdAt",
    }  # fmt: skip
    keys = [(names[key["field"]], key.get("direction") == "DESC") for key in order or [{"field": "CREATED_AT", "direction": "DESC"}]]
    rows = sorted(rows, key=lambda row: row["id"], reverse=keys[-1][1])
    for name, down in reversed(keys):
        there = sorted((row for row in rows if row[name] is not None), key=lambda row: row[name], reverse=down)
        rows = there + [row for row in rows if row[name] is None]
    return [row["id"] for row in rows]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "+".join(f"{key['field']} {key.get('direction', '')}" for key in order))
@pytest.mark.parametrize("narrowed", [False, True])
async def test_every_order_is_walked_whole_both_ways(api, crowd, statements, order, narrowed):
    where = {"campaignId": {"eq": crowd}, "createdAt": {"gt": "2020-01-01T00:00:00Z"}} if narrowed else {}
    whole = (await api(LIST, where=where, orderBy=order, first=200))["leads"]
    ids = [node["id"] for node in whole["nodes"]]
    assert ids == expected(whole["nodes"], order)
    assert len(ids) == whole["totalCount"] == (10 if narrowed else 30)
    for size, cursor, ahead, end in (("first", "after", "hasNextPage", "endCursor"), ("last", "before", "hasPreviousPage", "startCursor")):
        found, given, more = [], None, True
        while more:
            with statements() as ran:
                page = (await api(LIST, where=where, orderBy=order, **{size: 7, cursor: given}))["leads"]
            assert len(ran) == 1
            assert page["pageInfo"]["hasPreviousPage" if size == "first" else "hasNextPage"] is (given is not None)
            here = [node["id"] for node in page["nodes"]]
            found = found + here if size == "first" else here + found
            given, more = page["pageInfo"][end], page["pageInfo"][ahead]
        assert found == ids
    by_number = [
        node["id"] for at in range(0, 30, 7) for node in (await api(LIST, where=where, orderBy=order, first=7, offset=at))["leads"]["nodes"]
    ]
    assert by_number == ids


@pytest.mark.parametrize("order", ORDERS[:8], ids=lambda order: "+".join(f"{key['field']} {key.get('direction', '')}" for key in order))
async def test_a_walk_meets_every_lead_that_stays_just_once_while_others_come_and_go(api, crowd, order):
    before = [node["id"] for node in (await api(LIST, orderBy=order, first=200))["leads"]["nodes"]]
    found, after, more, turn, gone = [], None, True, 0, set()
    while more:
        page = (await api(LIST, orderBy=order, first=4, after=after))["leads"]
        found += [node["id"] for node in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        # A new one anywhere; then one behind the page goes, the row of the cursor itself, and one ahead.
        rows = [{"crmId": f"new {turn}", "company": f"Company {turn % 3}", "email": f"lead{turn * 5:02}x@example.com"}]
        await api("leads/upsert_many", input={"leads": rows, "autoScore": turn % 2 == 0})
        for place in (before.index(found[0]) if turn == 1 else None, turn * 4 + 3, len(before) - 1 - turn):
            if place is not None and place < len(before) and before[place] not in gone and turn < 5:
                gone.add(before[place])
                await api("leads/delete", lead={"id": before[place]})
        turn += 1
    assert len(found) == len(set(found))
    assert [id_ for id_ in before if id_ not in gone and id_ not in found] == []


async def test_a_campaigns_list_is_the_list_of_all_narrowed_to_it(api, crowd, statements):
    text = """query Q($id: ID!, $where: LeadWhere, $orderBy: [LeadOrder!], $first: Int, $after: String) { campaign(id: $id) {
      leads(where: $where, orderBy: $orderBy, first: $first, after: $after) { nodes { id } totalCount pageInfo { hasNextPage endCursor } }
      stats(where: $where) { count averageScore byStatus { status count } } } }"""
    for where in (
        {},
        {"qualityScore": {"gte": 20}},
        {"qualityScore": {"gte": 20}, "createdAt": {"lt": "2999-01-01T00:00:00Z"}},
        {"not": {"qualityScore": {"gte": 20}}},
        {"status": {"eq": "CONTACTED"}},
        {"or": [{"qualityScore": {"gt": 30}}, {"company": {"isNull": True}}]},
        {"campaignId": {"ne": crowd}},
        {"activity": {"some": {"kind": {"eq": "LEAD_CREATED"}}}},
    ):
        for order in ORDERS[:4]:
            here = (await api(text, id=crowd, where=where, orderBy=order, first=5))["campaign"]
            narrowed = {"and": [where], "campaignId": {"eq": crowd}}
            with statements() as ran:
                there = (await api(LIST, where=narrowed, orderBy=order, first=5))["leads"]
            assert len(ran) == 1
            assert [node["id"] for node in here["leads"]["nodes"]] == [node["id"] for node in there["nodes"]]
            assert here["leads"]["totalCount"] == there["totalCount"] == here["stats"]["count"]
            # The same by the other way, which looks every lead's places up.
            looked_up = (await api(LIST, where={"and": [where, {"campaignId": {"in": [crowd]}}]}, orderBy=order, first=5))["leads"]
            assert [node["id"] for node in looked_up["nodes"]] == [node["id"] for node in there["nodes"]]
            assert looked_up["totalCount"] == there["totalCount"]
            if here["leads"]["pageInfo"]["hasNextPage"]:
                second = (await api(text, id=crowd, where=where, orderBy=order, after=here["leads"]["pageInfo"]["endCursor"]))["campaign"]
                ids = [node["id"] for node in here["leads"]["nodes"] + second["leads"]["nodes"]]
                assert len(set(ids)) == there["totalCount"]


async def test_a_place_in_a_campaign_follows_its_lead(api, crowd):
    """What the places repeat of their leads is what the leads hold, whatever was changed since."""
    lead = (await api(LIST, where={"campaignId": {"eq": crowd}}, first=1))["leads"]["nodes"][0]
    patch = {"email": "new@bigcorp.com", "company": "Big", "title": "CTO", "phone": "+33612345678", "firstName": "A", "lastName": "B"}
    score = (await api("leads/update", lead={"id": lead["id"]}, patch=patch))["leadUpdate"]["lead"]["qualityScore"]
    assert score != lead["qualityScore"]
    found = (await api(LIST, where={"campaignId": {"eq": crowd}, "qualityScore": {"eq": score}}))["leads"]["nodes"]
    assert lead["id"] in [node["id"] for node in found]
    assert {node["qualityScore"] for node in found} == {score}
    await api("leads/delete", lead={"id": lead["id"]})
    assert (await api(LIST, where={"campaignId": {"eq": crowd}}))["leads"]["totalCount"] == 9


async def test_a_cursor_is_refused_in_every_other_list(api, crowd):
    page = (await api(LIST, where={"campaignId": {"eq": crowd}}, first=2))["leads"]["pageInfo"]
    inner = (await api(f'{{ campaign(id: "{crowd}") {{ leads(first: 2) {{ pageInfo {{ endCursor }} }} }} }}'))["campaign"]["leads"][
        "pageInfo"
    ]
    plain = (await api(LIST, first=2))["leads"]["pageInfo"]["endCursor"]
    log = (await api("{ activities(first: 1) { pageInfo { endCursor } } }"))["activities"]["pageInfo"]["endCursor"]
    edited = plain[:40] + ("A" if plain[40] != "A" else "B") + plain[41:]
    asked = [
        (LIST, {"after": page["endCursor"]}),
        (LIST, {"after": inner["endCursor"]}),
        (LIST, {"after": log}),
        (LIST, {"after": edited}),
        (LIST, {"before": plain[:-2]}),
        (LIST, {"after": plain, "orderBy": [{"field": "CREATED_AT"}]}),
        (LIST, {"after": plain, "where": {"campaignId": {"eq": crowd}}}),
        (LIST, {"after": plain, "where": {"attributes": [{"key": "a", "gt": 1.5}]}}),
        ("query Q($after: String) { campaigns(after: $after) { totalCount } }", {"after": plain}),
        ("query Q($after: String) { activities(after: $after) { totalCount } }", {"after": plain}),
        (f'query Q($after: String) {{ campaign(id: "{crowd}") {{ leads(after: $after) {{ totalCount }} }} }}', {"after": plain}),
        (f'query Q($after: String) {{ campaign(id: "{crowd}") {{ leads(after: $after, where: {{}}) {{ totalCount }} }} }}', {"after": inner["endCursor"]}),
    ]  # fmt: skip
    for text, variables in asked:
        assert (await api.error(text, **variables))["extensions"]["code"] == "INVALID_CURSOR", (text, variables)


@pytest.mark.parametrize(
    ("order", "index"),
    [
        ([], "lead_created"),
        ([{"field": "UPDATED_AT", "direction": "DESC"}], "lead_updated"),
        ([{"field": "QUALITY_SCORE", "direction": "DESC"}], "lead_score"),
        ([{"field": "QUALITY_SCORE"}], "lead_score"),
        ([{"field": "EMAIL"}], "sqlite_autoindex_lead_3"),
        ([{"field": "EMAIL", "direction": "DESC"}], "sqlite_autoindex_lead_3"),
    ],
)
async def test_a_page_by_cursor_is_a_range_of_an_index(api, crowd, statements, database, order, index):
    whole = (await api(LIST, orderBy=order, first=10))["leads"]
    text = "query Q($orderBy: [LeadOrder!], $after: String) { leads(orderBy: $orderBy, first: 5, after: $after) { nodes { id } pageInfo { hasNextPage hasPreviousPage } } }"
    with statements() as ran:
        await api(text, orderBy=order, after=whole["pageInfo"]["endCursor"])
    [sql] = ran
    if database.is_postgres:
        # Thirty leads are read faster without an index: what is asked is that the statement lets the range be one.
        assert re.search(r"\(lead_\d\.(created_at|updated_at|quality_score|email_key), lead_\d\.id\) [<>]", sql)
        assert "NULLS" not in sql.partition(" UNION ALL ")[0] or " UNION ALL " not in sql
        return
    # The trace of SQLite's driver tells the statement with its values in it.
    async with database.readers.reading() as reading:
        steps = [row[-1] for row in await reading.rows(f"EXPLAIN QUERY PLAN {sql}", [])]
    walks = [step for step in steps if re.match(r"SEARCH lead_\d ", step)]
    assert walks
    # `=?`: those without a key.
    assert all(
        re.search(rf"USING.* INDEX {index}.*(created_at|updated_at|quality_score|email_key|,id\))( AND id)?[,a-z()]*[<>=]", step)
        for step in walks
    ), walks
