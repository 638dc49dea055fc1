"""Every door: each route of the application, and each subscription, either shows nothing of a workspace or keeps others out of it."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
import walks
from starlette.applications import Starlette
from starlette.routing import Route
from tenants import Tenant, unknown_to_all
from test_tenants import a_cursor, blurred

from schema.graph import graph

#: What shows nothing of any workspace, and asks nobody who they are.
OPEN = {"/", "/explorer", "/explorer/", "/explorer/documents.json", "/explorer/assets/{name}", "/livez", "/readyz"}
OPEN_FOLDER = "/explorer/"
#: The rest of `Service`: what goes to `/graphql` passes by the routes.
GRAPHQL = {"/graphql", "/graphql by WebSocket"}

LEAD = "query ($id: ID!) { lead(by: {id: $id}) { email } }"
ADDED = "subscription ($after: String) { activityAdded(after: $after) { node { lead { email } changes { after } } } }"
UPDATED = "subscription ($id: ID!) { importJobUpdated(id: $id) { fileName } }"


async def through(app: Starlette, scope: dict[str, Any], incoming: list[dict[str, Any]], enough: bytes) -> str:
    """Ask the application itself, and leave when it said enough, or all that it had to say."""
    said: list[bytes] = []
    left = asyncio.Event()
    waiting = list(incoming)

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        await left.wait()
        return {"type": "websocket.disconnect", "code": 1000} if scope["type"] == "websocket" else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        piece = message.get("body") or (message.get("text") or "").encode()
        said.append(f"{message['status']} ".encode() if "status" in message else piece)
        if enough in piece or (scope["type"] == "http" and message["type"].endswith("body") and not message.get("more_body")):
            left.set()

    async with asyncio.timeout(30):
        await app({"http_version": "1.1", "query_string": b"", **scope}, receive, send)
    return b"".join(said).decode()


def http(method: str, path: str, key: str, query: str = "", **headers: str) -> dict[str, Any]:
    sent = {"host": "x", "authorization": f"Bearer {key}", **headers}
    encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()]
    return {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(), "headers": encoded,
        "scheme": "http", "server": ("x", 80), "client": ("127.0.0.1", 1), "root_path": "",
    }  # fmt: skip


async def get(app: Starlette, by: Tenant, path: str, query: str = "") -> str:
    return await through(app, http("GET", path, by.admin.key, query), [{"type": "http.request", "body": b""}], b"\0")


async def posted(app: Starlette, by: Tenant, document: str, variables: dict[str, Any], *, live: bool) -> str:
    """Send an operation; of one that goes on, wait for its first event."""
    accept = "text/event-stream" if live else "application/json"
    body = json.dumps({"query": document, "variables": variables}).encode()
    scope = http("POST", "/graphql", by.admin.key, content_type="application/json", accept=accept)
    return await through(app, scope, [{"type": "http.request", "body": body}], b"event: next" if live else b"\0")


async def by_socket(app: Starlette, by: Tenant, document: str, variables: dict[str, Any]) -> str:
    messages = [
        {"type": "connection_init", "payload": {"authorization": f"Bearer {by.admin.key}"}},
        {"type": "subscribe", "id": "1", "payload": {"query": document, "variables": variables}},
    ]
    scope = {**http("GET", "/graphql", ""), "type": "websocket", "scheme": "ws", "subprotocols": ["graphql-transport-ws"]}
    scope["headers"] = [(b"host", b"x")]
    incoming = [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": json.dumps(message)} for message in messages)]
    return await through(app, scope, incoming, b'"complete"')


async def exported(app: Starlette, by: Tenant, of: Tenant, form: str) -> str:
    where = quote(json.dumps({"or": [{"id": {"eq": of.ids["Lead"]}}, {"email": {"eq": of.email}}]}))
    asked = [f"where={where}", f"search={quote(of.email)}", f"search={of.token}"]
    return "\n".join([await get(app, by, f"/export/leads.{form}", query) for query in asked])


async def added(app: Starlette, by: Tenant, of: Tenant) -> str:
    after = await a_cursor(walks.Place("Query", "activities", "after", (), walks.TYPES["String"]), of)
    return await posted(app, by, ADDED, {"after": after}, live=True)


#: How one workspace goes through a door with the names of another, and what it gets to see.
CASES: dict[str, Any] = {
    "/graphql": lambda app, by, of: posted(app, by, LEAD, {"id": of.ids["Lead"]}, live=False),  # all else of it: test_tenants.py
    "/graphql by WebSocket": lambda app, by, of: by_socket(app, by, LEAD, {"id": of.ids["Lead"]}),
    "/export/leads.csv": lambda app, by, of: exported(app, by, of, "csv"),
    "/export/leads.ndjson": lambda app, by, of: exported(app, by, of, "ndjson"),
    "/imports/{id}/rejected.csv": lambda app, by, of: get(app, by, f"/imports/{of.ids['ImportJob']}/rejected.csv"),
    "Subscription.importJobUpdated": lambda app, by, of: posted(app, by, UPDATED, {"id": of.ids["ImportJob"]}, live=True),
    # Its filter is that of `activities`, which test_tenants.py walks; by another's names it tells nothing in tests/http/test_sockets.py.
    "Subscription.activityAdded": added,
}


def doors(app: Starlette) -> set[str]:
    """Name every way in."""
    assert all(type(route) is Route for route in app.router.routes), "a mounted application is a house of doors"
    subscription = graph.core.subscription_type
    assert subscription is not None
    return {*GRAPHQL, *(route.path for route in app.router.routes), *(f"Subscription.{name}" for name in subscription.fields)}


async def test_every_door_shows_nothing_of_a_workspace_or_has_a_case_here(app):
    unknown = {door for door in doors(app) - OPEN - CASES.keys() if not door.startswith(OPEN_FOLDER) or "{" in door}
    assert unknown == set()
    assert CASES.keys() - doors(app) == set()


@pytest.mark.parametrize("door", CASES)
async def test_a_door_opens_for_ones_own_names_and_for_another_s_as_for_those_that_never_were(app, owner, furnish, rows_of, door):
    stranger, never, theirs = await furnish(), unknown_to_all(), await rows_of(owner)
    told, expected = await CASES[door](app, stranger, owner), await CASES[door](app, stranger, never)
    assert blurred(told, stranger, owner) == blurred(expected, stranger, never)
    assert owner.token not in told
    assert owner.token in await CASES[door](app, owner, owner), "the owner sees nothing either"
    assert await rows_of(owner) == theirs
