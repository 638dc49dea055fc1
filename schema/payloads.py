"""What mutations answer. The verbs' data is shaped by `replies.py`; here are only names and types."""

from typing import Any

import strawberry

from schema.activities import Activity, FieldChange
from schema.automations import Automation, AutomationRun
from schema.batches import Batch, BatchSummary, ColumnMapping, ImportJob, RowError
from schema.campaigns import Campaign
from schema.emails import Email
from schema.enums import EventOutcome, RowOutcome
from schema.leads import Lead
from schema.nodes import Edge
from schema.planner.bindings import argument
from schema.users import ApiKey, User
from schema.webhooks import Webhook, WebhookDelivery
from schema.workspaces import Workspace


@strawberry.type
class LeadPayload:
    """`leadEdge.cursor` is of the default order."""

    lead: Lead
    lead_edge: Edge[Lead]


@strawberry.type
class LeadDeletePayload:
    """What went, and with it."""

    deleted_id: strawberry.ID
    left_campaign_ids: list[strawberry.ID]
    deleted_email_count: int


@strawberry.type
class LeadScorePayload:
    """The leads, scored by today's rules."""

    leads: list[Lead]


@strawberry.type
class LeadRowResult:
    """What became of one row."""

    index: int
    outcome: RowOutcome
    lead_id: strawberry.ID | None
    lead: Lead | None
    changes: list[FieldChange]
    errors: list[RowError]


def _results() -> Any:
    field = strawberry.field()
    field.arguments = [argument("outcomes", list[RowOutcome] | None)]
    return field


@strawberry.type
class LeadUpsertManyPayload:
    """One result a row, in the order given; the counts add up."""

    summary: BatchSummary
    batch: Batch | None
    results: list[LeadRowResult] = _results()


@strawberry.type
class LeadEventPayload:
    """The event as it was recorded: now, or before where it is `deduplicated`."""

    activity: Activity
    deduplicated: bool
    runs: list[AutomationRun] = strawberry.field(description="The runs of automations that it set off.")


@strawberry.type
class LeadEventResult:
    """What became of one event."""

    index: int
    outcome: EventOutcome
    activity: Activity | None
    errors: list[RowError]


def _event_results() -> Any:
    field = strawberry.field()
    field.arguments = [argument("outcomes", list[EventOutcome] | None)]
    return field


@strawberry.type
class LeadEventManyPayload:
    """One result an event, in the order given; the counts add up."""

    accepted: int
    deduplicated: int
    skipped: int
    failed: int
    batch: Batch | None
    results: list[LeadEventResult] = _event_results()


@strawberry.type
class LeadUpdateManyPayload:
    """How many leads were found, and what became of them; of a job's, `batch` tells what becomes of them."""

    count: int
    summary: BatchSummary
    batch: Batch | None


@strawberry.type
class LeadDeleteManyPayload:
    """How many leads were found and went; of a job's, `batch` tells."""

    count: int
    deleted_ids: list[strawberry.ID] | None = strawberry.field(description="Null when it goes on as a job.")
    summary: BatchSummary
    batch: Batch | None


@strawberry.type
class BatchUndoPayload:
    """`batch` is the new one; a large undo goes on as a job and tells its `progress`."""

    batch: Batch


@strawberry.type
class ImportJobPayload:
    """The import as it is now."""

    import_job: ImportJob


@strawberry.type
class ImportPreview:
    """The head of a file, and what would become of its columns."""

    encoding: str = strawberry.field(description="What the file was read as; `xlsx` for a workbook.")
    separator: str | None
    columns: list[str]
    mapping: list[ColumnMapping]
    rows: list[list[str]] = strawberry.field(description="The first ten rows.")


@strawberry.type
class CampaignPayload:
    """The campaign as it is now."""

    campaign: Campaign


@strawberry.type
class CampaignLeadsPayload:
    """The campaign, and the leads that were named."""

    campaign: Campaign
    changed_count: int
    leads: list[Lead]


@strawberry.type
class EmailPayload:
    """The e-mail as it is now."""

    email: Email


@strawberry.type
class EmailClaimPayload:
    """What this claim holds, longest due first."""

    claim_id: strawberry.ID
    emails: list[Email]


@strawberry.type
class AutomationPayload:
    """The automation as it is now."""

    automation: Automation


@strawberry.type
class WebhookPayload:
    """The webhook as it is now."""

    webhook: Webhook


@strawberry.type
class WebhookCreatePayload:
    """The only answer that shows the secret."""

    webhook: Webhook
    secret: str


@strawberry.type
class WebhookDeliveryPayload:
    """The delivery as it is now."""

    delivery: WebhookDelivery


@strawberry.type
class DeletePayload:
    """What went."""

    deleted_id: strawberry.ID


@strawberry.type
class WorkspacePayload:
    """The workspace as it is now."""

    workspace: Workspace


@strawberry.type
class UserPayload:
    """The user as it is now."""

    user: User


@strawberry.type
class ApiKeyPayload:
    """The key as it is now, without its secret."""

    api_key: ApiKey


@strawberry.type
class ApiKeyCreatePayload:
    """The only answer that shows the key."""

    api_key: ApiKey
    key: str
