"""The SQL of each work, as the planner writes it: what the bare endpoint runs, and what the database alone is timed with."""

from dataclasses import dataclass
from typing import Any

from filling import Data
from orjson import Fragment
from works import Work

from app.actions.work import Caller, Role
from app.database import Database
from schema.context import Context
from schema.graph import document, graph
from schema.planner.dialects import Dialect
from schema.planner.plans import Plan
from schema.planner.postgres import POSTGRES
from schema.planner.sqlite import SQLITE


@dataclass(frozen=True, slots=True)
class Statement:
    """One root field: its response key, its plan, and the values that the plan shapes its answer with."""

    key: str
    plan: Plan
    values: Any


async def statements_of(work: Work, variables: dict[str, Any], data: Data, database: Database) -> list[tuple[Statement, list[Any]]]:
    """Give the statements of one request with their binds, and run none."""
    ran: list[tuple[Plan, Any]] = []

    async def noted(plan: Plan, _reading: Any, values: Any) -> Fragment:
        ran.append((plan, values))
        return Fragment(b"null")

    text = document(work.document)
    assert not text.errors, text.errors
    context = Context(Caller(data.workspace, Role.ADMIN, workspace_ids=(data.workspace,)), "bench")
    run, Plan.run = Plan.run, noted  # type: ignore[assignment, method-assign]
    try:
        async with database.readers.reading() as context.reading:
            answered = await graph.short_way.answer(text, None, variables, context)
    finally:
        Plan.run = run  # type: ignore[method-assign]
    assert answered is not None, f"{work.name} does not go the short way"
    dialect: Dialect = POSTGRES if database.is_postgres else SQLITE
    return [
        (Statement(key, plan, values), [dialect.bound(bind.make(values)) for bind in plan.binds])
        for key, (plan, values) in zip(answered, ran, strict=True)
    ]
