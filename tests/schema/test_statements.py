"""How many statements a request takes: one for each root field that reads, the same number for any batch."""

import io

import pytest
from statements import counted

from app.actions import imports
from app.actions.work import Work
from app.database import lock_workspace
from app.settings import QUERIES
from app.worker import Worker

READING = sorted(str(path.relative_to(QUERIES).with_suffix("")) for path in QUERIES.rglob("*.graphql") if "\nquery " in path.read_text())


@pytest.mark.parametrize("document", READING)
async def test_every_document_that_reads_is_one_statement(api, statements, document):
    made = await api("leads/create", input={"email": "marie@example.com"})
    campaign = await api("campaigns/create", input={"name": "Spring"})
    lead_id, campaign_id = made["leadCreate"]["lead"]["id"], campaign["campaignCreate"]["campaign"]["id"]
    variables = {
        "leads/get": {"by": {"id": lead_id}},
        "campaigns/get": {"id": campaign_id},
        "nodes/get": {"id": lead_id},
        "nodes/list": {"ids": [lead_id, campaign_id]},
        "import_jobs/get": {"id": "imp_00000000000000000000000000"},
    }
    with statements() as ran:
        await api(document, **variables.get(document, {}))
    assert len(ran) == 1, ran


async def test_a_batch_takes_as_many_statements_for_a_thousand_rows_as_for_two(api, statements):
    text = """mutation Upsert($input: LeadUpsertManyInput!) { leadUpsertMany(input: $input) {
      summary { total created updated } batch { id summary { total } }
      results { index outcome changes { field after } lead { email score { value } campaigns { totalCount } activities(first: 2) { nodes { kind } } } }
    } }"""
    campaign = (await api("campaigns/create", input={"name": "Spring"}))["campaignCreate"]["campaign"]["id"]
    counts = []
    for rows in (2, 1_000):
        for company in ("first", "then another"):
            leads = [{"email": f"lead{number}@example.com", "company": company} for number in range(rows)]
            with statements() as ran:
                answer = await api(text, input={"leads": leads, "campaignId": campaign})
            counts.append(len(ran))
        assert answer["leadUpsertMany"]["summary"] == {"total": rows, "created": 0, "updated": rows}
    assert counts[1] == counts[3]
    # The second batch of new leads finds two of them there already: it also changes.
    assert abs(counts[0] - counts[2]) <= 4


async def test_postgresql_plans_anew_what_may_touch_many_rows_and_nothing_else(api, database, settings):
    """A plan that it kept from when a table was small looks thousands of leads up in the wrong index."""

    async def planned_anew(asked, **variables):
        with counted() as statements:
            await api(asked, **variables)
        return sum("plan_cache_mode" in statement for statement in statements)

    many = int(database.is_postgres)
    assert await planned_anew("leads/upsert_many", input={"leads": [{"email": "ann@example.com"}]}) == many
    assert await planned_anew("leads/create", input={"email": "bea@example.com"}) == 0
    async with database.writing() as connection:
        modes = []
        for _ in range(2):
            if database.is_postgres:
                modes.append((await connection.exec_driver_sql("SHOW plan_cache_mode")).scalar_one())
            await lock_workspace(connection, api.caller.workspace_id, alone=False, many=True)
        assert modes == ["auto", "force_custom_plan"] * many
    worker = Worker(database, settings)
    async with database.writing() as connection:
        ordered = await imports.order(
            Work(connection, api.caller), io.BytesIO(b"email\ncid@example.com\n"), imports.Order(), held=worker.hold()
        )
    with counted() as statements:
        assert await worker.run_held(ordered.job, lambda _: None)
    assert sum("plan_cache_mode" in statement for statement in statements) == 2 * many  # the rows, and the end
