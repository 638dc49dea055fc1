"""How many statements a request takes: one for each root field that reads, the same number for any batch."""

import pytest

from app.settings import QUERIES

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
