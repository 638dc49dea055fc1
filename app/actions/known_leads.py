"""The stored leads that the rows of a batch are about, as they stand after the rows decided so far."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.actions.lead_rows import Refused
from app.actions.references import find_leads
from app.actions.scorer import memberships
from app.actions.work import Work
from app.errors import shown
from app.rules.fields import ErrorCode
from app.rules.making import KEYS

NOWHERE: frozenset[str] = frozenset()
#: What no two leads of a workspace share: the column, and what a caller gives for it (column, the contract's name).
UNIQUE = (("email_key", "email", "email"), ("crm_id", "crm_id", "crmId"))


@dataclass(slots=True)
class KnownLeads:
    """Leads by all that they can be known by, and the campaigns that they are in."""

    by_id: dict[str, dict[str, Any]] = field(default_factory=dict)
    campaigns: dict[str, frozenset[str]] = field(default_factory=dict)
    _owners: dict[str, dict[str, str]] = field(default_factory=lambda: {column: {} for column, _, _ in UNIQUE})

    def put(self, lead: dict[str, Any], campaigns: frozenset[str] = NOWHERE) -> None:
        """Take in a lead, or its next state: what it gave up is free from here on."""
        lead_id = lead["id"]
        before = self.by_id.get(lead_id)
        for column, owners in self._owners.items():
            # Another lead may have it already: those of an undo exchange what they have.
            if before is not None and before[column] != lead[column] and owners.get(before[column]) == lead_id:
                del owners[before[column]]
            if lead[column] is not None:
                owners[lead[column]] = lead_id
        self.by_id[lead_id] = lead
        self.campaigns[lead_id] = campaigns

    def drop(self, lead_id: str) -> None:
        """Forget a lead that goes: what it had is free from here on."""
        lead = self.by_id.pop(lead_id)
        for column, owners in self._owners.items():
            if owners.get(lead[column]) == lead_id:
                del owners[lead[column]]

    def match(self, fields: Mapping[str, Any]) -> dict[str, Any] | None:
        """Find the lead that a row is about: by `id`, else e-mail, else CRM id.

        Raises Refused: NOT_FOUND for an unknown id, AMBIGUOUS_MATCH where e-mail and CRM id name two different leads.
        """
        lead_id = fields.get("id")
        if lead_id is not None:
            if lead_id not in self.by_id:
                raise Refused(ErrorCode.NOT_FOUND, f"id {shown(lead_id)}: there is no such lead in your workspace", "id")
            return self.by_id[lead_id]
        by_email, by_crm_id = (self.owner(column, fields.get(column)) for column, _, _ in UNIQUE)
        if by_email and by_crm_id and by_email != by_crm_id:
            message = f"email {shown(fields['email'])} and crmId {shown(fields['crm_id'])} name two different leads"
            raise Refused(ErrorCode.AMBIGUOUS_MATCH, message, "crmId")
        found = by_email or by_crm_id
        return self.by_id[found] if found else None

    def owner(self, column: str, value: str | None) -> str | None:
        """Give the id of the lead that has this e-mail address or CRM id."""
        return None if value is None else self._owners[column].get(value)

    def is_owned(self, column: str, value: str | None) -> bool:
        """Tell whether a lead has this e-mail address or CRM id."""
        return value is not None and value in self._owners[column]

    def refuse_taken(self, fields: Mapping[str, Any], lead_id: str | None = None) -> None:
        """Refuse (TAKEN) to give a lead, or a new one, an e-mail address or CRM id that another lead has."""
        for column, given, name in UNIQUE:
            if self.owner(column, fields.get(column)) not in (None, lead_id):
                raise Refused(ErrorCode.TAKEN, f"{name} {shown(fields[given])}: another lead has it", name)


async def load_known(work: Work, rows: Iterable[Mapping[str, Any]], *, lock: bool = True, with_campaigns: bool = True) -> KnownLeads:
    """Read the leads that these rows (columns and values) name or collide with, and their campaigns: a statement each."""
    named: dict[str, set[str]] = {name: set() for name in KEYS}
    for row in rows:
        for column, values in named.items():
            if (value := row.get(column)) is not None:
                values.add(value)
    return await load_named(work, named, lock=lock, with_campaigns=with_campaigns)


async def load_named(
    work: Work,
    named: Mapping[str, Iterable[str]],
    *,
    lock: bool = True,
    with_campaigns: bool = True,
    columns: tuple[str, ...] | None = None,
) -> KnownLeads:
    """Do what `load_known` does, given the values by `KEYS`; of the leads, only some columns where they are named."""
    known = KnownLeads()
    leads = await find_leads(work, ids=named["id"], email_keys=named["email_key"], crm_ids=named["crm_id"], lock=lock, columns=columns)
    held = await memberships(work, [lead["id"] for lead in leads]) if leads and with_campaigns else {}
    for lead in leads:
        known.put(lead, held.get(lead["id"], NOWHERE))
    return known
