"""Files and mappings of which a part is not what it looks like: told by name, and the sound rows beside them go in."""

import csv
import encodings
import io
import json
import pkgutil

import pytest
from test_downloads import get  # noqa: F401  (a fixture)
from test_uploads import LEADS, SUMMARY, bring, code, rows, run, send  # noqa: F401  (fixtures)
from workbooks import sheet, xlsx

from app.tables import ImportJob, Lead


async def test_a_column_whose_name_holds_a_nul_is_named_and_nothing_is_kept(api, send, rows):  # noqa: F811
    book = xlsx(sheet([(1, ["email", "a_x0000_b"]), (2, ["ann@example.com", "v"])]))
    for document in ("leads/import", "leads/import_preview"):
        answer = await send(api, document, book, "leads.xlsx")
        assert code(answer) == (200, "BAD_USER_INPUT")
        [error] = answer.json()["errors"]
        assert error["message"] == "input.file: the column 'a\\x00b' has a NUL in its name: rename it"
        assert error["extensions"]["argument"] == "input.file"
    assert await rows(ImportJob) == []


@pytest.mark.parametrize("field", ["attributes.a\0", "attributes.\0", "em\0ail", "\0", "attributes." + "x" * 257])
async def test_a_mapping_to_a_name_that_no_attribute_has_is_refused(api, send, rows, field):  # noqa: F811
    mapping = [{"column": "firstName", "field": field}]
    for document in ("leads/import", "leads/import_preview"):
        answer = await send(api, document, LEADS, mapping=mapping)
        assert code(answer) == (200, "BAD_USER_INPUT")
        [error] = answer.json()["errors"]
        assert (error["extensions"]["argument"], "\0" in error["message"]) == ("input.mapping", False)
        assert error["message"].startswith("input.mapping: A lead has no field '")
    assert await rows(ImportJob) == []


@pytest.mark.parametrize("encoding", ["unicode_escape", "raw_unicode_escape", "unicode-escape", "idna", "punycode", "undefined", "charmap"])
async def test_an_encoding_of_no_files_is_none(api, send, rows, encoding):  # noqa: F811
    answer = await send(api, "leads/import", "email,firstName\ns@example.com,a\\ud800b\n", encoding=encoding)
    assert code(answer) == (200, "BAD_USER_INPUT")
    [error] = answer.json()["errors"]
    assert error["message"].startswith(f"input.encoding: there is no encoding '{encoding}'")
    assert error["extensions"]["argument"] == "input.encoding"
    assert await rows(ImportJob) == []


async def test_whatever_encoding_python_knows_is_read_or_refused_by_name(api, send):  # noqa: F811
    names = [module.name for module in pkgutil.iter_modules(encodings.__path__)]
    assert len(names) > 100
    for name in names:
        answer = await send(api, "leads/import_preview", b"email,title\ns@example.com,\\ud800+2AA-\n", encoding=name)
        for error in answer.json().get("errors", ()):
            assert (error["extensions"]["code"], error["extensions"]["argument"][:6]) == ("BAD_USER_INPUT", "input.")


@pytest.mark.parametrize("name", ["Ann", 'Ann "the" first'])
async def test_a_quote_that_is_not_closed_costs_its_own_row_and_comes_back_as_it_stood(api, bring, get, name):  # noqa: F811
    rows_ = [f"p{n}@example.com,{f'{chr(34)}{name}' if n == 10 else 'Bob'},x" for n in range(1000)]
    job = await bring("\n".join(["email,firstName,title", *rows_, ""]))
    assert [job["summary"][each] for each in SUMMARY] == [1000, 999, 0, 0, 0, 1]
    [error] = job["rowErrors"]["nodes"]
    assert (error["line"], error["raw"]) == (12, {"email": "p10@example.com", "firstName": f'"{name}', "title": "x"})
    assert (error["errors"][0]["code"], "close each that is open" in error["errors"][0]["message"]) == ("INVALID", True)
    rejected = (await get(api, job["rejectedUrl"])).text
    assert list(csv.reader(io.StringIO(rejected, newline="")))[1][2:] == ["p10@example.com", f'"{name}', "x"]
    mended = await bring(rejected.replace('"""', '"').replace('""', ""))
    assert [mended["summary"][each] for each in SUMMARY] == [1, 1, 0, 0, 0, 0]


MANY = "mutation ($x: [LeadRow!]!) { leadUpsertMany(input: {leads: $x}) { results { outcome } } }"
TRACK = "mutation ($x: [LeadEventRow!]!) { leadEventTrackMany(events: $x) { results { outcome } } }"
PATCH = 'mutation ($x: JSONObject) { leadUpdate(lead: {email: "ann@example.com"}, patch: {attributes: $x}) { lead { id } } }'
FILTER = 'query ($x: JSONValue) { leads(where: {attributes: [{key: "a", eq: $x}]}) { totalCount } }'
NO_FILE = "is a file, where none may be"


@pytest.mark.parametrize(
    ("query", "value", "at", "argument", "words"),
    [
        (MANY, [{"email": None}], ".0.email", "x[0].email", NO_FILE),
        (MANY, [{"email": "a@example.com", "attributes": None}], ".0.attributes", "x[0].attributes", NO_FILE),
        (MANY, [{"email": {"a": [None]}}], ".0.email.a.0", "x[0].email", NO_FILE),
        (TRACK, [{"email": "a@example.com", "event": "e", "attributes": {"a": None}}], ".0.attributes.a", "x[0].attributes", NO_FILE),
        (PATCH, {"a": None}, ".a", "x", NO_FILE),
        (PATCH, None, "", "x", NO_FILE),
        (FILTER, None, "", "x", NO_FILE),
        (FILTER, {"a": [None]}, ".a.0", "x", NO_FILE),
        ("query ($x: String) { leads(search: $x) { totalCount } }", None, "", "x", "a file"),
        ("query ($x: ID!) { node(id: $x) { id } }", None, "", "x", "a file"),
        ("query ($x: Int) { leads(first: $x) { totalCount } }", None, "", "x", "a file"),
        ("query ($x: LeadWhere) { leads(where: $x) { totalCount } }", None, "", "x", "a file"),
        ("query ($x: DateTime) { leads(where: {createdAt: {gt: $x}}) { totalCount } }", None, "", "x", "a file: is no RFC 3339 text"),
    ],
)
async def test_a_file_where_none_may_be_is_told_as_that(api, send, rows, query, value, at, argument, words):  # noqa: F811
    fields = {"operations": json.dumps({"query": query, "variables": {"x": value}}), "map": json.dumps({"0": [f"variables.x{at}"]})}
    answer = await send(api, "{}", LEADS, fields=fields)
    assert code(answer) == (200, "BAD_USER_INPUT")
    assert (words in answer.text, "Uploaded" in answer.text, "0x" in answer.text) == (True, False, False)
    assert answer.json()["errors"][0]["extensions"]["argument"] == argument
    assert await rows(Lead) == []


async def test_a_file_that_is_put_nowhere_is_let_be(api, send):  # noqa: F811
    for operations in ({"query": "{ leads { totalCount } }"}, {"query": "{ leads { totalCount } }", "variables": {}}):
        answer = await send(api, "{}", LEADS, fields={"operations": json.dumps(operations), "map": '{"0": []}'})
        assert answer.json()["data"] == {"leads": {"totalCount": 0}}


async def test_a_long_number_in_a_cell_is_refused_as_it_is_everywhere_else(bring, rows):  # noqa: F811
    digits = "9" * 23
    file = f'email,attributes\nann@example.com,"{{""a"":{digits}}}"\nben@example.com,"{{""a"":9}}"\n'
    job = await bring(file, mapping=[{"column": "attributes", "field": "attributes"}])
    assert [job["summary"][each] for each in SUMMARY] == [2, 1, 0, 0, 0, 1]
    [error] = job["rowErrors"]["nodes"]
    assert (error["raw"]["attributes"], error["errors"]) == (
        f'{{"a":{digits}}}',
        [{"code": "INVALID", "message": "attributes holds a text or number that JSON cannot carry", "field": "attributes"}],
    )
    assert [lead["attributes"] for lead in await rows(Lead)] == [{"a": 9}]


async def test_numbers_without_end_and_places_in_lists_are_told_as_json_has_them(api):
    error = await api.error('{ leads(where: {attributes: [{key: "a", gt: 1e999}]}) { totalCount } }')
    assert error["message"] == "leads.where.attributes[0].gt Infinity: is not finite"
    answer = await api(
        'mutation { leadUpsertMany(input: {leads: [{email: "a@example.com", firstName: -1e999}]}) { results { errors { message } } } }'
    )
    assert answer["leadUpsertMany"]["results"] == [{"errors": [{"message": "firstName -Infinity: is no number that can be kept"}]}]
    error = await api.error("leads/upsert_many", input={"leads": {"0": {"email": "a@example.com"}}})
    assert (error["extensions"]["code"], error["extensions"]["argument"]) == ("BAD_USER_INPUT", "input.leads[0]")
