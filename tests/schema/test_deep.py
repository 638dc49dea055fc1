"""Twelve levels are answered, whatever they are of: SQLite's parser has a stack of 100, of which each level takes some."""

import pytest
from graphql import GraphQLObjectType, GraphQLUnionType, get_named_type, is_leaf_type

from app.settings import Settings
from schema.graph import graph

LEVELS = Settings().max_depth
PAGE = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"


def document(steps, innermost):
    """Nest steps, `%s` in one being where the next goes; a type condition is no level."""
    text = innermost
    for step in reversed(steps):
        text = step % text if "%s" in step else f"{step} {{ {text} }}"
    return f"{{ {text} }}"


def turns(steps, count):
    return [steps[place % len(steps)] for place in range(count)]


NODES = turns(["leads(first: 1)", "nodes", "campaigns(first: 1)", "nodes"], 11)
EDGES = turns(["leads(first: 1)", "edges", "node", "campaigns(first: 1)", "edges", "node"], 11)
HEAVY = turns(
    [
        f"leads(first: 1, orderBy: {{field: QUALITY_SCORE}}) {{ totalCount {PAGE} edges {{ cursor }} nodes {{ id score {{ value }} %s }} }}",
        f"campaigns(first: 1) {{ totalCount {PAGE} edges {{ cursor node {{ criteria {{ titles }} }} }} nodes {{ id name %s }} }}",
    ],
    5,
)
LOG = [*turns(["activities(first: 1, order: DESC)", "nodes", "lead"], 9), "emails { __typename } activities(first: 1)", "nodes"]
SCORES = turns(["leads(first: 1)", "nodes", "score", "campaign"], 11)


@pytest.fixture
async def lead(api):
    """The one lead there is, in the one campaign."""
    campaign = (await api("campaigns/create", input={"name": "Spring", "criteria": {"sources": ["linkedin"]}}))["campaignCreate"]
    row = {"email": "ada@example.com", "firstName": "Ada", "source": "linkedin"}
    await api("leads/upsert_many", input={"leads": [row], "campaignId": campaign["campaign"]["id"]})


def found_in(answer, key):
    """Follow an answer down to the deepest value under a key."""
    if isinstance(answer, list):
        answer = answer[0]
    below = [found for part in answer.values() if isinstance(part, dict | list) and part and (found := found_in(part, key))]
    here = [(0, answer[key])] if key in answer else []
    found = max(here + below, key=lambda each: each[0], default=None)
    return found and (found[0] + 1, found[1])


@pytest.mark.parametrize(
    ("steps", "innermost", "key", "expected"),
    [
        (NODES, "totalCount", "totalCount", 1),
        (NODES[:10], "id __typename", "__typename", "Lead"),
        (EDGES, "cursor", "cursor", ...),
        (HEAVY, "campaigns { totalCount }", "totalCount", 1),
        (LOG, "__typename", "__typename", "Activity"),
        (SCORES, "value", "value", 72),
    ],
    ids=["nodes", "rows", "edges", "all of each page", "the log", "scores"],
)
@pytest.mark.usefixtures("lead")
async def test_twelve_levels_are_one_statement_and_data(api, statements, steps, innermost, key, expected):
    with statements() as ran:
        answer = await api(document(steps, innermost))
    assert len(ran) == 1
    found = found_in(answer, key)[1]
    assert found is not None
    assert expected in (found, ...)


def object_fields():
    """Every field of the graph that leads from a type to a type, by the type that has it, as a step of a document."""
    steps = {}
    for type_ in graph.core.type_map.values():
        if isinstance(type_, GraphQLObjectType) and not type_.name.startswith(("__", "Mutation", "Subscription")):
            for name, field in type_.fields.items():
                inner = get_named_type(field.type)
                if is_leaf_type(inner) or name == "schemaInfo":
                    continue
                given = ["first: 1"] if "first" in field.args else []
                given += {
                    "lead": ['by: {id: "lead_x"}'],
                    "nodes": [f'ids: ["{ID}"]'],
                    "node": [f'id: "{ID}"'],
                    "campaign": ['id: "x"'],
                }.get(name, []) * (type_.name == "Query")
                call = f"{name}({', '.join(given)})" if given else name
                reached = [inner.name] if isinstance(inner, GraphQLObjectType) else [each.name for each in members(inner)]
                for other in reached:
                    steps.setdefault(type_.name, []).append((call, other, isinstance(inner, GraphQLObjectType)))
    return steps


ID = "bat_01m7zmf9k2ef3bbpw8zbah2g2p"


def members(type_):
    assert isinstance(type_, GraphQLUnionType) or type_.name == "Node"
    return graph.core.get_possible_types(type_)


def longest(steps, type_name, levels, known):
    """Go on from a type as often as it is possible, over rows rather than lists: these take more for a level."""
    if levels == 0:
        return []
    key = type_name, levels
    if key not in known:
        known[key] = []
        tails = [[step, *longest(steps, step[1], levels - 1, known)] for step in steps.get(type_name, [])]
        known[key] = max(tails, key=lambda tail: (len(tail), sum("(" not in call for call, _, _ in tail)), default=[])
    return known[key]


def ways_in(steps):
    """Give a shortest way from the root to each type."""
    ways, waiting = {"Query": []}, ["Query"]
    while waiting:
        type_name = waiting.pop(0)
        for step in steps.get(type_name, []):
            if step[1] not in ways:
                ways[step[1]] = [*ways[type_name], step]
                waiting.append(step[1])
    return ways


def leaf_of(type_name):
    return next(
        (name for name, field in graph.core.type_map[type_name].fields.items() if is_leaf_type(get_named_type(field.type))), "__typename"
    )


async def test_every_field_may_stand_in_a_query_of_twelve_levels(api):
    steps, known, asked = object_fields(), {}, set()
    ways = ways_in(steps)
    for type_name in ways:
        for step in steps.get(type_name, []):
            if (type_name, step) not in asked:
                way = [*ways[type_name], step]
                way += longest(steps, step[1], LEVELS - 1 - len(way), known)
                calls = [call if plain else f"{call} {{ ... on {other} {{ %s }} }}" for call, other, plain in way]
                answer = await api.send(document(calls, leaf_of(way[-1][1])))
                assert "errors" not in answer, (calls, answer)
                asked |= set(zip(["Query", *[other for _, other, _ in way]], way, strict=False))
