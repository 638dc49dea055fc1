"""Every field that a query may select is asked for, by every way to it: in one statement, alike both ways in, and as the schema types it.

What the planner answers passes no library's check of types, so that it is checked here: each value by the declared type of its field.
"""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
import walks
from graphql import GraphQLEnumType, GraphQLObjectType, get_named_type, get_nullable_type, is_abstract_type, is_list_type, is_non_null_type
from tenants import Tenant, arguments_for
from walks import NODES, TYPES

from app.database import Database, table_of
from app.lane_tables import AutomationRun, Webhook, WebhookDelivery
from app.tables import Batch, Email, ImportJob, ImportRowError
from schema.graph import graph

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
#: What an automation does names what it does it with: one row further away than the walks go.
ACTIONS = """query { automations { __typename nodes { __typename actions { __typename
  ... on AssignAction { user { __typename id } } ... on AddToCampaignAction { campaign { __typename id } }
  ... on CallWebhookAction { webhook { __typename id } } } } } }"""
#: The ways to ask: each root field, and each type with an id through `node`.
READ = [f"Query.{name}" for name in TYPES["Query"].fields] + NODES


def reachable(name: str, found: set[str]) -> set[str]:
    """Name the object types that a query comes to from a type."""
    members = graph.core.get_possible_types(TYPES[name]) if name in ABSTRACT else [TYPES[name]]
    for type_ in members:
        if isinstance(type_, GraphQLObjectType) and type_.name not in found:
            found.add(type_.name)
            for declared in type_.fields.values():
                reachable(get_named_type(declared.type).name, found)
    return found


ABSTRACT = {name for name, type_ in TYPES.items() if is_abstract_type(type_)}
READABLE = reachable("Query", set())


class LongWay:
    """Leaves every query to the library."""

    async def answer(self, *_: Any) -> None:
        return None


@pytest.fixture(scope="session")
async def full(furnish: Any, database: Database) -> Tenant:
    """A workspace in which every field that may be null has a value somewhere."""
    of: Tenant = await furnish()
    whole = {
        "phone": "+33123456789", "website": "https://works.example.com", "linkedinUrl": "https://www.linkedin.com/in/ada",
        "location": "Lyon", "notes": "Met at the fair", "title": f"CTO {of.token}", "lastName": "Lovelace",
        "optInAt": "2026-01-20T10:00:00Z", "status": "CONTACTED",
    }  # fmt: skip
    ids, data = of.ids, of.admin.data
    await data("leads/update", lead={"id": ids["Lead"]}, patch=whole)
    await data("batches/undo", id=(await data("leads/upsert_many", input={"leads": [{"crmId": "gone"}]}))["leadUpsertMany"]["batch"]["id"])
    await data("campaigns/update", id=ids["Campaign"], patch={"criteria": {"companies": ["Works"], "locations": ["Lyon"]}})
    await data("automations/create", input={"name": "Answer", "kind": "EMAIL_SENT", "actions": [{"setStatus": "CONTACTED"}]})
    email = {"lead": {"id": ids["Lead"]}, "subject": "Hello", "body": "Dear", "scheduledAt": "2026-01-20T10:00:00Z"}
    await data("emails/schedule", input=email)
    await data("events/track", input={"lead": {"id": ids["Lead"]}, "event": "seen", "distinctId": "once"})
    revoked = (await data("api_keys/create", input={"name": "old", "role": "VIEWER", "expiresAt": "2999-01-01T00:00:00Z"}))["apiKeyCreate"]
    await data("api_keys/revoke", id=revoked["apiKey"]["id"])
    # What only time, other people and other machines bring about.
    now = datetime.now(UTC)
    put: dict[Any, dict[str, Any]] = {
        Email: {"to_address": of.email, "sent_at": now, "error": "late", "lease_until": now},
        ImportJob: {"finished_at": now, "rejected_url": "/imports/x/rejected.csv", "error": "stopped"},
        ImportRowError: {"errors": [{"code": "INVALID", "message": "is no address", "field": "email"}]},
        Batch: {"error": "one could not be changed"},
        AutomationRun: {"finished_at": now, "error": "the user is gone"},
        WebhookDelivery: {"status": "PENDING"},
        Webhook: {"kinds": ["LEAD_CREATED"]},
    }
    async with database.writing() as connection:
        for model, values in put.items():
            table = table_of(model)
            all_ = sa.update(table).values(values).where(table.c.workspace_id == sa.bindparam("workspace"))
            await connection.execute(all_, {"workspace": of.workspace})
    return of


def ask_for(way: str, of: Tenant) -> tuple[str, dict[str, Any]]:
    """Write the query that selects all there is by a root field, or of an object of a type by `node`, and of its neighbours."""
    if way in NODES:
        return walks.document("Query", "node", {"id": of.ids[way]}, depth=2, only=way), {"id": of.ids[way]}
    root = way.removeprefix("Query.")
    arguments = arguments_for(root, of)
    # Of everything that has an id at once, the neighbours too would be more than a request may ask for.
    return walks.document("Query", root, arguments, depth=1 if root in ("node", "nodes") else 2), arguments


async def test_all_that_a_query_may_select_is_one_statement_and_typed(full, statements, monkeypatch):
    short, told = graph.short_way, set()
    for way, (document, variables) in [*((way, ask_for(way, full)) for way in READ), ("actions", (ACTIONS, {}))]:
        answers = []
        for taken in (short, LongWay()):
            monkeypatch.setattr(graph, "short_way", taken)
            with statements() as ran:
                answers.append(await full.admin.post(document, variables, **{"x-request-id": "r"}))
            assert len(ran) == 1, (way, ran)
        assert answers[0].content == answers[1].content, way
        answer = answers[0].json()
        assert "errors" not in answer, (way, answer["errors"])
        check("Query", answer["data"], told, way)
    unseen = (
        {(type_, field) for type_ in READABLE for field in TYPES[type_].fields} - told - {("Viewer", "user")}
    )  # a key is no user: see test_roles
    assert not unseen, f"{sorted(unseen)}: no answer of this test held a value for these: give them one above"


def check(type_name: str, value: dict[str, Any], told: set[tuple[str, str]], path: str) -> None:
    """Compare every value with the type that the schema declares for its field."""
    for name, held in value.items():
        if name == "__typename":
            assert held == type_name, path
            continue
        check_value(TYPES[type_name].fields[name].type, held, told, f"{path}.{name}")
        if held is not None and held != []:
            told.add((type_name, name))


def check_value(type_: Any, value: Any, told: set[tuple[str, str]], path: str) -> None:
    """Fail where a value is none of its type."""
    if value is None:
        assert not is_non_null_type(type_), f"{path} is null"
        return
    type_ = get_nullable_type(type_)
    if is_list_type(type_):
        assert isinstance(value, list), path
        for item in value:
            check_value(type_.of_type, item, told, path)
    elif isinstance(type_, GraphQLEnumType):
        assert value in type_.values, path
    elif type_.name in LEAVES:
        assert LEAVES[type_.name](value), f"{path} is {value!r}"
    else:
        name = value["__typename"]
        assert name == type_.name or (type_.name in ABSTRACT and TYPES[name] in graph.core.get_possible_types(type_)), path
        check(name, value, told, path)


LEAVES: dict[str, Any] = {
    "ID": lambda value: type(value) is str and value != "",
    "String": lambda value: type(value) is str,
    "Int": lambda value: type(value) is int and -(2**31) <= value < 2**31,
    "Float": lambda value: type(value) in (int, float),
    "Boolean": lambda value: type(value) is bool,
    "DateTime": lambda value: type(value) is str and _MOMENT.fullmatch(value) is not None,
    "JSONValue": lambda _: True,
    "JSONObject": lambda value: type(value) is dict,
}
