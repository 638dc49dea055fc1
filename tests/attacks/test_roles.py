"""Who may: each root field for each role, what is for ADMINs alone, and keys that were taken back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
import tenants
import walks
from graphql import ObjectTypeDefinitionNode, parse
from pydantic import SecretStr
from tenants import Asker, Tenant, arguments_for, unknown_to_all
from walks import NODES, ROOTS

from app.actions.work import Role
from app.asgi import build
from app.database import insert_rows, table_of
from app.rules.ids import new_id
from app.tables import Activity

CONTRACT = Path(__file__).parents[1] / "contract" / "contract.graphql"

_WHO = {
    "Query": {
        Role.VIEWER: "viewer workspace node nodes lead leads leadStats campaign campaigns activities emails users automations "
        "batches importJobs",
        Role.ADMIN: "apiKeys webhooks suppressions personExport",
    },
    "Mutation": {
        Role.EDITOR: "leadCreate leadUpdate leadDelete leadAssign leadScore leadUpsertMany leadUpdateMany leadDeleteMany "
        "leadImport leadImportPreview importJobCancel leadEventTrack leadEventTrackMany "
        "campaignCreate campaignUpdate campaignDelete campaignAddLeads campaignRemoveLeads "
        "emailSchedule emailCancel emailClaim emailReport batchUndo",
        Role.ADMIN: "automationCreate automationUpdate automationDelete webhookCreate webhookUpdate webhookDelete webhookRedeliver "
        "suppressionAdd suppressionRemove personErase scoringRulesUpdate userCreate userUpdate userDelete apiKeyCreate apiKeyRevoke",
    },
}
#: The lowest role that may, by root field.
WHO: dict[tuple[str, str], Role] = {
    (root, field): role for root, roles in _WHO.items() for role, fields in roles.items() for field in fields.split()
}
SERVED = [(root, field) for root, type_ in ROOTS.items() for field in type_.fields]
TOO_LOW = [(*field, role) for field in SERVED for role in Role if not role.covers(WHO.get(field, Role.VIEWER))]
HIGH_ENOUGH = [(*field, role) for field in SERVED for role in Role if role.covers(WHO.get(field, Role.VIEWER))]


def test_every_root_field_says_who_may():
    assert [field for field in SERVED if field not in WHO] == []
    promised = [
        (definition.name.value, field.name.value)
        for definition in parse(CONTRACT.read_text()).definitions
        if isinstance(definition, ObjectTypeDefinitionNode) and definition.name.value in ROOTS
        for field in definition.fields
    ]
    assert [field for field in promised if field not in WHO] == []


class Staff:
    """A furnished workspace and a key of each role in it."""

    def __init__(self, tenant: Tenant, askers: dict[Role, Asker]) -> None:
        self.tenant, self.askers = tenant, askers

    async def ask(self, root: str, field: str, role: Role, arguments: dict[str, Any] | None = None, depth: int = 0) -> dict[str, Any]:
        given = arguments_for(field, self.tenant) if arguments is None else arguments
        answer = await self.askers[role].post(walks.document(root, field, given, depth=depth), given)
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="session")
def hire(database, furnish, wire):
    async def hire() -> Staff:
        tenant = await furnish()
        askers = {role: await tenants.asker(database, wire, tenant.workspace, role) for role in Role}
        return Staff(tenant, askers)

    return hire


@pytest.fixture(scope="session")
async def staff(hire):
    """Those who only read, or are refused."""
    return await hire()


@pytest.mark.parametrize(("root", "field", "role"), TOO_LOW)
async def test_a_role_that_is_too_low_is_forbidden_and_nothing_is_written(staff, rows_of, root, field, role):
    before = await rows_of(staff.tenant)
    # What the caller may not do, it may not use for finding out what there is either.
    for arguments in (None, arguments_for(field, unknown_to_all())):
        answer = await staff.ask(root, field, role, arguments)
        assert answer["data"] is None
        [error] = answer["errors"]
        assert (error["extensions"]["code"], error["path"]) == ("FORBIDDEN", [field])
        assert error["message"] == f"This needs the role {WHO[root, field]}; yours is {role}."
    assert await rows_of(staff.tenant) == before


@pytest.mark.parametrize(("root", "field", "role"), HIGH_ENOUGH)
async def test_a_role_that_is_high_enough_is_let_in(staff, hire, root, field, role):
    answer = await (staff if root == "Query" else await hire()).ask(root, field, role)
    assert "errors" not in answer
    assert answer["data"][field] is not None


async def test_one_forbidden_field_undoes_the_others_of_its_request(staff, rows_of):
    before = await rows_of(staff.tenant)
    allowed = 'made: leadCreate(input: {email: "made@example.com"}) { lead { id } }'
    forbidden = 'userCreate(input: {email: "made@example.com", role: ADMIN}) { user { id } }'
    for fields in (f"{allowed} {forbidden}", f"{forbidden} {allowed}"):
        answer = (await staff.askers[Role.EDITOR].post(f"mutation {{ {fields} }}")).json()
        assert answer["data"] is None
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}
    assert await rows_of(staff.tenant) == before


async def test_a_list_for_admins_leaves_the_rest_of_a_query_alone(staff):
    answer = (await staff.askers[Role.VIEWER].post("{ leads { totalCount } }")).json()
    assert (answer["data"], "errors" in answer) == ({"leads": {"totalCount": 2}}, False)
    beside = (await staff.askers[Role.VIEWER].post("{ leads { totalCount } apiKeys { totalCount nodes { id } } }")).json()
    assert [error["path"] for error in beside["errors"]] == [["apiKeys"]]
    assert "key_" not in str(beside["data"])


# What is there for ADMINs alone

SECRET_EVENT = "apiKey.created"


@pytest.fixture(scope="session")
async def watched(hire, database):
    """A workspace in whose log an ADMINISTERED entry names everything that a list may be narrowed to."""
    staff = await hire()
    ids, now = staff.tenant.ids, datetime.now(UTC)
    count = (await staff.tenant.admin.data("{ activities { totalCount } }"))["activities"]["totalCount"]
    hidden = {
        "workspace_id": staff.tenant.workspace, "id": new_id("act"), "sequence": 1_000_000, "kind": "ADMINISTERED", "event": SECRET_EVENT,
        "event_folded": SECRET_EVENT.lower(), "lead_id": ids["Lead"], "campaign_id": ids["Campaign"], "actor_id": ids["ApiKey"],
        "email_id": ids["Email"], "subject_id": ids["ApiKey"], "status": "NEW", "changes": [], "attributes": {}, "distinct_id": None,
        "occurred_at": now, "recorded_at": now, "batch_id": ids["Batch"], "request_id": None,
    }  # fmt: skip
    async with database.writing() as connection:
        await insert_rows(connection, table_of(Activity), [hidden])
    staff.tenant.ids["Activity"] = hidden["id"]
    assert (await staff.tenant.admin.data("{ activities { totalCount } }"))["activities"]["totalCount"] == count + 1
    return staff


LOGS = [
    (owner, field)
    for owner, field in walks.fields_with_arguments()
    if str(walks.TYPES[owner].fields[field].type).rstrip("!") == "ActivityConnection"
]
FILTERS: list[tuple[str, Any]] = [
    ("kind", {"eq": "ADMINISTERED"}),
    ("kind", {"in": ["ADMINISTERED"]}),
    ("kind", {"ne": "LEAD_CREATED"}),
    ("kind", {"notIn": []}),
    ("event", {"eq": SECRET_EVENT}),
    ("event", {"startsWith": "apikey"}),
    ("event", {"isNull": False}),
    ("status", {"eq": "NEW"}),
    ("recordedAt", {"gte": "2000-01-01T00:00:00Z"}),
]


def test_every_list_of_activities_is_looked_at():
    assert {("Query", "activities"), ("Lead", "activities")} <= set(LOGS)


async def log_of(staff: Staff, role: Role, owner: str, field: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Read a list of activities, whole."""
    arguments = {"first": 200, **arguments}
    declared = {name: str(walks.arguments_of(owner, field)[name].type) for name in arguments}
    call = f"{field}({', '.join(f'{name}: ${name}' for name in arguments)})"
    asked = f"{call} {{ nodes {{ id kind event actor {{ __typename }} }} totalCount pageInfo {{ hasNextPage endCursor }} }}"
    if owner not in ROOTS:
        asked = f"node(id: $node) {{ ... on {owner} {{ {asked} }} }}"
        declared["node"], arguments = "ID!", {**arguments, "node": staff.tenant.ids[owner]}
    variables = ", ".join(f"${name}: {type_}" for name, type_ in declared.items())
    found = await staff.askers[role].data(f"query Log({variables}) {{ {asked} }}", **arguments)
    page: dict[str, Any] = (found if owner in ROOTS else found["node"])[field]
    return page


@pytest.mark.parametrize("order", ["ASC", "DESC"])
@pytest.mark.parametrize(("name", "asked"), FILTERS)
@pytest.mark.parametrize(("owner", "field"), LOGS)
async def test_what_was_administered_is_in_no_log_of_others(watched, owner, field, name, asked, order):
    arguments = {"where": {name: asked}, "order": order}
    whole = await log_of(watched, Role.ADMIN, owner, field, arguments)
    expected = [node["id"] for node in whole["nodes"] if node["kind"] != "ADMINISTERED"]
    assert len(whole["nodes"]) == whole["totalCount"] > len(expected)
    for role in (Role.EDITOR, Role.VIEWER):
        page = await log_of(watched, role, owner, field, arguments)
        assert [node["id"] for node in page["nodes"]] == expected
        assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (len(expected), False)
        if expected:
            exact = await log_of(watched, role, owner, field, {**arguments, "first": len(expected)})
            assert exact["pageInfo"]["hasNextPage"] is False


async def test_an_administered_entry_and_a_key_are_no_nodes_for_others(watched):
    ids = watched.tenant.ids
    for role in (Role.ADMIN, Role.EDITOR, Role.VIEWER, Role.ADMIN):
        asker = watched.askers[role]
        answer = await asker.data("nodes/list", ids=[ids["Activity"], ids["ApiKey"], asker.key_id, ids["Lead"]])
        seen = [node and node["__typename"] for node in answer["nodes"]]
        # One's own key one may see: it is told to whoever holds it anyway.
        assert seen == (["Activity", "ApiKey", "ApiKey", "Lead"] if role is Role.ADMIN else [None, None, "ApiKey", "Lead"])
        for hidden in (ids["Activity"], ids["ApiKey"]):
            assert ((await asker.data("nodes/get", id=hidden))["node"] is not None) is (role is Role.ADMIN)


READABLE = [(field, None) for field in ROOTS["Query"].fields if WHO.get(("Query", field)) is Role.VIEWER and not field.startswith("node")]


@pytest.mark.parametrize(("field", "only"), READABLE + [("node", name) for name in NODES], ids=lambda value: value)
async def test_whatever_is_selected_shows_nothing_that_is_for_admins(watched, field, only):
    arguments = arguments_for(field, watched.tenant) if only is None else {"id": watched.tenant.ids[only]}
    document = walks.document("Query", field, arguments, depth=2, only=only)
    shown = {}
    for role in (Role.ADMIN, Role.EDITOR, Role.VIEWER):
        answer = await watched.askers[role].post(document, arguments)
        assert "errors" not in answer.json(), answer.text
        shown[role] = answer.text
    prefix = watched.tenant.admin.key[:34]
    for role in (Role.EDITOR, Role.VIEWER):
        assert not any(secret in shown[role] for secret in ("ADMINISTERED", SECRET_EVENT, "key of ADMIN", prefix))


async def test_the_actor_of_an_entry_is_shown_to_admins_if_it_is_a_key(watched):
    query = "{ activities(first: 200) { nodes { actorId actor { __typename ... on ApiKey { id prefix } } } } }"
    for role in (Role.ADMIN, Role.VIEWER):
        nodes = (await watched.askers[role].data(query))["activities"]["nodes"]
        assert {node["actorId"] for node in nodes} == {watched.tenant.ids["ApiKey"], None} - ({None} if role is Role.VIEWER else set())
        assert any(node["actor"] for node in nodes) is (role is Role.ADMIN)


@pytest.mark.parametrize("field", [field for root, field in SERVED if WHO.get((root, field)) is Role.EDITOR])
async def test_the_reply_to_an_editor_shows_nothing_that_is_for_admins(hire, field):
    staff = await hire()
    answer = await staff.ask("Mutation", field, Role.EDITOR, depth=2)
    assert "errors" not in answer
    assert not any(secret in str(answer) for secret in ("ADMINISTERED", "key of ADMIN", staff.tenant.admin.key[:34]))


# Keys and users that are gone


async def test_a_revoked_key_opens_nothing_from_then_on(hire):
    staff = await hire()
    for role in (Role.VIEWER, Role.EDITOR):
        gone = staff.askers[role]
        assert (await gone.post("workspace/viewer")).status_code == 200  # remembered from here on
        await staff.tenant.admin.data("api_keys/revoke", id=gone.key_id)
        answers = await asyncio.gather(*[gone.post(document) for document in ("workspace/viewer", "{", "leads/list", "{ __typename }")])
        assert [answer.status_code for answer in answers] == [401] * 4
        assert {answer.json()["errors"][0]["extensions"]["code"] for answer in answers} == {"UNAUTHENTICATED"}
    own = staff.askers[Role.ADMIN]
    await own.data("api_keys/revoke", id=own.key_id)
    assert (await own.post("workspace/viewer")).status_code == 401
    assert (await staff.tenant.admin.post("workspace/viewer")).status_code == 200


async def test_a_revocation_that_is_rolled_back_revokes_nothing(hire):
    staff = await hire()
    key = staff.askers[Role.VIEWER]
    text = f'mutation {{ apiKeyRevoke(id: "{key.key_id}") {{ apiKey {{ id }} }} leadDelete(lead: {{id: "lead_x"}}) {{ deletedId }} }}'
    [error] = await staff.tenant.admin.errors(text)
    assert error["extensions"]["code"] == "NOT_FOUND"
    assert (await key.post("workspace/viewer")).status_code == 200


SECRET = "a secret of more than thirty-two characters"


@pytest.fixture
async def with_tokens(settings) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the service where users log in with tokens."""
    app = build(settings.model_copy(update={"jwt_secret": SecretStr(SECRET)}))
    async with app.router.lifespan_context(app), httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://leadgraph.example"
    ) as client:  # fmt: skip
        yield client


async def test_a_user_who_is_demoted_or_removed_may_no_more_from_then_on(with_tokens, furnish):
    tenant = await furnish()
    admin = Asker(with_tokens, tenant.admin.key, tenant.admin.key_id)
    made = (await admin.data("users/create", input={"email": f"zoe.{tenant.token}@example.com", "role": "ADMIN"}))["userCreate"]["user"]
    claims = {"email": made["email"], "exp": datetime.now(UTC) + timedelta(minutes=5)}
    user = Asker(with_tokens, jwt.encode(claims, SECRET, algorithm="HS256"), "")
    assert "errors" not in (await user.post("api_keys/list")).json()
    await admin.data("users/update", id=made["id"], patch={"role": "VIEWER"})
    assert [error["extensions"]["code"] for error in await user.errors("api_keys/list")] == ["FORBIDDEN"]
    viewer = (await user.data("workspace/viewer"))["viewer"]
    assert (viewer["role"], viewer["user"], viewer["apiKey"]) == ("VIEWER", {"id": made["id"], "email": made["email"]}, None)
    await admin.data("users/delete", id=made["id"])
    assert (await user.post("workspace/viewer")).status_code == 401
