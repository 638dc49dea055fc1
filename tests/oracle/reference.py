"""The slow, obvious answer: documents evaluated in plain Python over plain rows, as the specification words it.

It shares no code with the planner, nor with the rules that fold and match.
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cmp_to_key
from typing import Any

from questions import Field

CURSOR = "a cursor"
STATUSES = ["NEW", "CONTACTED", "REPLIED", "QUALIFIED", "CONVERTED", "REJECTED"]

Record = dict[str, Any]


@dataclass(repr=False)
class World:
    """All rows of one workspace, by table, as they were written; texts as they were given."""

    workspace: Record = field(default_factory=dict)
    lead: list[Record] = field(default_factory=list)
    campaign: list[Record] = field(default_factory=list)
    place: list[Record] = field(default_factory=list)
    activity: list[Record] = field(default_factory=list)
    email: list[Record] = field(default_factory=list)
    user: list[Record] = field(default_factory=list)


# Texts


def folded(text: str) -> str:
    """NFKD, combining marks dropped, case-folded, NFC."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.combining(c) == 0)
    return unicodedata.normalize("NFC", bare.casefold())


def address(text: str) -> str:
    """Identity of an address: NFC, the domain in ASCII, case-folded. The worlds have one domain that is not ASCII."""
    return unicodedata.normalize("NFC", text).casefold().replace("@bücher.example", "@xn--bcher-kva.example")


def word_list(text: str) -> list[str]:
    """Fold, and split at all that is no letter or digit."""
    return "".join(c if c.isalnum() else " " for c in folded(text)).split()


def found_by(lead: Record, search: str) -> bool:
    """Each word stands at the start of a word of address, names or company."""
    there = [word for name in ("email", "first_name", "last_name", "company") for word in word_list(lead[name] or "")]
    return all(any(word.startswith(asked) for word in there) for asked in word_list(search))


# Filters. A comparison with nothing is false, and the negative ones are complements.


def text_meets(value: str | None, asked: Mapping[str, Any], fold: Callable[[str], str], exact: bool = False) -> bool:
    """Compare a text; `exact`: as given in eq, ne, in and notIn."""
    same = (lambda text: text) if exact else fold

    def one(operator: str, operand: Any) -> bool:
        there = value is not None
        if operator == "isNull":
            return there is not operand
        if operator in ("eq", "ne"):
            return (there and same(value or "") == same(operand)) is (operator == "eq")
        if operator in ("in", "notIn"):
            return (there and same(value or "") in [same(each) for each in operand]) is (operator == "in")
        if operator == "contains":
            return there and fold(operand) in fold(value or "")
        return there and fold(value or "").startswith(fold(operand))

    return all(one(operator, operand) for operator, operand in asked.items())


def plain_meets(value: Any, asked: Mapping[str, Any]) -> bool:
    """Compare a number, an id, an enum or a moment."""
    there = value is not None

    def one(operator: str, operand: Any) -> bool:
        if operator == "isNull":
            return there is not operand
        if isinstance(value, datetime):
            operand = datetime.fromisoformat(operand)
        compare = {
            "eq": lambda: there and value == operand,
            "ne": lambda: not (there and value == operand),
            "in": lambda: there and value in operand,
            "notIn": lambda: not (there and value in operand),
            "gt": lambda: there and value > operand,
            "gte": lambda: there and value >= operand,
            "lt": lambda: there and value < operand,
            "lte": lambda: there and value <= operand,
        }
        return compare[operator]()

    return all(one(operator, operand) for operator, operand in asked.items())


def many_meet(values: set[str], asked: Mapping[str, Any]) -> bool:
    """Compare the campaigns that a lead is in: `in` asks for one of them, `notIn` for none."""

    def one(operator: str, operand: Any) -> bool:
        if operator == "isNull":
            return (not values) is operand
        meant = set(operand) if isinstance(operand, list) else {operand}
        return bool(values & meant) is (operator in ("eq", "in"))

    return all(one(operator, operand) for operator, operand in asked.items())


def is_number(value: Any) -> bool:
    """A JSON number: booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def same_json(one: Any, other: Any) -> bool:
    """Numbers as numbers at the top; all else exactly, to the kind."""
    if is_number(one) and is_number(other):
        return bool(one == other)
    return repr(canonical(one)) == repr(canonical(other))


def canonical(value: Any) -> Any:
    """Put keys in order."""
    if isinstance(value, dict):
        return {key: canonical(value[key]) for key in sorted(value)}
    return [canonical(each) for each in value] if isinstance(value, list) else value


def attribute_meets(attributes: Record, asked: Mapping[str, Any]) -> bool:
    """One of the caller's own fields, by its key."""
    there = asked["key"] in attributes
    value = attributes.get(asked["key"])

    def one(operator: str, operand: Any) -> bool:
        if operator == "key":
            return True
        if operator == "exists":
            return there is operand
        if operator == "eq":
            return there and same_json(value, operand)
        if operator == "contains":
            return isinstance(value, str) and folded(operand) in folded(value)
        return is_number(value) and plain_meets(value, {operator: operand})

    return all(one(operator, operand) for operator, operand in asked.items())


TEXTS = {"firstName": "first_name", "lastName": "last_name", "company": "company", "title": "title", "location": "location"}
TEXTS |= {"source": "source", "phone": "phone", "name": "name"}
PLAINS = {
    "id": "id", "status": "status", "qualityScore": "quality_score", "assigneeId": "assignee_id", "createdAt": "created_at",
    "updatedAt": "updated_at", "lastActivityAt": "last_activity_at", "optInAt": "opt_in_at", "kind": "kind", "actorId": "actor_id",
    "leadId": "lead_id", "campaignId": "campaign_id", "batchId": "batch_id", "occurredAt": "occurred_at", "recordedAt": "recorded_at",
    "scheduledAt": "scheduled_at",
}  # fmt: skip


class Reference:
    """Answers for one caller."""

    def __init__(self, world: World, *, admin: bool) -> None:
        self.world, self.admin = world, admin

    def meets(self, of: str, row: Record, where: Mapping[str, Any]) -> bool:
        """All conditions of a filter hold."""
        return all(self._one(of, row, key, asked) for key, asked in where.items())

    def _one(self, of: str, row: Record, key: str, asked: Any) -> bool:
        if key == "and":
            return all(self.meets(of, row, each) for each in asked)
        if key == "or":
            return any(self.meets(of, row, each) for each in asked)
        if key == "not":
            return not self.meets(of, row, asked)
        if key == "email":
            return text_meets(row["email"], asked, address)
        if key in ("crmId", "event"):
            return text_meets(row["crm_id" if key == "crmId" else "event"], asked, folded, exact=True)
        if key == "attributes":
            return all(attribute_meets(row["attributes"], each) for each in asked)
        if of == "lead" and key == "campaignId":
            return many_meet({place["campaign_id"] for place in self.world.place if place["lead_id"] == row["id"]}, asked)
        if key == "activity":
            told = [each for each in self.world.activity if each["lead_id"] == row["id"]]
            return all(
                any(self.meets("activity", each, inner) for each in told) is (operator == "some") for operator, inner in asked.items()
            )
        return text_meets(row[TEXTS[key]], asked, folded) if key in TEXTS else plain_meets(row[PLAINS[key]], asked)

    # Lists

    def rows(self, of: str, rows: Iterable[Record], args: Mapping[str, Any]) -> list[Record]:
        """Narrow and sort a list."""
        found = [row for row in rows if self.meets(of, row, args.get("where", {}))]
        if of == "lead" and "search" in args:
            found = [row for row in found if found_by(row, args["search"])]
        if of == "activity":
            found = [row for row in found if self.admin or row["kind"] != "ADMINISTERED"]
            return sorted(found, key=lambda row: row["sequence"], reverse=args["order"] == "DESC")
        order = [(each["field"], each.get("direction", "ASC")) for each in args.get("orderBy", [])] or [("CREATED_AT", "DESC")]
        return sorted(found, key=cmp_to_key(lambda one, other: compare(of, one, other, order)))

    def connection(self, of: str, rows: list[Record], asked: Field) -> Record:
        """One page of a list that is narrowed and sorted."""
        args = asked.args
        start = args.get("offset", 0)
        if "last" in args:
            start = max(0, len(rows) - args["last"])
            page = rows[start:]
        else:
            page = rows[start : start + args.get("first", 50)]
        out: Record = {}
        for each in asked.fields:
            if each.name == "nodes":
                out[each.key] = [self.object(of, row, each.fields) for row in page]
            elif each.name == "edges":
                out[each.key] = [self._edge(of, row, each.fields) for row in page]
            elif each.name == "totalCount":
                out[each.key] = len(rows)
            elif each.name == "pageInfo":
                info = {
                    "hasNextPage": "last" not in args and start + len(page) < len(rows),
                    "hasPreviousPage": start > 0 and bool(rows),
                    "startCursor": CURSOR if page else None,
                    "endCursor": CURSOR if page else None,
                }
                out[each.key] = {inner.key: info[inner.name] for inner in each.fields}
            else:
                out[each.key] = f"{of.capitalize()}Connection"
        return out

    def _edge(self, of: str, row: Record, fields: list[Field]) -> Record:
        return {each.key: CURSOR if each.name == "cursor" else self.object(of, row, each.fields) for each in fields}

    # Objects

    def root(self, fields: list[Field]) -> Record:
        """The whole answer."""
        return {each.key: self._root(each) for each in fields}

    def _root(self, asked: Field) -> Any:
        world, args = self.world, asked.args
        lists = {"leads": "lead", "campaigns": "campaign", "activities": "activity", "emails": "email", "users": "user"}
        if asked.name in lists:
            of = lists[asked.name]
            return self.connection(of, self.rows(of, getattr(world, of), {"order": "ASC", **args}), asked)
        if asked.name == "leadStats":
            return stats(self.rows("lead", world.lead, args), asked)
        if asked.name == "lead":
            [(key, value)] = args["by"].items()
            same: Callable[[str], str] = address if key == "email" else str
            name = {"id": "id", "crmId": "crm_id", "email": "email"}[key]
            return self._object("lead", [row for row in world.lead if row[name] is not None and same(row[name]) == same(value)], asked)
        return self._object("campaign", [row for row in world.campaign if row["id"] == args["id"]], asked)

    def _object(self, of: str, found: list[Record], asked: Field) -> Record | None:
        return self.object(of, found[0], asked.fields) if found else None

    def object(self, of: str, row: Record, fields: list[Field]) -> Record:
        """An object of a type, by its row."""
        return {each.key: self._field(of, row, each) for each in fields}

    def _field(self, of: str, row: Record, asked: Field) -> Any:
        world, name = self.world, asked.name
        if name == "__typename":
            return of.capitalize()
        if name == "fullName":
            return " ".join(part for part in (row["first_name"], row["last_name"]) if part) or None
        if name in ("lead", "campaign", "assignee", "email") and asked.fields:
            table, column = ("user", "assignee_id") if name == "assignee" else (name, f"{name}_id")
            return self._object(table, [each for each in getattr(world, table) if each["id"] == row[column]], asked)
        if name == "toAddress":
            today = [lead["email"] for lead in world.lead if lead["id"] == row["lead_id"]]
            return row["to_address"] if row["to_address"] is not None else today[0] if today else None
        if name == "score":
            if row["quality_score"] is None:
                return None
            score = {"value": row["quality_score"], "meetsThreshold": row["quality_score"] >= world.workspace["threshold"]}
            return {each.key: score[each.name] for each in asked.fields}
        if name in ("leads", "campaigns", "activities", "emails", "stats"):
            return self._list(of, row, asked)
        value = row[snake(name)]
        return moment(value) if isinstance(value, datetime) else canonical(value)

    def _list(self, of: str, row: Record, asked: Field) -> Any:
        world, args = self.world, asked.args
        inside = {(place["campaign_id"], place["lead_id"]) for place in world.place}
        if asked.name in ("leads", "stats"):
            mine = [
                each for each in world.lead if ((row["id"], each["id"]) in inside if of == "campaign" else each["assignee_id"] == row["id"])
            ]
            found = self.rows("lead", mine, args)
            return stats(found, asked) if asked.name == "stats" else self.connection("lead", found, asked)
        if asked.name == "campaigns":
            found = [each for each in world.campaign if (each["id"], row["id"]) in inside]
            return self.connection("campaign", self.rows("campaign", found, args), asked)
        table = "activity" if asked.name == "activities" else "email"
        found = [each for each in getattr(world, table) if each["lead_id"] == row["id"]]
        return self.connection(table, self.rows(table, found, {"order": "DESC", **args}), asked)


def snake(name: str) -> str:
    """The column of a field."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def moment(value: datetime) -> str:
    """UTC, a fraction only when there is one."""
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ").replace(".000000Z", "Z")


def compare(of: str, one: Record, other: Record, order: list[tuple[str, str]]) -> int:
    """Nothing last both ways; the id last of all, in the direction of the key before."""
    for name, direction in [*order, ("ID", order[-1][1])]:
        left, right = (sort_key(of, row, name) for row in (one, other))
        if left == right:
            continue
        if left is None or right is None:
            return 1 if left is None else -1
        return (-1 if left < right else 1) * (-1 if direction == "DESC" else 1)
    return 0


def sort_key(of: str, row: Record, name: str) -> Any:
    """What a row is sorted by: text by its folded code points."""
    value = row[name.lower()]
    if name == "EMAIL":
        return None if value is None else address(value)
    return folded(value) if name in ("LAST_NAME", "COMPANY", "NAME") and value is not None else value


def stats(leads: list[Record], asked: Field) -> Record:
    """Figures of leads."""
    scores = [lead["quality_score"] for lead in leads if lead["quality_score"] is not None]
    sources = sorted({lead["source"] for lead in leads}, key=lambda source: (source is None, source))
    buckets = [(low, low + 9 if low < 90 else 100) for low in range(0, 100, 10)]
    whole: Record = {
        "count": len(leads),
        # Hundredths, half up, from integers.
        "averageScore": (sum(scores) * 200 + len(scores)) // (2 * len(scores)) / 100 if scores else None,
        "byStatus": [
            {"status": status, "count": count} for status in STATUSES if (count := sum(lead["status"] == status for lead in leads))
        ],
        "bySource": [{"source": source, "count": sum(lead["source"] == source for lead in leads)} for source in sources],
        "scoreHistogram": [{"from": low, "to": high, "count": sum(low <= score <= high for score in scores)} for low, high in buckets],
    }
    out: Record = {}
    for each in asked.fields:
        value = whole[each.name]
        out[each.key] = [{inner.key: item[inner.name] for inner in each.fields} for item in value] if each.fields else value
    return out
