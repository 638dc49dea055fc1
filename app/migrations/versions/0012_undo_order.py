"""The leads that an undo has before it, in the order of the log: it takes the latest change back first, chunk by chunk."""

import sqlalchemy as sa
from alembic import op

from app.column_types import Plain

revision = "0012"
down_revision = "0011"

NAMES = "workspace_id, batch_id, lead_id"


def upgrade() -> None:
    """Make the table anew: the column is one of its key. What a batch has before it now gets 0, and goes on by the leads."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        # What a server of the version before is just writing would go with the table.
        connection.exec_driver_sql("LOCK TABLE batch_lead IN ACCESS EXCLUSIVE MODE")
    connection.exec_driver_sql(f"CREATE TABLE batch_lead_before AS SELECT {NAMES} FROM batch_lead")
    op.drop_table("batch_lead")
    op.create_table(
        "batch_lead",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("batch_id", Plain(), nullable=False),
        # A server of the version before may still be at work, and names three columns.
        sa.Column("sequence", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("lead_id", Plain(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id", "batch_id"], ["batch.workspace_id", "batch.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("workspace_id", "batch_id", "sequence", "lead_id"),
    )
    connection.exec_driver_sql(f"INSERT INTO batch_lead ({NAMES}) SELECT {NAMES} FROM batch_lead_before")
    op.drop_table("batch_lead_before")
