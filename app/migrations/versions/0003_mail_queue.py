"""E-mails by when they are due."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the index."""
    op.create_index("email_due", "email", ["workspace_id", "status", "scheduled_at"])
