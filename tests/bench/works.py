"""The work: what is asked, each with a pool of variables that every peer is given in the same order."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from filling import Data

#: Variables of one work; the load goes round them.
POOL = 400

_TWELVE = "id crmId email firstName lastName company title phone source status qualityScore createdAt"
_OF_ROW = f"id: row{_TWELVE.replace('id', 'Id', 1)}"
#: PostGraphile's way to a page of a campaign: the memberships, which carry what the page is ordered and filtered by.
_MEMBERS = (
    "leads: allCampaignLeads(condition: {workspaceId: $workspace, campaignId: $campaign},%s"
    " orderBy: [LEAD_CREATED_AT_DESC, LEAD_ID_DESC], first: 50)"
)


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of request."""

    name: str
    title: str
    #: What the service and plain Strawberry are asked; they have these fields in common.
    document: str
    #: What PostGraphile is asked for the same, in the names that it gives to tables; None where it has no way to ask.
    postgraphile: str | None
    pool: Callable[[Data, random.Random], list[dict[str, Any]]]

    def variables(self, data: Data) -> list[dict[str, Any]]:
        """Choose the variables, the same ones for the same data."""
        return self.pool(data, random.Random(self.name))


def _some_leads(data: Data, dice: random.Random) -> list[dict[str, Any]]:
    ids = [row[0] for row in data.rows("SELECT id FROM lead ORDER BY id")]
    return [{"id": id_} for id_ in dice.choices(ids, k=POOL)]


def _some_campaigns(data: Data, dice: random.Random) -> list[str]:
    ids = [row[0] for row in data.rows("SELECT id FROM campaign ORDER BY id")]
    return dice.choices(ids, k=POOL)


def _campaigns(data: Data, dice: random.Random) -> list[dict[str, Any]]:
    return [{"campaign": campaign} for campaign in _some_campaigns(data, dice)]


def _campaigns_and_scores(data: Data, dice: random.Random) -> list[dict[str, Any]]:
    return [{"campaign": campaign, "minimum": dice.choice((50, 60, 70))} for campaign in _some_campaigns(data, dice)]


def _searches(data: Data, dice: random.Random) -> list[dict[str, Any]]:
    names = sorted(
        (last[: dice.randint(3, 5)], company[: dice.randint(3, 4)])
        for last, company in data.rows(
            "SELECT DISTINCT last_name_folded, company_folded FROM lead"
            " WHERE length(last_name_folded) > 4 AND last_name_folded NOT LIKE '%''%' AND length(company_folded) > 4"
        )
    )
    return [{"search": f"{last} {company}"} for last, company in dice.choices(names, k=POOL)]


def _pages(_data: Data, _dice: random.Random) -> list[dict[str, Any]]:
    return [{name: 1_000 * start + 200 * place for place, name in enumerate("abcde")} for start in range(9)]


WORKS = (
    Work(
        "W1",
        "one lead by id, 12 fields",
        f"query W1($id: ID!) {{ lead(by: {{id: $id}}) {{ {_TWELVE} }} }}",
        "query W1($workspace: String!, $id: String!) { lead: leadByWorkspaceIdAndRowId(workspaceId: $workspace, rowId: $id)"
        f" {{ {_OF_ROW} }} }}",
        _some_leads,
    ),
    Work(
        "W2",
        "50 of a campaign above a score, newest first, 12 fields, counted",
        "query W2($campaign: ID!, $minimum: Int!) {"
        " leads(where: {campaignId: {eq: $campaign}, qualityScore: {gte: $minimum}}, first: 50)"
        f" {{ nodes {{ {_TWELVE} }} totalCount }} }}",
        "query W2($workspace: String!, $campaign: String!, $minimum: Int!) {"
        f" {_MEMBERS % ' filter: {qualityScore: {greaterThanOrEqualTo: $minimum}},'}"
        f" {{ nodes {{ lead: leadByWorkspaceIdAndLeadId {{ {_OF_ROW} }} }} totalCount }} }}",
        _campaigns_and_scores,
    ),
    Work(
        "W3",
        "50 leads of a campaign, each with campaigns, 5 activities and score parts",
        "query W3($campaign: ID!) { leads(where: {campaignId: {eq: $campaign}}, first: 50) { nodes {"
        f" {_TWELVE} score {{ components {{ kind points maximum reasons }} }}"
        " campaigns(first: 5) { nodes { id name } } activities(first: 5) { nodes { id kind event occurredAt } } } } }",
        f"query W3($workspace: String!, $campaign: String!) {{ {_MEMBERS % ''} {{ nodes {{ lead: leadByWorkspaceIdAndLeadId {{"
        f" {_OF_ROW} scoreComponents campaigns: campaignLeadsByWorkspaceIdAndLeadId(first: 5)"
        " { nodes { campaign: campaignByWorkspaceIdAndCampaignId { id: rowId name } } }"
        " activities: activitiesByWorkspaceIdAndLeadId(first: 5, orderBy: [SEQUENCE_DESC])"
        " { nodes { id: rowId kind event occurredAt } } } } } }",
        _campaigns,
    ),
    Work(
        "W4",
        "search by the beginnings of two words, 20 newest",
        f"query W4($search: String!) {{ leads(search: $search, first: 20) {{ nodes {{ {_TWELVE} }} }} }}",
        None,
        _searches,
    ),
    Work(
        "W6",
        "five pages of 200 in one request, 13 fields",
        "query W6($a: Int!, $b: Int!, $c: Int!, $d: Int!, $e: Int!) {"
        + "".join(f" {name}: leads(first: 200, offset: ${name}) {{ nodes {{ {_TWELVE} website }} }}" for name in "abcde")
        + " }",
        "query W6($workspace: String!, $a: Int!, $b: Int!, $c: Int!, $d: Int!, $e: Int!) {"
        + "".join(
            f" {name}: allLeads(condition: {{workspaceId: $workspace}}, orderBy: [CREATED_AT_DESC, ROW_ID_DESC],"
            f" first: 200, offset: ${name})"
            f" {{ nodes {{ {_OF_ROW} website }} }}"
            for name in "abcde"
        )
        + " }",
        _pages,
    ),
    Work(
        "W7",
        "figures of a campaign",
        "query W7($campaign: ID!) { leadStats(where: {campaignId: {eq: $campaign}}) {"
        " count averageScore byStatus { status count } bySource { source count } scoreHistogram { from to count } } }",
        None,
        _campaigns,
    ),
)
