"""Automations, and their runs."""

import sqlalchemy as sa
from alembic import op

from app.column_types import Json, Moment, Plain

revision = "0006"
down_revision = "0005"

OPEN = sa.text("status IN ('PENDING', 'RUNNING')")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "automation",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("id", Plain(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("event", Plain(), nullable=True),
        sa.Column("kind", Plain(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("actions", Json(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        sa.PrimaryKeyConstraint("workspace_id", "id"),
    )
    op.create_table(
        "automation_run",
        *_queued(),
        sa.Column("automation_id", Plain(), nullable=False),
        sa.Column("activity_id", Plain(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("actions", Json(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        sa.PrimaryKeyConstraint("workspace_id", "id"),
    )
    op.create_index("automation_run_due", "automation_run", ["status", "run_at"], sqlite_where=OPEN, postgresql_where=OPEN)
    lane = ["workspace_id", "lane", "position", "id"]
    op.create_index("automation_run_lane", "automation_run", lane, sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_index("automation_run_automation", "automation_run", ["workspace_id", "automation_id", "created_at", "id"])
    op.create_index("automation_run_activity", "automation_run", ["workspace_id", "activity_id"])


def _queued() -> list[sa.Column[object]]:
    return [
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
    ]
