"""Variables are read by what is compiled of their types: the same values, or the same errors, as the library's own reading gives."""

import pytest
from graphql import GraphQLInputObjectType, get_named_type, get_nullable_type, is_enum_type, is_input_object_type, is_list_type, parse
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from schema.graph import PlannedExecution, graph
from schema.scalars import Uploaded

TYPES = graph.core.type_map
#: As fields take them, and each input object by itself.
TAKEN = sorted(
    {str(argument.type) for root in ("Query", "Mutation") for each in TYPES[root].fields.values() for argument in each.args.values()}
    | {f"[{name}!]" for name, type_ in TYPES.items() if isinstance(type_, GraphQLInputObjectType)}
)
LOOSE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**33), 2**33),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.just([]),
    st.just({"no": "such"}),
)
RIGHT = {
    "Int": st.integers(-5, 300),
    "Float": st.floats(0, 1),
    "Boolean": st.booleans(),
    "DateTime": st.just("2026-01-20T10:00:00+01:00"),
    "JSONObject": st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2),
    "JSONValue": st.recursive(LOOSE, lambda inner: st.lists(inner, max_size=2), max_leaves=3),
    "Cell": LOOSE,
    "Upload": st.just(Uploaded(None, None)),
}


def values_of(type_, depth=2):
    """Values of a type: mostly sound ones, with something else in one place of a few."""
    type_ = get_nullable_type(type_)
    if is_list_type(type_):
        item = values_of(type_.of_type, depth)
        right = st.one_of(st.lists(item, max_size=3), item)
    elif is_input_object_type(type_):
        names = [name for name, field in type_.fields.items() if depth or not is_input_object_type(get_named_type(field.type))]
        some = st.sets(st.sampled_from(names), max_size=3) if names else st.just(set())
        needed = {name for name, field in type_.fields.items() if str(field.type).endswith("!")}
        chosen = st.one_of(some.map(lambda found: found | needed), some)
        if type_.is_one_of:
            chosen = st.one_of(st.sampled_from(names).map(lambda name: {name}), some)
        right = chosen.flatmap(lambda found: st.fixed_dictionaries({name: values_of(type_.fields[name].type, depth - 1) for name in found}))
        right = st.one_of(right, right, right, right.map(lambda value: {**value, "nobody": 1}))
    elif is_enum_type(type_):
        right = st.sampled_from(sorted(type_.values))
    else:
        right = RIGHT.get(type_.name, st.text(max_size=4))
    return st.one_of(*[right] * 12, st.none(), LOOSE)


def told(executor, document, variables):
    """What came of the variables: the values and the order of their fields, or the errors."""
    built = executor.build(graph.core, document, None, None, variables)
    if isinstance(built, list):
        return "errors", [(error.message, error.path, error.locations) for error in built]
    sources = {name: (str(source.signature.type), source.value) for name, source in built.variable_values.sources.items()}
    values = {name: repr(value) for name, value in built.variable_values.coerced.items()}
    return "values", values, sources, built.operation is document.definitions[0]


@pytest.mark.parametrize("written", TAKEN)
def test_a_variable_is_read_as_the_library_reads_it(written):
    document = parse(f"query A($v: {written}, $w: Int = 3, $x: [ID!]) {{ __typename }}")
    declared = document.definitions[0].variable_definitions[0].type
    while hasattr(declared, "type"):
        declared = declared.type
    type_ = values_of(TYPES[declared.name.value])
    if "[" in written:
        type_ = st.one_of(st.lists(type_, max_size=3), type_)

    @settings(max_examples=15, deadline=None, database=None)
    @given(type_, st.sampled_from([{}, {"w": 4}, {"w": "four"}, {"x": ["a", 5]}, {"x": None}]))
    def check(value, beside):
        variables = {"v": value, **beside}
        assert told(PlannedExecution, document, variables) == told(StrawberryGraphQLCoreExecutionContext, document, variables)

    check()


def test_a_variable_left_out_takes_its_default_or_is_missed():
    document = parse("query A($v: LeadUpsertManyInput!, $w: Int! = 3) { __typename }")
    for variables in ({}, {"w": 3}, {"v": {"leads": []}}, {"v": {"leads": [{}, {"crmId": 1}]}, "w": None}):
        assert told(PlannedExecution, document, variables) == told(StrawberryGraphQLCoreExecutionContext, document, variables)


def test_the_rows_of_a_batch_are_read_without_the_library(monkeypatch):
    """Nothing else would notice if the short way were never taken."""
    document = parse("mutation A($v: LeadUpsertManyInput!, $e: [LeadEventRow!]!) { __typename }")
    rows = [{"email": "a@example.com", "crmId": 5}, {"attributes": {"a": 1}}]
    monkeypatch.setattr("schema.coercion.get_variable_values", None)
    built = PlannedExecution.build(graph.core, document, None, None, {"v": {"leads": rows}, "e": [{"event": "x"}]})
    assert built.variable_values.coerced["v"]["leads"] == [{"crmId": 5, "email": "a@example.com"}, {"attributes": {"a": 1}}]
    assert list(built.variable_values.coerced["v"]["leads"][0]) == ["crmId", "email"]
    assert built.variable_values.coerced["v"]["dryRun"] is False
