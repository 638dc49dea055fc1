"""Other people's clients follow the log: npm graphql-ws and graphql-sse, Apollo Client, urql, and Python gql."""

import asyncio
import fcntl
import json
import os
import subprocess
from pathlib import Path

import pytest
from gql import Client, GraphQLRequest
from gql.transport.websockets import WebsocketsTransport

from app.ui.build import Npm, find_npm

HERE = Path(__file__).resolve().parent.parent / "clients"
WATCH = "subscription ($after: String) { activityAdded(after: $after) { cursor node { id kind leadId } } }"
LOG = "query ($after: String) { activities(after: $after) { edges { cursor node { id kind leadId } } } }"
#: A client that starts on a busy machine takes its time.
SOON = 60


@pytest.fixture(scope="session")
def npm() -> Npm:
    """npm, with the clients installed as the lock file says; of two test processes that want it, the second waits."""
    found = find_npm()
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("there is no npm, or Node is older than 20.19")
    with (HERE / ".npmrc").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = HERE / "node_modules" / ".package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
            command = [*found.command, "ci", "--ignore-scripts", "--silent"]
            subprocess.run(command, cwd=HERE, check=True, timeout=420, env={**os.environ, "PATH": found.path})
    return found


async def create(api, *names):
    await api("leads/upsert_many", input={"leads": [{"email": f"{name}@example.com"} for name in names]})


@pytest.mark.parametrize("library", ["graphql-ws", "graphql-sse", "apollo", "urql over sockets", "urql over fetch"])
async def test_a_client_from_npm_gets_what_was_and_what_comes(server_url, api, npm, library):
    await create(api, "a", "b")
    edges = (await api(LOG))["activities"]["edges"]
    arguments = [library, server_url, api.key, edges[0]["cursor"], str(len(edges) + 1)]
    running = await asyncio.create_subprocess_exec(
        "node", "follow.mjs", *arguments, cwd=HERE, env={**os.environ, "PATH": npm.path},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout is not None
    lines, told_more = [], False
    try:
        async with asyncio.timeout(SOON):
            async for line in running.stdout:
                lines.append(line)
                if len(lines) == len(edges) and not told_more:
                    await create(api, "c", "d")
                    told_more = True
            _, said = await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
    assert (running.returncode, said.decode()) == (0, "")
    answers = [json.loads(line) for line in lines]
    assert answers[0]["viewer"]["role"] == "ADMIN"
    told = [_bare(answer["activityAdded"]) for answer in answers[1:]]
    assert told == (await api(LOG, after=edges[0]["cursor"]))["activities"]["edges"]


def _bare(edge):
    """Leave out the names of types that some clients ask for by themselves."""
    return {"cursor": edge["cursor"], "node": {name: value for name, value in edge["node"].items() if name != "__typename"}}


async def test_the_python_client_gets_what_was_and_what_comes(server_url, api):
    await create(api, "a", "b")
    edges = (await api(LOG))["activities"]["edges"]
    transport = WebsocketsTransport(
        url=f"{server_url.replace('http', 'ws')}/graphql",
        init_payload={"authorization": f"Bearer {api.key}"},
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )
    told = []
    async with asyncio.timeout(SOON), Client(transport=transport) as session:
        role = await session.execute(GraphQLRequest("{ viewer { role } }"))
        async for result in session.subscribe(GraphQLRequest(WATCH, variable_values={"after": edges[0]["cursor"]})):
            told.append(result["activityAdded"])
            if len(told) == len(edges) - 1:
                await create(api, "c", "d")
            if len(told) == len(edges) + 1:
                break
    assert role == {"viewer": {"role": "ADMIN"}}
    assert told == (await api(LOG, after=edges[0]["cursor"]))["activities"]["edges"]
