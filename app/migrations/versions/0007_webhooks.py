"""Webhooks, and their deliveries."""

import sqlalchemy as sa
from alembic import op

from app.column_types import Json, Moment, Plain

revision = "0007"
down_revision = "0006"

OPEN = sa.text("status IN ('PENDING', 'RUNNING')")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "webhook",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("id", Plain(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("kinds", Json(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("failing_since", Moment(), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        sa.PrimaryKeyConstraint("workspace_id", "id"),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("id", Plain(), nullable=False),
        sa.Column("lane", Plain(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("status", Plain(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("run_at", Moment(), nullable=False),
        sa.Column("claimed_by", Plain(), nullable=True),
        sa.Column("lease_until", Moment(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("finished_at", Moment(), nullable=True),
        sa.Column("webhook_id", Plain(), nullable=False),
        sa.Column("activity_id", Plain(), nullable=False),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        sa.PrimaryKeyConstraint("workspace_id", "id"),
    )
    op.create_index("webhook_delivery_due", "webhook_delivery", ["status", "run_at"], sqlite_where=OPEN, postgresql_where=OPEN)
    lane = ["workspace_id", "lane", "position", "id"]
    op.create_index("webhook_delivery_lane", "webhook_delivery", lane, sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_index("webhook_delivery_webhook", "webhook_delivery", ["workspace_id", "webhook_id", "created_at", "id"])
