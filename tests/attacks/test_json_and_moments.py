"""JSON, numbers, moments and cursors at their limits and beyond: kept to the last digit, or refused and nothing written."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from tenants import Tenant

from schema.planner import cursors

# JSON


async def post_json(to: Tenant, variables: str, document: str) -> Any:
    """Send a body whose variables are written by hand."""
    body = f'{{"query": {orjson.dumps(document).decode()}, "variables": {variables}}}'.encode("utf-8", "surrogatepass")
    headers = {"authorization": f"Bearer {to.admin.key}", "content-type": "application/json"}
    return await to.admin.client.post("/graphql", content=body, headers=headers)


CREATE = 'mutation M($attributes: JSONObject) { leadCreate(input: {crmId: "json", attributes: $attributes}) { lead { attributes } } }'
UPSERT = "mutation M($row: LeadRow!) { leadUpsertMany(input: {leads: [$row]}) { results { outcome errors { code field } } } }"


NO_JSON = [
    "NaN", "Infinity", "-Infinity", "1e999", "01", "1.", "0x10", '"\\ud800"', '"\\udc00\\ud800"', "1" + "0" * 30, "18446744073709551616",
    "-9223372036854775809", "1" * 5_000,
]  # fmt: skip


@pytest.mark.parametrize("value", NO_JSON)
async def test_what_is_no_json_or_no_number_that_can_be_kept_is_refused(target, rows_of, value):
    before = await rows_of(target, but=("batch",))
    answer = await post_json(target, f'{{"attributes": {{"a": {value}}}}}', CREATE)
    assert answer.status_code in (200, 400)
    assert answer.json()["errors"][0]["extensions"]["code"] in ("BAD_REQUEST", "BAD_USER_INPUT")
    answer = await post_json(target, f'{{"row": {{"crmId": "json", "attributes": {{"a": [{value}]}}}}}}', UPSERT)
    content = answer.json()
    failed = [("FAILED", [{"code": "INVALID", "field": "attributes"}])]
    assert "errors" in content or [(row["outcome"], row["errors"]) for row in content["data"]["leadUpsertMany"]["results"]] == failed
    assert await rows_of(target, but=("batch",)) == before


@pytest.mark.parametrize("value", ["1e999", "-1e999", "1" + "0" * 30, "18446744073709551616", "-9223372036854775809", '"\\uD800"', "$a"])
async def test_so_it_is_in_the_document_itself(target, rows_of, value):
    text = f'mutation {{ leadCreate(input: {{crmId: "json", attributes: {{a: [{value}]}}}}) {{ lead {{ id }} }} }}'
    before = await rows_of(target)
    codes = {error["extensions"]["code"] for error in await target.admin.errors(text)}
    assert codes
    assert codes <= {"BAD_USER_INPUT", "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"}
    assert await rows_of(target) == before


VALUES = [
    "9223372036854775807", "9223372036854775808", "18446744073709551615", "-9223372036854775808", "-0.0", "0.1", "1e-320",
    "1.7976931348623157e308", "1.0", "100000000000000000000.0", "true", "null", '"1"', "{}", "[]", '{"b":1,"a":{"z":[],"a":null}}',
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
async def test_what_can_be_kept_is_kept_to_the_last_digit(furnish, value):
    here = await furnish()
    answer = await post_json(here, f'{{"attributes": {{"a": [{value}]}}}}', CREATE)
    written = orjson.dumps(orjson.loads(value), option=orjson.OPT_SORT_KEYS).decode()
    assert answer.text.startswith(f'{{"data":{{"leadCreate":{{"lead":{{"attributes":{{"a":[{written}]}}}}}}}},"extensions":')
    read = await here.admin.post('{ lead(by: {crmId: "json"}) { attributes activities { nodes { changes { field after } } } } }')
    assert f'"attributes":{{"a":[{written}]}}' in read.text
    assert f'{{"field":"attributes.a","after":[{written}]}}' in read.text
    row = await post_json(here, f'{{"row": {{"crmId": "json", "attributes": {{"a": [{value}]}}}}}}', UPSERT)
    assert row.json()["data"]["leadUpsertMany"]["results"] == [{"outcome": "UNCHANGED", "errors": []}]


def nested(levels: int) -> dict[str, Any]:
    value: Any = 1
    for level in range(levels):
        value = {"a": value} if level % 2 == levels % 2 - 1 or level == levels - 1 else [value]
    return value  # type: ignore[no-any-return]


async def test_attributes_are_eight_levels_deep_at_most(furnish, refused):
    here = await furnish()
    for levels, good in ((8, True), (9, False), (20, False)):
        variables = {"input": {"crmId": f"deep {levels}", "attributes": nested(levels)}}
        rows = [{"crmId": f"row {levels}", "attributes": nested(levels)}]
        if good:
            await here.admin.data("leads/create", **variables)
        else:
            told = await refused(here, "leads/create", variables)
            assert (told["code"], told["rule"]) == ("BAD_USER_INPUT", "INVALID")
        report = (await here.admin.data("leads/upsert_many", input={"leads": rows}))["leadUpsertMany"]
        assert report["results"][0]["outcome"] == ("CREATED" if good else "FAILED")
    answer = await post_json(here, '{"attributes": ' + '{"a":' * 500 + "1" + "}" * 500 + "}", CREATE)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_REQUEST")


# Moments


BAD_MOMENTS = [
    "2026-01-20T10:00:00", "2026-01-20", "2026-06-30T23:59:60Z", "2016-12-31T23:59:60+00:00", "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-00:01",
    "10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-20T24:00:00Z", "2026-01-20T10:00:00+24:00",
    "2026-01-20T10:00:00 +01:00", "2026-01-20 10:00:00Z", "2026-W04-2T10:00:00Z", "1768903200", "now", "٢٠٢٦-01-20T10:00:00Z",
    "2026-01-20T10:00:00.Z", "2026-01-20T10:00:00Z" + "0" * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("moment", BAD_MOMENTS)
async def test_a_bad_moment_is_refused_at_every_door(target, refused, statements, moment):
    for document, variables in (
        ("leads/create", {"input": {"crmId": "moment", "optInAt": moment}}),
        ("leads/update", {"lead": {"id": target.ids["Lead"]}, "patch": {"optInAt": moment}}),
        ("api_keys/create", {"input": {"name": "moment", "role": "VIEWER", "expiresAt": moment}}),
    ):
        assert (await refused(target, document, variables))["code"] == "BAD_USER_INPUT"
    with statements() as ran:
        for field in ("createdAt", "updatedAt", "lastActivityAt", "optInAt"):
            [error] = await target.admin.errors("leads/list", {"where": {field: {"gte": moment}}})
            assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert ran == []
    report = (await target.admin.data("leads/upsert_many", input={"leads": [{"crmId": "moment", "optInAt": moment}]}))["leadUpsertMany"]
    [error] = report["results"][0]["errors"]
    assert (error["code"], error["field"]) == ("TOO_LONG" if len(moment) > 10_000 else "INVALID", "optInAt")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("0001-01-01T00:00:00.000001Z", "0001-01-01T00:00:00.000001Z"),
        ("9999-12-31T23:59:59.999998Z", "9999-12-31T23:59:59.999998Z"),
        ("2026-01-20t10:00:00.1234567z", "2026-01-20T10:00:00.123456Z"),
        ("2026-01-20T10:00:00.100-05:30", "2026-01-20T15:30:00.100000Z"),
    ],
)
async def test_the_first_and_the_last_moment_are_kept_and_found(furnish, given, shown):
    here = (await furnish()).admin
    made = (await here.data("leads/create", input={"crmId": "moment", "optInAt": given}))["leadCreate"]["lead"]
    assert (await here.data("leads/get", by={"crmId": "moment"}))["lead"]["optInAt"] == shown
    moment = datetime.fromisoformat(shown).astimezone(UTC).isoformat()
    found = await here.data("leads/list", where={"optInAt": {"gte": moment, "lte": moment}})
    assert [node["id"] for node in found["leads"]["nodes"]] == [made["id"]]


# Cursors


FORGED = [[], ["x"], [None], [1.5], [True], [-1], [2**63], [2**63 - 1], [[]], [{}], ["2026-01-20T10:00:00Z"], [0, 0]]


@pytest.mark.parametrize("keys", FORGED, ids=str)
async def test_a_forged_position_in_the_log_breaks_nothing(target, keys):
    # Whoever reads the source can write the check: then it is a position, or it is none, and nothing unexpected.
    forged = cursors.encode(cursors.prefix(target.workspace, b"log"), keys)
    errors = await target.admin.errors("activities/list", {"after": forged})
    assert {error["extensions"]["code"] for error in errors} <= {"INVALID_CURSOR"}


FORGED_PLACES = [
    [], ["x"], [1, 2], [None, None], [True, "a"], ["x", "lead_x"], ["2026-01-20T10:00:00Z", 5], ["2026-01-20T10:00:00Z", "a\0"],
    ["2026-01-20T10:00:00", "a"], [{}, []],
]  # fmt: skip


@pytest.mark.parametrize("keys", FORGED_PLACES, ids=str)
async def test_a_forged_place_in_a_list_breaks_nothing(target, keys):
    forged = cursors.encode(cursors.list_prefix(target.workspace, "Lead", [("created_at", True), ("id", True)], {}), keys)
    errors = await target.admin.errors("leads/list", {"after": forged})
    assert {error["extensions"]["code"] for error in errors} <= {"INVALID_CURSOR"}
