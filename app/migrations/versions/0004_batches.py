"""What a batch needs to be undone, and to go on as a job: where it stands in the log, and the leads that it has before it."""

import sqlalchemy as sa
from alembic import op

from app.column_types import Plain

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns and the table. A batch from before does not say where it stands, and is looked for in the whole log."""
    op.add_column("batch", sa.Column("first_sequence", sa.BigInteger(), nullable=True))
    op.add_column("batch", sa.Column("last_sequence", sa.BigInteger(), nullable=True))
    op.create_table(
        "batch_lead",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("batch_id", Plain(), nullable=False),
        sa.Column("lead_id", Plain(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id", "batch_id"], ["batch.workspace_id", "batch.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("workspace_id", "batch_id", "lead_id"),
    )
