"""Who works here: users and API keys."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from app import tables
from schema.enums import Role
from schema.filters import lead_arguments
from schema.nodes import Connection, Node
from schema.planner.bindings import Many, Order, page_arguments, planned, sql
from schema.scalars import DateTime

if TYPE_CHECKING:
    from schema.leads import Lead


@planned(tables.User)
@strawberry.type
class User(Node):
    """Somebody who may log in, and have leads assigned."""

    email: str
    name: str | None
    role: Role
    created_at: DateTime
    leads: Connection[Annotated["Lead", strawberry.lazy("schema.leads")]] = sql(
        Many(
            tables.Lead,
            (Order("created_at", descending=True),),
            on=lambda user, lead, _scope: lead.c.assignee_id == user.c.id,
            where="lead",
        ),
        *page_arguments(*lead_arguments(), offset=True),
    )


@planned(tables.ApiKey, admin_only=True)
@strawberry.type
class ApiKey(Node):
    """A key of the workspace; the secret was shown once."""

    name: str
    prefix: str
    role: Role
    created_at: DateTime
    expires_at: DateTime | None
    last_used_at: DateTime | None
    revoked_at: DateTime | None
