"""Cursors where they don't belong: in every list of the graph, whatever is not that list's own is INVALID_CURSOR."""

from functools import partial
from typing import Any

import pytest
import walks
from tenants import Tenant
from walks import ROOTS

from schema.graph import graph

#: A filter that is not the list's own, by the argument's type. A new one fails by name until it has a case.
FILTERS: dict[str, str] = {
    "LeadWhere": 'where: {company: {ne: "x"}}',
    "CampaignWhere": "where: {status: {in: [DRAFT, ACTIVE, PAUSED]}}",
    "ActivityWhere": "where: {kind: {ne: IMPORTED}}",
    "EmailWhere": "where: {status: {in: [SCHEDULED]}}",
    "JobStatusFilter": "status: {in: [FAILED]}",
}
#: An order that is not the list's own.
ORDERS = {
    "LeadOrder": ["orderBy: {field: CREATED_AT}", "orderBy: {field: EMAIL}"],
    "CampaignOrder": ["orderBy: {field: CREATED_AT}", "orderBy: {field: NAME}"],
}

CONNECTIONS = [(owner, field) for owner, field in walks.fields_with_arguments() if "after" in walks.TYPES[owner].fields[field].args]
#: Of these a cursor is a plain position: good in any list of the log, with any filter, in any order.
LOGS = {("Query", "activities"), ("Lead", "activities")}


async def ask(of: Tenant, connection: tuple[str, str], arguments: str, cursor: str | None, side: str = "after") -> Any:
    """Ask for a page of a connection of a tenant's object: the page, or the codes of the errors."""
    owner, field = connection
    size = "first" if side == "after" else "last"
    page = f"{field}({arguments} {size}: 1, {side}: $cursor) {{ edges {{ cursor }} totalCount }}"
    if owner in ROOTS:
        document, variables = f"query Q($cursor: String) {{ {page} }}", {}
    else:
        document = f"query Q($cursor: String, $node: ID!) {{ node(id: $node) {{ ... on {owner} {{ {page} }} }} }}"
        variables = {"node": of.ids[owner]}
    answer = (await of.admin.post(document, {**variables, "cursor": cursor})).json()
    if "errors" in answer:
        return [error["extensions"]["code"] for error in answer["errors"]]
    return answer["data"][field] if owner in ROOTS else answer["data"]["node"][field]


async def a_cursor(of: Tenant, connection: tuple[str, str]) -> str:
    """Give a cursor of the connection; one without a row in it has no case."""
    edges = (await ask(of, connection, "", None))["edges"]
    assert edges, f"nothing is made that is in {'.'.join(connection)}: furnish it"
    return str(edges[0]["cursor"])


def edited(cursor: str) -> list[str]:
    """Edit a cursor by hand: everywhere a little, and its length."""
    places = [0, 7, 21, 23, 30, len(cursor) // 2, len(cursor) - 2]
    swapped = [cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :] for place in places]
    return [*swapped, cursor[:-1], cursor[1:], cursor + "A", cursor * 2, cursor + "=", f" {cursor}", "", "x", "é", cursor.swapcase()]


def others(connection: tuple[str, str]) -> list[str]:
    """Give arguments that make another list of a connection: filters, searches, orders."""
    found = []
    for name, argument in walks.TYPES[connection[0]].fields[connection[1]].args.items():
        type_ = walks.get_named_type(argument.type).name
        if name in ("where", "status"):
            found += [FILTERS[type_], f"{name}: {{}}"]
        elif name == "search":
            found += ['search: "ada"']
        elif name == "orderBy":
            found += ORDERS[type_]
        else:
            assert name in ("first", "after", "last", "before", "offset"), f"does {name} make another list?"
    return found


@pytest.mark.parametrize("connection", CONNECTIONS, ids=".".join)
async def test_a_cursor_is_of_no_use_but_in_its_own_list(owner, target, connection):
    cursor = await a_cursor(owner, connection)
    bad = ["INVALID_CURSOR"]
    for side in ("after", "before"):
        own = partial(ask, owner, connection, side=side)
        assert (await own("", cursor))["edges"] is not None
        for wrong in edited(cursor) if side == "after" else [f"{cursor}A"]:
            assert await own("", wrong) == bad, wrong
        assert await own("", await a_cursor(target, connection)) == bad
        if connection not in LOGS:
            for arguments in others(connection):
                assert isinstance(await own(arguments, None), dict), arguments
                assert await own(arguments, cursor) == bad, arguments
    for other in CONNECTIONS:
        if other != connection and not {other, connection} <= LOGS:
            assert await ask(owner, other, "", cursor) == bad, other


def test_every_list_of_the_graph_is_walked():
    lists = {
        (name, field)
        for name, fields in graph.plans.bindings.types.items()
        for field, bound in fields.items()
        if hasattr(bound.spec, "log")
    }
    assert lists == set(CONNECTIONS)
