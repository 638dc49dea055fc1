"""A peer: plain Strawberry on SQLModel rows with data loaders, as a good developer writes it. No authentication, no limits.

Documents are parsed and validated once (the library's caches), a page is one query, counts are asked for only where they are selected,
what hangs on the rows of a page comes by data loaders, a query a kind. The tables are the service's own, with its indexes.
"""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
import strawberry
from peers import read_data
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlmodel import col, select
from starlette.applications import Starlette
from starlette.routing import Route
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig
from strawberry.types import Info

from app import tables as rows

POOL = 8


class Sessions:
    """One a request: its sessions, and what it loads by key."""

    def __init__(self, make: async_sessionmaker[AsyncSession], workspace: str) -> None:
        self.make, self.workspace = make, workspace
        self.campaigns: DataLoader[str, list[rows.Campaign]] = DataLoader(self._campaigns)
        self.activities: DataLoader[tuple[str, int], list[rows.Activity]] = DataLoader(self._activities)

    async def all(self, statement: Any) -> list[Any]:
        """Give the rows of a query."""
        async with self.make() as session:
            return list((await session.scalars(statement)).all())

    async def _campaigns(self, lead_ids: list[str]) -> list[list[rows.Campaign]]:
        member, campaign = rows.CampaignLead, rows.Campaign
        statement = (
            sa.select(member.lead_id, campaign)
            .join(campaign, (col(campaign.workspace_id) == member.workspace_id) & (col(campaign.id) == member.campaign_id))
            .where(col(member.workspace_id) == self.workspace, col(member.lead_id).in_(lead_ids))
            .order_by(col(campaign.created_at).desc(), col(campaign.id).desc())
        )
        found: dict[str, list[rows.Campaign]] = {lead_id: [] for lead_id in lead_ids}
        async with self.make() as session:
            for lead_id, each in await session.execute(statement):
                found[lead_id].append(each)
        return [found[lead_id] for lead_id in lead_ids]

    async def _activities(self, keys: list[tuple[str, int]]) -> list[list[rows.Activity]]:
        activity, first = rows.Activity, max(first for _, first in keys)
        place = sa.func.row_number().over(partition_by=col(activity.lead_id), order_by=col(activity.sequence).desc())
        numbered = (
            sa.select(activity, place.label("place"))
            .where(col(activity.workspace_id) == self.workspace, col(activity.lead_id).in_([lead_id for lead_id, _ in keys]))
            .subquery()
        )
        latest = sa.orm.aliased(activity, numbered)
        found: dict[str | None, list[rows.Activity]] = {lead_id: [] for lead_id, _ in keys}
        for each in await self.all(sa.select(latest).where(numbered.c.place <= first).order_by(numbered.c.place)):
            found[each.lead_id].append(each)
        return [found[lead_id][:first] for lead_id, first in keys]


@strawberry.type
class Campaign:
    id: strawberry.ID
    name: str


@strawberry.type
class Activity:
    id: strawberry.ID
    kind: str
    event: str | None
    occurred_at: datetime


@strawberry.type
class ScoreComponent:
    kind: str
    points: int
    maximum: int
    reasons: list[str]


@strawberry.type
class Score:
    components: list[ScoreComponent]


@strawberry.type
class CampaignConnection:
    nodes: list[Campaign]


@strawberry.type
class ActivityConnection:
    nodes: list[Activity]


@strawberry.type
class Lead:
    id: strawberry.ID
    crm_id: str | None
    email: str | None
    first_name: str | None
    last_name: str | None
    company: str | None
    title: str | None
    phone: str | None
    website: str | None
    source: str | None
    status: str
    quality_score: int | None
    created_at: datetime

    @strawberry.field
    def score(self) -> Score | None:
        parts: Any = getattr(self, "score_components", None)
        return None if parts is None else Score(components=[ScoreComponent(**part) for part in parts])

    @strawberry.field
    async def campaigns(self, info: Info[Sessions, None], first: int = 20) -> CampaignConnection:
        found: Any = await info.context.campaigns.load(self.id)
        return CampaignConnection(nodes=found[:first])

    @strawberry.field
    async def activities(self, info: Info[Sessions, None], first: int = 20) -> ActivityConnection:
        found: Any = await info.context.activities.load((self.id, first))
        return ActivityConnection(nodes=found)


@strawberry.type
class LeadConnection:
    nodes: list[Lead]
    count: strawberry.Private[Any]

    @strawberry.field
    async def total_count(self, info: Info[Sessions, None]) -> int:
        [count] = await info.context.all(self.count)
        return int(count)


@strawberry.input(one_of=True)
class LeadRef:
    id: strawberry.Maybe[strawberry.ID]
    email: strawberry.Maybe[str]


@strawberry.input
class IDFilter:
    eq: strawberry.ID | None = None


@strawberry.input
class IntFilter:
    gte: int | None = None
    lte: int | None = None


@strawberry.input
class LeadWhere:
    campaign_id: IDFilter | None = None
    quality_score: IntFilter | None = None


@strawberry.type
class StatusCount:
    status: str
    count: int


@strawberry.type
class SourceCount:
    source: str | None
    count: int


@strawberry.type
class ScoreBucket:
    from_: int = strawberry.field(name="from")
    to: int
    count: int


@strawberry.type
class LeadStats:
    count: int
    average_score: float | None
    by_status: list[StatusCount]
    by_source: list[SourceCount]
    score_histogram: list[ScoreBucket]


def _conditions(workspace: str, where: LeadWhere | None, search: str | None) -> list[Any]:
    lead, member = rows.Lead, rows.CampaignLead
    conditions: list[Any] = [col(lead.workspace_id) == workspace]
    if where and where.campaign_id and where.campaign_id.eq is not None:
        members = sa.select(member.lead_id).where(col(member.workspace_id) == workspace, col(member.campaign_id) == where.campaign_id.eq)
        conditions.append(col(lead.id).in_(members))
    if where and where.quality_score:
        if where.quality_score.gte is not None:
            conditions.append(col(lead.quality_score) >= where.quality_score.gte)
        if where.quality_score.lte is not None:
            conditions.append(col(lead.quality_score) <= where.quality_score.lte)
    if search:
        conditions.append(_words(search.casefold().split()))
    return conditions


def _words(words: Sequence[str]) -> Any:
    if IS_POSTGRES:
        split = sa.text("array_to_tsvector(string_to_array(lead.search_text, ' ')) @@ CAST(:words AS tsquery)")
        return split.bindparams(words=" & ".join(f"'{word}':*" for word in words))
    found = sa.text("lead.id IN (SELECT lead_id FROM lead_search WHERE lead_search MATCH :words)")
    return found.bindparams(words=" ".join(f'words : "{word}" *' for word in words))


@strawberry.type
class Query:
    @strawberry.field
    async def lead(self, info: Info[Sessions, None], by: LeadRef) -> Lead | None:
        lead, context = rows.Lead, info.context
        wanted = col(lead.id) == by.id.value if by.id else col(lead.email) == by.email.value if by.email else sa.false()
        found = await context.all(select(lead).where(col(lead.workspace_id) == context.workspace, wanted))
        return found[0] if found else None

    @strawberry.field
    async def leads(
        self,
        info: Info[Sessions, None],
        where: LeadWhere | None = None,
        search: str | None = None,
        first: int = 20,
        offset: int = 0,
    ) -> LeadConnection:
        lead, conditions = rows.Lead, _conditions(info.context.workspace, where, search)
        newest = (col(lead.created_at).desc(), col(lead.id).desc())
        found = await info.context.all(select(lead).where(*conditions).order_by(*newest).offset(offset).limit(first))
        return LeadConnection(nodes=found, count=sa.select(sa.func.count()).select_from(lead).where(*conditions))

    @strawberry.field
    async def lead_stats(self, info: Info[Sessions, None], where: LeadWhere | None = None, search: str | None = None) -> LeadStats:
        lead, conditions = rows.Lead, _conditions(info.context.workspace, where, search)
        score, counted = col(lead.quality_score), sa.func.count()
        bucket = sa.case((score == 100, 9), else_=score.op("/")(10))  # of integers: the whole part, on either database
        async with info.context.make() as session:
            [(count, average)] = await session.execute(sa.select(counted, sa.func.avg(score)).select_from(lead).where(*conditions))
            statuses = dict((await session.execute(sa.select(lead.status, counted).where(*conditions).group_by(col(lead.status)))).all())
            sources = await session.execute(sa.select(lead.source, counted).where(*conditions).group_by(col(lead.source)))
            buckets = dict(
                (await session.execute(sa.select(bucket, counted).where(*conditions, score.is_not(None)).group_by(bucket))).all()
            )
            return LeadStats(
                count=count,
                average_score=None if average is None else round(float(average), 2),
                by_status=[StatusCount(status=status, count=many) for status, many in statuses.items()],
                by_source=[SourceCount(source=source, count=many) for source, many in sources],
                score_histogram=[
                    ScoreBucket(from_=place * 10, to=place * 10 + (10 if place == 9 else 9), count=buckets.get(place, 0))
                    for place in range(10)
                ],
            )


class View(GraphQL[Sessions, None]):
    """The library's own view, with the faster JSON."""

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)

    async def get_context(self, request: Any, response: Any) -> Sessions:
        return Sessions(request.app.state.make, request.app.state.workspace)


def _engine(url: str) -> AsyncEngine:
    if IS_POSTGRES:
        return create_async_engine(url, pool_size=POOL, max_overflow=0, connect_args={"server_settings": {"jit": "off"}})
    engine = create_async_engine(url, pool_size=POOL, max_overflow=0)

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cache_size = -16000")

    return engine


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Open the pool."""
    engine = _engine(os.environ["LEADGRAPH_DATABASE_URL"])
    app.state.make = async_sessionmaker(engine, expire_on_commit=False)
    app.state.workspace = read_data().workspace
    yield
    await engine.dispose()


IS_POSTGRES = os.environ.get("LEADGRAPH_DATABASE_URL", "").startswith("postgresql")
graph = strawberry.Schema(Query, extensions=[ParserCache, ValidationCache], config=StrawberryConfig(auto_camel_case=True))
view = View(graph, graphql_ide=None)
app = Starlette(routes=[Route("/graphql", view, methods=["POST"])], lifespan=lifespan)
