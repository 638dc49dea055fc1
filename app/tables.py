"""Every table on one page, but for automations, webhooks and what they queue: those are on the next, `lane_tables.py`.

Each row belongs to a workspace: primary keys start with `workspace_id`, foreign keys contain it. Text that is compared
without regard to case and accents, or sorted, stands a second time in a `..._folded` column (`rules/folding.py`),
written by the same action that writes the text.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, UniqueConstraint, column, text
from sqlmodel import Field, SQLModel

from app.column_types import Json, Moment, Parts, Plain, SharedParts
from app.search_index import lexemes

#: What is of no campaign costs the indexes by campaign nothing: most of the log.
_OF_CAMPAIGNS: dict[str, Any] = dict.fromkeys(("sqlite_where", "postgresql_where"), text("campaign_id IS NOT NULL"))


def _owned(target: str, *columns: str, on_delete: str | None = None) -> ForeignKeyConstraint:
    """A reference that cannot leave its workspace."""
    return ForeignKeyConstraint(["workspace_id", *columns], [f"{target}.workspace_id", f"{target}.id"], ondelete=on_delete)


class Owned(SQLModel):
    """A row of a workspace."""

    workspace_id: str = Field(primary_key=True, sa_type=Plain)
    id: str = Field(primary_key=True, sa_type=Plain)


class Workspace(SQLModel, table=True):
    """A tenant, and how it scores. Its id is the `workspace_id` of all that it owns."""

    id: str = Field(primary_key=True, sa_type=Plain)
    slug: str = Field(sa_type=Plain, unique=True)
    name: str
    rules_version: int
    threshold: int
    weights: list[dict[str, Any]] = Field(sa_type=Parts)  #: `[{"kind", "maximum"}]`, all kinds, in the contract's order.
    sources: list[dict[str, Any]] = Field(sa_type=Parts)  #: `[{"source", "reliability"}]`, best first.
    created_at: datetime = Field(sa_type=Moment)


class WorkspaceCounter(SQLModel, table=True):
    """The last number that the workspace's log gave out. A table of its own, so that foreign keys don't wait on it."""

    __tablename__ = "workspace_counter"
    __table_args__ = (ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),)
    workspace_id: str = Field(primary_key=True, sa_type=Plain)
    sequence: int = Field(default=0, sa_type=BigInteger)


class User(Owned, table=True):
    """Somebody who may log in with a token, and have leads assigned."""

    __table_args__ = (
        ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        UniqueConstraint("workspace_id", "email_key"),
        Index("user_email", "email_key"),  # a token names its user by e-mail, in whatever workspace
    )
    email: str
    email_key: str = Field(sa_type=Plain)
    name: str | None
    role: str
    created_at: datetime = Field(sa_type=Moment)


class ApiKey(Owned, table=True):
    """A key of one workspace; the secret is kept as a hash alone."""

    __tablename__ = "api_key"
    __table_args__ = (ForeignKeyConstraint(["workspace_id"], ["workspace.id"]), UniqueConstraint("workspace_id", "hash"))
    name: str
    prefix: str  #: All before the secret, and its first four characters.
    hash: str = Field(sa_type=Plain)  #: SHA-256 of the whole key, in hex.
    role: str
    created_at: datetime = Field(sa_type=Moment)
    expires_at: datetime | None = Field(sa_type=Moment)
    last_used_at: datetime | None = Field(sa_type=Moment)
    revoked_at: datetime | None = Field(sa_type=Moment)


class Lead(Owned, table=True):
    """A person somebody wants to talk to."""

    __table_args__ = (
        ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        ForeignKeyConstraint(["workspace_id", "assignee_id"], ["user.workspace_id", "user.id"]),
        UniqueConstraint("workspace_id", "email_key"),
        UniqueConstraint("workspace_id", "crm_id"),
        Index("lead_created", "workspace_id", "created_at", "id"),
        Index("lead_updated", "workspace_id", "updated_at", "id"),
        Index("lead_score", "workspace_id", "quality_score", "id"),
        Index("lead_assignee", "workspace_id", "assignee_id", "created_at"),
        Index("lead_search", lexemes(column("search_text")), postgresql_using="gin").ddl_if(dialect="postgresql"),
    )
    crm_id: str | None = Field(sa_type=Plain)
    crm_id_folded: str | None = Field(sa_type=Plain)
    email: str | None  #: As given, trimmed; `email_key` is what matches.
    email_key: str | None = Field(sa_type=Plain)
    first_name: str | None
    first_name_folded: str | None = Field(sa_type=Plain)
    last_name: str | None
    last_name_folded: str | None = Field(sa_type=Plain)
    company: str | None
    company_folded: str | None = Field(sa_type=Plain)
    title: str | None
    title_folded: str | None = Field(sa_type=Plain)
    phone: str | None
    phone_folded: str | None = Field(sa_type=Plain)
    website: str | None
    linkedin_url: str | None
    location: str | None
    location_folded: str | None = Field(sa_type=Plain)
    source: str | None = Field(sa_type=Plain)  #: Case-folded.
    source_folded: str | None = Field(sa_type=Plain)
    status: str = Field(sa_type=Plain)
    notes: str | None
    attributes: dict[str, Any] = Field(sa_type=Json)
    attributes_folded: dict[str, Any] | None = Field(sa_type=Json)  #: Of the texts at its top level, those that folding changes.
    opt_in_at: datetime | None = Field(sa_type=Moment)
    quality_score: int | None
    score_components: list[dict[str, Any]] | None = Field(sa_type=SharedParts)  #: `[{"kind", "points", "maximum", "reasons"}]`.
    score_computed_at: datetime | None = Field(sa_type=Moment)
    score_rules_version: int | None
    score_campaign_id: str | None = Field(sa_type=Plain)  #: May be gone since.
    score_stale: bool = False
    assignee_id: str | None = Field(sa_type=Plain)
    search_text: str  #: The folded words that `search` looks in, one space between them.
    created_at: datetime = Field(sa_type=Moment)
    updated_at: datetime = Field(sa_type=Moment)
    last_activity_at: datetime | None = Field(sa_type=Moment)
    version: int


class Campaign(Owned, table=True):
    """Whom to talk to, and why them."""

    __table_args__ = (
        ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        Index("campaign_created", "workspace_id", "created_at", "id"),
    )
    name: str
    name_folded: str = Field(sa_type=Plain)
    status: str = Field(sa_type=Plain)
    titles: list[str] = Field(sa_type=Json)
    companies: list[str] = Field(sa_type=Json)
    locations: list[str] = Field(sa_type=Json)
    sources: list[str] = Field(sa_type=Json)
    created_at: datetime = Field(sa_type=Moment)
    updated_at: datetime = Field(sa_type=Moment)


class CampaignLead(SQLModel, table=True):
    """A lead's place in a campaign. It repeats the lead's score and creation time, so that a campaign's page is one index walk."""

    __tablename__ = "campaign_lead"
    __table_args__ = (
        _owned("campaign", "campaign_id", on_delete="CASCADE"),
        _owned("lead", "lead_id", on_delete="CASCADE"),
        Index("campaign_lead_lead", "workspace_id", "lead_id"),
        Index("campaign_lead_page", "workspace_id", "campaign_id", "lead_created_at", "lead_id", "quality_score"),
    )
    workspace_id: str = Field(primary_key=True, sa_type=Plain)
    campaign_id: str = Field(primary_key=True, sa_type=Plain)
    lead_id: str = Field(primary_key=True, sa_type=Plain)
    quality_score: int | None
    lead_created_at: datetime = Field(sa_type=Moment)
    joined_at: datetime = Field(sa_type=Moment)


class Activity(Owned, table=True):
    """One thing that happened. No foreign keys: the log outlives what it tells of."""

    __table_args__ = (
        UniqueConstraint("workspace_id", "sequence"),
        UniqueConstraint("workspace_id", "lead_id", "distinct_id"),
        Index("activity_lead", "workspace_id", "lead_id", "sequence"),
        Index("activity_campaign", "workspace_id", "campaign_id", "sequence", **_OF_CAMPAIGNS),
    )
    sequence: int = Field(sa_type=BigInteger)  #: Dense and in the order of commits, per workspace.
    kind: str = Field(sa_type=Plain)
    event: str | None = Field(sa_type=Plain)
    event_folded: str | None = Field(sa_type=Plain)
    lead_id: str | None = Field(sa_type=Plain)
    campaign_id: str | None = Field(sa_type=Plain)
    actor_id: str | None = Field(sa_type=Plain)
    email_id: str | None = Field(sa_type=Plain)
    subject_id: str | None = Field(sa_type=Plain)
    status: str | None = Field(sa_type=Plain)  #: STATUS_CHANGED to this.
    changes: list[dict[str, Any]] = Field(sa_type=Parts)  #: `[{"field", "before", "after"}]`.
    attributes: dict[str, Any] = Field(sa_type=Json)
    distinct_id: str | None = Field(sa_type=Plain)
    occurred_at: datetime = Field(sa_type=Moment)
    recorded_at: datetime = Field(sa_type=Moment)
    batch_id: str | None = Field(sa_type=Plain)
    request_id: str | None


class Email(Owned, table=True):
    """A mail to a lead; once it is sent it stays, whatever becomes of the lead."""

    __table_args__ = (
        ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        Index("email_lead", "workspace_id", "lead_id", "created_at", "id"),
        Index("email_created", "workspace_id", "created_at", "id"),
        Index("email_campaign", "workspace_id", "campaign_id", "created_at", "id", **_OF_CAMPAIGNS),
        Index("email_due", "workspace_id", "status", "scheduled_at"),
    )
    lead_id: str = Field(sa_type=Plain)
    campaign_id: str | None = Field(sa_type=Plain)
    to_address: str | None  #: The address at the time it was claimed.
    subject: str
    body: str
    status: str = Field(sa_type=Plain)
    scheduled_at: datetime = Field(sa_type=Moment)
    sent_at: datetime | None = Field(sa_type=Moment)
    error: str | None
    claim_id: str | None = Field(sa_type=Plain)
    lease_until: datetime | None = Field(sa_type=Moment)
    created_at: datetime = Field(sa_type=Moment)


class Counted(Owned):
    """The outcomes of a batch's rows."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    deleted: int = 0


class Batch(Counted, table=True):
    """Writes that belong together and can be undone together."""

    __table_args__ = (ForeignKeyConstraint(["workspace_id"], ["workspace.id"]), Index("batch_created", "workspace_id", "created_at", "id"))
    kind: str = Field(sa_type=Plain)
    status: str = Field(sa_type=Plain)
    progress: int = 0  #: Hundredths.
    actor_id: str | None = Field(sa_type=Plain)
    error: str | None = None
    created_at: datetime = Field(sa_type=Moment)
    finished_at: datetime | None = Field(sa_type=Moment)
    undone_at: datetime | None = Field(default=None, sa_type=Moment)
    undone_by_id: str | None = Field(default=None, sa_type=Plain)
    undoes_id: str | None = Field(default=None, sa_type=Plain)
    #: Between these two numbers the log holds all that the batch did, and what others did meanwhile.
    first_sequence: int | None = Field(default=None, sa_type=BigInteger)
    last_sequence: int | None = Field(default=None, sa_type=BigInteger)


class BatchLead(SQLModel, table=True):
    """A lead that a batch still has before it."""

    __tablename__ = "batch_lead"
    __table_args__ = (_owned("batch", "batch_id", on_delete="CASCADE"),)
    workspace_id: str = Field(primary_key=True, sa_type=Plain)
    batch_id: str = Field(primary_key=True, sa_type=Plain)
    #: Of an undo: where in the log what it takes back told last of the lead. Else 0: in the key there is no null.
    sequence: int = Field(default=0, primary_key=True, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    lead_id: str = Field(primary_key=True, sa_type=Plain)


class UndoConflict(SQLModel, table=True):
    """What an undo left alone."""

    __tablename__ = "undo_conflict"
    __table_args__ = (_owned("batch", "batch_id", on_delete="CASCADE"),)
    workspace_id: str = Field(primary_key=True, sa_type=Plain)
    batch_id: str = Field(primary_key=True, sa_type=Plain)
    position: int = Field(primary_key=True)
    lead_id: str = Field(sa_type=Plain)
    field: str


class ImportJob(Counted, table=True):
    """A file on its way in."""

    __tablename__ = "import_job"
    __table_args__ = (
        ForeignKeyConstraint(["workspace_id"], ["workspace.id"]),
        Index("import_job_created", "workspace_id", "created_at", "id"),
        Index("import_job_batch", "workspace_id", "batch_id"),
    )
    status: str = Field(sa_type=Plain)
    dry_run: bool
    actor_id: str | None = Field(sa_type=Plain)
    file_name: str | None
    campaign_id: str | None = Field(sa_type=Plain)
    batch_id: str | None = Field(sa_type=Plain)
    mapping: list[dict[str, Any]] = Field(sa_type=Parts)  #: `[{"column", "field"}]`.
    progress: int = 0  #: Hundredths.
    options: dict[str, Any] | None = Field(default=None, sa_type=Json)  #: How it was asked for, as `actions.imports` writes it.
    rejected_url: str | None = None
    error: str | None = None
    created_at: datetime = Field(sa_type=Moment)
    finished_at: datetime | None = Field(sa_type=Moment)


class ImportPiece(SQLModel, table=True):
    """Rows of a file that are not in yet: the text of 2,000 of them, gone with the transaction that takes them."""

    __tablename__ = "import_piece"
    __table_args__ = (_owned("import_job", "import_job_id", on_delete="CASCADE"),)
    workspace_id: str = Field(primary_key=True, sa_type=Plain)
    import_job_id: str = Field(primary_key=True, sa_type=Plain)
    position: int = Field(primary_key=True)  #: From 0.
    content: str


class ImportRowError(SQLModel, table=True):
    """A row of a file that could not be taken, as it stood there."""

    __tablename__ = "import_row_error"
    __table_args__ = (_owned("import_job", "import_job_id", on_delete="CASCADE"),)
    workspace_id: str = Field(primary_key=True, sa_type=Plain)
    import_job_id: str = Field(primary_key=True, sa_type=Plain)
    line: int = Field(primary_key=True)
    errors: list[dict[str, Any]] = Field(sa_type=Parts)  #: `[{"code", "message", "field"}]`.
    raw: dict[str, Any] = Field(sa_type=Json)


class Idempotency(SQLModel, table=True):
    """An answer kept, so that a request sent again does nothing again."""

    __table_args__ = (ForeignKeyConstraint(["workspace_id"], ["workspace.id"]), Index("idempotency_expires", "expires_at"))
    workspace_id: str = Field(primary_key=True, sa_type=Plain)
    caller_id: str = Field(primary_key=True, sa_type=Plain)
    key: str = Field(primary_key=True, sa_type=Plain)
    request_hash: str
    response: str | None  #: The bytes that went out; null where they may not be shown again.
    created_at: datetime = Field(sa_type=Moment)
    expires_at: datetime = Field(sa_type=Moment)


class Job(Owned, table=True):
    """Work to do later, queued in the transaction that wants it."""

    __table_args__ = (ForeignKeyConstraint(["workspace_id"], ["workspace.id"]), Index("job_due", "status", "run_at"))
    kind: str = Field(sa_type=Plain)
    payload: dict[str, Any] = Field(sa_type=Json)
    status: str = Field(sa_type=Plain)
    attempts: int = 0
    run_at: datetime = Field(sa_type=Moment)
    claimed_by: str | None = Field(default=None, sa_type=Plain)
    lease_until: datetime | None = Field(default=None, sa_type=Moment)
    checkpoint: dict[str, Any] | None = Field(default=None, sa_type=Json)  #: Where a run that was cut off goes on.
    progress: int = 0  #: Hundredths.
    error: str | None = None
    created_at: datetime = Field(sa_type=Moment)
    finished_at: datetime | None = Field(default=None, sa_type=Moment)


#: SQLite's search index; PostgreSQL has one on `lead` itself. Its rowid is `rules.ids.search_key(lead_id)`; a lead's moment stands there
#: so that what is found can be sorted before it is looked up.
#: `ascii` splits at spaces alone, since all that is no ASCII letter or digit has been folded and split before. Where in a text a word
#: stands is asked by nobody, nor how long a text is: neither is kept.
SQLITE_SEARCH = (
    "CREATE VIRTUAL TABLE lead_search USING fts5(workspace_id UNINDEXED, lead_id UNINDEXED, created_at UNINDEXED, words,"
    " tokenize = 'ascii', prefix = '2 3', detail = none, columnsize = 0)"
)
