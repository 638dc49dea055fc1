"""Other forms of a request: GET, documents by their id, answers packed."""

import gzip
import hashlib
import json
from urllib.parse import urlencode

import httpx2
import pytest
from backports import zstd
from starlette.applications import Starlette
from talking import code

from app.asgi import build
from app.settings import QUERIES

VIEWER = "{ viewer { role } }"


@pytest.fixture
def get(api):
    """Ask by GET."""

    async def get(written=None, *, key=None, **parameters):
        headers = {"authorization": f"Bearer {key or api.key}"}
        return await api.client.get(f"/graphql?{written or urlencode(parameters)}", headers=headers)

    return get


@pytest.fixture
async def known_only(settings):
    """The service that runs its own documents alone."""
    app: Starlette = build(settings.model_copy(update={"persisted_only": True}))
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://leadgraph.example") as client,
    ):
        yield client


async def test_a_query_may_come_by_get(get, api):
    await api("leads/create", input={"email": "ada@example.com"})
    text = "query A($where: LeadWhere) { leads(where: $where) { nodes { email } } } query B { viewer { role } }"
    variables = json.dumps({"where": {"email": {"eq": "ada@example.com"}}})
    found = await get(query=text, operationName="A", variables=variables)
    assert (found.status_code, found.json()["data"]) == (200, {"leads": {"nodes": [{"email": "ada@example.com"}]}})
    assert (await get(query=VIEWER, variables="")).json()["data"] == {"viewer": {"role": "ADMIN"}}


async def test_a_mutation_by_get_is_refused_and_writes_nothing(get, api):
    text = 'mutation { leadCreate(input: {email: "ada@example.com"}) { lead { id } } }'
    answer = await get(query=text)
    assert (answer.status_code, answer.headers["allow"], code(answer)) == (405, "POST", "BAD_REQUEST")
    both = await get(query=f"{VIEWER} {text}")
    assert both.json()["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert (await api("leads/list"))["leads"]["totalCount"] == 0


@pytest.mark.parametrize(
    ("query", "argument"),
    [
        ("x=1", "query"),
        ("query=%FF", None),
        ("query=a&query=b", None),
        ("query", None),
        ("variables=%7B%7D", "query"),
        (f"query={VIEWER.replace(' ', '+')}&variables=[", "variables"),
        (f"query={VIEWER.replace(' ', '+')}&variables=[]", "variables"),
        (f"query={VIEWER.replace(' ', '+')}&variables={'[' * 33}{']' * 33}", "variables"),
        (f"query={VIEWER.replace(' ', '+')}&documentId=leads/list", "documentId"),
        ("&".join(f"a{n}=1" for n in range(30)), None),
    ],
)
async def test_a_get_that_is_no_request_is_told_why(get, query, argument):
    answer = await get(query)
    assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST")
    assert answer.json()["errors"][0]["extensions"].get("argument") == argument


async def test_who_asks_by_get_is_settled_first(get):
    answer = await get("query=%FF", key="lg_nobody")
    assert (answer.status_code, code(answer)) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("form", ["name", "file", "digest"])
async def test_a_document_may_be_named_instead_of_sent(api, get, form):
    file = QUERIES / "workspace" / "viewer.graphql"
    names = {
        "name": "workspace/viewer",
        "file": "workspace/viewer.graphql",
        "digest": f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}",
    }
    headers = {"authorization": f"Bearer {api.key}"}
    by_post = await api.client.post("/graphql", json={"documentId": names[form]}, headers=headers)
    sent = await api.client.post("/graphql", json={"query": file.read_text()}, headers=headers)
    assert by_post.content == sent.content == (await get(documentId=names[form])).content


@pytest.mark.parametrize(
    ("document_id", "expected"),
    [
        ("leads/none", "DOCUMENT_NOT_FOUND"),
        ("../README.md", "DOCUMENT_NOT_FOUND"),
        ("", "DOCUMENT_NOT_FOUND"),
        (f"sha256:{'0' * 64}", "DOCUMENT_NOT_FOUND"),
        (7, "BAD_REQUEST"),
    ],
)
async def test_a_document_that_nobody_knows_is_not_found(api, document_id, expected):
    answer = await api.client.post("/graphql", json={"documentId": document_id}, headers={"authorization": f"Bearer {api.key}"})
    assert (answer.status_code, code(answer)) == (400, expected)
    assert answer.json()["errors"][0]["extensions"]["argument"] == "documentId"


async def test_a_setting_allows_only_the_documents_that_are_known(api, known_only):
    headers = {"authorization": f"Bearer {api.key}"}
    other = await known_only.post("/graphql", json={"query": VIEWER}, headers=headers)
    assert (other.status_code, code(other)) == (400, "DOCUMENT_NOT_FOUND")
    text = (QUERIES / "workspace" / "viewer.graphql").read_text()
    for known in ({"query": text}, {"documentId": "workspace/viewer"}):
        assert (await known_only.post("/graphql", json=known, headers=headers)).json()["data"]["viewer"]["role"] == "ADMIN"


LONG = "{ __schema { types { name description } } }"


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.9", "gzip"),
        ("gzip; q=0.5, zstd ;q=0.500", "zstd"),
        ("br, gzip;q=0.5", "gzip"),
        ("*", "zstd"),
        ("*;q=0.1, gzip;q=0.2", "gzip"),
        ("zstd;q=0, *", "gzip"),
        ("gzip;q=0, zstd;q=0.000, *", None),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip", "gzip"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("", None),
        ("gzip;q=high", None),
        ("gzip;q=nan, zstd;q=2", None),
        ("br", None),
        ("gzip" + "," * 1_000, None),
    ],
)
async def test_a_long_answer_is_packed_as_whoever_asks_likes_it_best(api, accepted, coding):
    headers = {"authorization": f"Bearer {api.key}", "accept-encoding": accepted, "x-request-id": "r"}
    async with api.client.stream("POST", "/graphql", json={"query": LONG}, headers=headers) as answer:
        body = b"".join([part async for part in answer.aiter_raw()])
    plain = await api.client.post("/graphql", json={"query": LONG}, headers={**headers, "accept-encoding": "identity"})
    assert (answer.headers.get("content-encoding"), answer.headers["vary"]) == (coding, "accept-encoding")
    assert int(answer.headers["content-length"]) == len(body)
    assert {"gzip": gzip.decompress, "zstd": zstd.decompress, None: bytes}[coding](body) == plain.content
    assert coding is None or len(body) < len(plain.content) / 2


async def test_a_short_answer_is_not(api):
    answer = await api.client.post(
        "/graphql", json={"query": VIEWER}, headers={"authorization": f"Bearer {api.key}", "accept-encoding": "zstd, gzip"}
    )
    assert "content-encoding" not in answer.headers
