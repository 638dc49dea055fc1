"""Root fields that write: who may, which verb, and what to tell. All of a request are one transaction."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import strawberry
from graphql import get_named_type

from app.actions import campaigns, keys, leads, scores, upserts, users
from app.actions.work import Role, Work
from app.errors import BadUserInput, Internal
from schema import automation_verbs, batch_verbs, email_verbs, event_verbs, import_verbs, webhook_verbs
from schema.context import Context
from schema.inputs import (
    ApiKeyInput,
    CampaignInput,
    CampaignPatch,
    LeadInput,
    LeadPatch,
    LeadRef,
    LeadUpsertManyInput,
    ScoringRulesPatch,
    UserInput,
    UserPatch,
    UserRef,
)
from schema.leads import default_cursor
from schema.payloads import (
    ApiKeyCreatePayload,
    ApiKeyPayload,
    AutomationPayload,
    BatchUndoPayload,
    CampaignLeadsPayload,
    CampaignPayload,
    DeletePayload,
    EmailClaimPayload,
    EmailPayload,
    ImportJobPayload,
    ImportPreview,
    LeadDeleteManyPayload,
    LeadDeletePayload,
    LeadEventManyPayload,
    LeadEventPayload,
    LeadPayload,
    LeadScorePayload,
    LeadUpdateManyPayload,
    LeadUpsertManyPayload,
    UserPayload,
    WebhookCreatePayload,
    WebhookDeliveryPayload,
    WebhookPayload,
    WorkspacePayload,
)
from schema.planner.plans import details_of
from schema.replies import Ref, Reply

ID = strawberry.ID
Data = dict[str, Any]
Verb = Callable[..., Awaitable[Data]]
Ahead = Callable[[Data], Awaitable[None]]


def mutation(payload: type, needs: Role = Role.EDITOR, *, shows_secret: bool = False, ahead: Ahead | None = None) -> Callable[[Verb], Any]:
    """Make a root field of a function of (context, arguments...): its data, shaped by the selection, is the reply.

    A reply that shows a secret is told once: it is not kept for a request that is sent again. `ahead` is given the arguments before the
    transaction begins, and does what takes long; it refuses nothing.
    """

    def make(verb: Verb) -> Any:
        async def resolve(info: strawberry.Info, **arguments: Any) -> Any:
            context: Context = info.context
            if context.work is None:
                raise Internal
            context.caller.require(needs)
            data = await verb(context, **arguments)
            raw = info._raw_info  # noqa: SLF001  (the field's nodes have no public name)
            type_: Any = get_named_type(raw.return_type)
            return await Reply(info.schema.plans, context).write(  # type: ignore[attr-defined]
                type_, details_of(raw.field_nodes), data, str(raw.path.key)
            )

        own = inspect.signature(verb)
        taken = [part for name, part in own.parameters.items() if name != "context"]
        described = inspect.Parameter("info", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=strawberry.Info)
        resolve.__signature__ = inspect.Signature([described, *taken], return_annotation=payload)  # type: ignore[attr-defined]
        resolve.__annotations__ = {"info": strawberry.Info, "return": payload} | {part.name: part.annotation for part in taken}
        resolve.__name__ = verb.__name__
        told = {"needs": needs, "shows_secret": shows_secret, "ahead": ahead}
        return strawberry.field(resolver=resolve, description=verb.__doc__, metadata=told)

    return make


def _work(context: Context) -> Work:
    if context.work is None:
        raise Internal
    return context.work


def _lead(context: Context, row: Data) -> Data:
    lead = Ref("Lead", row["id"])
    return {"lead": lead, "leadEdge": {"cursor": default_cursor(context.caller.workspace_id, row), "node": lead}}


async def _lead_create(context: Context, input: LeadInput) -> Data:  # noqa: A002  (the contract's name)
    """Create a lead; a known e-mail address or CRM id is TAKEN."""
    values: Any = dict(input)  # type: ignore[call-overload]
    campaign_ids, assignee = values.pop("campaignIds", None), values.pop("assignee", None)
    auto_score = values.pop("autoScore", True)
    row = await leads.create(_work(context), values, campaign_ids=campaign_ids, assignee=assignee, auto_score=auto_score)
    return _lead(context, row)


async def _lead_update(context: Context, lead: LeadRef, patch: LeadPatch, if_version: int | None = None) -> Data:
    """Change the fields given."""
    return _lead(context, await leads.update(_work(context), lead, patch, if_version))  # type: ignore[arg-type]


async def _lead_delete(context: Context, lead: LeadRef, if_version: int | None = None) -> Data:
    """Take a lead out of its campaigns, then delete it and its unsent e-mails; its history stays."""
    gone = await leads.delete(_work(context), lead, if_version)  # type: ignore[arg-type]
    return {"deletedId": gone.id, "leftCampaignIds": list(gone.left_campaign_ids), "deletedEmailCount": gone.deleted_email_count}


async def _lead_assign(
    context: Context,
    lead: LeadRef,
    user: UserRef | None = strawberry.UNSET,
    if_version: int | None = None,
) -> Data:
    """`user: null` takes the lead from whoever has it; `user` left out is refused."""
    if user is strawberry.UNSET:
        raise BadUserInput("user: is left out; give a user, or null to take the lead from whoever has it", argument="user", rule="BLANK")
    return _lead(context, await leads.assign(_work(context), lead, user, if_version))  # type: ignore[arg-type]


async def _lead_score(context: Context, leads: list[LeadRef]) -> Data:
    """Score these leads by today's rules."""
    return {"leads": [Ref("Lead", one) for one in await scores.score(_work(context), leads)]}  # type: ignore[arg-type]


async def _lead_upsert_many(context: Context, input: LeadUpsertManyInput) -> Data:  # noqa: A002
    """1 to 1,000 rows; one result a row, in the order given."""
    given: Any = input
    report = await upserts.upsert_many(
        _work(context),
        given["leads"],
        campaign_id=given.get("campaignId"),
        on_match=upserts.OnMatch(given["onMatch"]),
        error_policy=upserts.ErrorPolicy(given["errorPolicy"]),
        auto_score=given["autoScore"],
        dry_run=given["dryRun"],
    )
    dry = given["dryRun"]

    def results(arguments: Data) -> list[Data]:
        wanted = arguments.get("outcomes")
        chosen = None if wanted is None else {getattr(outcome, "value", outcome) for outcome in wanted}
        return [
            {
                "index": result.index,
                "outcome": result.outcome.value,
                "leadId": result.lead_id,
                "lead": None if dry or result.lead_id is None else Ref("Lead", result.lead_id),
                "changes": result.changes,
                "errors": [{"code": error.code.value, "message": error.message, "field": error.field} for error in result.errors],
            }
            for result in report.results
            if chosen is None or result.outcome.value in chosen
        ]

    batch = None if report.batch_id is None else Ref("Batch", report.batch_id)
    return {"summary": report.summary, "batch": batch, "results": results}


async def _campaign_create(context: Context, input: CampaignInput) -> Data:  # noqa: A002
    """Create a campaign."""
    return {"campaign": Ref("Campaign", (await campaigns.create(_work(context), input))["id"])}  # type: ignore[arg-type]


async def _campaign_update(context: Context, id: ID, patch: CampaignPatch) -> Data:  # noqa: A002
    """Change the fields given; new criteria rescore the campaign's leads in the background."""
    return {"campaign": Ref("Campaign", (await campaigns.update(_work(context), id, patch))["id"])}  # type: ignore[arg-type]


async def _campaign_delete(context: Context, id: ID) -> Data:  # noqa: A002
    """Delete a campaign; its leads stay, its unsent e-mails are cancelled."""
    return {"deletedId": await campaigns.delete(_work(context), id)}


async def _campaign_add_leads(context: Context, id: ID, leads: list[LeadRef]) -> Data:  # noqa: A002
    """Put leads into a campaign; those that are in it already stay as they are."""
    row, count, found = await campaigns.add_leads(_work(context), id, leads)  # type: ignore[arg-type]
    return {"campaign": Ref("Campaign", row["id"]), "changedCount": count, "leads": [Ref("Lead", one) for one in found]}


async def _campaign_remove_leads(context: Context, id: ID, leads: list[LeadRef]) -> Data:  # noqa: A002
    """Take leads out of a campaign, and cancel its unsent e-mails to them."""
    row, count, found = await campaigns.remove_leads(_work(context), id, leads)  # type: ignore[arg-type]
    return {"campaign": Ref("Campaign", row["id"]), "changedCount": count, "leads": [Ref("Lead", one) for one in found]}


async def _scoring_rules_update(context: Context, patch: ScoringRulesPatch) -> Data:
    """Change how leads are scored; all are rescored in the background."""
    return {"workspace": Ref("Workspace", (await scores.rules_update(_work(context), patch))["id"])}  # type: ignore[arg-type]


async def _user_create(context: Context, input: UserInput) -> Data:  # noqa: A002
    """Create a user of this workspace."""
    return {"user": Ref("User", (await users.create(_work(context), input))["id"])}  # type: ignore[arg-type]


async def _user_update(context: Context, id: ID, patch: UserPatch) -> Data:  # noqa: A002
    """Change the fields given."""
    row = await users.update(_work(context), id, patch, users_log_in=context.users_log_in)  # type: ignore[arg-type]
    return {"user": Ref("User", row["id"])}


async def _user_delete(context: Context, id: ID) -> Data:  # noqa: A002
    """Delete a user; their leads are nobody's then."""
    return {"deletedId": await users.delete(_work(context), id, users_log_in=context.users_log_in)}


async def _api_key_create(context: Context, input: ApiKeyInput) -> Data:  # noqa: A002
    """The only answer that shows the key."""
    row, key = await keys.create(_work(context), input)  # type: ignore[arg-type]
    return {"apiKey": Ref("ApiKey", row["id"]), "key": key}


async def _api_key_revoke(context: Context, id: ID) -> Data:  # noqa: A002
    """Revoke a key, at once and for good."""
    return {"apiKey": Ref("ApiKey", (await keys.revoke(_work(context), id, users_log_in=context.users_log_in))["id"])}


@strawberry.type
class Mutation:
    """A request's mutations are one transaction: when the reply has `errors`, nothing was written."""

    lead_create = mutation(LeadPayload)(_lead_create)
    lead_update = mutation(LeadPayload)(_lead_update)
    lead_delete = mutation(LeadDeletePayload)(_lead_delete)
    lead_assign = mutation(LeadPayload)(_lead_assign)
    lead_score = mutation(LeadScorePayload)(_lead_score)
    lead_upsert_many = mutation(LeadUpsertManyPayload)(_lead_upsert_many)
    lead_event_track = mutation(LeadEventPayload)(event_verbs.lead_event_track)
    lead_event_track_many = mutation(LeadEventManyPayload)(event_verbs.lead_event_track_many)
    lead_update_many = mutation(LeadUpdateManyPayload)(batch_verbs.lead_update_many)
    lead_delete_many = mutation(LeadDeleteManyPayload)(batch_verbs.lead_delete_many)
    batch_undo = mutation(BatchUndoPayload)(batch_verbs.batch_undo)
    lead_import = mutation(ImportJobPayload, ahead=import_verbs.read_whole)(import_verbs.lead_import)
    lead_import_preview = mutation(ImportPreview, ahead=import_verbs.read_head)(import_verbs.lead_import_preview)
    import_job_cancel = mutation(ImportJobPayload)(import_verbs.import_job_cancel)
    campaign_create = mutation(CampaignPayload)(_campaign_create)
    campaign_update = mutation(CampaignPayload)(_campaign_update)
    campaign_delete = mutation(DeletePayload)(_campaign_delete)
    campaign_add_leads = mutation(CampaignLeadsPayload)(_campaign_add_leads)
    campaign_remove_leads = mutation(CampaignLeadsPayload)(_campaign_remove_leads)
    automation_create = mutation(AutomationPayload, Role.ADMIN)(automation_verbs.automation_create)
    automation_update = mutation(AutomationPayload, Role.ADMIN)(automation_verbs.automation_update)
    automation_delete = mutation(DeletePayload, Role.ADMIN)(automation_verbs.automation_delete)
    webhook_create = mutation(WebhookCreatePayload, Role.ADMIN, shows_secret=True)(webhook_verbs.webhook_create)
    webhook_update = mutation(WebhookPayload, Role.ADMIN)(webhook_verbs.webhook_update)
    webhook_delete = mutation(DeletePayload, Role.ADMIN)(webhook_verbs.webhook_delete)
    webhook_redeliver = mutation(WebhookDeliveryPayload, Role.ADMIN)(webhook_verbs.webhook_redeliver)
    email_schedule = mutation(EmailPayload)(email_verbs.email_schedule)
    email_cancel = mutation(EmailPayload)(email_verbs.email_cancel)
    email_claim = mutation(EmailClaimPayload)(email_verbs.email_claim)
    email_report = mutation(EmailPayload)(email_verbs.email_report)
    scoring_rules_update = mutation(WorkspacePayload, Role.ADMIN)(_scoring_rules_update)
    user_create = mutation(UserPayload, Role.ADMIN)(_user_create)
    user_update = mutation(UserPayload, Role.ADMIN)(_user_update)
    user_delete = mutation(DeletePayload, Role.ADMIN)(_user_delete)
    api_key_create = mutation(ApiKeyCreatePayload, Role.ADMIN, shows_secret=True)(_api_key_create)
    api_key_revoke = mutation(ApiKeyPayload, Role.ADMIN)(_api_key_revoke)
