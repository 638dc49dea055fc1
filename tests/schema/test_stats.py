"""Figures of leads: of all, of those that a filter leaves, of a campaign's; one statement each."""

import pytest

from schema.graph import graph

PEOPLE = [
    {"email": "marie@techcorp.com", "firstName": "Marie", "lastName": "Dubois", "company": "TechCorp", "source": "linkedin"},
    {"email": "jean@startup.com", "firstName": "Jean", "source": "Website", "status": "CONTACTED"},
    {"crmId": "1", "firstName": "Zoë", "source": "website"},
    {"email": "info@example.com", "source": 'a "b" \\'},
    {"email": "ann@example.com", "status": "REPLIED", "attributes": {"plan": "Gold"}},
]
FIGURES = "count averageScore byStatus { status count } bySource { source count } scoreHistogram { from to count }"


@pytest.fixture
async def people(api):
    """Five leads, the first two in a campaign."""
    campaign = (await api("campaigns/create", input={"name": "Spring"}))["campaignCreate"]["campaign"]["id"]
    await api("leads/upsert_many", input={"leads": PEOPLE[:2], "campaignId": campaign})
    await api("leads/upsert_many", input={"leads": PEOPLE[2:]})
    return campaign


async def scores(api, **variables):
    text = "query Q($where: LeadWhere, $search: String) { leads(where: $where, search: $search) { nodes { qualityScore } } }"
    return [node["qualityScore"] for node in (await api(text, **variables))["leads"]["nodes"]]


def histogram(points):
    buckets = [{"from": low, "to": low + 9 if low < 90 else 100, "count": 0} for low in range(0, 100, 10)]
    for score in points:
        buckets[min(score // 10, 9)]["count"] += 1
    return buckets


def average(points):
    return (2 * 100 * sum(points) + len(points)) // (2 * len(points)) / 100


async def test_all_figures_are_one_statement(api, people, statements):
    points = await scores(api)
    with statements() as ran:
        stats = (await api("leads/stats"))["leadStats"]
    assert len(ran) == 1
    assert list(stats) == ["count", "averageScore", "byStatus", "bySource", "scoreHistogram"]
    assert stats["count"] == 5
    assert stats["averageScore"] == average(points)
    # In the contract's order, without those that nobody has.
    assert stats["byStatus"] == [
        {"status": "NEW", "count": 3},
        {"status": "CONTACTED", "count": 1},
        {"status": "REPLIED", "count": 1},
    ]
    # In the order of code points, none last.
    assert [(each["source"], each["count"]) for each in stats["bySource"]] == [('a "b" \\', 1), ("api", 1), ("linkedin", 1), ("website", 2)]
    assert stats["scoreHistogram"] == histogram(points)


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({"where": {"source": {"eq": "WEBSITE"}}}, 2),
        ({"search": "techcorp mar"}, 1),
        ({"search": "zoe", "where": {"status": {"eq": "NEW"}}}, 1),
        ({"where": {"attributes": [{"key": "plan", "contains": "gold"}]}}, 1),
        ({"where": {"activity": {"none": {"kind": {"eq": "LEAD_CREATED"}}}}}, 0),
        ({"where": {}, "search": "!"}, 5),
    ],
)
async def test_what_is_asked_of_a_list_is_asked_of_its_figures(api, people, statements, variables, count):
    points = await scores(api, **variables)
    with statements() as ran:
        stats = (await api("leads/stats", **variables))["leadStats"]
    assert len(ran) == 1
    assert stats["count"] == count == len(points) == sum(each["count"] for each in stats["bySource"])
    assert stats["averageScore"] == (average(points) if points else None)
    assert stats["scoreHistogram"] == histogram(points)


async def test_of_nobody_there_are_figures_too(stranger, people):
    empty = {"count": 0, "averageScore": None, "byStatus": [], "bySource": [], "scoreHistogram": histogram([])}
    assert (await stranger("leads/stats"))["leadStats"] == empty
    assert (await stranger("{ leadStats { averageScore byStatus { count } scoreHistogram { count } } }"))["leadStats"] == {
        "averageScore": None,
        "byStatus": [],
        "scoreHistogram": [{"count": 0}] * 10,
    }


async def test_a_campaigns_figures_are_of_its_own_leads(api, people, statements):
    text = f"query Q($where: LeadWhere, $search: String) {{ campaigns {{ nodes {{ name stats(where: $where, search: $search) {{ {FIGURES} }} }} }} }}"
    await api("campaigns/create", input={"name": "Empty"})
    with statements() as ran:
        empty, spring = (await api(text))["campaigns"]["nodes"]
    assert len(ran) == 1
    assert (spring["stats"]["count"], spring["stats"]["averageScore"]) == (
        2,
        average(await scores(api, where={"campaignId": {"eq": people}})),
    )
    assert spring["stats"]["bySource"] == [{"source": "linkedin", "count": 1}, {"source": "website", "count": 1}]
    assert (empty["stats"]["count"], empty["stats"]["bySource"]) == (0, [])
    empty, spring = (await api(text, where={"status": {"eq": "CONTACTED"}}, search="jean"))["campaigns"]["nodes"]
    assert (spring["stats"]["count"], spring["stats"]["byStatus"]) == (1, [{"status": "CONTACTED", "count": 1}])


async def test_members_come_as_they_are_asked_for(api, people):
    stats = (
        await api(
            """{ leadStats { __typename n: count count
              a: byStatus { c: count __typename } b: byStatus { status }
              s: bySource { c: count source } t: bySource { __typename }
              h: scoreHistogram { to "%s": count }
            } }""".replace('"%s"', "x" * 80)
        )
    )["leadStats"]
    assert (stats["__typename"], stats["n"], stats["count"]) == ("LeadStats", 5, 5)
    assert stats["a"][0] == {"c": 3, "__typename": "StatusCount"}
    assert [each["status"] for each in stats["b"]] == ["NEW", "CONTACTED", "REPLIED"]
    assert list(stats["s"][0]) == ["c", "source"]
    assert stats["t"] == [{"__typename": "SourceCount"}] * 4
    assert [each["to"] for each in stats["h"]] == [9, 19, 29, 39, 49, 59, 69, 79, 89, 100]
    assert list(stats["h"][0]) == ["to", "x" * 80]
    assert (await api("{ leadStats { __typename } }"))["leadStats"] == {"__typename": "LeadStats"}


@pytest.mark.parametrize(
    ("variables", "argument"),
    [
        ({"where": {"status": None}}, "leadStats.where.status"),
        ({"where": {"qualityScore": {"gt": 101}}}, "leadStats.where.qualityScore.gt"),
        ({"search": "a\0"}, "leadStats.search"),
    ],
)
async def test_a_bad_argument_of_figures_is_named_and_no_statement_runs(api, statements, variables, argument):
    with statements() as ran:
        error = await api.error("leads/stats", **variables)
    assert (error["extensions"]["code"], error["extensions"]["argument"]) == ("BAD_USER_INPUT", argument)
    assert ran == []


async def test_figures_are_planned_once(api, people):
    await api("leads/stats", where={"source": {"eq": "website"}})
    misses = graph.plans.misses
    assert (await api("leads/stats", where={"source": {"eq": "linkedin"}}))["leadStats"]["count"] == 1
    assert graph.plans.misses == misses


FIGURE = ["count", "averageScore", "byStatus { status count }", "bySource { source count }", "scoreHistogram { from to count }"]


@pytest.mark.parametrize("asked", [*FIGURE, f"{FIGURE[0]} {FIGURE[1]}", f"{FIGURE[0]} {FIGURE[2]}", f"{FIGURE[1]} {FIGURE[4]}"])
@pytest.mark.parametrize("variables", [{"search": "techcorp"}, {"search": "zoe", "where": {"status": {"eq": "NEW"}}}, {"search": "nobody"}])
async def test_a_figure_alone_is_what_it_is_beside_the_others(api, stranger, people, asked, variables):
    await stranger("leads/upsert_many", input={"leads": PEOPLE})
    for text, found in (
        (
            "query Q($where: LeadWhere, $search: String) { leadStats(where: $where, search: $search) { %s } }",
            lambda data: data["leadStats"],
        ),
        (
            f'query Q($where: LeadWhere, $search: String) {{ campaign(id: "{people}") {{ stats(where: $where, search: $search) {{ %s }} }} }}',
            lambda data: data["campaign"]["stats"],
        ),
    ):
        whole, alone = [found(await api(text % figures, **variables)) for figures in (FIGURES, asked)]
        assert alone == {name: whole[name] for name in alone}
