"""Values that break something elsewhere, sent to every place that takes one: refused with a name for it, and nothing written."""

import itertools
import re
from typing import Any

import pytest
import tenants
import walks
from tenants import Tenant, arguments_for
from walks import ROOTS, Place

FIELDS = walks.fields_with_arguments()
TEXTS = {"String", "ID", "Cell", "DateTime"}
OBJECTS = {"JSONObject", "JSONValue"}
#: A cursor that is none says so by a code of its own.
CURSORS = {"after", "before"}
#: What an answer never tells: how the service is made.
_INSIDE = re.compile(r"Traceback|sqlalchemy|asyncpg|sqlite|\.py\b|SELECT |<class|object at 0x|NoneType|Error\(")
#: What a batch leaves behind, whatever became of its rows.
TRACE_OF_A_BATCH = ("batch",)


def by_name(field: tuple[str, str]) -> str:
    return ".".join(field)


async def send(to: Tenant, place: Place, value: Any, *, as_literals: bool = False) -> dict[str, Any]:
    """Send a value to its place, by a variable or in the document itself."""
    given = arguments_for(place.field, to) if place.owner in ROOTS else {}
    arguments = walks.put(place, given, value)
    text = walks.document(place.owner, place.field, arguments, depth=0, as_literals=as_literals)
    variables = ({"file": tenants.FILE} if "$file" in text else {}) if as_literals else dict(arguments)
    if place.owner not in ROOTS:
        variables["node"] = to.ids[place.owner]
    answer = await to.admin.post(text, variables)
    assert answer.status_code < 500, answer.text
    assert not _INSIDE.search(answer.text), answer.text
    found: dict[str, Any] = answer.json()
    return found


def codes(answer: dict[str, Any]) -> set[str]:
    """Give the codes of an answer's errors, and of its rows' where it is a batch's."""
    if "errors" in answer:
        return {error["extensions"]["code"] for error in answer["errors"]}
    batch = answer["data"].get("leadUpsertMany") or answer["data"].get("leadEventTrackMany") or {}
    return {error["code"] for result in batch.get("results", ()) for error in result["errors"]}


async def let_through(to: Tenant, field: tuple[str, str], attacks: Any, expected: set[str], *, as_literals: bool = False) -> list[str]:
    """Send to each place of a field all that `attacks` gives for it, and tell what was not answered with one of the expected codes."""
    told = []
    for place in walks.places(*field):
        for value in attacks(place):
            answer = await send(to, place, value, as_literals=as_literals)
            found = codes(answer)
            if not found or not found <= expected | ({"INVALID_CURSOR"} if place.argument in CURSORS else set()):
                told.append(f"{place} {value!r:.60}: {answer!s:.300}")
    return told


def nuls(place: Place) -> list[Any]:
    if place.leaf.name in OBJECTS:
        return [{"a": "b\0c"}, {"a\0": 1}, {"a": [{"b": ["\0"]}]}]
    texts = ["a\0b", "\0", f"lead_{'0' * 26}\0"] if place.leaf.name in TEXTS else []
    return texts if place.owner in ROOTS else texts[:1]


@pytest.mark.parametrize("field", FIELDS, ids=by_name)
async def test_a_nul_in_any_text_is_refused_and_nothing_is_written(target, rows_of, field):
    before = await rows_of(target, but=TRACE_OF_A_BATCH)
    assert await let_through(target, field, nuls, {"BAD_USER_INPUT", "INVALID"}) == []
    assert await rows_of(target, but=TRACE_OF_A_BATCH) == before


@pytest.mark.parametrize("field", [field for field in FIELDS if field[0] in ROOTS], ids=by_name)
async def test_a_nul_in_the_document_itself_is_refused_too(target, rows_of, field):
    def writable(place: Place) -> list[Any]:
        return [value for value in nuls(place) if value != {"a\0": 1}]  # a name in a document holds no escapes

    before = await rows_of(target, but=TRACE_OF_A_BATCH)
    assert await let_through(target, field, writable, {"BAD_USER_INPUT", "INVALID"}, as_literals=True) == []
    assert await rows_of(target, but=TRACE_OF_A_BATCH) == before


def no_integers(place: Place) -> list[Any]:
    return [2**31, -(2**31) - 1, 2**63, 1.5, "1", True, [1]] if place.leaf.name == "Int" else []


def no_fractions(place: Place) -> list[Any]:
    # An attribute may be compared with any number.
    high = [] if "attributes" in place.names else [2**63]
    return ["1", True, {}, *high] if place.leaf.name == "Float" else []


def no_choices(place: Place) -> list[Any]:
    return ["", "NONE", "new", "NEW\0", 1, True, None, {}] if hasattr(place.leaf, "values") else []


def no_objects(place: Place) -> list[Any]:
    return ["a", 1, True, [], [{}]] if place.leaf.name == "JSONObject" else []


def no_texts(place: Place) -> list[Any]:
    return [1, 1.5, True, {}, {"a": "b"}] if place.leaf.name == "String" else []


@pytest.mark.parametrize("field", [field for field in FIELDS if field[0] in ROOTS], ids=by_name)
async def test_a_value_of_another_kind_is_refused_and_nothing_is_written(target, rows_of, field):
    def of_another_kind(place: Place) -> list[Any]:
        values = [value for attacks in (no_integers, no_fractions, no_choices, no_objects, no_texts) for value in attacks(place)]
        # `null` where it may stand is no value of another kind, but one that asks nothing.
        return [value for value in values if value is not None or not nullable(place)]

    before = await rows_of(target)
    assert await let_through(target, field, of_another_kind, {"BAD_USER_INPUT"}) == []
    assert await rows_of(target) == before


def nullable(place: Place) -> bool:
    declared: Any = walks.arguments_of(place.owner, place.field)[place.argument].type
    for step in place.path:
        declared = walks.get_nullable_type(declared)
        declared = declared.of_type if isinstance(step, int) else declared.fields[step].type
    return not str(declared).endswith("!")


CELLS = [field for field in FIELDS if any(place.leaf.name == "Cell" for place in walks.places(*field))]


@pytest.mark.parametrize("field", CELLS, ids=by_name)
async def test_an_object_or_a_list_in_a_cell_is_its_rows_fault(target, rows_of, field):
    def no_cells(place: Place) -> list[Any]:
        return [{}, [], ["a"], {"a": "b"}] if place.leaf.name == "Cell" else []

    before = await rows_of(target, but=TRACE_OF_A_BATCH)
    assert await let_through(target, field, no_cells, {"INVALID"}) == []
    assert await rows_of(target, but=TRACE_OF_A_BATCH) == before


@pytest.mark.parametrize("field", [field for field in FIELDS if field[0] == "Mutation"], ids=by_name)
async def test_a_text_above_ten_thousand_bytes_gets_nowhere(target, rows_of, field):
    def long_texts(place: Place) -> list[Any]:
        if place.argument == "where":
            return []  # what is compared is not kept
        if place.leaf.name in OBJECTS:
            return [
                {"a": "b" * 10_001},
                {"a": "é" * 5_001},
                {"k" * 257: 1},
                {f"k{number}": 1 for number in range(10_000)},
                {f"k{number}": "a" * 9_000 for number in range(8)},
            ]
        times = 26 if place.names[-1] == "body" else 1  # of an e-mail
        return [text * times for text in ("a" * 10_001, "é" * 5_001, " " * 10_001 + "é" * 5_001)] if place.leaf.name in TEXTS else []

    before = await rows_of(target, but=TRACE_OF_A_BATCH)
    refused = {"BAD_USER_INPUT", "TOO_LONG", "NOT_FOUND", "INVALID"}
    assert await let_through(target, field, long_texts, refused) == []
    assert await rows_of(target, but=TRACE_OF_A_BATCH) == before


async def test_a_name_of_a_megabyte_is_refused_before_it_is_read(target, rows_of):
    before = await rows_of(target)
    answer = await target.admin.post("campaigns/create", {"input": {"name": "a" * 1_048_577}})
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (413, "LIMIT")
    assert len(answer.text) < 1_000
    answer = await target.admin.post("campaigns/create", {"input": {"name": "a" * 1_000_000}})
    assert answer.json()["errors"][0]["extensions"] | {"requestId": ""} == {
        "code": "BAD_USER_INPUT", "argument": "input.name", "rule": "TOO_LONG", "requestId": "",
    }  # fmt: skip
    assert len(answer.text) < 1_000
    assert await rows_of(target) == before


SCORES = [(operator, value) for operator in ("eq", "ne", "gt", "gte", "lt", "lte") for value in (-1, 101)] + [("in", [50, 101])]


@pytest.mark.parametrize(("operator", "value"), SCORES)
async def test_a_score_outside_0_to_100_is_asked_of_nobody(target, statements, operator, value):
    where = {"qualityScore": {operator: value}}
    with statements() as ran:
        [error] = await target.admin.errors("leads/list", {"where": where})
        [nested] = await target.admin.errors("leads/list", {"where": {"or": [{"not": where}]}})
    for told, path in ((error, "leads.where.qualityScore"), (nested, "leads.where.or[0].not.qualityScore")):
        assert told["extensions"]["code"] == "BAD_USER_INPUT"
        assert told["extensions"]["argument"] == f"{path}.{operator}"
    assert ran == []


@pytest.mark.parametrize(
    "patch",
    [
        {"threshold": -1},
        {"threshold": 101},
        {"weights": [{"kind": "EMAIL_VALIDITY", "maximum": -1}]},
        {"weights": [{"kind": "EMAIL_VALIDITY", "maximum": 101}]},
        {"weights": [{"kind": "EMAIL_VALIDITY", "maximum": 31}]},
        {"weights": [{"kind": "EMAIL_VALIDITY", "maximum": 30}] * 2},
        {"sources": [{"source": "linkedin", "reliability": -0.1}]},
        {"sources": [{"source": "linkedin", "reliability": 1.1}]},
        {"sources": [{"source": " ", "reliability": 1}]},
        {"sources": [{"source": name, "reliability": 1} for name in ("LinkedIn", "linkedin")]},
        {"sources": [{"source": f"s{number}", "reliability": 1} for number in range(201)]},
    ],
)
async def test_rules_that_cannot_score_are_refused(target, rows_of, patch):
    before = await rows_of(target)
    [error] = await target.admin.errors("workspace/update_scoring", {"patch": patch})
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["argument"].startswith("patch.")
    assert await rows_of(target) == before


def deep(levels: int, wrapped: Any) -> Any:
    """A filter of so many objects and lists."""
    where: Any = {"status": {"eq": "NEW"}}
    for _ in range(levels - 2):
        where = wrapped(where)
    return where


@pytest.mark.parametrize("wrapped", [lambda inner: {"not": inner}, lambda inner: {"or": inner}, lambda inner: {"and": inner}])
async def test_a_filter_33_deep_reaches_no_database(target, statements, wrapped):
    text = walks.literal(deep(33, wrapped), walks.TYPES["LeadWhere"])
    with statements() as ran:
        [written] = await target.admin.errors(f"{{ leads(where: {text}) {{ totalCount }} }}")
        sent = await target.admin.post("leads/list", {"where": deep(33, wrapped)})
    assert written["extensions"]["code"] == "QUERY_TOO_COMPLEX"
    assert (sent.status_code, sent.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_REQUEST")
    assert ran == []


@pytest.mark.parametrize("name", ["or", "and"])
async def test_a_filter_1000_wide_reaches_no_database(target, statements, name):
    where = {name: [{"status": {"eq": "NEW"}}] * 1_000}
    text = walks.literal({name: where[name][:150]}, walks.TYPES["LeadWhere"])  # as many as the tokens of a document allow
    with statements() as ran:
        [written] = await target.admin.errors(f"{{ leads(where: {text}) {{ totalCount }} }}")
        [sent] = await target.admin.errors("leads/list", {"where": where})
    assert (written["extensions"]["code"], sent["extensions"]["code"]) == ("QUERY_TOO_COMPLEX", "QUERY_TOO_COMPLEX")
    assert ran == []


@pytest.mark.parametrize(
    "where",
    [
        deep(12, lambda inner: {"not": inner}),
        {"or": [{"status": {"eq": "NEW"}}] * 149},
        {"and": [{"not": {"campaignId": {"eq": "cmp_x"}}}] * 70},
        {"or": [{"and": [{"company": {"contains": "x"}}, {"source": {"ne": "y"}}]} for _ in range(50)]},
        {"email": {"in": ["a@example.com"] * 10_000}},
    ],
    ids=["12-deep", "149-wide", "70-exists", "50-pairs", "10000-values"],
)
async def test_a_filter_within_the_limits_is_answered(target, statements, where):
    with statements() as ran:
        found = await target.admin.data("leads/list", where=where)
    assert isinstance(found["leads"]["totalCount"], int)
    assert len(ran) == 1


@pytest.mark.parametrize("levels", range(13, 31))
@pytest.mark.parametrize("name", ["not", "or", "and"])
async def test_a_filter_is_never_too_deep_for_the_database_alone(target, name, levels):
    errors = await target.admin.errors("leads/list", {"where": deep(levels, lambda inner: {name: inner})})
    assert {error["extensions"]["code"] for error in errors} <= {"QUERY_TOO_COMPLEX"}


#: Up to eleven of the twelve levels that a document may have, each a list, a part of a row or a figure.
DEEP_DOCUMENTS = {
    "parts": "campaigns(first: 3) { nodes { leads(first: 3) { nodes { score { components { kind } } } } } }",
    "figures": "campaigns(first: 3) { nodes { stats { averageScore byStatus { count } } } }",
    "changes": "campaigns(first: 3) { nodes { leads(first: 3) { nodes { activities(first: 3) { nodes { changes { field } } } } } } }",
    "a mean": "assignee { leads(first: 3) { nodes { score { campaign { stats { averageScore } } } } } }",
}


@pytest.mark.parametrize("name", DEEP_DOCUMENTS)
async def test_a_document_within_the_limits_is_answered(target, name):
    text = f"query Q($id: ID!) {{ campaign(id: $id) {{ leads(first: 3) {{ nodes {{ {DEEP_DOCUMENTS[name]} }} }} }} }}"
    answer = (await target.admin.post(text, {"id": target.ids["Campaign"]})).json()
    assert "errors" not in answer
    [lead] = answer["data"]["campaign"]["leads"]["nodes"]
    assert lead.popitem()[1]


@pytest.mark.parametrize("count", [1, 300, 5_000])
async def test_a_search_may_have_any_number_of_words(target, count):
    assert (await target.admin.data("leads/list", search=f"{target.token} " * count))["leads"]["totalCount"] == 2
    assert (await target.admin.data("leads/list", search=" ".join(f"w{number}" for number in range(count))))["leads"]["totalCount"] == 0


async def test_nothing_that_was_sent_is_a_number_the_next_request_stumbles_over(target):
    # One connection serves them all: after every kind of refusal the next good request works.
    places = [place for field in FIELDS if field[0] in ROOTS for place in itertools.islice(walks.places(*field), 2)]
    for place in places:
        for value in [*nuls(place)[:1], *no_integers(place)[:1]]:
            await send(target, place, value)
            assert (await target.admin.data("leads/get", by={"id": target.ids["Lead"]}))["lead"]["id"] == target.ids["Lead"]
