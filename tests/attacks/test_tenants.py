"""The wall between workspaces, from outside: what another has is nowhere, in no door, by no name, byte for byte."""

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import walks
from tenants import Tenant, arguments_for, unknown_to_all
from walks import NODES, ROOTS, Place

from app.readers import cursor_text
from schema.planner import cursors

#: Names of arguments and input fields whose text names something of a workspace; what has the type ID does so anyway.
REFERENCES = {"email", "crmId", "search"}
CURSORS = {"after", "before"}
#: Leaves that can name nothing: numbers, moments, and choices from a list of the schema's.
NAMELESS = {"Int", "Float", "Boolean", "DateTime", "JSONObject"}
#: What a name stands for where that is not the name of a type.
STANDS_FOR = {"assignee": ["User"], "actor": ["User", "ApiKey"], "claim": ["claim"]}

FIELDS = walks.fields_with_arguments()
READS = [(owner, field) for owner, field in FIELDS if owner != "Mutation"]
WRITES = [(owner, field) for owner, field in FIELDS if owner == "Mutation"]

_ID = re.compile(r"\b([a-z]{3,4})_[0-7][0-9a-hjkmnp-tv-z]{25}\b")
_BLURRED = [
    (re.compile(r'"(cursor|startCursor|endCursor|activityCursor)":"[^"]*"'), r'"\1":"<cursor>"'),
    (re.compile(r"lg_[0-9a-z]{26}_[0-9A-Za-z]{4,43}"), "<key>"),
    (re.compile(r"req_[0-9a-f]{24}"), "<request>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<moment>"),
]


def by_name(field: tuple[str, str]) -> str:
    return ".".join(field)


async def ask(by: Tenant, place: Place, value: Any) -> str:
    """Send a value to its place, everything else of the request being the asker's own, and give the answer as it came."""
    given = arguments_for(place.field, by) if place.owner in ROOTS else {}
    arguments = walks.put(place, given, value)
    variables = arguments if place.owner in ROOTS else {**arguments, "node": by.ids[place.owner]}
    # Of what a filter or a cursor finds, the ids tell enough.
    depth = 1 if place.owner == "Mutation" or place.field in ("node", "nodes", "lead", "campaign") else 0
    answer = await by.admin.post(walks.document(place.owner, place.field, arguments, depth=depth), variables)
    assert answer.status_code == 200, answer.text
    return answer.text


def blurred(answer: str, by: Tenant, foreign: Tenant, value: str = "") -> str:
    """Take from an answer what differs between two workspaces that hold and do the same: the asker's own names, and those sent."""
    text = answer.replace(value or "\0", "<value>").replace(by.token, "<own>").replace(foreign.token, "<foreign>")
    for name, id_ in foreign.ids.items():
        text = text.replace(id_, f"<foreign {name}>")
    for pattern, replacement in _BLURRED:
        text = pattern.sub(replacement, text)
    seen: dict[str, str] = {}
    return _ID.sub(lambda found: seen.setdefault(found[0], f"<{found[1]} {len(seen)}>"), text)


def is_reference(place: Place) -> bool:
    """Tell a place whose value must name something, so that its own workspace's answer differs from every other's."""
    named = place.argument in CURSORS or place.path[-1:] == ("id",) or not REFERENCES.isdisjoint(place.names)
    return place.leaf.name == "ID" or (named and place.leaf.name not in NAMELESS)


async def values_for(place: Place, of: Tenant) -> list[str]:
    """Give what a workspace's things are called, as far as that may stand in this place."""
    if place.argument in CURSORS:
        return [await a_cursor(place, of)]
    if place.leaf.name in NAMELESS or hasattr(place.leaf, "values"):
        return []
    if place.leaf.name == "ID" or (place.names[-1].endswith(("id", "Id")) and place.names[-1] != "crmId"):
        return [of.ids[name] for name in kinds_for(place)]
    if is_reference(place):
        return [of.email, of.user_email, of.crm_id, of.token]
    # A list inside an object is narrowed by the very same code: its other texts are tried at the root alone.
    return [of.token] if place.owner in ROOTS else []


def kinds_for(place: Place) -> list[str]:
    """Name the types whose ids mean something in a place: that which a name like `leadId` says, or which holds an `id`, or else all."""
    said: list[str] = []
    for holder, name in place.held:
        if name == "id":  # of `LeadWhere` or `UserRef`, or an argument of `campaignDelete`
            said = [kind for kind in NODES if holder.lower().startswith(kind.lower())]
        elif stem := re.sub(r"Ids?$", "", name) if re.search(r"Ids?$", name) else "":
            said = STANDS_FOR.get(stem) or [kind for kind in NODES if kind.lower() == stem.lower()]
    return said or NODES


async def a_cursor(place: Place, of: Tenant) -> str:
    """Take the list's cursor from its owner; make one of the same form where nobody owns it."""
    if of.admin is None:
        return cursor_text(cursors.prefix(of.workspace, b"log"), f'["2026-01-20T10:00:00.000000Z","{of.ids["Lead"]}"]')
    page = f"{place.field}(first: 1) {{ pageInfo {{ startCursor endCursor }} }}"
    text = f"{{ {page} }}" if place.owner in ROOTS else f'{{ node(id: "{of.ids[place.owner]}") {{ ... on {place.owner} {{ {page} }} }} }}'
    found = await of.admin.data(text)
    info = (found if place.owner in ROOTS else found["node"])[place.field]["pageInfo"]
    assert info["endCursor"], f"nothing is made for {place}"
    return str(info["endCursor"])


def test_no_field_with_arguments_is_out_of_reach_of_the_walk():
    nameless = {f"Lead{what}ManyPayload.results" for what in ("Upsert", "Event")}  # outcomes name nothing
    # Subscriptions are `activities` and `node`, rewritten, and both are walked; their own doors are tried in test_doors.py, and in
    # tests/http with every argument that names something (test_sockets.py, test_streams.py).
    live = {"Subscription.activityAdded", "Subscription.importJobUpdated"}
    assert walks.fields_out_of_reach() == nameless | live


async def differences(owner: Tenant, twins_of: Callable[[], Awaitable[tuple[Tenant, Tenant]]], field: tuple[str, str]) -> list[str]:
    """Let one workspace send the owner's names and its twin names that never were.

    Gives the answers by which anybody could know one from the other. Twins that were written to are replaced: the next request
    must not fail at what the last one left.
    """
    told, never, twins = [], unknown_to_all(), None
    for place in walks.places(*field):
        for value, other in zip(await values_for(place, owner), await values_for(place, never), strict=True):
            stranger, twin = twins = twins or await twins_of()
            answer, expected = await ask(stranger, place, value), await ask(twin, place, other)
            if blurred(answer, stranger, owner, value) != blurred(expected, twin, never, other):
                told.append(f"{place} {value}: {answer}")
            elif any(name in answer.replace(value, "") for name in owner.ids.values()):
                told.append(f"{place} {value} shows: {answer}")
            if place.owner == "Mutation" and not (answer.startswith('{"errors"') and expected.startswith('{"errors"')):
                twins = None
    return told


async def dead_places(field: tuple[str, str], owner_of: Callable[[], Awaitable[Tenant]], stranger: Tenant) -> list[str]:
    """Name the places where an owner's own names come to no more than to a stranger: there nothing would be proved.

    Whoever was written to is replaced: the next request must not fail at what the last one left.
    """
    dead = []
    for place in filter(is_reference, walks.places(*field)):
        owner, live = await owner_of(), False
        for which in range(len(await values_for(place, owner))):
            value = (await values_for(place, owner))[which]
            foreign, own = await ask(stranger, place, value), await ask(owner, place, value)
            live = blurred(foreign, stranger, owner, value) != blurred(own, owner, owner, value)
            if place.owner == "Mutation" and not foreign.startswith('{"errors"'):
                stranger = await owner_of()
            if live:
                break
            if place.owner == "Mutation" and not own.startswith('{"errors"'):
                owner = await owner_of()
        if not live:
            dead.append(str(place))
    return dead


@pytest.fixture(scope="session")
async def twins(furnish):
    """Two workspaces that hold the same under names of their own, for those who only read."""
    return await furnish(), await furnish()


@pytest.mark.parametrize("field", READS, ids=by_name)
async def test_a_name_of_another_workspace_reads_as_one_that_never_was_and_ones_own_does_read(owner, twins, rows_of, field):
    async def again() -> tuple[Tenant, Tenant]:
        return twins

    async def itself() -> Tenant:
        return owner

    theirs = await rows_of(owner)
    assert await differences(owner, again, field) == []
    # Without this the line above could compare two answers to a request that is wrong for another reason.
    assert await dead_places(field, itself, twins[0]) == []
    assert await rows_of(owner) == theirs


@pytest.mark.parametrize("field", WRITES, ids=by_name)
async def test_a_name_of_another_workspace_writes_as_one_that_never_was(owner, furnish, rows_of, field):
    async def two() -> tuple[Tenant, Tenant]:
        return await furnish(), await furnish()

    theirs = await rows_of(owner)
    assert await differences(owner, two, field) == []
    assert await rows_of(owner) == theirs


@pytest.mark.parametrize("field", WRITES, ids=by_name)
async def test_a_name_of_ones_own_does_write(furnish, field):
    assert [place for place in await dead_places(field, furnish, await furnish()) if not place.endswith(OF_NO_USE)] == []


#: Of leads by a filter: no two share an address, and none is without an activity that is not of one campaign or one batch.
OF_NO_USE = (
    *("leadUpdateMany(patch.email)", "leadUpdateMany(patch.crmId)"),
    *(f"Many(where.activity.none.{name}.{operator})" for name in ("campaignId", "batchId") for operator in ("ne", "notIn[0]")),
)

EVERYTHING = [(name, None) for name in ROOTS["Query"].fields if name not in ("node", "nodes")] + [("node", name) for name in NODES]


@pytest.mark.parametrize(("root", "only"), EVERYTHING, ids=lambda value: value)
async def test_whatever_is_selected_shows_ones_own_alone(owner, twins, root, only):
    shown = {}
    for tenant in (owner, twins[0]):
        arguments = arguments_for(root, tenant) if only is None else {"id": tenant.ids[only]}
        # A list of three levels costs more than one request may, and what is below `viewer` is deeper than SQLite reads.
        document = walks.document("Query", root, arguments, depth=3 if walks.is_row(ROOTS["Query"].fields[root].type) else 2, only=only)
        answer = await tenant.admin.post(document, arguments)
        assert "errors" not in answer.json(), answer.text
        shown[tenant] = answer.text
    assert {name for name in owner.names if name in shown[owner]}, "the owner sees nothing either"
    assert {name for name in owner.names if name in shown[twins[0]]} == set()


async def test_the_same_addresses_and_crm_ids_live_in_two_workspaces_and_do_not_meet(furnish, rows_of):
    ours, theirs = await furnish(), await furnish()
    before = await rows_of(theirs)
    lead = {"email": theirs.email.upper(), "crmId": theirs.crm_id, "firstName": "Ours"}
    made = (await ours.admin.data("leads/create", input=lead))["leadCreate"]["lead"]
    rows = [{**lead, "title": "CTO"}, {"crmId": f"crm2-{theirs.token}", "email": f"bob.{theirs.token}@example.com"}]
    report = (await ours.admin.data("leads/upsert_many", input={"leads": rows}))["leadUpsertMany"]
    assert [result["outcome"] for result in report["results"]] == ["UPDATED", "CREATED"]
    assert report["results"][0]["leadId"] == made["id"]
    user = (await ours.admin.data("users/create", input={"email": theirs.user_email, "role": "ADMIN"}))["userCreate"]["user"]
    assigned = await ours.admin.data("leads/assign", lead={"email": theirs.email}, user={"email": theirs.user_email})
    assert assigned["leadAssign"]["lead"] == {"id": made["id"], "assignee": {"id": user["id"], "email": theirs.user_email}}
    assert await rows_of(theirs) == before
    for asked in ({"search": theirs.email}, {"where": {"email": {"eq": theirs.email}}}, {"where": {"crmId": {"in": [theirs.crm_id]}}}):
        for tenant, expected in ((ours, made["id"]), (theirs, theirs.ids["Lead"])):
            assert [node["id"] for node in (await tenant.admin.data("leads/list", **asked))["leads"]["nodes"]] == [expected]
    await ours.admin.data("leads/delete", lead={"crmId": theirs.crm_id})
    await ours.admin.data("users/delete", id=user["id"])
    assert await rows_of(theirs) == before


async def test_a_key_opens_its_own_workspace_whatever_else_the_request_says(owner, twins):
    stranger = twins[0]
    answer = await stranger.admin.post("workspace/viewer", **{"x-workspace": owner.slug})
    assert answer.json()["data"]["viewer"]["workspace"] == {"id": stranger.workspace, "slug": stranger.slug}
    own, theirs = stranger.admin.key.split("_"), owner.admin.key.split("_")
    for key in ("_".join(["lg", theirs[1], own[2]]), "_".join(["lg", own[1], theirs[2]])):
        answer = await stranger.admin.post("workspace/viewer", authorization=f"Bearer {key}")
        assert answer.status_code == 401
    both = await stranger.admin.post("workspace/viewer", **{"x-org-api-key": owner.admin.key})
    assert both.status_code == 401


async def test_many_requests_of_two_workspaces_at_once_are_not_mixed_up(owner, twins):
    async def both_ways(tenant: Tenant, turn: int) -> str:
        if turn % 4 == 0:
            return (await tenant.admin.post("leads/score", {"leads": [{"id": tenant.ids["Lead"]}]})).text
        return (await tenant.admin.post("leads/timeline" if turn % 2 else "activities/list", {"first": 20})).text

    asked = [(tenant, turn) for turn in range(60) for tenant in (owner, *twins)]
    answers = await asyncio.gather(*[both_ways(tenant, turn) for tenant, turn in asked])
    for (tenant, _), answer in zip(asked, answers, strict=True):
        assert tenant.ids["Lead"] in answer
        assert not any(other.ids["Lead"] in answer or other.token in answer for other in (owner, *twins) if other is not tenant)


async def asked_of(app: Any, key: str, body: bytes) -> bytes:
    """Ask the application itself: a client between would take longer than its answer."""
    headers = [(b"host", b"x"), (b"content-type", b"application/json"), (b"authorization", b"Bearer " + key.encode())]
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/graphql", "query_string": b"", "headers": headers}
    sent: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(sent)


async def test_ten_thousand_requests_of_two_workspaces_on_shared_connections_are_not_mixed_up(owner, twins, app):
    body = b'{"query":"{ leads(first: 2) { nodes { id company campaigns { nodes { id } } } } }"}'
    expected = {tenant: await asked_of(app, tenant.admin.key, body) for tenant in (owner, twins[0])}
    assert all(tenant.ids["Lead"].encode() in answer for tenant, answer in expected.items())
    for _ in range(100):
        asked = [owner, twins[0]] * 50
        answers = await asyncio.gather(*[asked_of(app, tenant.admin.key, body) for tenant in asked])
        assert [expected[tenant] for tenant in asked] == answers


async def test_a_cursor_that_never_was_is_well_formed():
    text = await a_cursor(Place("Query", "leads", "after", (), walks.TYPES["String"]), unknown_to_all())
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    assert cursor_text(raw[16:33], raw[33:]) == text
