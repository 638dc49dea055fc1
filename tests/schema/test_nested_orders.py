"""A list below a row holds that row's own, in every order and from every side: as the root's list does when it is narrowed to them."""

import itertools

import pytest

KEYS = ("CREATED_AT", "UPDATED_AT", "LAST_ACTIVITY_AT", "QUALITY_SCORE", "EMAIL", "LAST_NAME", "COMPANY")
PAGES = ({}, {"first": 2}, {"last": 2}, {"first": 2, "offset": 1}, {"first": 2, "offset": 9})
SHOWN = "totalCount nodes { id } pageInfo { hasNextPage hasPreviousPage }"


@pytest.fixture
async def owners(api):
    """Two users and two campaigns, whose leads lie among each other in every order; some have nothing to be sorted by."""
    people = [
        (await api("users/create", input={"email": f"{name}@example.com", "role": "EDITOR"}))["userCreate"]["user"]["id"]
        for name in ("ann", "bob")
    ]
    campaigns = [(await api("campaigns/create", input={"name": name}))["campaignCreate"]["campaign"]["id"] for name in ("A", "B")]
    for turn, (user, campaign) in enumerate(itertools.product(people, campaigns)):
        for place in range(4):
            lead = {"crmId": f"C{turn}{place}", "assignee": {"id": user}, "campaignIds": [campaign], "autoScore": place != 2}
            if place:
                lead |= {"email": f"{'zmac'[place]}{turn}@example.com", "lastName": f"{'bzay'[place]}{turn}", "company": f"Company {place}"}
            await api("leads/create", input=lead)
    await api("events/track", input={"lead": {"crmId": "C01"}, "event": "opened"})
    return {"user": people, "campaign": campaigns}


def lists(order, where=""):
    """Write the list once for each page."""
    pages = (", ".join(f"{name}: {value}" for name, value in page.items()) for page in PAGES)
    return " ".join(f"p{place}: leads(orderBy: [{order}] {page} {where}) {{ {SHOWN} }}" for place, page in enumerate(pages))


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("key", KEYS)
async def test_a_list_below_a_row_is_the_roots_list_narrowed_to_it(api, owners, key, direction):
    order = f"{{field: {key}, direction: {direction}}}"
    for of, filtered in (("user", "assigneeId"), ("campaign", "campaignId")):
        below = (await api(f"{{ {of}s {{ nodes {{ id {lists(order)} }} }} }}"))[f"{of}s"]["nodes"]
        assert {row["id"] for row in below} == set(owners[of])
        document = f"query ($id: ID!) {{ {lists(order, f'where: {{{filtered}: {{eq: $id}}}}')} }}"
        for row in below:
            assert row == {"id": row["id"], **(await api(document, id=row["id"]))}
            assert [page["totalCount"] for name, page in row.items() if name != "id"] == [8] * len(PAGES)
        await walks_meet(api, of, below[0]["id"], order, {name: page["nodes"] for name, page in below[0].items() if name != "id"})


async def walks_meet(api, of, id_, order, first):
    """Walk on from page to page, from either end: all of the row's own, each once, in the order of the whole list."""
    whole = [row["id"] for row in first["p0"]]
    for size, cursor, edge in (("first", "after", "endCursor"), ("last", "before", "startCursor")):
        document = (
            f"query ($id: ID!, $cursor: String) {{ node(id: $id) {{ ... on {of.title()} {{"
            f" leads(orderBy: [{order}], {size}: 3, {cursor}: $cursor) {{ nodes {{ id }} pageInfo {{ {edge} }} }} }} }} }}"
        )
        seen, given = [], {}
        while len(seen) < len(whole):
            found = (await api(document, id=id_, **given))["node"]["leads"]
            page = [row["id"] for row in found["nodes"]]
            assert page
            seen = seen + page if size == "first" else page + seen
            given = {"cursor": found["pageInfo"][edge]}
        assert seen == whole
