"""Scores: scoring leads anew, and changing the rules by which a workspace scores."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import sqlalchemy as sa

from app.actions import jobs, references
from app.actions.activities import administered
from app.actions.known_leads import NOWHERE
from app.actions.lead_changes import Move, settle
from app.actions.references import LEAD
from app.actions.scorer import CAMPAIGN_LEAD, WORKSPACE, memberships, workspace_row
from app.actions.work import Work
from app.database import among, listed
from app.errors import BadUserInput, shown
from app.rules.fields import read_source
from app.rules.scoring import ScoreComponentKind
from app.rules.written import change

#: How many sources a workspace may list.
MOST_SOURCES = 200


async def score(work: Work, refs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Score leads by today's rules and give their ids in the order asked. Raises LeadNotFound."""
    leads = await references.leads(work, refs)
    await _rescore(work, {lead["id"]: lead for lead in leads}.values())
    return [lead["id"] for lead in leads]


async def rescore_chunk(
    work: Work, after: str | None, limit: int, campaign_id: str | None = None, lead_ids: Sequence[str] | None = None
) -> tuple[str | None, int]:
    """Score the next `limit` leads behind the id `after`, of the workspace, of a campaign, or of `lead_ids`.

    Gives the last id that was scored, None when there was none left, and how many were.
    """
    asked = sa.select(LEAD).where(LEAD.c.workspace_id == sa.bindparam("workspace"), LEAD.c.id > sa.bindparam("after", type_=sa.Text))
    binds: dict[str, Any] = {"after": after or "", "limit": limit}
    if campaign_id is not None:
        its_own = CAMPAIGN_LEAD.c.campaign_id == sa.bindparam("campaign", type_=sa.Text)
        members = sa.select(CAMPAIGN_LEAD.c.lead_id).where(CAMPAIGN_LEAD.c.workspace_id == sa.bindparam("workspace"), its_own)
        asked = asked.where(LEAD.c.id.in_(members))
        binds["campaign"] = campaign_id
    if lead_ids is not None:
        asked = asked.where(among(LEAD.c.id, "leads", postgres=work.postgres))
        binds["leads"] = listed(lead_ids, postgres=work.postgres)
    leads = await work.rows(asked.order_by(LEAD.c.id).limit(sa.bindparam("limit", type_=sa.Integer)).with_for_update(), binds)
    await _rescore(work, leads)
    return (leads[-1]["id"] if leads else None), len(leads)


async def _rescore(work: Work, leads: Iterable[dict[str, Any]]) -> None:
    rows = list(leads)
    held = await memberships(work, [lead["id"] for lead in rows])
    moves = []
    for lead in rows:
        campaigns = held.get(lead["id"], NOWHERE)
        moves.append(Move(lead, lead, campaigns, campaigns))
    await settle(work, moves)


async def rules_update(work: Work, patch: Mapping[str, Any]) -> dict[str, Any]:
    """Change the workspace's scoring rules, queue the rescoring of its leads, and give the workspace's row.

    `threshold` 0 to 100. `weights`, `[{"kind", "maximum"}]`, replace those of their kinds; all sum to 100. `sources`,
    `[{"source", "reliability"}]`, replace the whole list. Raises BadUserInput. Nothing that differs: nothing written.
    """
    workspace = await workspace_row(work, alone=True)
    after = dict(workspace)
    if patch.get("threshold") is not None:
        after["threshold"] = _bounded(patch["threshold"], "patch.threshold")
    if patch.get("weights") is not None:
        after["weights"] = _weights(workspace["weights"], patch["weights"])
    if patch.get("sources") is not None:
        after["sources"] = _sources(patch["sources"])
    changes = [change(name, workspace[name], after[name]) for name in ("threshold", "weights", "sources") if workspace[name] != after[name]]
    if not changes:
        return workspace
    after["rules_version"] += 1
    values = {name: after[name] for name in ("threshold", "weights", "sources", "rules_version")}
    await work.run(sa.update(WORKSPACE).values(values).where(WORKSPACE.c.id == sa.bindparam("workspace")))
    await jobs.queue(work, "rescore", {})
    await administered(work, "scoringRules.updated", work.workspace, changes)
    return after


def _bounded(value: int, argument: str) -> int:
    if not 0 <= value <= 100:
        raise BadUserInput(f"{argument} {value}: must be 0 to 100", argument=argument)
    return value


def _weights(stored: Sequence[Mapping[str, Any]], given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    maxima = {weight["kind"]: weight["maximum"] for weight in stored}
    seen: set[str] = set()
    for index, weight in enumerate(given):
        kind = ScoreComponentKind(weight["kind"]).value
        if kind in seen:
            raise BadUserInput(f"patch.weights[{index}].kind {kind}: stands there twice", argument=f"patch.weights[{index}].kind")
        seen.add(kind)
        maxima[kind] = _bounded(weight["maximum"], f"patch.weights[{index}].maximum")
    if sum(maxima.values()) != 100:
        told = ", ".join(f"{kind} {maximum}" for kind, maximum in maxima.items())
        raise BadUserInput(f"patch.weights: {told} sum to {sum(maxima.values())}, they must sum to 100", argument="patch.weights")
    return [{"kind": kind.value, "maximum": maxima[kind.value]} for kind in ScoreComponentKind]


def _sources(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if len(given) > MOST_SOURCES:
        raise BadUserInput(f"patch.sources: {len(given)} given, at most {MOST_SOURCES} are taken", argument="patch.sources")
    reliabilities: dict[str, float] = {}
    for index, each in enumerate(given):
        argument = f"patch.sources[{index}]"
        name = _source(each["source"], f"{argument}.source")
        if name in reliabilities:
            raise BadUserInput(f"{argument}.source {shown(name)}: stands there twice", argument=f"{argument}.source")
        value = float(each["reliability"])
        if not (isfinite(value) and 0 <= value <= 1):
            raise BadUserInput(f"{argument}.reliability {value}: must be 0 to 1", argument=f"{argument}.reliability")
        reliabilities[name] = value
    best_first = sorted(reliabilities.items(), key=lambda item: -item[1])
    return [{"source": source, "reliability": reliability} for source, reliability in best_first]


def _source(text: str, argument: str) -> str:
    try:
        name = read_source(text)
    except ValueError as error:
        raise BadUserInput(f"{argument} {shown(text)}: {error}", argument=argument) from error
    if name is None:
        raise BadUserInput(f"{argument} {shown(text)}: may not be blank", argument=argument, rule="BLANK")
    return name
