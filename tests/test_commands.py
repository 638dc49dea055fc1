import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
from program import PROGRAM, free_port, leadgraph

from app.__main__ import COMMANDS
from app.actions import keys
from app.commands import graph
from app.database import Database
from app.settings import QUERIES


def url_of(file: Path) -> dict[str, str]:
    return {"LEADGRAPH_DATABASE_URL": f"sqlite+aiosqlite:///{file}"}


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["workspace", "create"], ["key", "create"]])
def test_every_command_has_help(command: list[str]):
    ended = leadgraph(*command, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert " ".join(["leadgraph", *command]) in ended.out


def test_without_a_command_the_help_names_them_all():
    ended = leadgraph()
    assert ended.code == 0
    assert all(name in ended.out for name in COMMANDS)


@pytest.mark.parametrize(
    "wrong",
    [
        ["no-such-command"],
        ["--no-such-option"],
        ["import"],
        ["import", "x.csv"],
        ["serve", "--port", "70000"],
        ["serve", "--port", "http"],
        ["serve", "--workers", "0"],
        ["key", "create", "--workspace", "acme", "--name", "x", "--role", "OWNER"],
        ["workspace"],
    ],
)
def test_a_command_called_wrongly_is_told_so_in_one_line(wrong: list[str]):
    ended = leadgraph(*wrong)
    assert ended.code == 2
    assert ended.refusal.endswith("(--help tells more)")
    assert "error" not in ended.refusal
    assert "Input should" not in ended.refusal


def test_a_workspace_and_its_key_are_made_from_nothing(folder: Path):
    database = url_of(folder / "new.db")
    assert leadgraph("workspace", "create", "acme", **database).refusal == (
        f"{folder}/new.db: there is no such database: name another in LEADGRAPH_DATABASE_URL, or let `leadgraph migrate` create it"
    )
    assert not (folder / "new.db").exists()
    for _ in range(2):
        migrated = leadgraph("migrate", **database)
        assert (migrated.code, migrated.out) == (0, "")
    made = leadgraph("workspace", "create", "acme", "--name", "Acme Inc.", **database)
    assert made.code == 0
    assert re.fullmatch(r"wsp_[0-9a-z]{26}\n", made.out)
    assert leadgraph("workspace", "create", "acme", **database).refusal == "slug 'acme': another workspace has it"
    assert leadgraph("workspace", "create", "Acme!", **database).refusal.startswith("slug 'Acme!': 1 to 63 of a-z")
    with closing(sqlite3.connect(folder / "new.db")) as connection:
        assert connection.execute("SELECT slug, name FROM workspace").fetchall() == [("acme", "Acme Inc.")]


async def test_a_key_is_printed_and_nothing_else_and_opens_its_workspace(database: Database):
    here = {"LEADGRAPH_DATABASE_URL": database.settings.database_url}
    made = leadgraph("workspace", "create", f"keys-{'pg' if database.is_postgres else 'lite'}", **here)
    ended = leadgraph(
        "key", "create", "--workspace", made.err.split("--workspace ")[1].split()[0], "--name", "first", "--role", "editor", **here
    )
    assert (ended.code, ended.err) == (0, "")
    key = ended.out.rstrip("\n")
    async with database.readers.reading() as reading:
        found = await keys.find(reading, key, datetime.now(UTC))
    assert found is not None
    assert (found["workspace_id"], found["role"]) == (made.out.strip(), "EDITOR")
    unknown = leadgraph("key", "create", "--workspace", "nobody", "--name", "x", "--role", "ADMIN", **here)
    assert (unknown.code, unknown.refusal) == (1, "There is no workspace 'nobody'.")
    nameless = leadgraph(
        "key", "create", "--workspace", made.err.split("--workspace ")[1].split()[0], "--name", "", "--role", "ADMIN", **here
    )
    assert nameless.refusal == "--name '': is blank"


def test_tables_of_another_version_are_named_as_such(folder: Path):
    database = url_of(folder / "old.db")
    with closing(sqlite3.connect(folder / "old.db")) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        assert leadgraph("workspace", "create", "acme", **database).refusal == "The database needs `leadgraph migrate` first."
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
        connection.commit()
    for command in (["workspace", "create", "acme"], ["migrate"], ["serve", "--port", "0"]):
        assert "written by a newer version" in leadgraph(*command, **database).refusal


@contextmanager
def as_nobody() -> Iterator[None]:
    """The rights of a user who owns nothing: root may write what is read-only."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(mine)


@pytest.mark.parametrize("command", [["migrate"], ["serve", "--port", "0"], ["workspace", "create", "acme"]])
def test_a_database_that_can_t_be_used_is_one_line(tmp_path_factory: pytest.TempPathFactory, command: list[str]):
    folder = tmp_path_factory.mktemp("unusable")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)
    (folder / "text.db").write_text("A letter to somebody, which is no database at all. " * 20)
    assert "text.db: it is no SQLite database: name another" in leadgraph(*command, **url_of(folder / "text.db")).refusal
    assert f"there is no folder {folder}/none: create it" in leadgraph(*command, **url_of(folder / "none" / "x.db")).refusal
    assert "it cannot be opened" in leadgraph(*command, **url_of(folder)).refusal
    assert leadgraph("migrate", **url_of(folder / "good.db")).code == 0
    (folder / "good.db").chmod(0o444)
    with as_nobody():
        refusal = leadgraph(*command, **url_of(folder / "good.db")).refusal
    assert "good.db: it is read-only: let this user write it and its folder" in refusal or "good.db: it cannot be opened" in refusal


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"LEADGRAPH_DATABASE_URL": "nonsense"}, "LEADGRAPH_DATABASE_URL is no URL: write sqlite+aiosqlite:///FILE or"),
        ({"LEADGRAPH_DATABASE_URL": "mysql://x/y"}, "LEADGRAPH_DATABASE_URL: mysql is not among the drivers"),
        ({"LEADGRAPH_DATABASE_URL": "sqlite+aiosqlite://"}, "must name a file"),
        ({"LEADGRAPH_READERS": "many"}, "LEADGRAPH_READERS 'many': must be a whole number"),
        ({"LEADGRAPH_READERS": "0"}, "LEADGRAPH_READERS '0': must be at least 1"),
        ({"LEADGRAPH_REQUEST_SECONDS": "0"}, "LEADGRAPH_REQUEST_SECONDS '0': must be more than 0"),
        ({"LEADGRAPH_REQUEST_SECONDS": "x"}, "LEADGRAPH_REQUEST_SECONDS 'x': must be a number"),
        ({"LEADGRAPH_CALLER_CACHE_SECONDS": "2"}, "LEADGRAPH_CALLER_CACHE_SECONDS '2': must be at most 1"),
        ({"LEADGRAPH_WORKER": "maybe"}, "LEADGRAPH_WORKER 'maybe': must be true or false"),
        ({"LEADGRAPH_LOG_LEVEL": "loud"}, "LEADGRAPH_LOG_LEVEL 'loud': must be DEBUG, INFO, WARNING or ERROR"),
        ({"LEADGRAPH_DATABASE_URL": "postgresql+asyncpg://u:hush@127.0.0.1:1/x"}, "Connect call failed"),
    ],
)
def test_a_wrong_setting_is_named_and_no_password_shown(environment: dict[str, str], words: str):
    ended = leadgraph("migrate", **environment)
    assert words in ended.refusal
    assert "hush" not in ended.refusal


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_nobody_expected_is_one_line_too(monkeypatch: pytest.MonkeyPatch, folder: Path):
    from app.commands import migrate

    async def broken(*_: Any) -> None:
        raise KeyError("a\x1b[31m\nb")

    monkeypatch.setattr(migrate, "upgrade", broken)
    refusal = leadgraph("migrate", **url_of(folder / "x.db")).refusal
    assert refusal == "unexpected KeyError: 'a\\x1b[31m\\nb' (LEADGRAPH_LOG_LEVEL=DEBUG shows where)"


def test_the_schema_is_printed_and_a_stale_print_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch):
    printed = folder / "schema.graphql"
    monkeypatch.setattr(graph, "PRINTED", printed)
    assert "run `leadgraph schema`" in leadgraph("schema", "--check").refusal
    assert leadgraph("schema").code == 0
    assert "type Query {" in printed.read_text(encoding="utf-8")
    assert leadgraph("schema", "--check").code == 0
    printed.write_text(printed.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    assert leadgraph("schema", "--check").code == 1


def test_the_printed_schema_in_the_checkout_is_the_graph_s():
    assert leadgraph("schema", "--check").code == 0


@contextmanager
def started(*arguments: str, folder: Path, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """Start the program in a process of its own; it must end in good order when it is told to."""
    process = subprocess.Popen(
        [PROGRAM, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            _, err = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert "Traceback" not in err
    assert process.returncode in (0, -signal.SIGTERM)


def answers(url: str, seconds: float = 30) -> httpx2.Response:
    """Ask until there is an answer."""
    until = time.monotonic() + seconds
    while True:
        try:
            return httpx2.get(url, timeout=seconds)
        except httpx2.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def test_two_servers_that_start_on_an_empty_database_both_serve(folder: Path):
    ports = [str(free_port()) for _ in range(2)]
    shared = url_of(folder / "new.db")
    with (
        started("serve", "--port", ports[0], folder=folder, **shared),
        started("serve", "--port", ports[1], "--workers", "2", folder=folder, **shared),
    ):
        for port in ports:
            assert answers(f"http://127.0.0.1:{port}/livez").status_code == 200
            assert answers(f"http://127.0.0.1:{port}/readyz").status_code == 200
            assert httpx2.post(f"http://127.0.0.1:{port}/graphql", json={"query": "{ viewer { role } }"}).status_code == 401
        taken = leadgraph("serve", "--port", ports[0], **shared)
        assert (taken.code, taken.refusal) == (
            1,
            f"cannot listen at 127.0.0.1:{ports[0]}: another program has that port: end it, or choose another with --port",
        )


def test_the_demo_answers_and_its_four_lines_work_as_printed(folder: Path):
    port = str(free_port())
    (folder / "leadgraph-demo.db").write_text("the demo on port 8000")
    (folder / f"leadgraph-demo-{port}.db").write_text("the demo before this one")
    with started("demo", "--leads", "300", "--port", port, folder=folder, LEADGRAPH_WORKER="false") as process:
        assert process.stdout is not None
        said = [process.stdout.readline().rstrip("\n") for _ in range(7)]
        key = said[1].split()[-1]
        assert said[0].split() == ["Explorer", f"http://127.0.0.1:{port}/explorer#key={key}"]
        asked, listed, upserted, exported = (
            subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=60, check=True) for line in said[3:7]
        )
        assert json.loads(asked.stdout)["data"]["leads"]["totalCount"] > 280
        assert len(json.loads(listed.stdout)["data"]["leads"]["nodes"]) == 3
        assert json.loads(upserted.stdout)["data"]["leadUpsertMany"]["summary"]["created"] == 1
        assert (exported.stdout, exported.stderr) == ("", "")
        assert "you@example.com" in (folder / "demo-leads.csv").read_text()
        assert (folder / "leadgraph-demo.db").read_text() == "the demo on port 8000"

        stranger = leadgraph("run", QUERIES / "leads" / "list.graphql", "--key", "lg_no", LEADGRAPH_URL=f"http://127.0.0.1:{port}")
        assert (stranger.code, json.loads(stranger.out)["errors"][0]["extensions"]["code"]) == (1, "UNAUTHENTICATED")
        assert stranger.err == f"leadgraph: http://127.0.0.1:{port}/graphql: give a valid key with --key or in LEADGRAPH_KEY\n"

        def run(document: str, **options: str) -> Any:
            flags = [text for name, value in options.items() for text in (f"--{name}", value)]
            ended = leadgraph("run", document, *flags, LEADGRAPH_KEY=key, LEADGRAPH_URL=f"http://127.0.0.1:{port}/graphql")
            return ended.code, json.loads(ended.out)

        kinds = folder / "kinds.graphql"
        kinds.write_text("query Kinds { activities(first: 200, order: DESC) { nodes { kind } } }\nquery Other { viewer { role } }")
        code, answer = run(str(kinds), operation="Kinds")
        assert code == 0
        assert {"STATUS_CHANGED", "LEAD_CREATED"} <= {entry["kind"] for entry in answer["data"]["activities"]["nodes"]}
        code, answer = run(str(QUERIES / "leads" / "get.graphql"), variables='{"by": {"email": "nobody@example.com"}}')
        assert (code, answer["data"]) == (0, {"lead": None})
        given = folder / "by.json"
        given.write_text('{"by": {}}')
        code, answer = run(str(QUERIES / "leads" / "get.graphql"), variables=str(given))
        assert code == 1
        assert answer["errors"]

        taken = leadgraph("demo", "--port", port)
        assert taken.code == 1
        assert "another program has that port" in taken.refusal
        assert answers(f"http://127.0.0.1:{port}/readyz").status_code == 200
    kept = leadgraph("demo", "--database", folder / "leadgraph-demo.db", "--port", free_port())
    assert kept.refusal == f"{folder}/leadgraph-demo.db is there already: name a new file with --database, or remove it"


class NoGraphQL(BaseHTTPRequestHandler):
    """A server of another kind."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_request(self, *_: Any) -> None:
        """Say nothing."""


def test_a_document_that_can_t_be_run_is_one_line(folder: Path):
    document = QUERIES / "leads" / "get.graphql"
    refused = leadgraph("run", document, "--url", f"http://127.0.0.1:{free_port()}/graphql")
    assert refused.code == 1
    assert "is the server there (`leadgraph serve`)?" in refused.refusal
    assert "cannot be asked" in leadgraph("run", document, "--url", "nonsense").refusal
    with HTTPServer(("127.0.0.1", 0), NoGraphQL) as server:
        Thread(target=server.handle_request).start()
        refusal = leadgraph("run", document, "--url", f"http://127.0.0.1:{server.server_port}/").refusal
    assert refusal.endswith("answered 200 and no GraphQL: is the address right (it ends in /graphql)?")

    wrong = [leadgraph("run", document, "--variables", text) for text in ("{no json", str(folder / "none.json"), str(document))]
    (folder / "list.json").write_text("[1]")
    wrong.append(leadgraph("run", document, "--variables", folder / "list.json"))
    wrong.append(leadgraph("run", folder / "none.graphql"))
    assert [ended.code for ended in wrong] == [2] * 5
    assert all(ended.refusal for ended in wrong)
    (folder / "latin.graphql").write_bytes("{ zoë }".encode("latin-1"))
    assert leadgraph("run", folder / "latin.graphql").refusal.endswith("no text in UTF-8: save it as such")


def test_a_second_interrupt_is_one_that_whoever_waits_may_clean_up_after():
    """As the loop makes of it, and not raised wherever the interpreter happens to be."""
    script = """
import asyncio, os, signal
from app.commands.terminal import stoppable

async def main():
    with stoppable("stopping") as stop:
        os.kill(os.getpid(), signal.SIGINT)
        await stop.wanted.wait()
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            print("cancelled")
            raise

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr.splitlines()[0]) == ("cancelled\n", "stopping")
    assert "KeyboardInterrupt" in ended.stderr


def test_a_variable_that_the_document_does_not_have_is_refused_before_anything_is_asked():
    document = QUERIES / "leads" / "delete_many.graphql"
    asked = '{"where": {"email": {"eq": "a@example.com"}}, "expectedCount": 1, "dryrun": true}'
    refused = leadgraph("run", document, "--variables", asked, "--url", f"http://127.0.0.1:{free_port()}")
    assert refused.code == 2
    assert f"{document} has no variable 'dryrun': did you mean 'dryRun'?" in refused.refusal
    other = leadgraph("run", document, "--variables", '{"zzz": 1}', "--url", f"http://127.0.0.1:{free_port()}")
    assert "has no variable 'zzz': it has where, expectedCount, dryRun" in other.refusal


def test_a_document_that_is_no_question_and_answer_says_who_runs_it(folder: Path):
    server = f"http://127.0.0.1:{free_port()}"
    told = leadgraph("run", QUERIES / "activities" / "watch.graphql", "--variables", '{"after": "x"}', "--url", server)
    curl = f"curl -N {server}/graphql -H 'Authorization: Bearer KEY' -H 'Accept: text/event-stream' -H 'Content-Type: application/json' -d "
    assert told.refusal.endswith(f"""takes one answer: {curl}'{{"documentId":"activities/watch","variables":{{"after":"x"}}}}'""")
    for name in ("import", "import_preview"):
        assert (
            "takes a file, and `run` sends none: `leadgraph import` does" in leadgraph("run", QUERIES / "leads" / f"{name}.graphql").refusal
        )
    own = folder / "own.graphql"
    own.write_text(
        "subscription Watch { activities { cursor } }\nquery Who { viewer { role } }\nmutation Up($file: [Upload!]!) { x(f: $file) }"
    )
    assert '-d \'{"query":"subscription Watch' in leadgraph("run", own, "--operation", "Watch", "--url", server).refusal
    assert "takes a file" in leadgraph("run", own, "--operation", "Up", "--url", server).refusal
    assert "cannot be asked" in leadgraph("run", own, "--operation", "Who", "--url", server).refusal


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("app.__main__", {"sqlalchemy", "strawberry", "uvicorn", "alembic"}),
        ("app.commands.imports", {"strawberry", "graphql", "starlette", "uvicorn", "httpcore2"}),
    ],
)
def test_commands_start_without_what_they_do_not_need(module, heavy):
    loaded = f"import sys; import {module}; print({heavy} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"
