"""What a batch came to for one lead, read off the log; and what is left of that to take back."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from app.actions.activities import ActivityKind
from app.rules.lead_values import field_changes
from app.rules.written import dumps

#: What of the log says that a batch changed a lead; a score alone does not.
TELLING = (
    *(ActivityKind.LEAD_CREATED, ActivityKind.LEAD_UPDATED, ActivityKind.LEAD_DELETED, ActivityKind.STATUS_CHANGED),
    *(ActivityKind.ASSIGNED, ActivityKind.CAMPAIGN_JOINED, ActivityKind.CAMPAIGN_LEFT),
)
#: What is told of a lead that went, and is no field of it.
_BESIDE = {"qualityScore", "campaigns", "assignee", "emails", "createdAt", "lastActivityAt", "version"}


@dataclass(slots=True)
class Delta:
    """All that a batch did to one lead, put together: each field as it was before and after."""

    created: bool = False
    deleted: bool = False
    brief: bool = False  #: Whether what it created the lead with is left out.
    place: int | None = None  #: Of a lead that comes along before it is its turn: where it stands among those that are left.
    _told: list[list[dict[str, Any]]] = field(default_factory=list)
    _before: dict[str, Any] = field(default_factory=dict)
    _after: dict[str, Any] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in the next row of the log."""
        self.created = self.created or row["kind"] == ActivityKind.LEAD_CREATED
        self.deleted = row["kind"] == ActivityKind.LEAD_DELETED
        self.brief = self.brief or row["changes"] is None
        self._told.append(row["changes"] or [])

    @property
    def only_created(self) -> bool:
        """Tell whether it made the lead, and did nothing else to it."""
        return self.created and len(self._told) == 1

    @property
    def before(self) -> dict[str, Any]:
        """Give the fields as they were before."""
        self._put_together()
        return self._before

    @property
    def after(self) -> dict[str, Any]:
        """Give the fields as it left them."""
        self._put_together()
        return self._after

    def _put_together(self) -> None:
        # Not before somebody asks: of thousands of leads that it only created nobody does.
        if not self._after:
            for change in chain.from_iterable(self._told):
                self._before.setdefault(change["field"], change["before"])
                self._after[change["field"]] = change["after"]

    def campaigns_of_new(self) -> frozenset[str]:
        """Give the campaigns that a lead which it created was in when the batch had ended."""
        if not self.only_created:
            return frozenset(self.after.get("campaigns") or ())
        found = [change["after"] for change in self._told[0] if change["field"] == "campaigns"]
        return frozenset(found[0] or ()) if found else frozenset()

    def changed(self) -> Iterable[tuple[str, Any, Any]]:
        """Give the fields that it left other than they were, but for the score and the campaigns."""
        for name, after in self.after.items():
            if name not in ("qualityScore", "campaigns") and not same(self.before[name], after):
                yield name, self.before[name], after

    def joined(self) -> frozenset[str]:
        """Give the campaigns that the lead came into."""
        return frozenset(self.after.get("campaigns") or ()) - frozenset(self.before.get("campaigns") or ())

    def left(self) -> frozenset[str]:
        """Give the campaigns that the lead went out of; a lead that was deleted, all."""
        return frozenset(self.before.get("campaigns") or ()) - frozenset(self.after.get("campaigns") or ())

    def scored_first(self) -> bool:
        """Tell whether it gave the lead the first score that it had."""
        return self.before.get("qualityScore", 0) is None

    def fields_before(self) -> dict[str, Any]:
        """Give the fields of a lead that it deleted, as a patch."""
        return as_patch({name: value for name, value in self.before.items() if name not in _BESIDE})


def same(one: Any, other: Any) -> bool:
    """Compare as JSON: to Python, 1, 1.0 and True are equal."""
    return one == other and dumps(one) == dumps(other)


def as_patch(values: Mapping[str, Any]) -> dict[str, Any]:
    """Put fields as the log names them into a patch: `attributes.KEY` under `attributes`."""
    patch: dict[str, Any] = {}
    for name, value in values.items():
        if name.startswith("attributes."):
            patch.setdefault("attributes", {})[name.removeprefix("attributes.")] = value
        else:
            patch[name] = value
    return patch


def state_of(lead: Mapping[str, Any]) -> dict[str, Any]:
    """Give a lead's fields as the log names them; those that are empty are left out."""
    state = {change["field"]: change["after"] for change in field_changes(None, lead)}
    return state if lead["assignee_id"] is None else {**state, "assignee": lead["assignee_id"]}


def is_as_made(delta: Delta, lead: Mapping[str, Any], campaigns: frozenset[str], there: Container[str]) -> bool:
    """Tell whether a lead that a batch created is as the batch left it. A campaign that is no more `there` took its places with it."""
    if any(each in there for each in delta.campaigns_of_new() - campaigns) or campaigns - delta.campaigns_of_new():
        return False
    if delta.only_created and lead["version"] == 1:  # every change would have raised it
        return True
    left = {name: value for name, value in delta.after.items() if value is not None and name not in ("qualityScore", "campaigns")}
    return same(left, state_of(lead))
