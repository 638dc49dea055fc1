"""What lists may be narrowed and sorted by. How each becomes SQL is said in `planner/filters.py` and `planner/pages.py`."""

from typing import Optional

import strawberry
from strawberry.types.arguments import StrawberryArgument

from schema.enums import (
    ActivityKind,
    CampaignOrderField,
    CampaignStatus,
    EmailStatus,
    JobStatus,
    LeadOrderField,
    LeadStatus,
    OrderDirection,
)
from schema.inputs import kept_as_dict
from schema.planner.bindings import argument
from schema.scalars import DateTime, JSONValue


@strawberry.input
class StringFilter:
    """Text, compared without regard to case and accents."""

    eq: str | None = strawberry.UNSET
    ne: str | None = strawberry.UNSET
    in_: list[str] | None = strawberry.field(name="in", default=strawberry.UNSET)
    not_in: list[str] | None = strawberry.UNSET
    contains: str | None = strawberry.UNSET
    starts_with: str | None = strawberry.UNSET
    is_null: bool | None = strawberry.UNSET


@strawberry.input
class IntFilter:
    """Whole numbers."""

    eq: int | None = strawberry.UNSET
    ne: int | None = strawberry.UNSET
    in_: list[int] | None = strawberry.field(name="in", default=strawberry.UNSET)
    gt: int | None = strawberry.UNSET
    gte: int | None = strawberry.UNSET
    lt: int | None = strawberry.UNSET
    lte: int | None = strawberry.UNSET
    is_null: bool | None = strawberry.UNSET


@strawberry.input
class DateTimeFilter:
    """Moments."""

    gt: DateTime | None = strawberry.UNSET
    gte: DateTime | None = strawberry.UNSET
    lt: DateTime | None = strawberry.UNSET
    lte: DateTime | None = strawberry.UNSET
    is_null: bool | None = strawberry.UNSET


@strawberry.input
class IDFilter:
    """Ids; where a lead may have several, `in` asks for one of them and `notIn` for none."""

    eq: strawberry.ID | None = strawberry.UNSET
    ne: strawberry.ID | None = strawberry.UNSET
    in_: list[strawberry.ID] | None = strawberry.field(name="in", default=strawberry.UNSET)
    not_in: list[strawberry.ID] | None = strawberry.UNSET
    is_null: bool | None = strawberry.UNSET


@strawberry.input
class LeadStatusFilter:
    """A lead's status."""

    eq: LeadStatus | None = strawberry.UNSET
    ne: LeadStatus | None = strawberry.UNSET
    in_: list[LeadStatus] | None = strawberry.field(name="in", default=strawberry.UNSET)
    not_in: list[LeadStatus] | None = strawberry.UNSET


@strawberry.input
class CampaignStatusFilter:
    """A campaign's status."""

    eq: CampaignStatus | None = strawberry.UNSET
    ne: CampaignStatus | None = strawberry.UNSET
    in_: list[CampaignStatus] | None = strawberry.field(name="in", default=strawberry.UNSET)
    not_in: list[CampaignStatus] | None = strawberry.UNSET


@strawberry.input
class EmailStatusFilter:
    """An e-mail's status."""

    eq: EmailStatus | None = strawberry.UNSET
    ne: EmailStatus | None = strawberry.UNSET
    in_: list[EmailStatus] | None = strawberry.field(name="in", default=strawberry.UNSET)
    not_in: list[EmailStatus] | None = strawberry.UNSET


@strawberry.input
class JobStatusFilter:
    """How far something has come that is done later."""

    eq: JobStatus | None = strawberry.UNSET
    ne: JobStatus | None = strawberry.UNSET
    in_: list[JobStatus] | None = strawberry.field(name="in", default=strawberry.UNSET)
    not_in: list[JobStatus] | None = strawberry.UNSET


@strawberry.input
class ActivityKindFilter:
    """An activity's kind."""

    eq: ActivityKind | None = strawberry.UNSET
    ne: ActivityKind | None = strawberry.UNSET
    in_: list[ActivityKind] | None = strawberry.field(name="in", default=strawberry.UNSET)
    not_in: list[ActivityKind] | None = strawberry.UNSET


@strawberry.input
class AttributeFilter:
    """One of the caller's own fields, by its name at the top level, literally; a lead that lacks it meets none but `exists: false`."""

    key: str
    eq: JSONValue | None = strawberry.field(
        description="The same JSON value: numbers as numbers (`1` is `1.0`), texts, lists and objects exactly.", default=strawberry.UNSET
    )
    gt: float | None = strawberry.UNSET
    gte: float | None = strawberry.UNSET
    lt: float | None = strawberry.UNSET
    lte: float | None = strawberry.UNSET
    contains: str | None = strawberry.field(description="A text with this in it, case and accents aside.", default=strawberry.UNSET)
    exists: bool | None = strawberry.UNSET


@strawberry.input
class LeadActivityFilter:
    """Leads with an activity like `some`, and without any like `none`."""

    some: Optional["ActivityWhere"] = strawberry.UNSET
    none: Optional["ActivityWhere"] = strawberry.UNSET


@kept_as_dict
@strawberry.input
class LeadWhere:
    """Which leads: all of these conditions; `{}` asks nothing."""

    and_: Optional[list["LeadWhere"]] = strawberry.field(name="and", default=strawberry.UNSET)  # noqa: UP045  (a forward reference)
    or_: Optional[list["LeadWhere"]] = strawberry.field(name="or", default=strawberry.UNSET)  # noqa: UP045
    not_: Optional["LeadWhere"] = strawberry.field(name="not", default=strawberry.UNSET)
    id: IDFilter | None = strawberry.UNSET
    crm_id: StringFilter | None = strawberry.UNSET
    email: StringFilter | None = strawberry.UNSET
    first_name: StringFilter | None = strawberry.UNSET
    last_name: StringFilter | None = strawberry.UNSET
    company: StringFilter | None = strawberry.UNSET
    title: StringFilter | None = strawberry.UNSET
    location: StringFilter | None = strawberry.UNSET
    source: StringFilter | None = strawberry.UNSET
    phone: StringFilter | None = strawberry.UNSET
    status: LeadStatusFilter | None = strawberry.UNSET
    quality_score: IntFilter | None = strawberry.UNSET
    campaign_id: IDFilter | None = strawberry.field(description="Leads in one of these campaigns.", default=strawberry.UNSET)
    assignee_id: IDFilter | None = strawberry.UNSET
    created_at: DateTimeFilter | None = strawberry.UNSET
    updated_at: DateTimeFilter | None = strawberry.UNSET
    last_activity_at: DateTimeFilter | None = strawberry.UNSET
    opt_in_at: DateTimeFilter | None = strawberry.UNSET
    attributes: list[AttributeFilter] | None = strawberry.UNSET
    activity: LeadActivityFilter | None = strawberry.field(
        description="Leads with, or without, an activity like this.", default=strawberry.UNSET
    )


@strawberry.input
class ActivityWhere:
    """Which activities."""

    kind: ActivityKindFilter | None = strawberry.UNSET
    status: LeadStatusFilter | None = strawberry.field(description="STATUS_CHANGED to this.", default=strawberry.UNSET)
    actor_id: IDFilter | None = strawberry.UNSET
    event: StringFilter | None = strawberry.UNSET
    lead_id: IDFilter | None = strawberry.UNSET
    campaign_id: IDFilter | None = strawberry.UNSET
    batch_id: IDFilter | None = strawberry.UNSET
    occurred_at: DateTimeFilter | None = strawberry.UNSET
    recorded_at: DateTimeFilter | None = strawberry.UNSET


@strawberry.input
class CampaignWhere:
    """Which campaigns."""

    id: IDFilter | None = strawberry.UNSET
    name: StringFilter | None = strawberry.UNSET
    status: CampaignStatusFilter | None = strawberry.UNSET


@strawberry.input
class EmailWhere:
    """Which e-mails."""

    status: EmailStatusFilter | None = strawberry.UNSET
    lead_id: IDFilter | None = strawberry.UNSET
    campaign_id: IDFilter | None = strawberry.UNSET
    scheduled_at: DateTimeFilter | None = strawberry.UNSET


@strawberry.input
class LeadOrder:
    """A key to sort leads by."""

    field: LeadOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.input
class CampaignOrder:
    """A key to sort campaigns by."""

    field: CampaignOrderField
    direction: OrderDirection = OrderDirection.ASC


def lead_arguments() -> list[StrawberryArgument]:
    """Declare what every list of leads takes."""
    return [argument("where", LeadWhere | None), argument("search", str | None), argument("order_by", list[LeadOrder] | None)]
