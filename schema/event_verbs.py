"""Recording events: the verbs, and what they tell."""

from typing import Any

from app.actions import events as verbs
from app.actions.automation_runs import runs_of
from app.actions.events import EventOutcome, EventResult
from schema.context import Context
from schema.enums import ErrorPolicy
from schema.inputs import LeadEventInput, LeadEventRow
from schema.replies import Ref

Data = dict[str, Any]


async def lead_event_track(context: Context, input: LeadEventInput) -> Data:  # noqa: A002  (the contract's name)
    """Record something that a lead did; a second event with the same `distinctId` changes nothing."""
    values: Any = dict(input)  # type: ignore[call-overload]
    ref = values.pop("lead")
    activity_id, deduplicated = await verbs.track(context.writing, ref, values)
    runs = [] if deduplicated else await runs_of(context.writing, activity_id)
    return {
        "activity": Ref("Activity", activity_id),
        "deduplicated": deduplicated,
        "runs": [Ref("AutomationRun", run_id) for run_id in runs],
    }


async def lead_event_track_many(
    context: Context,
    events: list[LeadEventRow],
    error_policy: ErrorPolicy = ErrorPolicy.REJECT_ROWS,
) -> Data:
    """1 to 1,000 events; one result an event, in the order given."""
    report = await verbs.track_many(context.writing, events, error_policy=error_policy)  # type: ignore[arg-type]

    def results(arguments: Data) -> list[Data]:
        wanted = arguments.get("outcomes")
        chosen = EventOutcome if wanted is None else {EventOutcome(getattr(outcome, "value", outcome)) for outcome in wanted}
        return [_told(result) for result in report.results if result.outcome in chosen]

    batch = None if report.batch_id is None else Ref("Batch", report.batch_id)
    counts = {outcome.value.lower(): report.count(outcome) for outcome in EventOutcome}
    return {**counts, "batch": batch, "results": results}


def _told(result: EventResult) -> Data:
    return {
        "index": result.index,
        "outcome": result.outcome.value,
        "activity": None if result.activity_id is None else Ref("Activity", result.activity_id),
        "errors": [{"code": error.code.value, "message": error.message, "field": error.field} for error in result.errors],
    }
