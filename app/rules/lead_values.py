"""What of a lead follows from the values given: the texts that stand in its row a second time, and what the log says of it."""

from collections.abc import Mapping
from typing import Any

from app.rules.attributes import folded_texts, merge_attributes
from app.rules.fields import LEAD_FIELDS
from app.rules.folding import fold, search_text
from app.rules.written import change, dumps

#: Columns whose text stands a second time in the row, folded; `attributes` hold several.
FOLDED = ("crm_id", "first_name", "last_name", "company", "title", "phone", "location", "source")
#: The texts that `search` looks in.
SEARCHED = ("email", "first_name", "last_name", "company")
_FOLDED_SEARCHED = tuple(f"{name}_folded" if name in FOLDED else name for name in SEARCHED)
#: The contract's name of each column that a caller may give, in the contract's order, but for `attributes`: those count one by one.
NAMES = tuple((field.column, field.name) for field in LEAD_FIELDS if field.column != "attributes")
_PAIRS = tuple((name, f"{name}_folded") for name in FOLDED)
#: A lead of which nothing is known.
EMPTY: dict[str, Any] = dict.fromkeys((*(column for column, _ in NAMES), "attributes"))


def columns_of(fields: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Give the columns of a new lead that its values fill; one that names no source gets `source`."""
    row = {name: value for name, value in fields.items() if value is not None}
    row.setdefault("source", source)
    for name, folded in _PAIRS:
        if name in row:
            # Mostly plain letters; this is done nine times for each row of a batch.
            row[folded] = value.lower() if (value := row[name]).isascii() else fold(value)
    given = fields.get("attributes")
    row["attributes"] = merge_attributes({}, given) if given else {}
    row["attributes_folded"] = folded_texts(row["attributes"]) if given else None
    row["search_text"] = searched(row)
    return row


def refold(row: dict[str, Any], changed: Mapping[str, Any]) -> None:
    """Bring what is kept beside the changed values of a row up to them."""
    for name, folded in _PAIRS:
        if name in changed:
            row[folded] = None if row[name] is None else fold(row[name])
    if "attributes" in changed:
        row["attributes_folded"] = folded_texts(row["attributes"])
    if not changed.keys().isdisjoint(SEARCHED):
        row["search_text"] = searched(row)


def searched(row: Mapping[str, Any]) -> str:
    """Give the text that `search` looks in; what is folded in the row already is taken from there."""
    return search_text(*[text for name in _FOLDED_SEARCHED if (text := row.get(name))])


def field_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Tell what differs between two states of a lead, in the contract's names; None is no lead at all."""
    if before is None and after is not None:
        return _all_of(after)
    before, after = before or EMPTY, after or EMPTY
    changes = [
        # Not `change`, which looks for moments: this is asked for every row of a batch, and one field alone holds one.
        {"field": name, "before": before[column], "after": after[column]}
        if column != "opt_in_at"
        else change(name, before[column], after[column])
        for column, name in NAMES
        if before[column] != after[column]
    ]
    return changes + attribute_changes(before["attributes"] or {}, after["attributes"] or {})


def _all_of(lead: Mapping[str, Any]) -> list[dict[str, Any]]:
    changes = [{"field": name, "before": None, "after": value} for column, name in NAMES if (value := lead[column]) is not None]
    if lead["opt_in_at"] is not None:  # the last of the fields, and the only moment among them
        changes[-1] = change("optInAt", None, lead["opt_in_at"])
    return changes + attribute_changes({}, lead["attributes"]) if lead["attributes"] else changes


def attribute_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tell which of the caller's own fields differ, a change for each key."""
    if before is after or not (before or after):
        return []
    keys = sorted({*before, *after})
    return [change(f"attributes.{key}", before.get(key), after.get(key)) for key in keys if dumps(before.get(key)) != dumps(after.get(key))]
