"""The README says what is so: its settings, its codes, its documents, its first query and the answer to it."""

import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import orjson
import pytest
from graphql import GraphQLInputObjectType, get_named_type, parse, validate
from graphql.execution.values import get_variable_values

from app.commands import demo
from app.errors import Code
from app.rules.folding import fold
from app.rules.people import make_people
from app.settings import QUERIES, Settings
from schema.graph import graph
from schema.scalars import Uploaded

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def between(name: str) -> str:
    return README.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]


def settings_table() -> str:
    rows = ["| setting | default | |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        told = str(field.default).lower() if isinstance(field.default, bool) else field.default
        default = "" if told is None else f"`{told}`"
        rows.append(f"| `LEADGRAPH_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def test_the_settings_are_those_of_the_program():
    assert between("settings") == settings_table()


def test_the_codes_are_those_of_the_program():
    assert re.findall(r"`([A-Z_]+)`", between("codes")) == [code.value for code in Code]


@pytest.mark.parametrize("name", re.findall(r"\]\(([^)#:]+)\)", README))
def test_what_it_points_to_is_there(name):
    assert (ROOT / name).exists()


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE)) - {"help", "chromium"}  # make test looks for chromium itself
    listed = {name for line in re.findall(r'@echo "make (.*?)  ', makefile) for name in line.split()}
    assert listed == targets


@pytest.mark.parametrize("target", re.findall(r"`?make ([a-z][\w-]*)", README))
def test_what_it_says_to_make_can_be_made(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def calls():
    for document, rest in re.findall(r"\[`([a-z_]+/[a-z_]+)`\]\([^)]*\)(?: \|)? `(\{.*?\})`", README):
        yield pytest.param(document, rest, id=f"{document} {rest[:40]}")


@pytest.mark.parametrize(("document", "variables"), list(calls()))
def test_the_variables_of_the_tables_fit_their_documents(document, variables):
    [operation] = parse((QUERIES / f"{document}.graphql").read_text()).definitions
    given = orjson.loads(variables.replace("[…]", '[{"email": "ann@example.com"}]'))
    if "file" in given.get("input", {}):
        given["input"]["file"] = Uploaded(BytesIO(), "leads.csv")  # null in the parts of an upload, where the file takes its place
    result = get_variable_values(graph.core, operation.variable_definitions, given)
    assert not isinstance(result, list), result


def block(language: str) -> str:
    """Give the first block of code in a language."""
    return README.partition(f"```{language}\n")[2].partition("```")[0]


def test_the_first_query_is_valid():
    assert validate(graph.core, parse(block("graphql"))) == []


async def test_the_first_answer_is_what_the_demo_gives(api, database):
    """Of the demo's rows those that the search can find, taken in by the demo's own hands: the others change nothing for them."""
    made = (await api("campaigns/create", input=demo.CAMPAIGN))["campaignCreate"]["campaign"]
    parts = demo.files(made["id"], list(make_people(10_000)))
    met = [replace(part, rows=[row for row in part.rows if "marie" in fold(" ".join(row.cells.values()))]) for part in parts]
    await demo._import(demo.Story(database, api.caller.workspace_id), met, lambda _: None)
    assert orjson.loads(block("json")) == await api.send(block("graphql"))


def test_every_input_that_it_names_exists():
    named = set(re.findall(r'"(\w+)": ', README))
    known = {field for type_ in graph.core.type_map.values() if isinstance(type_, GraphQLInputObjectType) for field in type_.fields}
    arguments = {
        name for root in (graph.core.query_type, graph.core.mutation_type) for field in root.fields.values() for name in field.args
    }
    answers = {
        "authorization",
        "data",
        "documentId",
        "leads",
        "totalCount",
        "nodes",
        "fullName",
        "campaigns",
        "name",
        "plan",
        "by",
        "patch",
        "user",
        "lead",
        "0",
        "variables",
    }
    assert named - known - arguments - answers == set()
    assert get_named_type(graph.core.query_type.fields["leads"].type).name == "LeadConnection"
