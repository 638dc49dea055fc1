"""The same rows give the same bytes from both databases, for every document that reads."""

import io
import secrets

import orjson
import pytest
import sqlalchemy as sa
from postgres import create_postgres_database, drop_postgres_database
from sqlmodel import SQLModel

from app.actions import campaigns, imports, keys, leads, upserts, users, workspaces
from app.actions.work import Caller, Role, Work
from app.database import Database, insert_rows
from app.migrations import upgrade
from app.rules.ids import search_key
from app.rules.written import moment_text
from app.settings import QUERIES, Settings
from schema.context import Context
from schema.graph import graph

ROWS = [
    {"email": "Zoë@example.com", "firstName": "Zoë", "lastName": 'O"Neil \\ Ünlü', "company": "Ærø & Söhne", "source": "LinkedIn"},
    {
        "email": "tab@example.com",
        "notes": "a\ttab\nand a line, too",
        "attributes": {"z": 1, "a": {"y": [1.0, 1e21, -0.0], "b": None, "x": "é"}},
    },
    {"crmId": "crm 3", "firstName": "名", "optInAt": "2026-01-20T10:00:00.5+02:00", "attributes": {"deep": [[[{"k": True}]]]}},
    {"email": "later@example.com", "optInAt": "2026-01-20T10:00:00Z", "phone": "+33 6 12 34 56 78", "title": "CTO"},
]


@pytest.fixture(scope="module")
def postgres_url():
    url = create_postgres_database()
    yield url
    drop_postgres_database(url)


async def fill(database):
    """A workspace with something of everything that can be written so far."""
    async with database.writing() as connection:
        workspace = await workspaces.create(connection, slug=f"bytes-{secrets.token_hex(4)}")
    caller = Caller(workspace["id"], Role.ADMIN, workspace_ids=(workspace["id"],))
    async with database.writing() as connection:
        work = Work(connection, caller, "req_1")
        user = await users.create(work, {"email": "owner@example.com", "name": "Owner", "role": "EDITOR"})
        campaign = await campaigns.create(
            work, {"name": "Été", "status": "ACTIVE", "criteria": {"titles": ["cto"], "sources": ["LinkedIn"]}}
        )
        key, _ = await keys.create_key(connection, caller.workspace_id, "key", Role.ADMIN)
    caller = Caller(workspace["id"], Role.ADMIN, api_key_id=key["id"], workspace_ids=(workspace["id"],))
    for number, row in enumerate(ROWS):
        async with database.writing() as connection:
            report = await upserts.upsert_many(
                Work(connection, caller, f"req_{number + 2}"), [row], campaign_id=campaign["id"] if number % 2 else None
            )
            assert report.results[0].errors == []
            ref = {"id": report.results[0].lead_id}
            await leads.update(
                Work(connection, caller), ref, {"assignee": {"id": user["id"]}, "status": "CONTACTED"} if number else {"notes": "hm"}
            )
    async with database.writing() as connection:
        kept = await imports.order(
            Work(connection, caller), io.BytesIO(b"email,city\nzoe@example.com,Lyon\nnobody,Lyon\n"), imports.Order()
        )
    for _ in range(2):
        async with database.writing() as connection:
            kept.job["checkpoint"], _ = await imports.step(Work(connection, caller), kept.job)
    return caller, {"lead": ref["id"], "campaign": campaign["id"], "user": user["id"], "key": key["id"], "import": kept.id}


async def copied(source, target, caller):
    """Copy every row of the workspace, as it is, from one database to the other."""
    for table in SQLModel.metadata.sorted_tables:
        mine = table.c.workspace_id if "workspace_id" in table.c else table.c.id
        async with source.writing() as connection:
            found = (
                await connection.execute(sa.select(table).where(mine == sa.bindparam("workspace")), {"workspace": caller.workspace_id})
            ).mappings()
            rows = [dict(row) for row in found]
        async with target.writing() as connection:
            await insert_rows(connection, table, rows)
            if table.name == "lead" and not target.is_postgres:
                into = "INSERT INTO lead_search (rowid, workspace_id, lead_id, created_at, words) VALUES (?, ?, ?, ?, ?)"
                for row in rows:
                    values = (search_key(row["id"]), row["workspace_id"], row["id"], moment_text(row["created_at"]), row["search_text"])
                    await connection.exec_driver_sql(into, values)


async def answers(database, caller, ids):
    out = {}
    variables = {
        "leads/get": {"by": {"id": ids["lead"]}},
        "campaigns/get": {"id": ids["campaign"]},
        "nodes/get": {"id": ids["lead"]},
        "import_jobs/get": {"id": ids["import"]},
        "nodes/list": {"ids": [ids["lead"], ids["key"], "x", ids["user"], ids["campaign"], caller.workspace_id]},
    }
    texts = {
        str(path.relative_to(QUERIES).with_suffix("")): path.read_text()
        for path in sorted(QUERIES.rglob("*.graphql"))
        if "\nquery " in path.read_text()
    }
    texts["everything"] = """{
      leads(orderBy: [{field: LAST_NAME}, {field: QUALITY_SCORE, direction: DESC}], first: 3) {
        edges { cursor node { id fullName attributes notes optInAt updatedAt lastActivityAt score { stale meetsThreshold computedAt campaign { name } components { reasons kind } } assignee { name leads(first: 1) { edges { cursor } totalCount } } } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      }
      campaigns { nodes { criteria { titles sources } stats(where: {status: {eq: CONTACTED}}) { count averageScore byStatus { count status } bySource { source count } scoreHistogram { from to count } } leads(last: 1) { edges { cursor node { email } } pageInfo { hasPreviousPage startCursor } } } }
      activities(order: DESC, first: 20) { edges { cursor node { kind changes { after field } attributes actor { __typename ... on ApiKey { name prefix } } lead { email } campaign { name } } } pageInfo { endCursor } }
      search: leads(search: "neil un") { nodes { email } }
      apiKeys { nodes { name createdAt lastUsedAt } }
    }"""
    for name, text in texts.items():
        async with database.readers.reading(snapshot=True) as reading:
            result = await graph.execute(text, variable_values=variables.get(name), context_value=Context(caller, "same", reading=reading))
        assert result.errors is None, (name, result.errors)
        out[name] = orjson.dumps(result.data)
    return out


@pytest.mark.parametrize("first", ["sqlite", "postgresql"])
async def test_both_databases_answer_with_the_same_bytes(first, tmp_path, postgres_url):
    lite = Database(Settings(database_url=f"sqlite+aiosqlite:///{tmp_path / 'bytes.db'}"))
    post = Database(Settings(database_url=postgres_url))
    try:
        await upgrade(lite)
        await upgrade(post)
        source, target = (lite, post) if first == "sqlite" else (post, lite)
        caller, ids = await fill(source)
        await copied(source, target, caller)
        here, there = await answers(source, caller, ids), await answers(target, caller, ids)
        assert len(here) >= 12
        assert b"unlu" not in here["everything"]
        assert b'O\\"Neil' in here["everything"]
        for name, answer in here.items():
            assert there[name] == answer, name
    finally:
        await lite.close()
        await post.close()
