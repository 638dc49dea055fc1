"""What the leads of a workspace are scored by, read once for as many leads as there are."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from app.actions.work import Work
from app.database import among, listed, table_of
from app.rules.scoring import PROFILE, Criteria, Profile, ScoringRules, score
from app.tables import Campaign, CampaignLead, Workspace

_profile = itemgetter(*PROFILE)
WORKSPACE = table_of(Workspace)
CAMPAIGN_LEAD = table_of(CampaignLead)
_CAMPAIGN = table_of(Campaign)

#: The columns of a lead that hold its score, as they are until it has one.
UNSCORED: dict[str, Any] = {
    "quality_score": None,
    "score_components": None,
    "score_computed_at": None,
    "score_rules_version": None,
    "score_campaign_id": None,
    "score_stale": False,
}


@dataclass(slots=True)
class Scorer:
    """The workspace's rules and the criteria of some of its campaigns."""

    rules: ScoringRules
    criteria: dict[str, Criteria]  #: By campaign, oldest first.
    moment: datetime
    _asked: dict[frozenset[str], list[Criteria]] = field(default_factory=dict)

    def columns(self, lead: dict[str, Any], campaign_ids: Collection[str]) -> dict[str, Any]:
        """Score a lead that is in these campaigns and give the columns to write."""
        scored = score(Profile(*_profile(lead)), self.rules, self.criteria_of(campaign_ids))
        return {
            "quality_score": scored.value,
            "score_components": scored.components,
            "score_computed_at": self.moment,
            "score_rules_version": self.rules.version,
            "score_campaign_id": scored.campaign_id,
            "score_stale": False,
        }

    def is_of(self, rules: ScoringRules | None, campaign_id: str | None, criteria: Sequence[Criteria]) -> bool:
        """Tell whether leads in this campaign are scored by just these rules and criteria."""
        return self.rules == rules and self.criteria_of([] if campaign_id is None else [campaign_id]) == [*criteria]

    def criteria_of(self, campaign_ids: Collection[str]) -> list[Criteria]:
        """Give what these campaigns ask, oldest first."""
        key = frozenset(campaign_ids)
        if key not in self._asked:
            self._asked[key] = [criteria for campaign_id, criteria in self.criteria.items() if campaign_id in key]
        return self._asked[key]


async def load_scorer(work: Work, campaign_ids: Iterable[str], *, lock: bool = True) -> Scorer:
    """Read the workspace's rules, and what these campaigns ask: a statement each. Without `lock` they may change at once."""
    # Shared by all who score, so that a change of the rules waits for them: its rescoring then finds all their leads.
    rules = rules_of(await workspace_row(work, alone=False if lock else None))
    rows = await work.rows(_criteria(postgres=work.postgres), {"ids": listed(campaign_ids, postgres=work.postgres)})
    criteria = {
        row["id"]: Criteria(row["id"], tuple(row["titles"]), tuple(row["companies"]), tuple(row["locations"]), tuple(row["sources"]))
        for row in rows
    }
    return Scorer(rules, criteria, work.now)


_WORKSPACE = sa.select(WORKSPACE).where(WORKSPACE.c.id == sa.bindparam("workspace"))


async def workspace_row(work: Work, *, alone: bool | None) -> dict[str, Any]:
    """Give the workspace's own row, locked until the transaction ends: alone to change it, else with others who read it; not for None."""
    shared = _WORKSPACE if alone is None else _WORKSPACE.with_for_update(read=True, key_share=True)
    row = await work.row(_WORKSPACE.with_for_update() if alone else shared)
    if row is None:
        raise LookupError(f"workspace {work.workspace} is gone")
    return row


def rules_of(workspace: dict[str, Any]) -> ScoringRules:
    """Read the scoring rules of a workspace's row."""
    return ScoringRules(
        version=workspace["rules_version"],
        threshold=workspace["threshold"],
        weights={weight["kind"]: weight["maximum"] for weight in workspace["weights"]},
        sources={source["source"]: source["reliability"] for source in workspace["sources"]},
    )


@cache
def _criteria(*, postgres: bool) -> sa.Select[Any]:
    names = ("id", "titles", "companies", "locations", "sources")
    return (
        sa.select(*[_CAMPAIGN.c[name] for name in names])
        .where(_CAMPAIGN.c.workspace_id == sa.bindparam("workspace"), among(_CAMPAIGN.c.id, "ids", postgres=postgres))
        .order_by(_CAMPAIGN.c.created_at, _CAMPAIGN.c.id)
    )


async def memberships(work: Work, lead_ids: Iterable[str]) -> dict[str, frozenset[str]]:
    """Give the campaigns of each of these leads that is in any: one statement."""
    found: dict[str, set[str]] = {}
    for row in await work.rows(_memberships(postgres=work.postgres), {"leads": listed(lead_ids, postgres=work.postgres)}):
        found.setdefault(row["lead_id"], set()).add(row["campaign_id"])
    return {lead_id: frozenset(campaign_ids) for lead_id, campaign_ids in found.items()}


@cache
def _memberships(*, postgres: bool) -> sa.Select[Any]:
    return sa.select(CAMPAIGN_LEAD.c.lead_id, CAMPAIGN_LEAD.c.campaign_id).where(
        CAMPAIGN_LEAD.c.workspace_id == sa.bindparam("workspace"), among(CAMPAIGN_LEAD.c.lead_id, "leads", postgres=postgres)
    )
