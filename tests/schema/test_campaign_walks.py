"""Leads of a campaign are found by walking its places, however the filter says it, and none comes twice."""

import re
from itertools import pairwise

import pytest
from explaining import steps_of

LIST = """query Walk($where: LeadWhere, $orderBy: [LeadOrder!], $first: Int, $after: String, $last: Int, $before: String, $offset: Int) {
  leads(where: $where, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before, offset: $offset) {
    nodes { id email qualityScore createdAt } totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
SCORE = [{"field": "QUALITY_SCORE", "direction": "DESC"}]


@pytest.fixture
async def crowd(api):
    """Twenty leads: those of even number in A, those that three divides in B, some without a score; nobody in C."""
    campaigns = [(await api("campaigns/create", input={"name": name}))["campaignCreate"]["campaign"]["id"] for name in "ABC"]
    rows = [{"email": f"lead{number:02}@example.com", "company": "Acme" if number % 5 else None} for number in range(20)]
    made = []
    for place in range(0, 20, 5):
        some = await api("leads/upsert_many", input={"leads": rows[place : place + 5], "autoScore": place != 5})
        made += [result["leadId"] for result in some["leadUpsertMany"]["results"]]
    for campaign, step in zip(campaigns, (2, 3), strict=False):
        await api("campaigns/add_leads", id=campaign, leads=[{"id": lead} for lead in made[::step]])
    return campaigns


def numbers(page):
    return {int(node["email"][4:6]) for node in page["nodes"]}


A, B = set(range(0, 20, 2)), set(range(0, 20, 3))
ALL = set(range(20))


def wheres(a, b, c):
    return [
        ({"campaignId": {"eq": a}}, A),
        ({"campaignId": {"in": [a, b]}}, A | B),
        ({"campaignId": {"in": [a, a, b, c, a]}}, A | B),
        ({"campaignId": {"in": [b, b]}}, B),
        ({"campaignId": {"in": []}}, set()),
        ({"campaignId": {"in": [c]}}, set()),
        ({"campaignId": {"in": ["cmp_none", a]}}, A),
        ({"campaignId": {"eq": a, "in": [b, c]}}, A & B),
        ({"campaignId": {"in": [a, b], "ne": a}}, B - A),
        ({"campaignId": {"in": [a, b], "notIn": [b]}}, A - B),
        ({"campaignId": {"eq": a, "isNull": False}}, A),
        ({"campaignId": {"eq": a, "isNull": True}}, set()),
        ({"and": [{"campaignId": {"eq": a}}, {"campaignId": {"eq": b}}]}, A & B),
        ({"and": [{"company": {"isNull": True}}, {"and": [{"campaignId": {"in": [a, b]}}]}]}, (A | B) & {0, 5, 10, 15}),
        ({"or": [{"campaignId": {"eq": a}}, {"campaignId": {"eq": b}}]}, A | B),
        ({"or": [{"campaignId": {"in": [a, c]}}, {"company": {"isNull": True}}]}, A | {0, 5, 10, 15}),
        ({"or": [{"campaignId": {"in": [a, b]}}, {"campaignId": {"eq": b}}, {"campaignId": {"in": []}}]}, A | B),
        ({"or": [{"campaignId": {"eq": a}}], "company": {"isNull": True}}, A & {0, 5, 10, 15}),
        ({"or": [{"campaignId": {"eq": a}}, {"campaignId": {"ne": b}}]}, A | (ALL - B)),
        ({"or": [{"campaignId": {"eq": a, "in": [b]}}, {"campaignId": {"eq": c}}]}, A & B),
        ({"or": [{"campaignId": {"eq": a}}, {}]}, ALL),
        ({"or": [{"campaignId": {"eq": a}}, {"campaignId": {"eq": b}}], "and": [{"campaignId": {"eq": b}}]}, B),
        ({"not": {"campaignId": {"eq": a}}}, ALL - A),
        ({"not": {"campaignId": {"in": [a, b]}}}, ALL - A - B),
        ({"not": {"not": {"campaignId": {"in": [a, b]}}}}, A | B),
        ({"not": {"and": [{"campaignId": {"eq": a}}, {"campaignId": {"eq": b}}]}}, ALL - (A & B)),
        ({"campaignId": {"notIn": [a, b]}}, ALL - A - B),
        ({"campaignId": {"isNull": True}}, ALL - A - B),
        ({"campaignId": {"isNull": False}}, A | B),
        ({"campaignId": {"ne": c}}, ALL),
    ]


@pytest.mark.parametrize("order", [[], SCORE], ids=["newest", "best"])
async def test_every_way_to_name_campaigns_finds_its_leads_once_page_by_page(api, crowd, statements, order):
    for where, expected in wheres(*crowd):
        whole = (await api(LIST, where=where, orderBy=order, first=200))["leads"]
        ids = [node["id"] for node in whole["nodes"]]
        assert numbers(whole) == expected, where
        assert len(ids) == len(set(ids)) == whole["totalCount"]
        for one, other in pairwise(whole["nodes"]):
            if order == SCORE:
                assert other["qualityScore"] is None or (one["qualityScore"] or -1) >= other["qualityScore"]
            elif not order:
                assert (one["createdAt"], one["id"]) > (other["createdAt"], other["id"])
        for size, cursor, end, ahead in (
            ("first", "after", "endCursor", "hasNextPage"),
            ("last", "before", "startCursor", "hasPreviousPage"),
        ):
            found, given, more = [], None, True
            while more:
                with statements() as ran:
                    page = (await api(LIST, where=where, orderBy=order, **{size: 8, cursor: given}))["leads"]
                assert len(ran) == 1
                here = [node["id"] for node in page["nodes"]]
                found = found + here if size == "first" else here + found
                given, more = page["pageInfo"][end], page["pageInfo"][ahead]
            assert found == ids, where
        skipped = (await api(LIST, where=where, orderBy=order, first=5, offset=3))["leads"]["nodes"]
        assert [node["id"] for node in skipped] == ids[3:8]
        stats = (await api("query S($where: LeadWhere) { leadStats(where: $where) { count bySource { count } } }", where=where))[
            "leadStats"
        ]
        assert (stats["count"], sum(each["count"] for each in stats["bySource"])) == (len(ids), len(ids))


@pytest.mark.parametrize(
    "where",
    [
        lambda a, _b: {"campaignId": {"eq": a}, "qualityScore": {"gte": 10}},
        lambda a, _b: {"and": [{"qualityScore": {"gte": 10}}, {"campaignId": {"eq": a}}]},
        lambda a, _b: {"campaignId": {"in": [a]}, "qualityScore": {"gte": 10}},
        lambda a, b: {"campaignId": {"in": [a, b]}, "qualityScore": {"gte": 10}},
        lambda a, b: {"or": [{"campaignId": {"eq": a}}, {"campaignId": {"eq": b}}], "qualityScore": {"gte": 10}},
    ],
    ids=["eq", "and", "in one", "in two", "or"],
)
@pytest.mark.parametrize("order", [[], SCORE], ids=["newest", "best"])
async def test_a_page_and_its_count_walk_the_campaigns_places_and_look_only_the_pages_leads_up(
    api, crowd, statements, database, where, order
):
    async def ask():
        await api(LIST, where=where(*crowd[:2]), orderBy=order, first=5)

    with statements() as ran:
        await ask()
    if database.is_postgres:
        # Which way it goes depends on what it has counted of its tables: that the count needs no leads, and the page no EXISTS, does not.
        [sql] = ran
        assert ("EXISTS" in sql, len(re.findall(r" lead AS lead_", sql)), len(re.findall(r"campaign_lead AS ", sql))) == (False, 1, 2)
        return
    steps = await steps_of(database, ask)
    leads = [step for step in steps if re.search(r"(SCAN|SEARCH) lead_\d", step)]
    assert len(leads) == 1
    assert "(workspace_id=? AND id=?)" in leads[0]
    places = [step for step in steps if re.search(r"SEARCH campaign_lead_\d", step)]
    assert len(places) == 2
    assert all("COVERING INDEX campaign_lead_page (workspace_id=? AND campaign_id=?)" in step for step in places), steps


async def test_a_campaign_that_is_no_id_is_refused_by_its_place_wherever_it_stands(api):
    for where, argument in [
        ({"campaignId": {"eq": "a\0"}}, "leads.where.campaignId.eq"),
        ({"campaignId": {"in": ["x", "a\0"]}}, "leads.where.campaignId.in"),
        ({"and": [{}, {"campaignId": {"in": ["a\0"]}}]}, "leads.where.and[1].campaignId.in"),
        ({"campaignId": {"in": None}}, "leads.where.campaignId.in"),
        ({"campaignId": {"eq": "x", "in": None}}, "leads.where.campaignId.in"),
        ({"or": [{"campaignId": {"eq": "x"}}, {"campaignId": {"in": ["a\0"]}}]}, "leads.where.or[1].campaignId.in"),
        ({"or": [{"campaignId": {"eq": "x"}}, {"campaignId": None}]}, "leads.where.or[1].campaignId"),
    ]:
        error = await api.error(LIST, where=where)
        assert (error["extensions"]["code"], error["extensions"]["argument"]) == ("BAD_USER_INPUT", argument)


@pytest.mark.parametrize("field", ["activities", "emails"])
@pytest.mark.parametrize(("asked", "walks"), [(lambda a, _b: {"eq": a}, 2), (lambda a, b: {"in": [a, b]}, 1)], ids=["one", "two"])
async def test_what_is_of_a_campaign_is_found_by_its_campaign(api, crowd, database, field, asked, walks):
    index = f"{field.removesuffix('s').replace('activitie', 'activity')}_campaign"
    text = f"query Of($where: {index.partition('_')[0].capitalize()}Where) {{ {field}(where: $where) {{ nodes {{ id }} totalCount }} }}"
    found = (await api(text, where={"campaignId": asked(*crowd[:2])}))[field]
    assert found["totalCount"] == len(found["nodes"])
    if database.is_postgres:
        async with database.readers.reading() as reading:
            [[made]] = await reading.rows("SELECT indexdef FROM pg_indexes WHERE indexname = $1 AND schemaname = 'public'", [index])
        assert made.endswith("WHERE (campaign_id IS NOT NULL)")
        return
    steps = await steps_of(database, lambda: api(text, where={"campaignId": asked(*crowd[:2])}))
    # A page of one campaign, and any count; a page of several is one walk in its order.
    assert len([step for step in steps if f"INDEX {index} (workspace_id=? AND campaign_id=?" in step]) == walks, steps
