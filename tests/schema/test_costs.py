"""What a request costs, counted by hand beside what is counted from the document."""

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, parse, validate

from schema.costs import cost_of
from schema.graph import graph

SCHEMA: GraphQLSchema = graph.core
LEADS = "{ leads(first: %s) { nodes { id } } }"
UPSERT = "mutation ($input: LeadUpsertManyInput!) { leadUpsertMany(input: $input) { results { outcome lead { id } } } }"
NESTED = "{ leads(first: 100) { nodes { campaigns(first: 100) { nodes { leads(first: 100) { nodes { id } } } } } } }"


def cost(text, **variables):
    document = parse(text)
    assert validate(SCHEMA, document) == []
    [operation] = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    return cost_of(SCHEMA, document, operation).of(variables)


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("{ viewer { role } }", {}, 1),
        ('{ lead(by: {id: "a"}) { id email score { value components { kind reasons } } } }', {}, 1 + 1 + 1 + 1),
        (LEADS % 10, {}, 1 + 10),
        (LEADS % 2147483647, {}, 1 + 200),
        ("query ($n: Int) { leads(first: $n) { nodes { id } } }", {"n": 2**31}, 1 + 200),
        ("{ nodes(ids: [%s]) { id } }" % ('"a" ' * 201), {}, 201),
        ("{ leads { nodes { id } } }", {}, 1 + 50),
        ("{ leads(last: 7) { edges { cursor node { id } } pageInfo { endCursor } } }", {}, 1 + 7 * (1 + 1) + 1),
        ("query ($n: Int) { leads(first: $n) { nodes { id } } }", {"n": 20}, 1 + 20),
        ("query ($n: Int) { leads(first: $n) { nodes { id } } }", {}, 1 + 50),
        ("query ($n: Int) { leads(first: $n) { nodes { id } } }", {"n": None}, 1 + 50),
        ("query ($n: Int = 5) { leads(first: $n) { nodes { id } } }", {}, 1 + 5),
        ("query ($n: Int) { leads(first: $n) { nodes { id } } }", {"n": "many"}, 1 + 1),
        ("{ a: leads(first: 3) { ...p } b: leads(first: 4) { ...p } } fragment p on LeadConnection { nodes { id } }", {}, 1 + 3 + 1 + 4),
        ("{ leads(first: 2) { nodes { campaigns(first: 5) { nodes { id } } } } }", {}, 1 + 2 * (1 + (1 + 5))),
        ("{ leads(first: 2) { nodes { activities(first: 3) { nodes { changes { field } } } } } }", {}, 1 + 2 * (1 + (1 + 3 * (1 + 1)))),
        ("query ($w: Boolean!) { leads(first: 2) { nodes { campaigns(first: 5) @include(if: $w) { totalCount } } } }", {"w": True}, 5),
        ("query ($w: Boolean!) { leads(first: 2) { nodes { campaigns(first: 5) @include(if: $w) { totalCount } } } }", {"w": False}, 3),
        ("{ leads(first: 2) { nodes @skip(if: true) { id } } }", {}, 1),
        ('{ nodes(ids: ["a", "b", "c"]) { id } }', {}, 3),
        ("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["a"] * 7}, 7),
        ("{ viewer { workspaces { id } } }", {}, 1 + 10),
        (UPSERT, {"input": {"leads": [{}] * 30}}, 1 + 30 * (1 + 1)),
        (UPSERT, {"input": None}, 1 + 10 * (1 + 1)),
        ("{ __schema { types { fields { name } } } __typename }", {}, 0),
        (NESTED, {}, 1 + 100 * (1 + 1 + 100 * (1 + 1 + 100))),
    ],
)
def test_objects_and_rows_are_counted(text, variables, expected):
    assert cost(text, **variables) == expected


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        (NESTED, {}),
        ("query ($a: Int!) { leads(first: $a) { nodes { campaigns(first: $a) { nodes { leads(first: $a) { nodes { id } } } } } } }", {"a": 100}),
        (UPSERT.replace("id }", "campaigns(first: 9) { nodes { id } } }"), {"input": {"leads": [{"email": "a@example.com"}] * 1_000}}),
    ],
)  # fmt: skip
async def test_what_costs_too_much_is_refused_before_any_statement(api, statements, text, variables):
    with statements() as ran:
        error = await api.error(text, **variables)
    assert (error["extensions"]["code"], error["extensions"]["cost"] > 10_000, ran) == ("QUERY_TOO_COMPLEX", True, [])


async def test_what_is_answered_tells_its_cost(api):
    assert (await api.send(LEADS % 200))["extensions"] == {"cost": 201}
