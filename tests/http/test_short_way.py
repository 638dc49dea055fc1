"""Queries have two ways in: the plans alone, and the library with the plans inside. Nobody can tell by the answer which was taken."""

import re

import pytest

from app.settings import QUERIES
from schema.graph import graph

READING = sorted(str(path.relative_to(QUERIES).with_suffix("")) for path in QUERIES.rglob("*.graphql") if "\nquery " in path.read_text())
ROOTS = re.compile(r"\b(?:leads|viewer|lead|apiKeys)\b(?= *[({])")
PAGES = """query P($first: Int = 2, $after: String, $with: Boolean = true, $where: LeadWhere) {
  a: leads(first: $first, after: $after, where: $where, orderBy: [{field: EMAIL}]) { ...page b: totalCount @include(if: $with) }
  ... on Query { viewer { role __typename } lead(by: {id: "lead_none"}) { id } }
}
fragment page on LeadConnection { nodes { id email __typename } edges { cursor } pageInfo { endCursor hasNextPage } }"""


class LongWay:
    """Leaves every query to the library."""

    async def answer(self, *_):
        return None


class CountedWay:
    """Counts what the short way answered by itself."""

    def __init__(self, way):
        self.way, self.answered = way, 0

    async def answer(self, *args):
        found = await self.way.answer(*args)
        self.answered += found is not None
        return found


@pytest.fixture
def both_ways(api, monkeypatch, statements):
    """Ask both ways; give the answer, and whether the plans alone gave it."""
    short = graph.short_way

    async def ask(document, variables=None):
        text = document if "{" in document else (QUERIES / f"{document}.graphql").read_text()
        headers = {"authorization": f"Bearer {api.key}", "x-request-id": "r"}
        found, statements_of = [], []
        for way in (CountedWay(short), LongWay(), CountedWay(short)):
            monkeypatch.setattr(graph, "short_way", way)
            with statements() as ran:
                answer = await api.client.post("/graphql", json={"query": text, "variables": variables or {}}, headers=headers)
            found.append((answer.status_code, answer.content))
            statements_of.append(len(ran))
        assert found[0] == found[1] == found[2]
        if "errors" in answer.json():
            assert max(statements_of) <= len(ROOTS.findall(text))  # the library gives up on the others once a required field fails
        else:
            assert statements_of[0] == statements_of[1] == statements_of[2]
        return answer.json(), way.answered

    return ask


@pytest.fixture
async def filled(api):
    rows = [{"email": f"{name}@example.com", "firstName": name} for name in ("ada", "bob", "cleo")]
    report = await api("leads/upsert_many", input={"leads": rows})
    lead = report["leadUpsertMany"]["results"][0]["leadId"]
    campaign = (await api("campaigns/create", input={"name": "Spring"}))["campaignCreate"]["campaign"]["id"]
    return {
        "leads/get": {"by": {"id": lead}},
        "campaigns/get": {"id": campaign},
        "nodes/get": {"id": lead},
        "nodes/list": {"ids": [lead, "x"]},
        "import_jobs/get": {"id": "imp_never"},
    }


@pytest.mark.parametrize("document", READING)
async def test_every_document_that_reads_is_answered_by_its_plans(both_ways, filled, document):
    answer, short = await both_ways(document, filled.get(document))
    assert "errors" not in answer
    assert short == 1


@pytest.mark.parametrize(
    "variables",
    [{}, {"first": None}, {"with": False}, {"where": {"email": {"in": []}}}, {"first": 1, "where": {"firstName": {"startsWith": "A"}}}],
)
async def test_aliases_fragments_directives_and_defaults_come_out_the_same(both_ways, filled, variables):
    answer, short = await both_ways(PAGES, variables)
    assert list(answer["data"]) == ["a", "viewer", "lead"]
    assert ("b" in answer["data"]["a"], answer["data"]["lead"], short) == (variables.get("with", True), None, 1)


@pytest.mark.parametrize(
    ("document", "variables", "code", "path"),
    [
        (PAGES, {"first": 201}, "BAD_USER_INPUT", ["a"]),
        (PAGES, {"after": "nonsense"}, "INVALID_CURSOR", ["a"]),
        (PAGES, {"first": "two"}, "BAD_USER_INPUT", None),
        (PAGES, {"with": None}, "BAD_USER_INPUT", ["a"]),
        (PAGES, {"where": {"email": {"eq": "\0"}}}, "BAD_USER_INPUT", ["a"]),
        (PAGES, {"where": {"nothing": 1}}, "BAD_USER_INPUT", None),
        ("query ($by: LeadRef!) { lead(by: $by) { id } }", {"by": {"id": "\0"}}, "BAD_USER_INPUT", ["lead"]),
        ("query ($by: LeadRef!) { lead(by: $by) { id } }", {"by": {"id": "a", "email": "b"}}, "BAD_USER_INPUT", None),
        ("query ($by: LeadRef!) { lead(by: $by) { id } }", {}, "BAD_USER_INPUT", None),
    ],
)  # fmt: skip
async def test_an_error_is_told_in_the_same_words_and_no_statement_runs_twice(both_ways, filled, document, variables, code, path):
    answer, short = await both_ways(document, variables)
    error = answer["errors"][0]
    assert (error["extensions"]["code"], error.get("path"), short) == (code, path, 0)


async def test_a_list_that_only_administrators_may_see_is_forbidden_both_ways(api, api_of, both_ways):
    viewer = await api_of(api.caller, "VIEWER")
    api.key = viewer.key
    answer, short = await both_ways("{ apiKeys { nodes { id } } viewer { role } }")
    assert (answer["data"], answer["errors"][0]["extensions"]["code"], short) == (None, "FORBIDDEN", 0)


@pytest.mark.parametrize(
    "document",
    [
        "{ __typename viewer { role } }",
        "query ($n: Boolean!) { viewer @include(if: $n) { role } workspace { slug } }",
        '{ __type(name: "Lead") { name } }',
    ],
)
async def test_what_is_not_all_planned_goes_the_long_way(both_ways, document):
    answer, short = await both_ways(document, {"n": False})
    assert "errors" not in answer
    assert ("viewer" in answer["data"], short) == ("__typename" in document, 0)
