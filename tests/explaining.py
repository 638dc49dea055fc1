"""How SQLite goes about a statement of the planner: its own account, with the values that were bound."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from app.database import Database
from schema.planner.plans import Plan
from schema.planner.sqlite import SQLITE

Ran = list[tuple[Plan, Any]]


@contextmanager
def plans_run() -> Iterator[Ran]:
    """Collect the plans that run inside the block, each with what its binds are made of."""
    ran: Ran = []
    run = Plan.run

    async def seen(self: Plan, reading: Any, values: Any) -> Any:
        ran.append((self, values))
        return await run(self, reading, values)

    Plan.run = seen  # type: ignore[method-assign]
    try:
        yield ran
    finally:
        Plan.run = run  # type: ignore[method-assign]


async def steps_of(database: Database, ask: Callable[[], Coroutine[Any, Any, Any]]) -> list[str]:
    """Ask SQLite something that is one planned statement, and give the steps that it takes for it."""
    with plans_run() as ran:
        await ask()
    [(plan, values)] = ran
    async with database.readers.reading() as reading:
        binds = [SQLITE.bound(bind.make(values)) for bind in plan.binds]
        return [row[-1] for row in await reading.rows(f"EXPLAIN QUERY PLAN {plan.sql}", binds)]
