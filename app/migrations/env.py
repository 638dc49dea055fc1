"""What Alembic runs: always on a connection that the caller opened, inside the caller's transaction."""

from typing import Any

from alembic import context
from sqlmodel import SQLModel

import app.lane_tables  # noqa: F401  (the metadata is filled by it, and by `app.tables` that it imports)

connection, show = context.config.attributes["connection"], context.config.attributes["show"]


def _applied(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:  # noqa: ARG001  (it is called by these names)
    show(step.up_revision_id)


context.configure(connection=connection, target_metadata=SQLModel.metadata, compare_type=True, on_version_apply=_applied)
context.run_migrations()
