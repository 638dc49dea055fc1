"""Documents that ask at random, as trees: what is drawn here is written as GraphQL, and evaluated by the reference."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from hypothesis import strategies as st

#: Pieces of text that names and filters are made of: case, accents, other scripts, what SQL and FTS take for syntax.
TEXTS = [
    "Ann",
    "ANN",
    "ånn",
    "Zoë",
    "zoe",
    "Straße",
    "strasse",
    "O'Neil",
    "名前",
    "İz",
    "a%b",
    "a_b",
    '"x" OR y*',
    "\\",
    "💡",
    "e\u0301a",
    "ﬁn",
]
PIECES = [*TEXTS, "n", "o", "ss", "%", "_", "*", " ", "name"]
ADDRESSES = ["Ann@Example.com", "ann", "@example", "@Bücher.example", "zoë@BÜCHER.example", "zoe", "3"]
MOMENTS = [
    "2026-01-20T10:00:00Z",
    "2026-01-20T10:00:00.5Z",
    "2026-01-20T12:00:00+02:00",
    "2026-02-01T00:00:00.000001Z",
    "2020-01-01T00:00:00Z",
]
KEYS = ["plan", "a.b", '"', "$[0]", "Größe"]
VALUES: list[Any] = ["gold", "GÖLD", "1", 1, 1.0, 1.5, -3, 0, True, False, None, [1, "a"], {"b": 1, "a": [2]}, {}, 9007199254740993, 1e21]
SEARCHES = ["ann", "AN zo", "example", "o neil", "名", "stras", "%", "", "fin", "ann com", "zz", 'x" OR', "l 3", "a b"]


class Name(str):
    """An enum value: written without quotes."""

    __slots__ = ()


@dataclass(repr=False)
class Field:
    """A selected field; `wrap` says how it is written, and may leave it out."""

    name: str
    key: str
    args: dict[str, Any] = field(default_factory=dict)
    fields: list["Field"] = field(default_factory=list)
    wrap: str = ""
    as_variables: bool = False


TYPES = {
    "first": "Int",
    "last": "Int",
    "after": "String",
    "before": "String",
    "offset": "Int",
    "search": "String",
    "order": "OrderDirection!",
    "by": "LeadRef!",
    "id": "ID!",
}
WHERES = {"leads": "Lead", "stats": "Lead", "leadStats": "Lead", "campaigns": "Campaign", "activities": "Activity", "emails": "Email"}


class Document:
    """A tree as text, with its variables."""

    def __init__(self, fields: list[Field], root: str = "Query") -> None:
        self.variables: dict[str, Any] = {"yes": True, "no": False}
        self._types = {"yes": "Boolean!", "no": "Boolean!"}
        self._fragments: list[str] = []
        body = self._selection(fields, root)
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self._types.items())
        self.text = f"query Oracle({declared}) {{ viewer {{ role @include(if: $yes) slug: role @skip(if: $no) }} {body} }}"
        self.text += " ".join(["", *self._fragments])

    def _selection(self, fields: list[Field], type_: str) -> str:
        return " ".join(self._written(each, type_) for each in fields)

    def _written(self, each: Field, type_: str) -> str:
        args = ", ".join(f"{name}: {self._argument(each, name, value)}" for name, value in each.args.items())
        inner = type_of(type_, each.name)
        below = f" {{ {self._selection(each.fields, inner)} }}" if each.fields else ""
        alias = "" if each.key == each.name else f"{each.key}: "
        text = f"{alias}{each.name}{f'({args})' if args else ''}"
        if each.wrap == "inline":
            return f"... on {type_} {{ {text}{below} }}"
        if each.wrap == "spread":
            name = f"F{len(self._fragments)}"
            self._fragments.append(f"fragment {name} on {type_} {{ {text}{below} }}")
            return f"...{name}"
        if each.wrap == "twice":  # merged by the library
            return f"{text}{below} ... @include(if: $yes) {{ {text}{below} }}"
        return f"{text} {each.wrap}{below}"

    def _argument(self, each: Field, name: str, value: Any) -> str:
        if not each.as_variables:
            return literal(value)
        variable = f"v{len(self.variables)}"
        if name == "where":
            self._types[variable] = f"{WHERES[each.name]}Where"
        elif name == "orderBy":
            self._types[variable] = f"[{'Lead' if each.name == 'leads' else 'Campaign'}Order!]"
        else:
            self._types[variable] = TYPES[name]
        self.variables[variable] = value
        return f"${variable}"


def type_of(owner: str, name: str) -> str:
    """The type of a field with a selection."""
    lists = {"leads": "Lead", "campaigns": "Campaign", "activities": "Activity", "emails": "Email", "users": "User"}
    if name in lists:
        return f"{lists[name]}Connection"
    if name == "edges":
        return owner.replace("Connection", "Edge")
    if name in ("nodes", "node"):
        return owner.replace("Connection", "").replace("Edge", "")
    named = {"pageInfo": "PageInfo", "score": "Score", "assignee": "User", "lead": "Lead", "campaign": "Campaign", "email": "Email"}
    named |= {"stats": "LeadStats", "leadStats": "LeadStats", "byStatus": "StatusCount", "bySource": "SourceCount"}
    return (named | {"scoreHistogram": "ScoreBucket"}).get(name, "")


def literal(value: Any) -> str:
    """Write a value as GraphQL does."""
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key}: {literal(each)}" for key, each in value.items())
        return f"{{{inside}}}"
    if isinstance(value, list):
        return f"[{', '.join(literal(each) for each in value)}]"
    return orjson.dumps(value).decode()


# Filters


def operators(operand: st.SearchStrategy[Any], *names: str) -> st.SearchStrategy[dict[str, Any]]:
    """One or two operators on a column."""
    of = {"in": st.lists(operand, max_size=3), "notIn": st.lists(operand, max_size=3), "isNull": st.booleans()}
    one = st.sampled_from(names).flatmap(lambda name: st.tuples(st.just(name), of.get(name, operand)))
    return st.lists(one, min_size=1, max_size=2).map(dict)


SETS = ("eq", "ne", "in", "notIn")


def texts(pieces: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """A filter on text."""
    return operators(st.sampled_from(pieces), *SETS, "contains", "startsWith", "isNull")


def enums(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """A filter on an enum."""
    return operators(st.sampled_from([Name(name) for name in names]), *SETS)


moments = operators(st.sampled_from(MOMENTS), "gt", "gte", "lt", "lte", "isNull")
numbers = operators(st.sampled_from([0, 20, 55, 85, 100]), "eq", "ne", "in", "gt", "gte", "lt", "lte", "isNull")
kinds = enums("LEAD_CREATED", "STATUS_CHANGED", "EVENT", "ADMINISTERED")
statuses = enums("NEW", "CONTACTED", "REPLIED")
mails = enums("SCHEDULED", "SENT", "FAILED")
stages = enums("DRAFT", "ACTIVE")
attribute = st.builds(
    lambda key, rest: {"key": key, **dict(rest)},
    st.sampled_from(KEYS),
    st.lists(
        st.one_of(
            st.tuples(st.just("eq"), st.sampled_from([value for value in VALUES if value is not None])),
            st.tuples(st.sampled_from(["gt", "gte", "lt", "lte"]), st.sampled_from([1, 1.0, 1.5, -3.0, 0.0, 1e20])),
            st.tuples(st.just("contains"), st.sampled_from(["gold", "Göld", "1", "%", ""])),
            st.tuples(st.just("exists"), st.booleans()),
        ),
        max_size=2,
    ),
)


def some(columns: Mapping[str, st.SearchStrategy[Any]], most: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    """Conditions on a few columns."""
    one = st.sampled_from(sorted(columns)).flatmap(lambda name: st.tuples(st.just(name), columns[name]))
    return st.lists(one, max_size=most).map(dict)


def wheres(ids: Mapping[str, list[str]]) -> dict[str, st.SearchStrategy[Any]]:
    """Filters by what they are of; `ids` there are."""

    def of(name: str) -> st.SearchStrategy[dict[str, Any]]:
        return operators(st.sampled_from([*ids[name], "nobody"]), *SETS, "isNull")

    told = some(
        {
            "kind": kinds, "status": statuses, "actorId": of("user"), "event": texts([*TEXTS, "opened"]), "leadId": of("lead"),
            "campaignId": of("campaign"), "batchId": of("lead"), "occurredAt": moments, "recordedAt": moments,
        }
    )  # fmt: skip
    flat = {
        "id": of("lead"), "crmId": texts(["crm-1", "CRM-1", "c", "-"]), "email": texts(ADDRESSES), "firstName": texts(PIECES),
        "lastName": texts(PIECES), "company": texts(PIECES), "title": texts(PIECES), "location": texts(PIECES),
        "source": texts(["linkedin", "LinkedIn", "api", "in"]), "phone": texts(["+33", "1"]), "status": statuses, "qualityScore": numbers,
        "campaignId": of("campaign"), "assigneeId": of("user"), "createdAt": moments, "updatedAt": moments, "lastActivityAt": moments,
        "optInAt": moments, "attributes": st.lists(attribute, max_size=2),
        "activity": st.lists(st.tuples(st.sampled_from(["some", "none"]), told), max_size=2).map(dict),
    }  # fmt: skip
    joins = st.sampled_from(["and", "or"])

    def joined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
        return st.one_of(
            st.builds(lambda name, parts, rest: {**rest, name: parts}, joins, st.lists(inner, max_size=3), some(flat, 1)),
            st.builds(lambda part, rest: {**rest, "not": part}, inner, some(flat, 1)),
        )

    once = joined(some(flat))
    leads = st.one_of(some(flat), once, joined(st.one_of(some(flat), once)))
    return {
        "lead": leads,
        "campaign": some({"id": of("campaign"), "name": texts(PIECES), "status": stages}),
        "activity": told,
        "email": some({"status": mails, "leadId": of("lead"), "campaignId": of("campaign"), "scheduledAt": moments}),
    }


# Selections

LEAVES = {
    "lead": "id crmId email firstName lastName fullName company title phone website linkedinUrl location source status notes attributes "
    "optInAt qualityScore createdAt updatedAt lastActivityAt version __typename",
    "campaign": "id name status createdAt updatedAt __typename",
    "activity": "id kind event leadId campaignId actorId emailId attributes distinctId occurredAt recordedAt batchId __typename",
    "email": "id leadId campaignId toAddress subject body status scheduledAt sentAt error createdAt __typename",
    "user": "id email name role createdAt __typename",
}
EDGES = {
    "lead": ["campaigns", "activities", "emails", "assignee", "score"],
    "campaign": ["leads", "stats"],
    "activity": ["lead", "campaign"],
    "email": ["lead", "campaign"],
    "user": ["leads"],
}
OF = {"leads": "lead", "campaigns": "campaign", "activities": "activity", "emails": "email", "users": "user", "assignee": "user"}
FIELDS = {
    "lead": ["CREATED_AT", "UPDATED_AT", "LAST_ACTIVITY_AT", "QUALITY_SCORE", "EMAIL", "LAST_NAME", "COMPANY"],
    "campaign": ["CREATED_AT", "NAME"],
}
WRAPS = ["", "", "", "inline", "spread", "twice", "@include(if: $yes)", "@skip(if: $no)"]


class Questions:
    """Draws selections for a world whose ids are known."""

    def __init__(self, ids: Mapping[str, list[str]]) -> None:
        self.ids, self.wheres = ids, wheres(ids)

    def orders(self, of: str) -> st.SearchStrategy[list[dict[str, Any]]]:
        """Up to three keys, no field twice."""
        one = st.fixed_dictionaries(
            {"field": st.sampled_from([Name(name) for name in FIELDS[of]])},
            optional={"direction": st.sampled_from([Name("ASC"), Name("DESC")])},
        )
        return st.lists(one, max_size=min(3, len(FIELDS[of])), unique_by=lambda key: key["field"])

    def narrowing(self, draw: Any, name: str, *, root: bool) -> dict[str, Any]:
        """What a list is narrowed and sorted by."""
        of, args = OF.get(name, "lead"), {}
        if of in self.wheres and (of != "campaign" or root) and draw(st.booleans()):
            args["where"] = draw(self.wheres[of])
        if of == "lead" and draw(st.integers(0, 2)) == 0:
            args["search"] = draw(st.sampled_from(SEARCHES))
        if (of == "lead" or (of == "campaign" and root)) and name not in ("stats", "leadStats") and draw(st.booleans()):
            args["orderBy"] = draw(self.orders(of))
        if of == "activity" and draw(st.booleans()):
            args["order"] = draw(st.sampled_from([Name("ASC"), Name("DESC")]))
        return args

    def key(self, draw: Any, name: str, taken: set[str]) -> str:
        """An alias, or the name itself where it is free."""
        key = name if name not in taken and draw(st.booleans()) else f"{name}_{len(taken)}"
        taken.add(key)
        return key

    def field(self, draw: Any, name: str, depth: int, taken: set[str], *, root: bool = False) -> Field:
        """A field with a selection."""
        asked = Field(name, self.key(draw, name, taken), wrap=draw(st.sampled_from(WRAPS)), as_variables=draw(st.booleans()))
        if root:
            asked.wrap = ""
        if name == "score":
            asked.fields = [Field("value", "value"), Field("meetsThreshold", "m")]
        elif name in ("stats", "leadStats"):
            asked.args = self.narrowing(draw, name, root=root)
            asked.fields = self.figures(draw)
        elif name in OF and name != "assignee":
            asked.args = self.narrowing(draw, name, root=root)
            asked.args |= draw(st.sampled_from([{}, {"first": 1}, {"first": 3}, {"last": 1}, {"last": 3}]))
            if OF[name] == "lead" and "last" not in asked.args and draw(st.integers(0, 2)) == 0:
                asked.args["offset"] = draw(st.integers(0, 4))
            asked.fields = self.page(draw, OF[name], depth)
        else:
            asked.fields = self.object(draw, OF.get(name, name), depth)
        return asked

    def figures(self, draw: Any) -> list[Field]:
        """Some figures, each with what it is of."""
        inner = {"byStatus": ["status", "count"], "bySource": ["count", "source"], "scoreHistogram": ["from", "to", "count"]}
        names = draw(st.lists(st.sampled_from(["count", "averageScore", *inner]), min_size=1, unique=True))
        return [Field(name, name, fields=[Field(each, each) for each in inner.get(name, [])]) for name in names]

    def page(self, draw: Any, of: str, depth: int) -> list[Field]:
        """Some of nodes, edges, pageInfo and totalCount, in any order."""
        made = []
        for name in draw(st.lists(st.sampled_from(["nodes", "edges", "pageInfo", "totalCount"]), min_size=1, unique=True)):
            if name == "nodes":
                fields = self.object(draw, of, depth)
            elif name == "edges":
                fields = [Field("cursor", "cursor"), Field("node", "n", fields=self.object(draw, of, depth))]
            elif name == "pageInfo":
                infos = ["hasNextPage", "hasPreviousPage", "startCursor", "endCursor"]
                fields = [Field(each, each) for each in draw(st.lists(st.sampled_from(infos), min_size=1, unique=True))]
            else:
                fields = []
            made.append(Field(name, name, fields=fields))
        return made

    def object(self, draw: Any, of: str, depth: int) -> list[Field]:
        """Some leaves, and at most two edges."""
        names = draw(st.lists(st.sampled_from(LEAVES[of].split()), min_size=1, max_size=6, unique=True))
        fields = [Field(name, name, wrap=draw(st.sampled_from(WRAPS))) for name in names]
        taken = {*names}
        if depth:
            edges = draw(st.lists(st.sampled_from(EDGES[of]), max_size=2))
            fields += [self.field(draw, name, depth - 1, taken) for name in edges]
        return fields

    def document(self, draw: Any) -> list[Field]:
        """One to three root fields."""
        roots = ["leads", "leads", "leadStats", "campaigns", "activities", "emails", "users", "lead", "campaign"]
        names = draw(st.lists(st.sampled_from(roots), min_size=1, max_size=3))
        taken: set[str] = set()
        fields = []
        for name in names:
            asked = self.field(draw, name, 2, taken, root=True)
            if name == "lead":
                refs = [{"id": each} for each in [*self.ids["lead"], "x"]] + [{"email": "zoë@bücher.EXAMPLE"}, {"crmId": "CRM-1"}]
                asked.args = {"by": draw(st.sampled_from(refs))}
            elif name == "campaign":
                asked.args = {"id": draw(st.sampled_from([*self.ids["campaign"], "cmp_x"]))}
            fields.append(asked)
        return fields
