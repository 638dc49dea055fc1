"""The first tables."""

import sqlalchemy as sa
from alembic import op

from app.column_types import Json, Moment, Plain

revision = "0001"
down_revision = None

#: As when this migration was written: a migration never follows the code, but for the types of `app/column_types.py`. What
#: one of them is to a database can never change, for what is stored was written by it: another way to keep a value is another type.
SQLITE_SEARCH = (
    "CREATE VIRTUAL TABLE lead_search USING fts5(workspace_id UNINDEXED, lead_id UNINDEXED, words, tokenize = 'ascii', prefix = '2 3')"
)
POSTGRES_SEARCH = "CREATE INDEX lead_search ON lead USING gin (array_to_tsvector(string_to_array(search_text, ' ')))"


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "activity",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("id", Plain(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("kind", Plain(), nullable=False),
        sa.Column("event", Plain(), nullable=True),
        sa.Column("event_folded", Plain(), nullable=True),
        sa.Column("lead_id", Plain(), nullable=True),
        sa.Column("campaign_id", Plain(), nullable=True),
        sa.Column("actor_id", Plain(), nullable=True),
        sa.Column("email_id", Plain(), nullable=True),
        sa.Column("subject_id", Plain(), nullable=True),
        sa.Column("status", Plain(), nullable=True),
        sa.Column("changes", Json(), nullable=False),
        sa.Column("attributes", Json(), nullable=False),
        sa.Column("distinct_id", Plain(), nullable=True),
        sa.Column("occurred_at", Moment(), nullable=False),
        sa.Column("recorded_at", Moment(), nullable=False),
        sa.Column("batch_id", Plain(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("workspace_id", "id"),
        sa.UniqueConstraint("workspace_id", "lead_id", "distinct_id"),
        sa.UniqueConstraint("workspace_id", "sequence"),
    )
    op.create_index("activity_lead", "activity", ["workspace_id", "lead_id", "sequence"], unique=False)
    op.create_table(
        "workspace",
        sa.Column("id", Plain(), nullable=False),
        sa.Column("slug", Plain(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rules_version", sa.Integer(), nullable=False),
        sa.Column("threshold", sa.Integer(), nullable=False),
        sa.Column("weights", Json(), nullable=False),
        sa.Column("sources", Json(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug"),
    )
    op.create_table(
        "api_key",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("id", Plain(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("hash", Plain(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=True),
        sa.Column("last_used_at", Moment(), nullable=True),
        sa.Column("revoked_at", Moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspace.id"],
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id"),
        sa.UniqueConstraint("workspace_id", "hash"),
    )
    op.create_table(
        "batch",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("id", Plain(), nullable=False),
        sa.Column("created", sa.Integer(), nullable=False),
        sa.Column("updated", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("deleted", sa.Integer(), nullable=False),
        sa.Column("kind", Plain(), nullable=False),
        sa.Column("status", Plain(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("actor_id", Plain(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("finished_at", Moment(), nullable=True),
        sa.Column("undone_at", Moment(), nullable=True),
        sa.Column("undone_by_id", Plain(), nullable=True),
        sa.Column("undoes_id", Plain(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspace.id"],
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id"),
    )
    op.create_index("batch_created", "batch", ["workspace_id", "created_at", "id"], unique=False)
    op.create_table(
        "campaign",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("id", Plain(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_folded", Plain(), nullable=False),
        sa.Column("status", Plain(), nullable=False),
        sa.Column("titles", Json(), nullable=False),
        sa.Column("companies", Json(), nullable=False),
        sa.Column("locations", Json(), nullable=False),
        sa.Column("sources", Json(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspace.id"],
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id"),
    )
    op.create_index("campaign_created", "campaign", ["workspace_id", "created_at", "id"], unique=False)
    op.create_table(
        "email",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("id", Plain(), nullable=False),
        sa.Column("lead_id", Plain(), nullable=False),
        sa.Column("campaign_id", Plain(), nullable=True),
        sa.Column("to_address", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", Plain(), nullable=False),
        sa.Column("scheduled_at", Moment(), nullable=False),
        sa.Column("sent_at", Moment(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("claim_id", Plain(), nullable=True),
        sa.Column("lease_until", Moment(), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspace.id"],
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id"),
    )
    op.create_index("email_lead", "email", ["workspace_id", "lead_id", "created_at", "id"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("caller_id", Plain(), nullable=False),
        sa.Column("key", Plain(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("response", sa.Text(), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspace.id"],
        ),
        sa.PrimaryKeyConstraint("workspace_id", "caller_id", "key"),
    )
    op.create_index("idempotency_expires", "idempotency", ["expires_at"], unique=False)
    op.create_table(
        "import_job",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("id", Plain(), nullable=False),
        sa.Column("created", sa.Integer(), nullable=False),
        sa.Column("updated", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("deleted", sa.Integer(), nullable=False),
        sa.Column("status", Plain(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("actor_id", Plain(), nullable=True),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("campaign_id", Plain(), nullable=True),
        sa.Column("batch_id", Plain(), nullable=True),
        sa.Column("mapping", Json(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("rejected_url", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("finished_at", Moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspace.id"],
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id"),
    )
    op.create_index("import_job_batch", "import_job", ["workspace_id", "batch_id"], unique=False)
    op.create_index("import_job_created", "import_job", ["workspace_id", "created_at", "id"], unique=False)
    op.create_table(
        "job",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("id", Plain(), nullable=False),
        sa.Column("kind", Plain(), nullable=False),
        sa.Column("payload", Json(), nullable=False),
        sa.Column("status", Plain(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("run_at", Moment(), nullable=False),
        sa.Column("claimed_by", Plain(), nullable=True),
        sa.Column("lease_until", Moment(), nullable=True),
        sa.Column("checkpoint", Json(), nullable=True),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("finished_at", Moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspace.id"],
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id"),
    )
    op.create_index("job_due", "job", ["status", "run_at"], unique=False)
    op.create_table(
        "user",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("id", Plain(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", Plain(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspace.id"],
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id"),
        sa.UniqueConstraint("workspace_id", "email_key"),
    )
    op.create_index("user_email", "user", ["email_key"], unique=False)
    op.create_table(
        "workspace_counter",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspace.id"],
        ),
        sa.PrimaryKeyConstraint("workspace_id"),
    )
    op.create_table(
        "import_row_error",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("import_job_id", Plain(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("errors", Json(), nullable=False),
        sa.Column("raw", Json(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id", "import_job_id"], ["import_job.workspace_id", "import_job.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("workspace_id", "import_job_id", "line"),
    )
    op.create_table(
        "lead",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("id", Plain(), nullable=False),
        sa.Column("crm_id", Plain(), nullable=True),
        sa.Column("crm_id_folded", Plain(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("email_key", Plain(), nullable=True),
        sa.Column("first_name", sa.Text(), nullable=True),
        sa.Column("first_name_folded", Plain(), nullable=True),
        sa.Column("last_name", sa.Text(), nullable=True),
        sa.Column("last_name_folded", Plain(), nullable=True),
        sa.Column("company", sa.Text(), nullable=True),
        sa.Column("company_folded", Plain(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("title_folded", Plain(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("phone_folded", Plain(), nullable=True),
        sa.Column("website", sa.Text(), nullable=True),
        sa.Column("linkedin_url", sa.Text(), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("location_folded", Plain(), nullable=True),
        sa.Column("source", Plain(), nullable=True),
        sa.Column("source_folded", Plain(), nullable=True),
        sa.Column("status", Plain(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("attributes", Json(), nullable=False),
        sa.Column("opt_in_at", Moment(), nullable=True),
        sa.Column("quality_score", sa.Integer(), nullable=True),
        sa.Column("score_components", Json(), nullable=True),
        sa.Column("score_computed_at", Moment(), nullable=True),
        sa.Column("score_rules_version", sa.Integer(), nullable=True),
        sa.Column("score_campaign_id", Plain(), nullable=True),
        sa.Column("score_stale", sa.Boolean(), nullable=False),
        sa.Column("assignee_id", Plain(), nullable=True),
        sa.Column("search_text", sa.Text(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.Column("last_activity_at", Moment(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "assignee_id"],
            ["user.workspace_id", "user.id"],
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspace.id"],
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id"),
        sa.UniqueConstraint("workspace_id", "crm_id"),
        sa.UniqueConstraint("workspace_id", "email_key"),
    )
    op.create_index("lead_assignee", "lead", ["workspace_id", "assignee_id", "created_at"], unique=False)
    op.create_index("lead_created", "lead", ["workspace_id", "created_at", "id"], unique=False)
    op.create_index("lead_score", "lead", ["workspace_id", "quality_score", "created_at", "id"], unique=False)
    op.create_index("lead_updated", "lead", ["workspace_id", "updated_at", "id"], unique=False)
    op.create_table(
        "undo_conflict",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("batch_id", Plain(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("lead_id", Plain(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id", "batch_id"], ["batch.workspace_id", "batch.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("workspace_id", "batch_id", "position"),
    )
    op.create_table(
        "campaign_lead",
        sa.Column("workspace_id", Plain(), nullable=False),
        sa.Column("campaign_id", Plain(), nullable=False),
        sa.Column("lead_id", Plain(), nullable=False),
        sa.Column("quality_score", sa.Integer(), nullable=True),
        sa.Column("lead_created_at", Moment(), nullable=False),
        sa.Column("joined_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id", "campaign_id"], ["campaign.workspace_id", "campaign.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["workspace_id", "lead_id"], ["lead.workspace_id", "lead.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("workspace_id", "campaign_id", "lead_id"),
    )
    op.create_index("campaign_lead_lead", "campaign_lead", ["workspace_id", "lead_id"], unique=False)
    op.create_index(
        "campaign_lead_page", "campaign_lead", ["workspace_id", "campaign_id", "lead_created_at", "lead_id", "quality_score"], unique=False
    )
    op.execute(POSTGRES_SEARCH if op.get_bind().dialect.name == "postgresql" else SQLITE_SEARCH)


def downgrade() -> None:
    """Drop them, the referring before the referred to."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE lead_search")
    for name in (
        "campaign_lead",
        "undo_conflict",
        "lead",
        "import_row_error",
        "workspace_counter",
        "user",
        "job",
        "import_job",
        "idempotency",
        "email",
        "campaign",
        "batch",
        "api_key",
        "workspace",
        "activity",
    ):
        op.drop_table(name)
