"""What Alembic runs: always on a connection that the caller opened, inside the caller's transaction."""

from alembic import context
from sqlmodel import SQLModel

import app.lane_tables  # noqa: F401  (the metadata is filled by it, and by `app.tables` that it imports)

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=SQLModel.metadata, compare_type=True)
context.run_migrations()
