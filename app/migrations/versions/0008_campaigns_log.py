"""A campaign's part of the log, and its e-mails."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

OF_CAMPAIGNS = sa.text("campaign_id IS NOT NULL")


def upgrade() -> None:
    """Create the indexes: without them all of the log, and all e-mails, are read for one campaign."""
    for table, order in (("activity", ["sequence"]), ("email", ["created_at", "id"])):
        columns = ["workspace_id", "campaign_id", *order]
        op.create_index(f"{table}_campaign", table, columns, sqlite_where=OF_CAMPAIGNS, postgresql_where=OF_CAMPAIGNS)
