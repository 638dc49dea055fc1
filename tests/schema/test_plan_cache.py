"""Compiled statements are kept, counted, and bounded; and a page far down is the same statement as the first, no longer on its way."""

import gc
import sqlite3

import pytest
from explaining import plans_run

from app.readers import cursor_text
from app.rules.ids import new_id
from schema.graph import graph
from schema.planner.compiler import Compiler
from schema.planner.connections import Connection
from schema.planner.sqlite import SQLITE

BOUND = 20
LIST = "query Deep($first: Int, $after: String) { leads(first: $first, after: $after) { nodes { id } edges { cursor } pageInfo { hasNextPage endCursor } } }"


@pytest.fixture
def bounded(monkeypatch):
    monkeypatch.setattr(graph.plans, "size", BOUND)


async def test_ever_new_shapes_do_not_grow_the_cache_beyond_its_bound(api, bounded):
    misses = graph.plans.misses
    for number in range(150):
        await api(f"{{ users(first: 1) {{ n{number}: totalCount }} }}")
        assert len(graph.plans) <= BOUND
    assert graph.plans.misses == misses + 150
    hits = graph.plans.hits
    await api("{ users(first: 1) { n149: totalCount } }")
    assert (graph.plans.hits, graph.plans.misses) == (hits + 1, misses + 150)
    await api("{ users(first: 1) { n0: totalCount } }")  # gone since
    assert (graph.plans.hits, graph.plans.misses) == (hits + 1, misses + 151)


async def test_values_that_choose_other_statements_are_bounded_in_one_document_too(api, bounded):
    prefixes = ("lead", "cmp", "usr", "act", "eml", "bat")
    text = "query Nodes($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    for chosen in range(1, 2 ** len(prefixes)):
        ids = [new_id(prefix) for place, prefix in enumerate(prefixes) if chosen >> place & 1]
        for _ in range(2):
            assert (await api(text, ids=ids))["nodes"] == [None] * len(ids)
        assert len(graph.plans) <= BOUND
    misses = graph.plans.misses
    await api(text, ids=[new_id(prefix) for prefix in prefixes])
    assert graph.plans.misses == misses


async def test_what_is_kept_is_bounded_by_the_size_of_documents_and_statements_too(api, monkeypatch):
    monkeypatch.setattr(graph.plans, "characters", 100_000)
    for number in range(30):
        await api(f"{{ users(first: 1) {{ n{number}: totalCount }} }} #{'.' * 20_000}")
        assert graph.plans._written <= 100_000
    assert graph.plans._written == sum(family.written for family in graph.plans._families.values())
    await api(f"{{ users(first: 1) {{ totalCount }} }} #{'.' * 60_000}")
    hits = graph.plans.hits
    await api(f"{{ users(first: 1) {{ totalCount }} }} #{'.' * 60_000}")
    assert graph.plans.hits == hits + 1


async def test_a_kept_plan_holds_nothing_of_its_compilation(api):
    campaign = (await api("campaigns/create", input={"name": "Spring"}))["campaignCreate"]["campaign"]["id"]
    await api("leads/upsert_many", input={"leads": [{"email": "ada@example.com"}], "campaignId": campaign})
    asked = """query Kept($where: LeadWhere, $after: String, $inner: String, $search: String, $id: ID!, $ids: [ID!]!) {
      leads(where: $where, after: $after, search: $search) { totalCount nodes { id score { value } activities { edges { cursor } } } }
      activities(after: $inner) { nodes { lead { campaigns { nodes { stats { count } } } } } }
      nodes(ids: $ids) { id ... on Lead { activities(after: $inner) { totalCount } } }
      campaign(id: $id) { leads { pageInfo { endCursor } } } }"""
    where = {"campaignId": {"in": [campaign]}, "attributes": [{"key": "a", "eq": 1}], "or": [{"email": {"contains": "a"}}]}
    log = (await api("{ activities { pageInfo { endCursor } } }"))["activities"]["pageInfo"]["endCursor"]
    lead = (await api("{ leads { nodes { id } } }"))["leads"]["nodes"][0]["id"]
    for _ in range(2):
        await api(asked, where=where, inner=log, search="ada", id=campaign, ids=[campaign, lead])
    await api(LIST, first=1, after=(await api(LIST, first=1))["leads"]["pageInfo"]["endCursor"])
    gc.collect()
    # By `type`: `isinstance` asks a weak proxy of another library's what it stands for, and of one that is gone that is an error.
    assert [each for each in gc.get_objects() if issubclass(type(each), Compiler | Connection)] == []


async def test_page_two_thousand_is_the_plan_of_page_two_and_takes_as_many_steps(api, database):
    for start in range(0, 2_001, 667):
        rows = [{"crmId": str(number)} for number in range(start, start + 667)]
        await api("leads/upsert_many", input={"leads": rows, "autoScore": False})
    cursors, after = [], None
    while len(cursors) < 2_000:
        page = (await api(LIST, first=200, after=after))["leads"]
        cursors += [edge["cursor"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
    with plans_run() as ran:
        near = (await api(LIST, first=1, after=cursors[0]))["leads"]
        far = (await api(LIST, first=1, after=cursors[1_998]))["leads"]
    assert [near["edges"][0]["cursor"], far["edges"][0]["cursor"]] == [cursors[1], cursors[1_999]]
    (plan, values), (same, others) = ran
    assert plan is same
    if database.is_postgres:
        return
    file = database.settings.database_url.removeprefix("sqlite+aiosqlite:///")
    steps = [_steps(file, plan.sql, [SQLITE.bound(bind.make(each)) for bind in plan.binds]) for each in (values, others)]
    assert steps[0] == steps[1]


def _steps(file, sql, binds):
    """Count the steps of SQLite's machine."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    connection.create_function("cursor_text", 2, cursor_text, deterministic=True)
    counted = 0

    def tick():
        nonlocal counted
        counted += 1

    try:
        connection.set_progress_handler(tick, 1)
        assert len(connection.execute(sql, binds).fetchall()) == 1
    finally:
        connection.close()
    return counted
