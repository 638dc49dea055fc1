"""Plans are kept by what their SQL depends on, and by nothing else."""

import pytest

from schema.graph import graph


@pytest.fixture
async def crowd(api):
    """A user with a lead called Alice, a campaign with one called Bob, and a lead in three campaigns."""
    user = (await api("users/create", input={"email": "owner@example.com", "role": "EDITOR"}))["userCreate"]["user"]["id"]
    campaigns = [(await api("campaigns/create", input={"name": name}))["campaignCreate"]["campaign"]["id"] for name in ("A", "B", "C")]
    alice = await api("leads/create", input={"email": "alice@example.com", "assignee": {"id": user}, "campaignIds": campaigns})
    await api("leads/create", input={"email": "bob@example.com", "campaignIds": campaigns[:1]})
    return {"user": user, "campaign": campaigns[0], "lead": alice["leadCreate"]["lead"]["id"]}


async def test_a_node_of_one_type_is_never_asked_what_another_was(api, crowd):
    text = """query Q($ids: [ID!]!, $s: String, $t: String, $a: String, $b: String) { nodes(ids: $ids) {
      ... on User { leads(search: $s) { nodes { email } } }
      ... on Campaign { leads(search: $t, after: $b) { nodes { email } } }
      ... on Lead { campaigns(first: 1, after: $a) { nodes { name } pageInfo { endCursor } } } } }"""

    async def found(name, **variables):
        [node] = (await api(text, ids=[crowd[name]], s="alice", t="bob", **variables))["nodes"]
        return [row.get("email") or row.get("name") for row in next(iter(node.values()))["nodes"]], next(iter(node.values())).get(
            "pageInfo"
        )

    first, page = await found("lead")
    after = page["endCursor"]
    for _ in range(2):
        assert (await found("user"))[0] == ["alice@example.com"]
        assert (await found("campaign"))[0] == ["bob@example.com"]
        # A cursor that is of no use to this node's type is not looked at.
        assert (await found("lead", a=after, b="nonsense"))[0] == ["B"]
        assert (await found("user", a="nonsense"))[0] == ["alice@example.com"]
    assert first == ["C"]


async def test_another_batch_of_the_same_document_compiles_nothing(api):
    text = "mutation Q($input: LeadUpsertManyInput!) { leadUpsertMany(input: $input) { batch { id } results { lead { email } } } }"
    await api(text, input={"leads": [{"email": "a@example.com"}]})
    misses = graph.plans.misses
    for rows in ([{"email": "b@example.com", "company": None}], [{"crmId": "1", "attributes": {"a": {"b": 1}}}] * 3):
        await api(text, input={"leads": rows})
    assert graph.plans.misses == misses


@pytest.mark.parametrize("name", ["anon_1", "anon_2", "anon_3", "anon_5", "row", "rn", "c0", "x" * 70])
async def test_no_response_key_is_taken_for_a_name_of_the_statement(api, crowd, name):
    text = f"""{{
      leads(first: 2) {{ nodes {{ {name}: email campaigns {{ nodes {{ {name}: name __typename }} pageInfo {{ {name}: hasNextPage }} totalCount }}
        score {{ __typename {name}: value components {{ {name}: points }} }} activities(first: 1) {{ edges {{ {name}: node {{ {name}: kind }} }} }} }} }}
      campaigns(first: 1) {{ nodes {{ {name}: name stats {{ {name}: count byStatus {{ {name}: count }} }} leads {{ nodes {{ {name}: email }} }} }} }}
      viewer {{ workspaces {{ {name}: slug }} apiKey {{ {name}: name }} }}
      workspace {{ {name}: slug scoring {{ weights {{ {name}: maximum }} }} }}
      nodes(ids: ["{crowd["lead"]}"]) {{ {name}: id }}
    }}"""
    answer = await api(text)
    bob, alice = answer["leads"]["nodes"]
    assert (bob[name], alice[name]) == ("bob@example.com", "alice@example.com")
    assert [node[name] for node in alice["campaigns"]["nodes"]] == ["C", "B", "A"]
    assert alice["campaigns"]["pageInfo"] == {name: False}
    assert sum(part[name] for part in alice["score"]["components"]) == alice["score"][name]
    assert alice["activities"]["edges"] == [{name: {name: "LEAD_CREATED"}}]
    assert answer["campaigns"]["nodes"][0]["stats"][name] == 1
    assert answer["viewer"]["workspaces"] == [{name: answer["workspace"][name]}]
    assert [weight[name] for weight in answer["workspace"]["scoring"]["weights"]] == [30, 20, 20, 15, 15]
    assert answer["nodes"] == [{name: crowd["lead"]}]


@pytest.mark.parametrize(
    "text",
    [
        "{ lead(by: {}) { id } }",
        '{ lead(by: {id: "x", email: "y"}) { id } }',
        "{ lead(by: {id: null}) { id } }",
        '{ lead(by: {crmId: "x", email: null}) { id } }',
        "query Q($id: ID) { lead(by: {id: $id}) { id } }",
        "mutation { leadDelete(lead: {}) { deletedId } }",
        'mutation { leadAssign(lead: {crmId: "x"}, user: {}) { lead { id } } }',
        "query Q($by: LeadRef = {}) { lead(by: $by) { id } }",
    ],
)
async def test_a_reference_that_names_nothing_or_two_things_is_the_clients_mistake(api, text):
    assert (await api.error(text))["extensions"]["code"] in ("GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT")


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ('{ leads(where: {or: [{createdAt: {gt: "x"}}]}) { totalCount } }', "where.or[0].createdAt.gt"),
        ('mutation { leadCreate(input: {email: "a@example.com", optInAt: "2020-01-01"}) { lead { id } } }', "input.optInAt"),
        ('mutation { leadCreate(input: {email: "a@example.com", attributes: [1]}) { lead { id } } }', "input.attributes"),
        ('{ leads(search: "a\\u0000b") { totalCount } }', "leads.search"),
        ('{ lead(by: {email: "a\\u0000"}) { id } }', "lead.by.email"),
        ('{ mine: node(id: "a\\u0000") { id } }', "mine.id"),
        ('{ nodes(ids: ["x", "a\\u0000"]) { id } }', "nodes.ids[1]"),
        ('{ campaign(id: "a\\u0000") { id } }', "campaign.id"),
    ],
)
async def test_a_literal_that_breaks_a_rule_is_named_by_its_place(api, text, argument):
    error = await api.error(text)
    assert (error["extensions"]["code"], error["extensions"]["argument"]) == ("BAD_USER_INPUT", argument)


async def test_a_variable_may_stand_inside_attributes(api):
    text = 'mutation Q($x: String) { leadCreate(input: {email: "a@example.com", attributes: {k: $x, l: [1]}}) { lead { attributes } } }'
    assert (await api(text, x="v"))["leadCreate"]["lead"]["attributes"] == {"k": "v", "l": [1]}
    assert (await api.error(text, x="a\0"))["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_cursor_of_ones_own_making_is_refused_where_its_keys_are_of_the_wrong_kind(api):
    from schema.leads import NEWEST_FIRST
    from schema.planner import cursors, pages

    order = [(key.column, key.descending) for key in pages.ordered(NEWEST_FIRST, None, "")]
    prefix = cursors.list_prefix(api.caller.workspace_id, "Lead", order, {})
    for keys in (["x", "y"], [1, "lead_x"], ["2026-01-01T00:00:00Z", 5], ["2026-01-01T00:00:00", "lead_x"], [None, "lead_x"]):
        error = await api.error("leads/list", after=cursors.encode(prefix, keys))
        assert error["extensions"]["code"] == "INVALID_CURSOR", keys


async def test_a_lead_that_is_not_there_is_null_whatever_is_asked_of_it(api):
    from schema.planner import cursors

    ahead = cursors.encode(cursors.prefix(api.caller.workspace_id, b"log"), [10_000])
    text = 'query Q($after: String) { lead(by: {email: "none@example.com"}) { activities(after: $after) { nodes { id } } } }'
    assert await api(text, after=ahead) == {"lead": None}
