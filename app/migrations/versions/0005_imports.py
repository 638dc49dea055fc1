"""What an import needs to run as a job: how it was asked for, and the rows that are not in yet."""

import sqlalchemy as sa
from alembic import op

from app.column_types import Json, Plain

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column and the table. Imports that are there have ended, and need neither."""
    op.add_column("import_job", sa.Column("options", Json(), nullable=True))
    op.create_table(
        "import_piece",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("import_job_id", Plain(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id", "import_job_id"], ["import_job.workspace_id", "import_job.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("workspace_id", "import_job_id", "position"),
    )
