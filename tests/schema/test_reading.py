"""Reading: whatever is selected, a root field is one statement, and both databases give the same answer."""

import pytest

PEOPLE = [
    {"email": "marie.dubois@techcorp.com", "firstName": "Marie", "lastName": "Dubois", "company": "TechCorp SAS", "source": "linkedin"},
    {"email": "jean.martin@startup.io", "firstName": "Jean", "lastName": "Martin", "company": "Startup IO", "source": "linkedin"},
    {"email": "élodie@example.com", "firstName": "Élodie", "lastName": "Été", "source": "website", "status": "CONTACTED"},
    {"crmId": "crm-4", "firstName": "Zoë", "company": "techcorp sas", "attributes": {"plan": {"tier": "gold"}}},
    {"email": "ann@example.com", "lastName": "dubois", "status": "REPLIED"},
]


@pytest.fixture
async def people(api):
    """Five leads, two of them in a campaign; by the first word that names them."""
    campaign = (await api("campaigns/create", input={"name": "Spring", "criteria": {"titles": ["CTO"]}}))["campaignCreate"]["campaign"]
    made = await api("leads/upsert_many", input={"leads": PEOPLE[:2], "campaignId": campaign["id"]})
    more = await api("leads/upsert_many", input={"leads": PEOPLE[2:]})
    ids = [row["leadId"] for row in made["leadUpsertMany"]["results"] + more["leadUpsertMany"]["results"]]
    return {"campaign": campaign["id"], **dict(zip(("marie", "jean", "elodie", "zoe", "ann"), ids, strict=True))}


async def emails(api, **arguments):
    answer = await api(
        "query Q($where: LeadWhere, $search: String, $orderBy: [LeadOrder!], $first: Int, $after: String, $last: Int, $before: String, $offset: Int)"
        "{ leads(where: $where, search: $search, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before, offset: $offset)"
        "{ nodes { firstName lastName } totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }",
        **arguments,
    )
    return answer["leads"]


async def names(api, **arguments):
    return [node["firstName"] or node["lastName"] for node in (await emails(api, **arguments))["nodes"]]


async def test_a_nested_page_is_one_statement(api, people, statements):
    with statements() as ran:
        answer = await api("leads/timeline", first=50)
    assert len(ran) == 1
    assert answer["leads"]["totalCount"] == 5
    marie = next(node for node in answer["leads"]["nodes"] if node["id"] == people["marie"])
    assert marie["campaigns"]["nodes"] == [{"id": people["campaign"], "name": "Spring"}]
    assert marie["score"]["components"][0]["kind"] == "EMAIL_VALIDITY"
    assert sum(part["points"] for part in marie["score"]["components"]) == marie["qualityScore"]
    assert [activity["kind"] for activity in marie["activities"]["nodes"]] == ["LEAD_CREATED"]
    assert {"field": "firstName", "before": None, "after": "Marie"} in marie["activities"]["nodes"][0]["changes"]


async def test_each_root_field_is_one_statement_of_one_snapshot(api, people, statements):
    with statements() as ran:
        answer = await api("{ a: leads(first: 1) { totalCount } b: campaigns { totalCount } workspace { slug } }")
    assert len(ran) == 3
    assert (answer["a"]["totalCount"], answer["b"]["totalCount"]) == (5, 1)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, {"Marie", "Jean", "Élodie", "Zoë", "dubois"}),
        ({"status": {"eq": "NEW"}}, {"Marie", "Jean", "Zoë"}),
        ({"status": {"notIn": ["NEW", "REPLIED"]}}, {"Élodie"}),
        ({"status": {"in": []}}, set()),
        ({"source": {"eq": "LINKEDIN"}}, {"Marie", "Jean"}),
        ({"source": {"ne": "linkedin"}}, {"Élodie", "Zoë", "dubois"}),
        ({"company": {"eq": "TECHCORP sas"}}, {"Marie", "Zoë"}),
        ({"company": {"isNull": True}}, {"Élodie", "dubois"}),
        ({"company": {"notIn": ["startup io"]}}, {"Marie", "Zoë", "Élodie", "dubois"}),
        ({"email": {"eq": "ÉLODIE@example.com"}}, {"Élodie"}),
        ({"email": {"startsWith": "jean."}}, {"Jean"}),
        ({"email": {"contains": "EXAMPLE"}}, {"Élodie", "dubois"}),
        ({"firstName": {"contains": "elo"}}, {"Élodie"}),
        ({"lastName": {"eq": "DUBOIS"}}, {"Marie", "dubois"}),
        ({"crmId": {"eq": "CRM-4"}}, set()),
        ({"crmId": {"startsWith": "CRM"}}, {"Zoë"}),
        ({"qualityScore": {"gte": 50, "lt": 70}}, {"Élodie", "dubois"}),
        ({"qualityScore": {"in": [0, 100]}}, set()),
        ({"not": {"company": {"contains": "corp"}}}, {"Jean", "Élodie", "dubois"}),
        ({"or": [{"crmId": {"eq": "crm-4"}}, {"status": {"eq": "REPLIED"}}]}, {"Zoë", "dubois"}),
        ({"or": []}, set()),
        ({"and": [{"status": {"eq": "NEW"}}, {"email": {"isNull": False}}]}, {"Marie", "Jean"}),
        ({"campaignId": {"isNull": True}}, {"Élodie", "Zoë", "dubois"}),
        ({"company": {"contains": "%"}}, set()),
    ],
)
async def test_a_filter_finds_exactly_its_leads(api, people, statements, where, found):
    with statements() as ran:
        assert set(await names(api, where=where)) == found
    assert len(ran) == 1


async def test_leads_are_found_by_campaign(api, people):
    assert set(await names(api, where={"campaignId": {"eq": people["campaign"]}})) == {"Marie", "Jean"}
    assert set(await names(api, where={"campaignId": {"notIn": [people["campaign"]]}})) == {"Élodie", "Zoë", "dubois"}
    assert set(await names(api, where={"campaignId": {"ne": people["campaign"]}})) == {"Élodie", "Zoë", "dubois"}


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("dub", {"Marie", "dubois"}),
        ("ubois", set()),
        ("techcorp dub", {"Marie"}),
        ("elodie ete", {"Élodie"}),
        ("ZOE", {"Zoë"}),
        ("Example", {"Élodie", "dubois"}),
        ("% _ \" '", {"Marie", "Jean", "Élodie", "Zoë", "dubois"}),
        ("", {"Marie", "Jean", "Élodie", "Zoë", "dubois"}),
        ("NEAR(", set()),
        ("a AND", set()),
        ("*", {"Marie", "Jean", "Élodie", "Zoë", "dubois"}),
    ],
)
async def test_search_looks_at_the_starts_of_words(api, people, statements, search, found):
    with statements() as ran:
        assert set(await names(api, search=search)) == found
    assert len(ran) == 1


async def test_a_list_is_walked_forward_and_backward_without_a_gap(api, people):
    order = [{"field": "LAST_NAME"}, {"field": "EMAIL", "direction": "DESC"}]
    whole = await names(api, orderBy=order)
    assert whole == ["Marie", "dubois", "Élodie", "Jean", "Zoë"]  # dubois, dubois, ete, martin, none
    forward, after = [], None
    for _ in range(3):
        page = await emails(api, orderBy=order, first=2, after=after)
        forward += [node["firstName"] or node["lastName"] for node in page["nodes"]]
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        after = page["pageInfo"]["endCursor"]
    assert forward == whole
    assert page["pageInfo"]["hasNextPage"] is False
    empty = await emails(api, orderBy=order, first=2, after=after)
    assert empty["nodes"] == []
    assert empty["pageInfo"]["endCursor"] == after
    backward, before = [], None
    for _ in range(3):
        page = await emails(api, orderBy=order, last=2, before=before)
        backward = [node["firstName"] or node["lastName"] for node in page["nodes"]] + backward
        assert page["pageInfo"]["hasNextPage"] is (before is not None)
        before = page["pageInfo"]["startCursor"]
    assert backward == whole
    assert page["pageInfo"]["hasPreviousPage"] is False


async def test_newest_come_first_and_page_numbers_work_too(api, people):
    assert await names(api) == ["dubois", "Zoë", "Élodie", "Jean", "Marie"]
    page = await emails(api, first=2, offset=2)
    assert [node["firstName"] for node in page["nodes"]] == ["Élodie", "Jean"]
    assert page["totalCount"] == 5
    assert (page["pageInfo"]["hasNextPage"], page["pageInfo"]["hasPreviousPage"]) == (True, True)


async def test_a_cursor_is_of_its_list_alone(api, stranger, people):
    page = await emails(api, first=2)
    cursor = page["pageInfo"]["endCursor"]
    text = "query Q($after: String, $where: LeadWhere, $orderBy: [LeadOrder!]) { leads(after: $after, where: $where, orderBy: $orderBy) { totalCount } }"
    assert (await api(text, after=cursor))["leads"]["totalCount"] == 5
    edited = ("A" if cursor[0] != "A" else "B") + cursor[1:]
    for variables in (
        {"after": edited},
        {"after": "nonsense"},
        {"after": ""},
        {"after": cursor, "where": {"status": {"eq": "NEW"}}},
        {"after": cursor, "orderBy": [{"field": "EMAIL"}]},
    ):
        told = (await api.error(text, **variables))["extensions"]
        assert (told["code"], told["argument"]) == ("INVALID_CURSOR", "leads.after")
    assert (await stranger.error(text, after=cursor))["extensions"]["code"] == "INVALID_CURSOR"


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"first": 201}, "leads.first"),
        ({"first": 0}, "leads.first"),
        ({"first": -1}, "leads.first"),
        ({"first": 2147483647}, "leads.first"),
        ({"last": 201}, "leads.last"),
        ({"first": 1, "last": 1}, "leads.last"),
        ({"offset": 10001}, "leads.offset"),
        ({"offset": -1}, "leads.offset"),
        ({"where": {"qualityScore": {"gt": 101}}}, "leads.where.qualityScore.gt"),
        ({"where": {"qualityScore": {"eq": -1}}}, "leads.where.qualityScore.eq"),
        ({"where": {"status": None}}, "leads.where.status"),
        ({"where": {"email": {"eq": None}}}, "leads.where.email.eq"),
        ({"where": {"company": {"eq": "a\0"}}}, "leads.where.company.eq"),
    ],
)
async def test_a_bad_argument_is_named_and_no_statement_runs(api, statements, arguments, argument):
    text = "query Q($where: LeadWhere, $first: Int, $last: Int, $offset: Int) { leads(where: $where, first: $first, last: $last, offset: $offset) { totalCount } }"
    with statements() as ran:
        error = await api.error(text, **arguments)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["argument"] == argument
    assert ran == []


async def test_literals_variables_aliases_fragments_and_directives_come_to_the_same(api, people, statements):
    plain = await api('{ leads(where: {source: {eq: "linkedin"}}, first: 2) { nodes { id email } } }')
    text = """
      query Q($source: String!, $size: Int = 2, $yes: Boolean!, $no: Boolean!) {
        leads(where: {source: {eq: $source}}, first: $size) { ...page nodes { email notes @include(if: $no) company @skip(if: $yes) } }
      }
      fragment page on LeadConnection { nodes { id ... on Lead { __typename mail: email } } }
    """
    with statements() as ran:
        answer = await api(text, source="linkedin", yes=True, no=False)
    assert len(ran) == 1
    expected = [{"id": node["id"], "__typename": "Lead", "mail": node["email"], "email": node["email"]} for node in plain["leads"]["nodes"]]
    assert answer["leads"]["nodes"] == expected
    assert list(answer["leads"]["nodes"][0]) == ["id", "__typename", "mail", "email"]


async def test_eighty_aliases_and_long_names_fit_into_one_object(api, people):
    aliases = [f"a{'x' * 70}{number}" if number % 2 else f"short{number}" for number in range(80)]
    from schema.context import Context
    from schema.graph import graph  # the limit on aliases belongs to the endpoint

    first, last = (" ".join(f"{alias}: {field}" for alias in aliases) for field in ("firstName", "lastName"))
    text = f'{{ lead(by: {{crmId: "crm-4"}}) {{ {first} }} leads(first: 1) {{ nodes {{ {last} }} }} }}'
    database = api.client._transport.app.state.database
    async with database.readers.reading(snapshot=True) as reading:
        result = await graph.execute(text, context_value=Context(api.caller, "test", reading=reading))
    assert result.errors is None
    import orjson

    data = orjson.loads(orjson.dumps(result.data))
    assert data["lead"] == dict.fromkeys(aliases, "Zoë")
    assert data["leads"]["nodes"][0] == dict.fromkeys(aliases, "dubois")


async def test_an_object_is_found_by_each_of_its_names(api, people, statements):
    for by in ({"id": people["marie"]}, {"email": " MARIE.Dubois@TechCorp.com "}):
        with statements() as ran:
            assert (await api("leads/get", by=by))["lead"]["id"] == people["marie"]
        assert len(ran) == 1
    assert (await api("leads/get", by={"crmId": "crm-4"}))["lead"]["attributes"] == {"plan": {"tier": "gold"}}
    for by in ({"id": "lead_nonsense"}, {"id": people["campaign"]}, {"crmId": "CRM-4"}, {"email": "nobody@example.com"}):
        assert (await api("leads/get", by=by))["lead"] is None


async def test_nodes_keep_the_order_asked_for_and_repeat(api, people, statements):
    ids = [people["campaign"], "lead_00000000000000000000000000", people["marie"], "nonsense", people["marie"]]
    with statements() as ran:
        answer = await api("nodes/list", ids=ids)
    assert len(ran) == 1
    assert [node and node["__typename"] for node in answer["nodes"]] == ["Campaign", None, "Lead", None, "Lead"]
    with statements() as ran:
        assert (await api("nodes/get", id="aut_nonsense"))["node"] is None
    assert len(ran) == 1


async def test_the_log_reads_in_order_and_its_cursor_is_a_plain_position(api, people, statements):
    with statements() as ran:
        page = (await api("activities/list", first=3))["activities"]
    assert len(ran) == 1
    cursor = page["pageInfo"]["endCursor"]
    rest = (await api("activities/list", after=cursor, where={"kind": {"eq": "LEAD_CREATED"}}))["activities"]
    everything = (await api("activities/list"))["activities"]["nodes"]
    assert page["nodes"] == everything[:3]
    assert rest["nodes"] == [node for node in everything[3:] if node["kind"] == "LEAD_CREATED"]
    backwards = (await api("activities/list", order="DESC"))["activities"]["nodes"]
    assert backwards == everything[::-1]
    here = (await api("workspace/get"))["workspace"]["activityCursor"]
    assert (await api("activities/list", after=here))["activities"] == {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": here}}


async def test_a_position_ahead_of_the_log_is_refused(api, people):
    from schema.planner import cursors

    ahead = cursors.encode(cursors.prefix(api.caller.workspace_id, b"log"), [10_000])
    nested = "query Q($after: String) { leads { nodes { activities(after: $after) { nodes { id } } } } }"
    for text, argument in (("activities/list", "activities.after"), (nested, "leads.nodes.activities.after")):
        told = (await api.error(text, after=ahead))["extensions"]
        assert (told["code"], told["argument"]) == ("INVALID_CURSOR", argument)


async def test_a_campaign_tells_its_figures_in_one_statement(api, people, statements):
    with statements() as ran:
        campaign = (await api("campaigns/get", id=people["campaign"]))["campaign"]
    assert len(ran) == 1
    assert campaign["stats"]["count"] == 2
    scores = [node["qualityScore"] for node in campaign["leads"]["nodes"]]
    assert campaign["stats"]["averageScore"] == sum(scores) / 2
    assert campaign["stats"]["byStatus"] == [{"status": "NEW", "count": 2}]
    buckets = {bucket["from"]: bucket["count"] for bucket in campaign["stats"]["scoreHistogram"]}
    assert list(buckets) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert sum(buckets.values()) == 2
    assert all(buckets[score // 10 * 10] >= 1 for score in scores)


async def test_a_compiled_plan_serves_every_value_of_its_shape(api, people):
    from schema.graph import graph

    await names(api, where={"company": {"contains": "corp"}})
    misses, hits = graph.plans.misses, graph.plans.hits
    assert set(await names(api, where={"company": {"contains": "startup"}})) == {"Jean"}
    assert (graph.plans.misses, graph.plans.hits) == (misses, hits + 1)
    await names(api, where={"company": {"contains": "corp"}, "status": {"eq": "NEW"}})
    assert graph.plans.misses == misses + 1


@pytest.mark.parametrize(
    "selection",
    ["totalCount", "__typename", "pageInfo { hasPreviousPage __typename }", "pageInfo { hasNextPage endCursor }", "nodes { id }"],
)
async def test_a_list_without_rows_answers_whatever_is_selected(api, statements, selection):
    with statements() as ran:
        answer = await api("{" + "".join(f" {root} {{ {selection} }}" for root in ("leads", "campaigns", "users", "activities")) + " }")
    assert len(ran) == 4
    empty = {"totalCount": 0, "__typename": "LeadConnection", "nodes": [], "pageInfo": answer["leads"].get("pageInfo")}
    assert answer["leads"] == {selection.split(" ")[0]: empty[selection.split(" ")[0]]}
    assert not any((answer["leads"].get("pageInfo") or {}).get(name) for name in ("hasNextPage", "hasPreviousPage", "endCursor"))


@pytest.mark.parametrize("selection", ["totalCount", "__typename", "pageInfo { hasPreviousPage }"])
async def test_a_nested_list_of_several_rows_is_one_object_whatever_is_selected(api, people, selection):
    answer = await api(f"{{ campaigns {{ nodes {{ leads {{ {selection} }} }} }} }}")
    [campaign] = answer["campaigns"]["nodes"]
    expected = {"totalCount": 2, "__typename": "LeadConnection", "pageInfo": {"hasPreviousPage": False}}[selection.split(" ")[0]]
    assert campaign["leads"] == {selection.split(" ")[0]: expected}
