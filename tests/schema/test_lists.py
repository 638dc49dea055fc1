"""Every list: nodes, edges and pages, both ways, one statement a root field; what mutations don't make yet is put in as rows."""

from datetime import UTC, datetime, timedelta

import pytest

from app.actions.work import Role
from app.database import insert_rows, table_of
from app.rules.ids import new_id
from app.tables import Batch, Email, ImportJob, ImportRowError, UndoConflict

NOW = datetime(2026, 1, 20, 10, tzinfo=UTC)
COUNTS = {"created": 1, "updated": 2, "unchanged": 3, "skipped": 4, "failed": 5, "deleted": 6}


@pytest.fixture
async def full(api, database):
    """A campaign with two leads, seven e-mails, five batches and five imports, made a minute apart but for two at one moment."""
    campaign = (await api("campaigns/create", input={"name": "Spring"}))["campaignCreate"]["campaign"]["id"]
    rows = [{"email": "ann@example.com"}, {"email": "bob@example.com"}]
    made = (await api("leads/upsert_many", input={"leads": rows, "campaignId": campaign}))["leadUpsertMany"]
    leads = [row["leadId"] for row in made["results"]]
    here = {"workspace_id": api.caller.workspace_id}
    moments = [NOW + timedelta(minutes=minute) for minute in (0, 1, 1, 2, 3, 4, 5)]
    emails = [
        {
            **here, "id": new_id("eml"), "lead_id": leads[place % 2], "campaign_id": campaign if place % 3 == 0 else None,
            "to_address": None if place else "old@example.com", "subject": f"Mail {place}", "body": "Hello", "sent_at": None, "error": None,
            "status": ("SENT", "SCHEDULED", "FAILED")[place % 3], "scheduled_at": moment + timedelta(days=1), "claim_id": None,
            "lease_until": None, "created_at": moment,
        }
        for place, moment in enumerate(moments)
    ]  # fmt: skip
    batches = [
        {
            **here, **COUNTS, "id": new_id("bat"), "kind": "IMPORT", "status": "SUCCEEDED", "progress": 100, "actor_id": api.caller.api_key_id,
            "error": None, "created_at": moment, "finished_at": moment, "undone_at": None, "undone_by_id": None, "undoes_id": None,
        }
        for moment in moments[:5]
    ]  # fmt: skip
    batches[0] |= {"undone_by_id": batches[1]["id"], "undone_at": NOW}
    batches[1] |= {"undoes_id": batches[0]["id"], "kind": "UNDO"}
    jobs = [
        {
            **here, **COUNTS, "id": new_id("imp"), "status": "SUCCEEDED", "dry_run": False, "actor_id": api.caller.api_key_id,
            "file_name": f"{place}.csv", "campaign_id": campaign, "batch_id": batches[place]["id"], "progress": 37 if place else 100,
            "mapping": [{"column": "Mail", "field": "email"}], "rejected_url": None, "error": None, "created_at": moment, "finished_at": None,
        }
        for place, moment in enumerate(moments[:5])
    ]  # fmt: skip
    wrong = [
        {
            **here, "import_job_id": jobs[0]["id"], "line": line, "raw": {"Mail": str(line)},
            "errors": [{"code": "INVALID", "message": "is no address", "field": "email"}],
        }
        for line in (2, 5, 10, 11)
    ]  # fmt: skip
    conflicts = [
        {**here, "batch_id": batches[1]["id"], "position": place, "lead_id": leads[place % 2], "field": field}
        for place, field in enumerate(("title", "company", "attributes.a", "lead"))
    ]
    async with database.writing() as connection:
        for model, some in ((Email, emails), (Batch, batches), (ImportJob, jobs), (ImportRowError, wrong), (UndoConflict, conflicts)):
            await insert_rows(connection, table_of(model), some)
    return {"campaign": campaign, "leads": leads, "emails": emails, "batches": batches, "jobs": jobs, "upsert": made["batch"]["id"]}


def newest_first(rows):
    return [row["id"] for row in sorted(rows, key=lambda row: (row["created_at"], row["id"]), reverse=True)]


async def walked(api, statements, field, of, arguments, path):
    """Walk a list forward and backward by twos: the same rows, edges as nodes, a page knows what lies on either side."""
    way = "".join(f"{step} {{ " for step in path)
    page = (
        f"edges {{ cursor node {{ {of} }} }} nodes {{ {of} }} totalCount pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }}"
    )
    found = {}
    for size, cursor in (("first", "after"), ("last", "before")):
        given, rows, pages = None, [], 0
        while pages == 0 or given is not None:
            asked = ", ".join(filter(None, (arguments, f"{size}: 2", given and f'{cursor}: "{given}"')))
            with statements() as ran:
                answer = await api(f"{{ {way} {field}({asked}) {{ {page} }} {'}' * len(path)} }}")
            assert len(ran) == 1
            for step in path:
                answer = answer[step.partition("(")[0]]
            [answer] = [answer[field]]
            nodes = [edge["node"] for edge in answer["edges"]]
            assert nodes == answer["nodes"]
            info = answer["pageInfo"]
            assert (info["startCursor"], info["endCursor"]) == (answer["edges"][0]["cursor"], answer["edges"][-1]["cursor"])
            ahead, behind = ("hasNextPage", "hasPreviousPage") if size == "first" else ("hasPreviousPage", "hasNextPage")
            assert info[behind] is (pages > 0)
            rows = rows + nodes if size == "first" else nodes + rows
            pages += 1
            given = info["endCursor" if size == "first" else "startCursor"] if info[ahead] else None
        assert answer["totalCount"] == len(rows)
        assert pages == (len(rows) + 1) // 2
        found[size] = [next(iter(row.values())) for row in rows]
    assert found["first"] == found["last"]
    return found["first"]


async def test_emails_come_newest_first_narrowed_as_asked(api, full, statements):
    emails = full["emails"]
    assert await walked(api, statements, "emails", "id", "", []) == newest_first(emails)
    for where, expected in [
        ("{}", emails),
        ("{status: {eq: SENT}}", [row for row in emails if row["status"] == "SENT"]),
        ("{status: {notIn: [SENT, FAILED]}}", [row for row in emails if row["status"] == "SCHEDULED"]),
        (f'{{leadId: {{eq: "{full["leads"][0]}"}}}}', emails[::2]),
        (f'{{campaignId: {{in: ["{full["campaign"]}"]}}}}', emails[::3]),
        ("{campaignId: {isNull: true}}", [row for row in emails if row["campaign_id"] is None]),
        ('{scheduledAt: {lte: "2026-01-21T11:01:00+01:00"}}', emails[:3]),
    ]:
        assert await walked(api, statements, "emails", "id", f"where: {where}", []) == newest_first(expected), where
    assert (await api("emails/list", where={"status": {"in": []}}))["emails"]["totalCount"] == 0
    error = await api.error("emails/list", where={"status": {"eq": None}})
    assert error["extensions"]["argument"] == "emails.where.status.eq"


async def test_an_email_goes_to_the_address_of_today_until_it_is_claimed(api, full):
    nodes = (await api("{ emails { nodes { toAddress lead { email } campaign { name } } } }"))["emails"]["nodes"]
    assert nodes[-1] == {"toAddress": "old@example.com", "lead": {"email": "ann@example.com"}, "campaign": {"name": "Spring"}}
    assert {node["toAddress"] for node in nodes[:-1]} == {"ann@example.com", "bob@example.com"}
    assert all(node["toAddress"] == node["lead"]["email"] for node in nodes[:-1])


async def test_a_lead_has_its_own_emails(api, full, statements):
    path = [f'lead(by: {{id: "{full["leads"][1]}"}})']
    assert await walked(api, statements, "emails", "id", "", path) == newest_first(full["emails"][1::2])
    failed = [row for row in full["emails"][1::2] if row["status"] == "FAILED"]
    assert await walked(api, statements, "emails", "id", "where: {status: {eq: FAILED}}", path) == newest_first(failed)


async def test_batches_and_imports_come_newest_first(api, full, statements):
    assert await walked(api, statements, "batches", "id", "", []) == [full["upsert"], *newest_first(full["batches"])]
    assert await walked(api, statements, "importJobs", "id", "", []) == newest_first(full["jobs"])


async def test_a_batch_tells_what_became_of_it(api, full, statements):
    with statements() as ran:
        answer = await api("batches/list", first=200)
    assert len(ran) == 1
    by_id = {node["id"]: node for node in answer["batches"]["nodes"]}
    undone, undo = (by_id[row["id"]] for row in full["batches"][:2])
    assert undone["summary"] == {"total": 21, **COUNTS}
    assert (undone["undoneBy"], undone["undoes"], undone["undoneAt"]) == ({"id": undo["id"]}, None, "2026-01-20T10:00:00Z")
    assert (undo["undoneBy"], undo["undoes"], undo["progress"]) == (None, {"id": undone["id"]}, 1.0)
    assert [each["field"] for each in undo["conflicts"]["nodes"]] == ["title", "company", "attributes.a", "lead"]
    assert undo["conflicts"]["totalCount"] == 4


async def test_an_import_tells_which_rows_were_not_taken(api, full, statements):
    with statements() as ran:
        jobs = (await api("import_jobs/list"))["importJobs"]["nodes"]
    assert len(ran) == 1
    assert [(job["fileName"], job["progress"]) for job in jobs[-1:] + jobs[:1]] == [("0.csv", 1.0), ("4.csv", 0.37)]
    assert jobs[-1]["mapping"] == [{"column": "Mail", "field": "email"}]
    assert [row["line"] for row in jobs[-1]["rowErrors"]["nodes"]] == [2, 5, 10, 11]
    assert jobs[-1]["rowErrors"]["nodes"][0]["errors"] == [{"code": "INVALID", "message": "is no address", "field": "email"}]
    assert [job["rowErrors"]["totalCount"] for job in jobs] == [0, 0, 0, 0, 4]
    text = "query Q($id: ID!) { node(id: $id) { ... on ImportJob { batch { id importJob { fileName } } campaign { name } actor { __typename } } } }"
    assert (await api(text, id=full["jobs"][0]["id"]))["node"] == {
        "batch": {"id": full["batches"][0]["id"], "importJob": {"fileName": "0.csv"}},
        "campaign": {"name": "Spring"},
        "actor": {"__typename": "ApiKey"},
    }


@pytest.mark.parametrize(
    ("kind", "name", "field", "rows"),
    [("Batch", "batches", "conflicts", ["title", "company", "attributes.a", "lead"]), ("ImportJob", "jobs", "rowErrors", [2, 5, 10, 11])],
)
async def test_a_list_inside_a_node_is_walked_too(api, full, kind, name, field, rows):
    of = {"conflicts": "field", "rowErrors": "line"}[field]
    text = f"query Q($id: ID!, $first: Int, $after: String, $last: Int, $before: String) {{ node(id: $id) {{ ... on {kind} {{ {field}(first: $first, after: $after, last: $last, before: $before) {{ edges {{ cursor node {{ {of} }} }} totalCount pageInfo {{ hasNextPage hasPreviousPage endCursor startCursor }} }} }} }} }}"
    [row] = [row for row in full[name] if row is full[name][1 if name == "batches" else 0]]
    found, after = [], None
    for _ in range(2):
        page = (await api(text, id=row["id"], first=2, after=after))["node"][field]
        found += [edge["node"][of] for edge in page["edges"]]
        assert page["totalCount"] == 4
        after = page["pageInfo"]["endCursor"]
    assert found == rows
    assert (page["pageInfo"]["hasNextPage"], page["pageInfo"]["hasPreviousPage"]) == (False, True)
    page = (await api(text, id=row["id"], last=3, before=after))["node"][field]
    assert [edge["node"][of] for edge in page["edges"]] == rows[:3]


async def test_users_keys_and_campaigns_are_walked_too(api, statements):
    users = [
        (await api("users/create", input={"email": f"u{n}@example.com", "role": "VIEWER"}))["userCreate"]["user"]["id"] for n in range(3)
    ]
    assert await walked(api, statements, "users", "id", "", []) == users[::-1]
    keys = [(await api("api_keys/create", input={"name": f"k{n}", "role": "VIEWER"}))["apiKeyCreate"]["apiKey"]["id"] for n in range(3)]
    assert await walked(api, statements, "apiKeys", "id", "", []) == [*keys[::-1], api.caller.api_key_id]
    names = ["été", "Été b", "zoe", "Ana"]
    made = {
        (await api("campaigns/create", input={"name": name, "status": "ACTIVE" if name != "zoe" else "PAUSED"}))["campaignCreate"][
            "campaign"
        ]["id"]: name
        for name in names
    }
    assert [made[id_] for id_ in await walked(api, statements, "campaigns", "id", "", [])] == names[::-1]
    by_name = await walked(api, statements, "campaigns", "name", "orderBy: [{field: NAME, direction: DESC}]", [])
    assert by_name == ["zoe", "Été b", "été", "Ana"]
    by_name = await walked(
        api, statements, "campaigns", "name", 'where: {status: {eq: ACTIVE}, name: {contains: "ETE"}}, orderBy: [{field: NAME}]', []
    )
    assert by_name == ["été", "Été b"]


async def test_a_viewer_reads_all_but_keys(api_of, api, full):
    viewer = await api_of(api.caller, Role.VIEWER)
    answer = await viewer(
        "{ emails { totalCount } batches { totalCount } importJobs { totalCount } users { totalCount } leadStats { count } }"
    )
    assert {name: value.get("totalCount", value.get("count")) for name, value in answer.items()} == {
        "emails": 7, "batches": 6, "importJobs": 5, "users": 0, "leadStats": 2,
    }  # fmt: skip
    assert (await viewer.error("{ apiKeys { totalCount } }"))["extensions"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("field", ["emails", "batches", "importJobs"])
async def test_a_strangers_list_is_empty_and_takes_no_cursor_of_ours(api, stranger, full, field):
    page = (await api(f"{{ {field}(first: 1) {{ pageInfo {{ endCursor }} }} }}"))[field]["pageInfo"]
    assert (await stranger(f"{{ {field} {{ nodes {{ id }} totalCount }} }}"))[field] == {"nodes": [], "totalCount": 0}
    text = f"query Q($after: String) {{ {field}(after: $after) {{ totalCount }} }}"
    assert (await stranger.error(text, after=page["endCursor"]))["extensions"]["code"] == "INVALID_CURSOR"
    other = "batches" if field != "batches" else "emails"
    assert (await api.error(text.replace(field, other), after=page["endCursor"]))["extensions"]["code"] == "INVALID_CURSOR"
