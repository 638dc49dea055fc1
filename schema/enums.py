"""Enums of the graph: those of the floors below, and those that only a query's text needs."""

from enum import StrEnum

import strawberry
from strawberry.types.enum import has_enum_definition

from app.actions.activities import ActivityKind
from app.actions.batches import BatchKind, JobStatus
from app.actions.campaigns import CampaignStatus
from app.actions.emails import EmailStatus
from app.actions.events import EventOutcome
from app.actions.upserts import ErrorPolicy, OnMatch, RowOutcome
from app.actions.work import Role
from app.rules.fields import ErrorCode, LeadStatus
from app.rules.scoring import ScoreComponentKind
from app.rules.uploads import UnknownColumns
from schema.planner.origins import structural

for _enum in (LeadStatus, CampaignStatus, ScoreComponentKind, ErrorCode, Role, RowOutcome, BatchKind, JobStatus, ErrorPolicy, EventOutcome):
    strawberry.enum(_enum)
strawberry.enum(EmailStatus, description="SENDING: claimed by a sender, until its lease ends.")
strawberry.enum(OnMatch, description="What a row does to a lead that is already there.")
strawberry.enum(UnknownColumns, description="What becomes of columns that no field takes.")
strawberry.enum(ActivityKind)

#: What a value says to clients, where its name does not: the floors below know nothing of the library that shows them.
_VALUES: dict[type[StrEnum], dict[str, str]] = {
    OnMatch: {
        "UPDATE": "Set the fields that the row gives; leave the others.",
        "FILL": "Set only the fields that are empty on the stored lead.",
        "SKIP": "Leave the stored lead alone; the row's outcome is SKIPPED.",
        "FAIL": "The row fails with TAKEN.",
    },
    ActivityKind: {
        "ADMINISTERED": "A change of users, keys, rules, automations, webhooks or suppressions; which, in `event`: "
        "`user.created`, `apiKey.revoked`, `scoringRules.updated` ... For ADMINs only.",
        "LEAD_ERASED": "All that was told of the lead is blanked; whoever keeps a copy erases it too.",
        "EVENT": "A custom event recorded by `leadEventTrack`; its name is in `event`.",
    },
}
for _described, _told in _VALUES.items():
    assert has_enum_definition(_described)  # noqa: S101  (made above; for the type checker)
    for _value in _described.__strawberry_definition__.values:
        _value.description = _told.get(_value.name)

__all__ = [
    "ActivityKind", "BatchKind", "CampaignOrderField", "CampaignStatus", "EmailStatus", "ErrorCode", "ErrorPolicy", "EventOutcome",
    "JobStatus",
    "LeadOrderField", "LeadStatus", "OnMatch", "OrderDirection", "Role", "RowOutcome", "ScoreComponentKind",
    "UnknownColumns",
]  # fmt: skip


@structural
@strawberry.enum
class OrderDirection(StrEnum):
    """Upward or downward."""

    ASC = "ASC"
    DESC = "DESC"


@structural
@strawberry.enum
class LeadOrderField(StrEnum):
    """What leads may be sorted by."""

    CREATED_AT = "CREATED_AT"
    UPDATED_AT = "UPDATED_AT"
    LAST_ACTIVITY_AT = "LAST_ACTIVITY_AT"
    QUALITY_SCORE = "QUALITY_SCORE"
    EMAIL = "EMAIL"
    LAST_NAME = "LAST_NAME"
    COMPANY = "COMPANY"


@structural
@strawberry.enum
class CampaignOrderField(StrEnum):
    """What campaigns may be sorted by."""

    CREATED_AT = "CREATED_AT"
    NAME = "NAME"
