"""The workspace, how it scores, and who is looking at it."""

import sqlalchemy as sa
import strawberry

from app import tables
from app.rules.written import dumps
from schema.enums import Role, ScoreComponentKind
from schema.nodes import Node
from schema.planner import cursors
from schema.planner.bindings import Computed, Inline, One, Parts, Row, Scope, Workspaces, planned, sql
from schema.planner.dialects import Expression, Leaf
from schema.scalars import DateTime
from schema.users import ApiKey, User


def activity_cursor(row: Row, scope: Scope) -> Expression:
    """Give the log's position in this snapshot."""
    counter, inside = scope.table(tables.WorkspaceCounter)
    last = sa.select(counter.c.sequence).where(inside).correlate(row).scalar_subquery()
    prefixes = scope.bind(lambda values: dumps({one: cursors.prefix(one, b"log") for one in values.caller.workspace_ids}), sa.Text)
    return scope.dialect.cursor(scope.dialect.looked_up(prefixes, row.c.id), [Leaf(last)])


@planned()
@strawberry.type
class ScoringWeight:
    """The most points that a part may give."""

    kind: ScoreComponentKind
    maximum: int


@planned()
@strawberry.type
class SourceReliability:
    """How far a source is trusted: 0 to 1."""

    source: str
    reliability: float


@planned()
@strawberry.type
class ScoringRules:
    """How leads are scored here. Weights sum to 100."""

    version: int = sql(Computed(lambda row, _scope: row.c.rules_version))
    threshold: int
    weights: list[ScoringWeight] = sql(Parts("weights"))
    sources: list[SourceReliability] = sql(Parts("sources"))


@planned(tables.Workspace)
@strawberry.type
class Workspace(Node):
    """A tenant: all else belongs to one."""

    slug: str
    name: str
    scoring: ScoringRules = sql(Inline())
    activity_cursor: str = sql(Computed(activity_cursor), description="The log's position in this snapshot: load, then go on from here.")
    created_at: DateTime


@planned(tables.Workspace)
@strawberry.type
class Viewer:
    """Who asks, and where."""

    workspace: Workspace = sql(Inline())
    workspaces: list[Workspace] = sql(Workspaces(), description="All that this user may choose from.")
    role: Role = sql(Computed(lambda _row, scope: scope.bind(lambda values: values.caller.role.value, sa.Text)))
    user: User | None = sql(
        One(tables.User, lambda _row, user, scope: user.c.id == scope.bind(lambda values: values.caller.user_id, sa.Text))
    )
    api_key: ApiKey | None = sql(
        One(tables.ApiKey, lambda _row, key, scope: key.c.id == scope.bind(lambda values: values.caller.api_key_id, sa.Text))
    )
