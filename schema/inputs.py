"""What mutations take. Values are checked by `app.rules.fields` and the verbs; here are only names and types."""

import strawberry

from schema.enums import ActivityKind, CampaignStatus, ErrorPolicy, LeadStatus, OnMatch, Role, ScoreComponentKind, UnknownColumns
from schema.scalars import Cell, DateTime, JSONObject, JSONValue, Upload


def kept_as_dict(cls: type) -> type:
    """Hand the coerced dict through as it is: conversion to classes costs more than all the rest of a batch."""
    cls.__strawberry_definition__.from_input = lambda _type, values, _context: dict(values)  # type: ignore[attr-defined]
    return cls


@kept_as_dict
@strawberry.input(one_of=True)
class LeadRef:
    """A lead by its id, its CRM id or its e-mail address."""

    id: strawberry.Maybe[strawberry.ID]
    crm_id: strawberry.Maybe[str]
    email: strawberry.Maybe[str]


@kept_as_dict
@strawberry.input(one_of=True)
class UserRef:
    """A user by id or e-mail address."""

    id: strawberry.Maybe[strawberry.ID]
    email: strawberry.Maybe[str]


@kept_as_dict
@strawberry.input
class LeadInput:
    """At least one of `email`, `crmId` and `phone`."""

    crm_id: str | None = strawberry.UNSET
    email: str | None = strawberry.UNSET
    first_name: str | None = strawberry.UNSET
    last_name: str | None = strawberry.UNSET
    company: str | None = strawberry.UNSET
    title: str | None = strawberry.UNSET
    phone: str | None = strawberry.UNSET
    website: str | None = strawberry.UNSET
    linkedin_url: str | None = strawberry.UNSET
    location: str | None = strawberry.UNSET
    source: str | None = strawberry.UNSET
    status: LeadStatus | None = strawberry.UNSET
    notes: str | None = strawberry.UNSET
    attributes: JSONObject | None = strawberry.UNSET
    opt_in_at: DateTime | None = strawberry.UNSET
    campaign_ids: list[strawberry.ID] | None = strawberry.UNSET
    assignee: UserRef | None = strawberry.UNSET
    auto_score: bool = True


@kept_as_dict
@strawberry.input
class LeadPatch:
    """Left out: unchanged; null: cleared. `attributes` merges key by key, a null value drops its key."""

    crm_id: str | None = strawberry.UNSET
    email: str | None = strawberry.UNSET
    first_name: str | None = strawberry.UNSET
    last_name: str | None = strawberry.UNSET
    company: str | None = strawberry.UNSET
    title: str | None = strawberry.UNSET
    phone: str | None = strawberry.UNSET
    website: str | None = strawberry.UNSET
    linkedin_url: str | None = strawberry.UNSET
    location: str | None = strawberry.UNSET
    source: str | None = strawberry.UNSET
    status: LeadStatus | None = strawberry.UNSET
    notes: str | None = strawberry.UNSET
    attributes: JSONObject | None = strawberry.UNSET
    opt_in_at: DateTime | None = strawberry.UNSET
    assignee: UserRef | None = strawberry.UNSET


@kept_as_dict
@strawberry.input
class LeadRow:
    """A row of a batch: loose values, so that a bad value is that row's error and not the request's."""

    id: Cell | None = strawberry.UNSET
    crm_id: Cell | None = strawberry.UNSET
    email: Cell | None = strawberry.UNSET
    first_name: Cell | None = strawberry.UNSET
    last_name: Cell | None = strawberry.UNSET
    company: Cell | None = strawberry.UNSET
    title: Cell | None = strawberry.UNSET
    phone: Cell | None = strawberry.UNSET
    website: Cell | None = strawberry.UNSET
    linkedin_url: Cell | None = strawberry.UNSET
    location: Cell | None = strawberry.UNSET
    source: Cell | None = strawberry.UNSET
    status: Cell | None = strawberry.UNSET
    notes: Cell | None = strawberry.UNSET
    attributes: JSONValue | None = strawberry.UNSET
    opt_in_at: Cell | None = strawberry.UNSET


@kept_as_dict
@strawberry.input
class LeadUpsertManyInput:
    """Rows to create leads from, or to change those that are there."""

    leads: list[LeadRow]
    campaign_id: strawberry.ID | None = strawberry.UNSET
    on_match: OnMatch = OnMatch.UPDATE
    error_policy: ErrorPolicy = ErrorPolicy.REJECT_ROWS
    auto_score: bool = True
    dry_run: bool = False


@kept_as_dict
@strawberry.input
class LeadEventInput:
    """Something that a lead did."""

    lead: LeadRef
    event: str = strawberry.field(description="1 to 256 characters.")
    distinct_id: str | None = strawberry.field(
        description="At most 36 characters; a second event with it is accepted and changes nothing.", default=strawberry.UNSET
    )
    attributes: JSONObject | None = strawberry.UNSET
    campaign_id: strawberry.ID | None = strawberry.UNSET
    occurred_at: DateTime | None = strawberry.field(description="Now unless given.", default=strawberry.UNSET)


@kept_as_dict
@strawberry.input
class LeadEventRow:
    """An event of a batch: loose values, as in `LeadRow`."""

    lead_id: Cell | None = strawberry.UNSET
    crm_id: Cell | None = strawberry.UNSET
    email: Cell | None = strawberry.UNSET
    event: Cell | None = strawberry.UNSET
    distinct_id: Cell | None = strawberry.UNSET
    attributes: JSONValue | None = strawberry.UNSET
    campaign_id: Cell | None = strawberry.UNSET
    occurred_at: Cell | None = strawberry.UNSET


@kept_as_dict
@strawberry.input
class ColumnMappingInput:
    """A column of a file, and the lead field that it fills (`attributes.NAME` for the caller's own); null: none."""

    column: str
    field: str | None = strawberry.UNSET


@kept_as_dict
@strawberry.input
class LeadImportInput:
    """A file of leads, and how to import it."""

    file: Upload = strawberry.field(description="CSV or Excel (.xlsx), 10 MB unless the server says otherwise.")
    campaign_id: strawberry.ID | None = strawberry.UNSET
    mapping: list[ColumnMappingInput] | None = strawberry.UNSET
    unknown_columns: UnknownColumns = UnknownColumns.ATTRIBUTES
    encoding: str | None = strawberry.UNSET
    source: str | None = strawberry.UNSET
    on_match: OnMatch = OnMatch.UPDATE
    auto_score: bool = True
    dry_run: bool = False


@kept_as_dict
@strawberry.input
class CampaignCriteriaInput:
    """Lists given replace the stored ones; the others stay."""

    titles: list[str] | None = strawberry.UNSET
    companies: list[str] | None = strawberry.UNSET
    locations: list[str] | None = strawberry.UNSET
    sources: list[str] | None = strawberry.UNSET


@kept_as_dict
@strawberry.input
class CampaignInput:
    """A new campaign."""

    name: str
    status: CampaignStatus = CampaignStatus.DRAFT
    criteria: CampaignCriteriaInput | None = strawberry.UNSET


@kept_as_dict
@strawberry.input
class CampaignPatch:
    """Left out: unchanged."""

    name: str | None = strawberry.UNSET
    status: CampaignStatus | None = strawberry.UNSET
    criteria: CampaignCriteriaInput | None = strawberry.UNSET


@kept_as_dict
@strawberry.input
class EmailInput:
    """An e-mail to a lead, for a sender to claim when its time has come."""

    lead: LeadRef
    campaign_id: strawberry.ID | None = strawberry.UNSET
    subject: str
    body: str = strawberry.field(description="256,000 bytes at most.")
    scheduled_at: DateTime


@kept_as_dict
@strawberry.input(one_of=True)
class AutomationActionInput:
    """One thing to do."""

    set_status: strawberry.Maybe[LeadStatus]
    assign_to: strawberry.Maybe[UserRef]
    add_to_campaign: strawberry.Maybe[strawberry.ID]
    call_webhook: strawberry.Maybe[strawberry.ID]


@kept_as_dict
@strawberry.input
class AutomationInput:
    """Exactly one of `event` and `kind`; in a patch, one given replaces the other."""

    name: str
    event: str | None = strawberry.UNSET
    kind: ActivityKind | None = strawberry.UNSET
    actions: list[AutomationActionInput]
    enabled: bool = True


@kept_as_dict
@strawberry.input
class AutomationPatch:
    """Left out: unchanged."""

    name: str | None = strawberry.UNSET
    event: str | None = strawberry.UNSET
    kind: ActivityKind | None = strawberry.UNSET
    actions: list[AutomationActionInput] | None = strawberry.UNSET
    enabled: bool | None = strawberry.UNSET


@kept_as_dict
@strawberry.input
class WebhookInput:
    """A new webhook."""

    url: str
    kinds: list[ActivityKind] | None = strawberry.field(
        description="Left out: all. An empty list: what automations send alone.", default=strawberry.UNSET
    )


@kept_as_dict
@strawberry.input
class WebhookPatch:
    """Left out: unchanged."""

    url: str | None = strawberry.UNSET
    kinds: list[ActivityKind] | None = strawberry.UNSET
    enabled: bool | None = strawberry.UNSET


@kept_as_dict
@strawberry.input
class ScoringWeightInput:
    """The most points that a part may give."""

    kind: ScoreComponentKind
    maximum: int


@kept_as_dict
@strawberry.input
class SourceReliabilityInput:
    """How far a source is trusted: 0 to 1."""

    source: str
    reliability: float


@kept_as_dict
@strawberry.input
class ScoringRulesPatch:
    """`weights` given replace theirs, and all must sum to 100; `sources` given replaces the list."""

    threshold: int | None = strawberry.UNSET
    weights: list[ScoringWeightInput] | None = strawberry.UNSET
    sources: list[SourceReliabilityInput] | None = strawberry.UNSET


@kept_as_dict
@strawberry.input
class UserInput:
    """A new user."""

    email: str
    name: str | None = strawberry.UNSET
    role: Role


@kept_as_dict
@strawberry.input
class UserPatch:
    """Left out: unchanged."""

    name: str | None = strawberry.UNSET
    role: Role | None = strawberry.UNSET


@kept_as_dict
@strawberry.input
class ApiKeyInput:
    """A new API key."""

    name: str
    role: Role
    expires_at: DateTime | None = strawberry.UNSET
