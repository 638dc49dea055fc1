"""A key is shown once: after that it is nowhere, in no row, no byte of a file, no line of the log and no answer."""

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
import walks
from tenants import Asker, Tenant, arguments_for
from walks import NODES, ROOTS

from app import logs
from app.actions.keys import hash_of
from app.database import Database, database_file

#: So many characters of a secret in a row would be half of it given away; four of them are the key's `prefix`.
PIECE = 8


def pieces(key: str) -> Iterator[str]:
    """Give the secret part of a key in all its pieces, behind the four characters that may be shown."""
    secret = key.rpartition("_")[2]
    return (secret[start : start + PIECE] for start in range(1, len(secret) - PIECE + 1))


async def stored(database: Database) -> str:
    """Give all that the database holds: the bytes of the file and its log, or every row of every table as text."""
    file = database_file(database.url)
    if file is not None:
        files = [path for path in (Path(f"{file}{ending}") for ending in ("", "-wal", "-shm", "-journal")) if path.exists()]
        assert len(files) > 1, "there is no write-ahead log to look into"
        return "".join(path.read_bytes().decode("latin-1") for path in files)
    connection = await asyncpg.connect(database.url.set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        names = await connection.fetch("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'")
        rows = [row[0] for [name] in names for row in await connection.fetch(f"SELECT whole::text FROM {name} AS whole")]
    finally:
        await connection.close()
    return "\n".join(rows)


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    """All that the service logs, from DEBUG on."""
    stream = io.StringIO()
    logs.configure("DEBUG", stream)
    yield stream
    logs.configure("WARNING")


async def make_key(tenant: Tenant, name: str) -> Asker:
    made = (await tenant.admin.data("api_keys/create", input={"name": name, "role": "ADMIN"}))["apiKeyCreate"]
    return Asker(tenant.admin.client, made["key"], made["apiKey"]["id"])


async def use(key: Asker, app: Any) -> None:
    """Do with a key whatever leaves a trace: read, write, fail, and be refused."""
    await key.data("workspace/viewer")
    await key.data("leads/create", input={"email": f"{key.key_id}@example.com"})
    await key.errors("leads/create", {"input": {"email": "nonsense"}})
    await key.errors("leads/delete", {"lead": {"id": "lead_nonsense"}})
    await key.post("{", {}, **{"x-request-id": "ours"})
    assert (await key.client.post("/graphql", json={"query": "{ __typename }"}, headers={"x-org-api-key": key.key})).status_code == 200
    for wrong in (f"{key.key}x", key.key[:-1], key.key.swapcase(), key.key.upper()):
        assert (await key.client.post("/graphql", content=b"{", headers={"authorization": f"Bearer {wrong}"})).status_code == 401
    assert (await key.client.put("/graphql", headers={"authorization": f"Bearer {key.key}"})).status_code == 405
    assert (await key.client.get("/graphql", headers={"authorization": f"Bearer {key.key}"})).status_code == 400
    await asyncio.gather(*app.state.callers._noting)


async def test_a_key_is_in_no_row_no_file_and_no_log(furnish, database, app, log_lines):
    tenant = await furnish()
    used, revoked, unused = [await make_key(tenant, f"{name} {tenant.token}") for name in ("used", "revoked", "unused")]
    for key in (used, revoked):
        await use(key, app)
    await tenant.admin.data("api_keys/revoke", id=revoked.key_id)
    assert (await revoked.post("workspace/viewer")).status_code == 401
    held, logged = await stored(database), log_lines.getvalue()
    for key in (tenant.admin, used, revoked, unused):
        assert hash_of(key.key) in held, "the search would find nothing"
        for text in (key.key, *pieces(key.key)):
            assert text not in held
            assert text not in logged
    assert f"unused {tenant.token}" in held


async def test_what_nobody_expected_is_logged_without_the_key(furnish, database, app, log_lines, monkeypatch):
    tenant = await furnish()
    password = "hunter2-in-a-message"

    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"cannot connect with {password}")

    monkeypatch.setattr("app.actions.leads.load_known", broken)
    answer = await tenant.admin.post("leads/create", {"input": {"email": f"eve.{tenant.token}@example.com", "phone": "+33612345678"}})
    [error] = answer.json()["errors"]
    assert error["extensions"]["code"] == "INTERNAL"
    assert error["extensions"]["requestId"] == answer.headers["x-request-id"]
    for hidden in (password, "RuntimeError", "Traceback", ".py", "load_known"):
        assert hidden not in answer.text
    logged = log_lines.getvalue()
    assert error["extensions"]["requestId"] in logged
    assert password in logged
    for private in (tenant.admin.key, *pieces(tenant.admin.key), f"eve.{tenant.token}", "+33612345678"):
        assert private not in logged


async def test_the_log_of_activities_tells_of_a_key_without_its_secret_or_hash(furnish, database):
    tenant = await furnish()
    key = await make_key(tenant, "told")
    await tenant.admin.data("api_keys/revoke", id=key.key_id)
    query = "{ activities(where: {kind: {eq: ADMINISTERED}}) { nodes { event subjectId attributes changes { field before after } } } }"
    nodes = [node for node in (await tenant.admin.data(query))["activities"]["nodes"] if node["subjectId"] == key.key_id]
    assert [node["event"] for node in nodes] == ["apiKey.created", "apiKey.revoked"]
    assert [change["field"] for node in nodes for change in node["changes"]] == ["name", "role", "revokedAt"]
    async with database.writing() as connection:
        asked = sa.text("SELECT changes, attributes, request_id FROM activity WHERE workspace_id = :workspace")
        rows = str((await connection.execute(asked, {"workspace": tenant.workspace})).all())
    for text in (key.key, hash_of(key.key), key.key.rpartition("_")[2][:PIECE]):
        assert text not in str(nodes)
        assert text not in rows


QUERIES = [(field, None) for field in ROOTS["Query"].fields if not field.startswith("node")] + [("node", name) for name in NODES]


@pytest.mark.parametrize(("field", "only"), QUERIES, ids=lambda value: value)
async def test_no_answer_shows_a_secret_or_a_hash_again(owner, field, only):
    arguments = arguments_for(field, owner) if only is None else {"id": owner.ids[only]}
    answer = await owner.admin.post(walks.document("Query", field, arguments, depth=2, only=only), arguments)
    assert "errors" not in answer.json()
    for text in (owner.admin.key, hash_of(owner.admin.key), *pieces(owner.admin.key)):
        assert text not in answer.text


async def test_only_the_answer_that_makes_a_key_shows_it(furnish):
    tenant = await furnish()
    shown = [name for name in ROOTS["Mutation"].fields if "lg_" in (await reply(tenant, name)).replace(tenant.admin.key[:34], "")]
    assert shown == ["apiKeyCreate"]
    again = await tenant.admin.post("api_keys/list")
    assert again.json()["data"]["apiKeys"]["nodes"]
    assert not any(piece in again.text for piece in pieces(tenant.admin.key))


async def reply(tenant: Tenant, name: str) -> str:
    arguments = arguments_for(name, tenant)
    text = (await tenant.admin.post(walks.document("Mutation", name, arguments, depth=1), arguments)).text
    return text if name == "apiKeyCreate" else text.replace('"prefix":"lg_', '"prefix":"')
