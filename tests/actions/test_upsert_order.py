"""Which lead a row is about, and what the rows before it mean for it."""

from app.actions import leads
from app.actions.upserts import RowOutcome, upsert_many


def fields(changes):
    return {change["field"]: (change["before"], change["after"]) for change in changes}


def outcomes(report):
    return [result.outcome.value for result in report.results]


def codes(report):
    return [[(error.code.value, error.field) for error in result.errors] for result in report.results]


async def test_matching_goes_by_id_else_address_else_crm_id(work, stored):
    a = await leads.create(work, {"email": "a@example.com", "crmId": "1"})
    b = await leads.create(work, {"crmId": "2"})
    rows = [
        {"id": b["id"], "email": "b@example.com"},
        {"email": "A@EXAMPLE.COM", "firstName": "Ann"},
        {"crmId": "2", "firstName": "Bob"},
        {"email": "a@example.com", "crmId": "2", "firstName": "Who"},
        {"id": a["id"], "email": "b@example.com"},
        {"id": a["id"], "crmId": "2"},
    ]
    report = await upsert_many(work, rows)
    assert codes(report) == [[], [], [], [("AMBIGUOUS_MATCH", "crmId")], [("TAKEN", "email")], [("TAKEN", "crmId")]]
    kept = await stored()
    assert (kept[a["id"]]["first_name"], kept[b["id"]]["first_name"], kept[b["id"]]["email"]) == ("Ann", "Bob", "b@example.com")


async def test_a_row_known_by_address_gets_the_crm_id_and_the_other_way_round(work, stored):
    await upsert_many(work, [{"email": "a@example.com"}, {"crmId": "2"}])
    report = await upsert_many(work, [{"email": "a@example.com", "crmId": "1"}, {"crmId": "2", "email": "b@example.com"}])
    assert outcomes(report) == ["UPDATED", "UPDATED"]
    assert {(lead["email"], lead["crm_id"]) for lead in (await stored()).values()} == {("a@example.com", "1"), ("b@example.com", "2")}


async def test_later_rows_of_the_same_lead_apply_on_top(work, log, stored):
    rows = [
        {"email": "a@example.com", "firstName": "Ann", "attributes": {"n": 1, "m": 1}},
        {"email": "a@example.com", "firstName": "Anna", "status": "REPLIED", "attributes": {"n": None}},
        {"email": "a@example.com", "crmId": "1", "firstName": None},
        {"crmId": "1", "firstName": None},
    ]
    report = await upsert_many(work, rows)
    assert outcomes(report) == ["CREATED", "UPDATED", "UPDATED", "UNCHANGED"]
    ((lead_id, lead),) = (await stored()).items()
    assert (lead["first_name"], lead["crm_id"], lead["status"], lead["attributes"], lead["version"]) == (None, "1", "REPLIED", {"m": 1}, 3)
    told = await log()
    assert [(entry["kind"], entry["lead_id"]) for entry in told] == [
        (kind, lead_id) for kind in ("LEAD_CREATED", "LEAD_UPDATED", "STATUS_CHANGED", "LEAD_UPDATED", "SCORED")
    ]
    assert fields(told[1]["changes"]) == {"firstName": ("Ann", "Anna"), "attributes.n": (1, None)}
    first, last = fields(told[0]["changes"])["qualityScore"][1], lead["quality_score"]
    assert fields(told[4]["changes"]) == {"qualityScore": (first, last)}
    assert last == first - 4


async def test_a_value_is_free_once_an_earlier_row_gave_it_up(work, stored):
    a = await leads.create(work, {"email": "a@example.com", "crmId": "1"})
    b = await leads.create(work, {"email": "b@example.com", "crmId": "2"})
    rows = [
        {"id": b["id"], "email": "c@example.com"},
        {"id": a["id"], "email": "b@example.com"},
        {"email": "a@example.com", "firstName": "New"},
        {"id": b["id"], "crmId": None},
        {"id": a["id"], "crmId": "2"},
        {"crmId": "1"},
    ]
    report = await upsert_many(work, rows)
    assert outcomes(report) == ["UPDATED", "UPDATED", "CREATED", "UPDATED", "UPDATED", "CREATED"]
    kept = await stored()
    assert [(kept[row["id"]]["email"], kept[row["id"]]["crm_id"], kept[row["id"]]["version"]) for row in (a, b)] == [
        ("b@example.com", "2", 3),
        ("c@example.com", None, 3),
    ]


async def test_two_rows_that_swap_a_value_are_taken_and_three_by_way_of_another_are_not(work, stored):
    a = await leads.create(work, {"email": "a@example.com"})
    b = await leads.create(work, {"email": "b@example.com"})
    swap = [{"id": a["id"], "email": "b@example.com"}, {"id": b["id"], "email": "a@example.com"}]
    assert codes(await upsert_many(work, swap)) == [[("TAKEN", "email")], [("TAKEN", "email")]]
    assert await stored() == {a["id"]: a, b["id"]: b}
    around = [
        {"id": a["id"], "email": "t@example.com"},
        {"id": b["id"], "email": "a@example.com"},
        {"id": a["id"], "email": "b@example.com"},
    ]
    assert outcomes(await upsert_many(work, around)) == ["UPDATED"] * 3
    kept = await stored()
    assert (kept[a["id"]]["email"], kept[b["id"]]["email"]) == ("b@example.com", "a@example.com")


async def test_a_batch_does_what_its_rows_do_one_by_one(work, foreign, stored):
    rows = [
        {"email": "a@example.com", "firstName": "Ann"},
        {"crmId": "1", "email": "b@example.com"},
        {"crmId": "1", "email": "a@example.com"},
        {"email": "b@example.com", "crmId": None},
        {"crmId": "1", "lastName": "One"},
        {"email": "a@example.com", "crmId": "1"},
        {"email": "b@example.com", "status": "REPLIED", "attributes": {"x": {"y": 1}}},
    ]
    at_once = await upsert_many(work, rows)
    one_by_one = [(await upsert_many(foreign, [row])).results[0] for row in rows]
    assert [(result.outcome, result.changes, [error.code for error in result.errors]) for result in at_once.results] == [
        (result.outcome, result.changes, [error.code for error in result.errors]) for result in one_by_one
    ]
    assert [result.outcome for result in one_by_one] == [
        RowOutcome.CREATED,
        RowOutcome.CREATED,
        RowOutcome.FAILED,
        RowOutcome.UPDATED,
        RowOutcome.CREATED,
        RowOutcome.FAILED,
        RowOutcome.UPDATED,
    ]
    told = [
        sorted((lead["email"] or "", lead["crm_id"] or "", lead["version"], lead["quality_score"]) for lead in kept.values())
        for kept in (await stored(), await stored(of=foreign))
    ]
    assert told[0] == told[1]


async def test_a_great_batch_does_what_its_rows_do_one_by_one(work, foreign, stored):
    # Of many rows the statement says once what is the same in all of them, and writes no column that none of them changes.
    people = [{"email": f"{n}@example.com", "crmId": f"{n}", "company": "One", "attributes": {"n": 1}} for n in range(60)]
    moved = [{"crmId": f"{n}", "title": "CTO", "attributes": {"n": True}} for n in range(60)]
    # The first gives its address to the second, and its CRM id stays with it.
    handed = [{"crmId": "0", "email": "new@example.com"}, {"crmId": "1", "email": "0@example.com"}]
    rounds = [people, moved, [*handed, *({"crmId": f"{n}", "title": None} for n in range(2, 60))]]
    for rows in rounds:
        at_once = await upsert_many(work, rows)
        one_by_one = [(await upsert_many(foreign, [row])).results[0] for row in rows]
        assert [(result.outcome, result.changes) for result in at_once.results] == [
            (result.outcome, result.changes) for result in one_by_one
        ]
    beside = {"workspace_id", "id"}
    told = [
        sorted(repr({name: value for name, value in lead.items() if name not in beside}) for lead in kept.values())
        for kept in (await stored(), await stored(of=foreign))
    ]
    assert told[0] == told[1]
    assert {lead["crm_id"] for lead in (await stored()).values()} == {f"{n}" for n in range(60)}
