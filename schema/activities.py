"""The activity log, as the graph shows it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Union

import strawberry

from app import tables
from schema.emails import Email
from schema.enums import ActivityKind, OrderDirection
from schema.filters import ActivityWhere
from schema.nodes import Node
from schema.planner.bindings import Many, One, OneOf, Order, Parts, Row, Scope, argument, page_arguments, planned, sql
from schema.planner.dialects import Expression, text
from schema.scalars import DateTime, JSONObject, JSONValue
from schema.users import ApiKey, User

if TYPE_CHECKING:
    from schema.campaigns import Campaign
    from schema.leads import Lead

Actor = Annotated[Union[User, ApiKey], strawberry.union("Actor", description="Who did it.")]  # noqa: UP007  (the library reads it so)

#: Changes of users, keys, rules, automations, webhooks and suppressions are not there for others than ADMINs.
ADMINISTERED: Callable[[Row], Expression] = lambda row: row.c.kind == text("ADMINISTERED")  # noqa: E731

ACTOR = OneOf(
    {
        "User": One(tables.User, lambda row, user, _scope: user.c.id == row.c.actor_id),
        "ApiKey": One(tables.ApiKey, lambda row, key, _scope: key.c.id == row.c.actor_id),
    }
)


def activities_of(
    on: Callable[[Row, Row, Scope], Expression] | None, order: OrderDirection = OrderDirection.DESC, description: str | None = None
) -> Any:
    """Declare a list of activities: in the order of the log, one way or the other."""
    return sql(
        Many(tables.Activity, (Order("sequence"),), on=on, where="activity", hidden=ADMINISTERED, log=True),
        *page_arguments(argument("where", ActivityWhere | None), argument("order", OrderDirection, default=order)),
        description=description,
    )


@planned()
@strawberry.type
class FieldChange:
    """What a field held before, and what it holds since."""

    field: str
    before: JSONValue | None
    after: JSONValue | None


@planned(tables.Activity, hidden=ADMINISTERED)
@strawberry.type
class Activity(Node):
    """One thing that happened, written in the transaction that did it, in order, never changed but by an erasure.

    The timeline of a lead and the feed to sync from.
    """

    kind: ActivityKind
    event: str | None
    lead_id: strawberry.ID | None = strawberry.field(description="The ids stay when what they name is gone.")
    lead: Annotated["Lead", strawberry.lazy("schema.leads")] | None = sql(
        One(tables.Lead, lambda row, lead, _scope: lead.c.id == row.c.lead_id)
    )
    campaign_id: strawberry.ID | None
    campaign: Annotated["Campaign", strawberry.lazy("schema.campaigns")] | None = sql(
        One(tables.Campaign, lambda row, campaign, _scope: campaign.c.id == row.c.campaign_id)
    )
    actor_id: strawberry.ID | None
    actor: Actor | None = sql(ACTOR)
    email_id: strawberry.ID | None
    email: Email | None = sql(One(tables.Email, lambda row, email, _scope: email.c.id == row.c.email_id))
    subject_id: strawberry.ID | None = strawberry.field(
        description="ADMINISTERED: the user, key, automation, webhook or suppression that was changed."
    )
    changes: list[FieldChange] = sql(Parts("changes"))
    attributes: JSONObject
    distinct_id: str | None
    occurred_at: DateTime
    recorded_at: DateTime
    batch_id: strawberry.ID | None
    request_id: str | None
