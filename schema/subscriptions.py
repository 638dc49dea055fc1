"""Root fields that go on: each is a query that is read again when something was committed (`schema/live.py`)."""

from typing import Any

import strawberry
from strawberry.types.arguments import StrawberryArgument

from schema.activities import Activity
from schema.batches import ImportJob
from schema.filters import ActivityWhere
from schema.nodes import Edge
from schema.planner.bindings import argument


def _live(*arguments: StrawberryArgument, description: str) -> Any:
    field = strawberry.field(description=description)
    field.arguments = list(arguments)
    return field


@strawberry.type
class Subscription:
    """Over a WebSocket (`graphql-transport-ws`), or with `Accept: text/event-stream`."""

    activity_added: Edge[Activity] = _live(
        argument("after", str | None),
        argument("where", ActivityWhere | None),
        description="Goes on after `after`, so that a client that lost its connection misses nothing and sees nothing twice; "
        "without it, starts now.",
    )
    import_job_updated: ImportJob = _live(
        argument("id", strawberry.ID),
        description="How the import stands now and whenever that changes, until it has come to its end.",
    )
