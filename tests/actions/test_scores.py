import pytest
import sqlalchemy as sa

from app.actions import leads, scores
from app.actions.jobs import JOB
from app.actions.scorer import workspace_row
from app.actions.upserts import upsert_many
from app.errors import BadUserInput, LeadNotFound

HERE = sa.bindparam("workspace")


def fields(entry):
    return {change["field"]: (change["before"], change["after"]) for change in entry["changes"]}


async def jobs_of(work):
    rows = await work.rows(sa.select(JOB).where(JOB.c.workspace_id == HERE))
    return [(row["kind"], row["payload"], row["status"]) for row in rows]


async def test_scoring_anew_logs_only_the_scores_that_differ(work, marie, log, stored):
    unscored = await leads.create(work, marie, auto_score=False)
    scored = await leads.create(work, {"email": "a@example.com"})
    before = len(await log())
    refs = [{"id": scored["id"]}, {"email": "marie@techcorp.com"}, {"id": scored["id"]}]
    assert await scores.score(work, refs) == [scored["id"], unscored["id"], scored["id"]]
    kept = (await stored())[unscored["id"]]
    assert (kept["quality_score"], kept["version"], kept["updated_at"], kept["score_rules_version"]) == (92, 1, unscored["updated_at"], 1)
    assert [component["points"] for component in kept["score_components"]] == [30, 20, 20, 15, 7]
    (entry,) = await log(after=before)
    assert (entry["kind"], entry["lead_id"], fields(entry)) == ("SCORED", unscored["id"], {"qualityScore": (None, 92)})


async def test_scoring_anew_ends_that_a_score_is_stale(work, stored):
    lead = await leads.create(work, {"email": "a@example.com"})
    await upsert_many(work, [{"email": "a@example.com", "company": "Example"}], auto_score=False)
    assert (await stored())[lead["id"]]["score_stale"] is True
    await scores.score(work, [{"id": lead["id"]}])
    kept = (await stored())[lead["id"]]
    assert (kept["score_stale"], kept["quality_score"]) == (False, lead["quality_score"] + 10)


async def test_a_list_with_an_unknown_lead_is_refused_whole_with_its_index(work, log, foreign):
    lead = await leads.create(work, {"email": "a@example.com"}, auto_score=False)
    theirs = await leads.create(foreign, {"email": "b@example.com"})
    for ref in ({"id": theirs["id"]}, {"email": "b@example.com"}, {"id": "lead_nonsense"}):
        with pytest.raises(LeadNotFound) as missing:
            await scores.score(work, [{"id": lead["id"]}, ref])
        assert (missing.value.argument, missing.value.message) == ("leads[1]", "There is no such lead in your workspace.")
    for count in (0, 1_001):
        with pytest.raises(BadUserInput) as refused:
            await scores.score(work, [{"id": lead["id"]}] * count)
        assert refused.value.argument == "leads"
    assert len(await log()) == 1


async def test_a_chunk_goes_on_behind_the_last_lead_in_a_constant_number_of_statements(work, stored, statements):
    report = await upsert_many(work, [{"email": f"{n}@example.com"} for n in range(50)], auto_score=False)
    ids = sorted(result.lead_id for result in report.results)
    ran = []
    last, seen = None, 0
    for size in (5, 45):
        with statements() as collected:
            last, count = await scores.rescore_chunk(work, last, size, None, None)
        ran.append(len(collected))
        seen += count
        assert (last, count) == (ids[seen - 1], size)
    assert ran[0] == ran[1]
    assert await scores.rescore_chunk(work, last, 5, None, None) == (None, 0)
    assert {lead["quality_score"] for lead in (await stored()).values()} == {57}


async def test_a_chunk_may_be_of_one_campaign_or_of_some_leads(work, foreign, stored, campaign_of):
    campaign = await campaign_of()
    theirs = await leads.create(foreign, {"email": "t@example.com"}, auto_score=False)
    inside = await leads.create(work, {"email": "a@example.com"}, campaign_ids=[campaign], auto_score=False)
    outside = await leads.create(work, {"email": "b@example.com"}, auto_score=False)
    assert await scores.rescore_chunk(work, None, 10, campaign, None) == (inside["id"], 1)
    assert (await stored())[outside["id"]]["quality_score"] is None
    assert await scores.rescore_chunk(work, None, 10, None, [outside["id"], theirs["id"], "x"]) == (outside["id"], 1)
    assert (await stored())[outside["id"]]["quality_score"] == 57
    assert (await stored(of=foreign))[theirs["id"]]["quality_score"] is None


async def test_new_rules_are_stored_logged_and_queue_the_rescoring(work, log):
    patch = {
        "threshold": 70,
        "weights": [{"kind": "CAMPAIGN_MATCH", "maximum": 0}, {"kind": "EMAIL_VALIDITY", "maximum": 45}],
        "sources": [{"source": "csv", "reliability": 0.25}, {"source": " LinkedIn ", "reliability": 1}],
    }
    row = await scores.rules_update(work, patch)
    assert row == await workspace_row(work, alone=False)
    assert (row["rules_version"], row["threshold"]) == (2, 70)
    assert row["weights"] == [
        {"kind": "EMAIL_VALIDITY", "maximum": 45},
        {"kind": "PROFILE_COMPLETENESS", "maximum": 20},
        {"kind": "COMPANY_DATA", "maximum": 20},
        {"kind": "SOURCE_RELIABILITY", "maximum": 15},
        {"kind": "CAMPAIGN_MATCH", "maximum": 0},
    ]
    assert row["sources"] == [{"source": "linkedin", "reliability": 1.0}, {"source": "csv", "reliability": 0.25}]
    (entry,) = await log()
    assert (entry["kind"], entry["event"], entry["subject_id"]) == ("ADMINISTERED", "scoringRules.updated", work.workspace)
    assert fields(entry)["threshold"] == (85, 70)
    assert list(fields(entry)) == ["threshold", "weights", "sources"]
    assert await jobs_of(work) == [("rescore", {}, "PENDING")]
    assert await scores.rules_update(work, patch) == row
    assert len(await log()) == 1


async def test_leads_are_scored_by_the_rules_of_their_workspace(work, foreign, marie):
    await scores.rules_update(work, {"sources": [{"source": "linkedin", "reliability": 0.5}]})
    mine, theirs = await leads.create(work, marie), await leads.create(foreign, marie)
    assert (mine["quality_score"], mine["score_rules_version"]) == (84, 2)
    assert (theirs["quality_score"], theirs["score_rules_version"]) == (92, 1)


@pytest.mark.parametrize(
    ("patch", "argument"),
    [
        ({"threshold": 101}, "patch.threshold"),
        ({"threshold": -1}, "patch.threshold"),
        ({"weights": [{"kind": "COMPANY_DATA", "maximum": 21}]}, "patch.weights"),
        ({"weights": [{"kind": "COMPANY_DATA", "maximum": 101}]}, "patch.weights[0].maximum"),
        ({"weights": [{"kind": "COMPANY_DATA", "maximum": 20}, {"kind": "COMPANY_DATA", "maximum": 20}]}, "patch.weights[1].kind"),
        ({"sources": [{"source": "a", "reliability": 1.1}]}, "patch.sources[0].reliability"),
        ({"sources": [{"source": "a", "reliability": float("nan")}]}, "patch.sources[0].reliability"),
        ({"sources": [{"source": " ", "reliability": 1}]}, "patch.sources[0].source"),
        ({"sources": [{"source": "a\0", "reliability": 1}]}, "patch.sources[0].source"),
        ({"sources": [{"source": "a", "reliability": 1}, {"source": "A", "reliability": 0}]}, "patch.sources[1].source"),
        ({"sources": [{"source": str(n), "reliability": 1} for n in range(201)]}, "patch.sources"),
    ],
)
async def test_rules_that_break_a_rule_are_refused_by_their_argument(work, log, patch, argument):
    before = await workspace_row(work, alone=False)
    with pytest.raises(BadUserInput) as refused:
        await scores.rules_update(work, patch)
    assert refused.value.argument == argument
    assert await workspace_row(work, alone=False) == before
    assert (await log(), await jobs_of(work)) == ([], [])
