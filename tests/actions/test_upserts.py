import pytest
import sqlalchemy as sa

from app.actions import leads, references
from app.actions.batches import BATCH
from app.actions.made_leads import _ANY_FIELD
from app.actions.references import LEAD, find_leads
from app.actions.upserts import MOST, ErrorPolicy, OnMatch, upsert_many
from app.actions.work import Work
from app.database import MOST_AT_ONCE
from app.errors import BadUserInput, CampaignNotFound
from app.rules.making import Making
from app.rules.scoring import ScoringRules

HERE = sa.bindparam("workspace")


def fields(changes):
    return {change["field"]: (change["before"], change["after"]) for change in changes}


def outcomes(report):
    return [result.outcome.value for result in report.results]


def codes(report):
    return [[(error.code.value, error.field) for error in result.errors] for result in report.results]


async def batches(work):
    return await work.rows(sa.select(BATCH).where(BATCH.c.workspace_id == HERE).order_by(BATCH.c.id))


async def test_new_leads_are_created_known_ones_changed_and_equal_ones_left(work, log, stored):
    known = await leads.create(work, {"email": "a@example.com", "firstName": "Ann", "source": "csv"})
    before = len(await log())
    rows = [{"email": "A@example.com", "firstName": "Anna"}, {"email": "b@example.com"}, {"email": "A@example.com"}, {"crmId": 7}]
    report = await upsert_many(work, rows)
    assert outcomes(report) == ["UPDATED", "CREATED", "UNCHANGED", "CREATED"]
    assert report.summary == {"total": 4, "created": 2, "updated": 1, "unchanged": 1, "skipped": 0, "failed": 0, "deleted": 0}
    assert [result.index for result in report.results] == [0, 1, 2, 3]
    assert [report.results[n].lead_id for n in (0, 2)] == [known["id"], known["id"]]
    assert fields(report.results[0].changes) == {"firstName": ("Ann", "Anna"), "email": ("a@example.com", "A@example.com")}
    assert fields(report.results[1].changes) == {"email": (None, "b@example.com"), "source": (None, "api"), "status": (None, "NEW")}
    assert report.results[2].changes == []
    kept = await stored()
    assert {row["crm_id"] for row in kept.values()} == {None, "7"}
    assert kept[known["id"]]["version"] == 2
    told = await log(after=before)
    assert [(entry["kind"], entry["lead_id"]) for entry in told] == [
        ("LEAD_UPDATED", known["id"]),
        ("LEAD_CREATED", report.results[1].lead_id),
        ("LEAD_CREATED", report.results[3].lead_id),
    ]
    assert {entry["batch_id"] for entry in told} == {report.batch_id}
    (batch,) = await batches(work)
    assert {name: batch[name] for name in ("id", "kind", "status", "progress", "created", "updated", "unchanged", "finished_at")} == {
        "id": report.batch_id,
        "kind": "UPSERT",
        "status": "SUCCEEDED",
        "progress": 100,
        "created": 2,
        "updated": 1,
        "unchanged": 1,
        "finished_at": work.now,
    }
    assert work.batch_id is None


async def test_a_second_run_of_the_same_rows_changes_nothing(work, marie, log, stored):
    rows = [
        {**marie, "attributes": {"b": 1, "a": [1.5, None]}, "optInAt": "2026-01-20T11:00:00.5+01:00"},
        {"crmId": "1", "status": "replied"},
    ]
    await upsert_many(work, rows)
    first, entries = await stored(), len(await log())
    later = Work(connection=work.connection, caller=work.caller)
    report = await upsert_many(later, rows)
    assert outcomes(report) == ["UNCHANGED", "UNCHANGED"]
    assert (await stored(), len(await log())) == (first, entries)


async def test_an_import_counts_into_the_batch_of_its_caller(work, log):
    work.batch_id = "bat_mine"
    report = await upsert_many(work, [{"email": "a@example.com"}], batch=False)
    assert (report.batch_id, work.batch_id) == ("bat_mine", "bat_mine")
    assert [entry["batch_id"] for entry in await log()] == ["bat_mine"]
    assert await batches(work) == []


@pytest.mark.parametrize("count", [0, MOST + 1])
async def test_none_and_more_than_a_thousand_rows_are_refused(work, log, count):
    with pytest.raises(BadUserInput) as refused:
        await upsert_many(work, [{"email": "a@example.com"}] * count)
    assert refused.value.argument == "input.leads"
    assert refused.value.message == f"input.leads: {count:,} rows given, 1 to 1,000 are taken"
    assert await log() == []


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"firstName": "Ann"}, ("BLANK", None)),
        ({"email": " ", "crmId": None, "id": ""}, ("BLANK", None)),
        ({"phone": "+33612345678"}, ("BLANK", None)),
        ({"email": "a@localhost"}, ("INVALID", "email")),
        ({"email": "a@example.com", "notes": "a\0b"}, ("INVALID", "notes")),
        ({"email": "a@example.com", "company": "a\0b"}, ("INVALID", "company")),
        ({"email": "a@example.com", "attributes": {"k": "a\0b"}}, ("INVALID", "attributes")),
        ({"id": "lead_\0", "firstName": "Ann"}, ("INVALID", "id")),
        ({"email": {"a": 1}}, ("INVALID", "email")),
        ({"email": "a@example.com", "status": "LOST"}, ("INVALID", "status")),
        ({"email": "a@example.com", "title": "x" * 10_001}, ("TOO_LONG", "title")),
        ({"email": "a@example.com", "colour": "red"}, ("UNKNOWN_FIELD", "colour")),
        ({"id": "lead_01h455vb4pex5vsknk084sn02q"}, ("NOT_FOUND", "id")),
        ({"id": "no such thing", "email": "a@example.com"}, ("NOT_FOUND", "id")),
    ],
)
async def test_a_bad_row_fails_by_its_field_and_the_others_go_through(work, stored, row, expected):
    report = await upsert_many(work, [row, {"email": "good@example.com"}])
    assert codes(report) == [[expected], []]
    assert outcomes(report) == ["FAILED", "CREATED"]
    assert (report.results[0].lead_id, report.results[0].changes) == (None, [])
    assert [lead["email"] for lead in (await stored()).values()] == ["good@example.com"]


async def test_a_row_tells_all_that_is_wrong_with_it(work):
    report = await upsert_many(work, [{"email": "no", "status": "LOST"}])
    assert codes(report) == [[("INVALID", "email"), ("INVALID", "status")]]


async def test_another_workspaces_lead_is_neither_found_nor_in_the_way(work, foreign, stored):
    theirs = await leads.create(foreign, {"email": "a@example.com", "crmId": "1"})
    report = await upsert_many(work, [{"id": theirs["id"], "firstName": "Eve"}, {"email": "a@example.com", "crmId": "1"}])
    assert codes(report) == [[("NOT_FOUND", "id")], []]
    assert outcomes(report) == ["FAILED", "CREATED"]
    never = await upsert_many(work, [{"id": "lead_01h455vb4pex5vsknk084sn02q"}])
    told, other = report.results[0].errors[0].message, never.results[0].errors[0].message
    assert told.partition(":")[2] == other.partition(":")[2] == " there is no such lead in your workspace"
    assert await stored(of=foreign) == {theirs["id"]: theirs}


async def test_an_unknown_campaign_refuses_the_batch(work, foreign, campaign_of, stored):
    for campaign in ("cmp_01h455vb4pex5vsknk084sn02q", "x", await campaign_of(of=foreign)):
        with pytest.raises(CampaignNotFound) as missing:
            await upsert_many(work, [{"email": "a@example.com"}], campaign_id=campaign)
        assert (missing.value.argument, missing.value.message) == ("input.campaignId", "There is no such campaign in your workspace.")
    with pytest.raises(BadUserInput):
        await upsert_many(work, [{"email": "a@example.com"}], campaign_id="\0")
    assert await stored() == {}


async def test_clearing_is_for_update_alone_and_never_for_a_file(work, stored):
    row = {"email": "a@example.com", "firstName": "Ann", "notes": "x"}
    await upsert_many(work, [row])
    blank = {"email": "a@example.com", "firstName": None, "notes": "  "}
    assert outcomes(await upsert_many(work, [blank], clearing=False)) == ["UNCHANGED"]
    assert outcomes(await upsert_many(work, [blank], on_match=OnMatch.FILL)) == ["UNCHANGED"]
    assert outcomes(await upsert_many(work, [blank])) == ["UPDATED"]
    (lead,) = (await stored()).values()
    assert (lead["first_name"], lead["notes"]) == (None, "x")
    report = await upsert_many(work, [{"id": lead["id"], "email": None}, {"email": "a@example.com", "status": None}])
    assert codes(report) == [[("BLANK", "email")], [("BLANK", "status")]]


async def test_fill_sets_only_what_is_empty(work, stored, log):
    await leads.create(work, {"email": "a@example.com", "firstName": "Ann", "source": "linkedin", "attributes": {"n": 1}})
    row = {
        "email": "A@example.com",
        "crmId": "1",
        "firstName": "X",
        "lastName": "Lee",
        "source": "csv",
        "status": "REPLIED",
        "attributes": {"n": 2, "m": 3},
    }
    report = await upsert_many(work, [row, row], on_match=OnMatch.FILL)
    assert outcomes(report) == ["UPDATED", "UNCHANGED"]
    assert fields(report.results[0].changes) == {"crmId": (None, "1"), "lastName": (None, "Lee"), "attributes.m": (None, 3)}
    (lead,) = (await stored()).values()
    assert (lead["email"], lead["first_name"], lead["source"], lead["status"]) == ("a@example.com", "Ann", "linkedin", "NEW")
    assert [entry["kind"] for entry in await log()] == ["LEAD_CREATED", "LEAD_UPDATED", "SCORED"]


async def test_skip_leaves_the_fields_and_joins_the_campaign_all_the_same(work, stored, log, campaign_of, members):
    lead, campaign = await leads.create(work, {"email": "a@example.com"}), await campaign_of()
    before = len(await log())
    report = await upsert_many(work, [{"email": "a@example.com", "firstName": "Ann"}] * 2, on_match=OnMatch.SKIP, campaign_id=campaign)
    assert outcomes(report) == ["SKIPPED", "SKIPPED"]
    assert [fields(result.changes) for result in report.results] == [{"campaigns": ([], [campaign])}, {}]
    kept = (await stored())[lead["id"]]
    assert (kept["first_name"], kept["version"], kept["updated_at"]) == (None, 1, lead["updated_at"])
    assert await members(campaign) == [lead["id"]]
    assert [(entry["kind"], entry["campaign_id"]) for entry in await log(after=before)] == [("CAMPAIGN_JOINED", campaign)]


async def test_fail_refuses_what_is_there_already_even_since_the_row_before(work, log):
    lead = await leads.create(work, {"email": "a@example.com", "crmId": "1"})
    rows = [{"email": "a@example.com"}, {"crmId": "1"}, {"id": lead["id"]}, {"email": "b@example.com"}, {"email": "b@example.com"}]
    report = await upsert_many(work, rows, on_match=OnMatch.FAIL)
    assert codes(report) == [[("TAKEN", "email")], [("TAKEN", "crmId")], [("TAKEN", "id")], [], [("TAKEN", "email")]]
    assert [entry["kind"] for entry in await log()] == ["LEAD_CREATED", "LEAD_CREATED"]


async def test_a_row_that_only_joins_the_campaign_is_updated_without_a_version(work, stored, log, campaign_of, members):
    campaign = await campaign_of(titles=["CTO"])
    lead = await leads.create(work, {"email": "a@example.com", "title": "CTO"})
    before = len(await log())
    row = {"email": "a@example.com", "title": "CTO"}
    report = await upsert_many(work, [row, row, {"email": "b@example.com"}], campaign_id=campaign)
    assert outcomes(report) == ["UPDATED", "UNCHANGED", "CREATED"]
    assert fields(report.results[0].changes) == {"campaigns": ([], [campaign])}
    assert fields(report.results[2].changes)["campaigns"] == (None, [campaign])
    kept = (await stored())[lead["id"]]
    assert (kept["version"], kept["updated_at"], kept["quality_score"]) == (1, lead["updated_at"], lead["quality_score"] + 8)
    assert kept["score_campaign_id"] == campaign
    assert await members(campaign) == sorted([lead["id"], report.results[2].lead_id])
    joined, scored, created = await log(after=before)
    assert (joined["kind"], joined["campaign_id"], fields(joined["changes"])) == (
        "CAMPAIGN_JOINED",
        campaign,
        {"campaigns": ([], [campaign])},
    )
    assert (scored["kind"], fields(scored["changes"])) == ("SCORED", {"qualityScore": (lead["quality_score"], kept["quality_score"])})
    assert created["kind"] == "LEAD_CREATED"


async def test_without_auto_score_new_leads_have_no_score_and_changed_ones_a_stale_one(work, stored, log):
    scored = await leads.create(work, {"email": "a@example.com"})
    noted = await leads.create(work, {"email": "n@example.com"})
    before = len(await log())
    rows = [{"email": "a@example.com", "company": "Example"}, {"email": "n@example.com", "notes": "x"}, {"email": "b@example.com"}]
    report = await upsert_many(work, rows, auto_score=False)
    kept = await stored()
    assert [(kept[result.lead_id]["quality_score"], kept[result.lead_id]["score_stale"]) for result in report.results] == [
        (scored["quality_score"], True),
        (noted["quality_score"], True),  # whatever changed: the lead is not what was scored
        (None, False),
    ]
    assert [entry["kind"] for entry in await log(after=before)] == ["LEAD_UPDATED", "LEAD_UPDATED", "LEAD_CREATED"]
    await upsert_many(work, [{"email": "a@example.com", "company": "Example Inc"}, {"email": "b@example.com", "company": "B"}])
    kept = await stored()
    assert [kept[report.results[n].lead_id]["score_stale"] for n in (0, 2)] == [False, False]
    assert [entry["kind"] for entry in await log(after=before + 3)] == ["LEAD_UPDATED", "SCORED", "LEAD_UPDATED", "SCORED"]


async def test_reject_all_writes_nothing_for_one_bad_row(work, stored, log):
    lead = await leads.create(work, {"email": "a@example.com"})
    rows = [
        {"email": "a@example.com", "firstName": "Ann"},
        {"email": "no"},
        {"email": "b@example.com"},
        {"email": "b@example.com", "title": "x"},
    ]
    report = await upsert_many(work, rows, error_policy=ErrorPolicy.REJECT_ALL)
    assert outcomes(report) == ["SKIPPED", "FAILED", "SKIPPED", "SKIPPED"]
    assert [(result.lead_id, result.changes) for result in report.results] == [(lead["id"], []), (None, []), (None, []), (None, [])]
    assert report.summary == {"total": 4, "created": 0, "updated": 0, "unchanged": 0, "skipped": 3, "failed": 1, "deleted": 0}
    assert report.batch_id is None
    assert (await stored(), len(await log()), await batches(work)) == ({lead["id"]: lead}, 1, [])
    assert outcomes(await upsert_many(work, [{"email": "b@example.com"}], error_policy=ErrorPolicy.REJECT_ALL)) == ["CREATED"]


async def test_a_dry_run_reports_the_deed_and_does_nothing(work, stored, log, campaign_of, members):
    campaign, lead = await campaign_of(), await leads.create(work, {"email": "a@example.com"})
    before = len(await log())
    rows = [
        {"email": "a@example.com", "title": "CTO"},
        {"email": "b@example.com"},
        {"email": "no"},
        {"email": "b@example.com", "title": "x"},
    ]
    tried = await upsert_many(work, rows, campaign_id=campaign, dry_run=True)
    assert outcomes(tried) == ["UPDATED", "CREATED", "FAILED", "UPDATED"]
    assert [result.lead_id for result in tried.results] == [lead["id"], None, None, None]
    assert tried.batch_id is None
    assert await stored() == {lead["id"]: lead}
    assert (len(await log()), await batches(work), await members(campaign)) == (before, [], [])
    done = await upsert_many(work, rows, campaign_id=campaign)
    assert done.summary == tried.summary
    assert [(result.outcome, result.changes, result.errors) for result in done.results] == [
        (result.outcome, result.changes, result.errors) for result in tried.results
    ]


async def test_the_number_of_statements_does_not_depend_on_the_number_of_rows(work, statements, campaign_of):
    campaign = await campaign_of(titles=["CTO"])

    def rows(prefix, count):
        known = [{"email": f"{prefix}{n}@example.com", "title": "CTO", "attributes": {"n": n}} for n in range(count // 2)]
        other = [{"email": f"{prefix}{n}@example.com", "crmId": f"{prefix}{n}", "phone": "1234"} for n in range(count // 2)]
        return known + other

    async def count(prefix, size):
        ran = []
        for campaign_id in (None, campaign):
            with statements() as collected:
                report = await upsert_many(work, rows(prefix, size), campaign_id=campaign_id)
            assert report.summary["failed"] == 0
            ran.append(len(collected))
        return ran

    # Savepoints aside: campaign; leads and memberships; rules and criteria; leads in, leads changed; memberships in; search out
    # and in (SQLite); counter, activities, batch.
    few = await count("few", 10)
    assert await count("many", 1_000) == few
    assert max(few) <= 14


@pytest.mark.parametrize("count", [49, 50, 100, 137, 251, 1_000])
async def test_a_batch_of_any_size_is_written_once(work, stored, log, count):
    rows = [
        {"email": f"{number}@example.com", "attributes": {"n": number}, "title": "CTO" if number % 2 else None} for number in range(count)
    ]
    report = await upsert_many(work, rows)
    leads_there = await stored()
    assert [leads_there[result.lead_id]["attributes"] for result in report.results] == [{"n": number} for number in range(count)]
    assert [entry["lead_id"] for entry in await log()] == [result.lead_id for result in report.results] == sorted(leads_there)


@pytest.mark.parametrize("times", [1, 30])
async def test_leads_asked_for_by_one_id_twice_are_given_once(work, times):
    report = await upsert_many(work, [{"email": f"{number}@example.com"} for number in range(3)])
    ids = [result.lead_id for result in report.results]
    found = await find_leads(work, ids=[ids[2], ids[0], ids[2]] * times)
    assert [lead["id"] for lead in found] == [ids[0], ids[2]]


def test_a_batch_of_any_fields_is_no_more_binds_than_sqlite_takes():
    """By default 32,766 (sqlite.org/limits.html, 9); what Debian builds takes more, and would not tell."""
    making = Making(_ANY_FIELD, "api", None, ScoringRules(), (), postgres=False)
    alike = [name for name in LEAD.c.keys() if name not in making.columns]  # noqa: SIM118 -- columns, no dict
    assert len(making.columns) * MOST_AT_ONCE + len(alike) <= 32_766


async def test_references_are_found_in_one_statement_in_the_order_asked(work, statements):
    report = await upsert_many(work, [{"email": f"{n}@example.com", "crmId": str(n)} for n in range(9)])
    ids = [result.lead_id for result in report.results]
    refs = [{"crmId": "4"}, {"id": ids[2]}, {"email": "7@Example.com"}, {"email": "2@example.com"}, {"id": ids[2]}]
    with statements() as ran:
        rows = await references.leads(work, refs)
    assert [row["id"] for row in rows] == [ids[4], ids[2], ids[7], ids[2], ids[2]]
    assert len(ran) == 1
