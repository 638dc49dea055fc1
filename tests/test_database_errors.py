"""What a mistake of our own comes to: INTERNAL for who asked, and a line in the log without anybody's name in it."""

import json
from io import StringIO

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from app import logs
from app.actions import leads
from app.actions.campaigns import CAMPAIGN
from app.actions.work import Work
from app.database import insert_rows
from app.database_errors import is_raced, told

ADDRESS = "secret.person@example.com"
LISTS = ("titles", "companies", "locations", "sources")


@pytest.fixture
def log():
    lines = StringIO()
    logs.configure("INFO", lines)
    yield lines
    logs.configure("WARNING")


@pytest.mark.parametrize("broken", [{"status": None}, {"workspace_id": "another"}])
async def test_a_row_that_no_table_takes_is_our_mistake_and_not_a_race(api, log, monkeypatch, broken):
    make = leads.new_lead

    def wrong(*args, **options):
        return {**make(*args, **options), **broken}

    monkeypatch.setattr(leads, "new_lead", wrong)
    error = await api.error("leads/create", input={"email": ADDRESS, "firstName": "Secret"})
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    if "status" in broken:
        assert error["extensions"]["code"] == "INTERNAL"
        [line] = lines
        assert (line["event"], line["request_id"]) == ("unexpected", error["extensions"]["requestId"])
        assert "status" in line["error"]
        assert "leads.py" in line["exception"]
    else:  # a workspace that is gone may be another's doing: tried again, and told in the end
        assert error["extensions"]["code"] == "UNAVAILABLE"
        assert [line["event"] for line in lines] == ["race.lost"]
    assert "ecret" not in log.getvalue()
    assert (await api("leads/list"))["leads"]["totalCount"] == 0


async def test_what_another_transaction_may_have_taken_is_a_race(database, caller):
    async def insert(*rows):
        async with database.writing() as connection:
            work = Work(connection, caller)
            given = {**dict.fromkeys(CAMPAIGN.c.keys()), "workspace_id": caller.workspace_id, "id": "cmp_1", "created_at": work.now}
            lists = {name: [] for name in LISTS}
            whole = {**given, "name": ADDRESS, "name_folded": "x", "status": "DRAFT", "updated_at": work.now, **lists}
            await insert_rows(connection, CAMPAIGN, [{**whole, **row} for row in rows])

    for rows, raced in (([{}, {}], True), ([{"workspace_id": "gone"}], True), ([{"name": None}], False)):
        with pytest.raises(IntegrityError) as caught:
            await insert(*rows)
        assert is_raced(caught.value) == raced
        assert ADDRESS not in told(caught.value)


async def test_a_value_that_a_message_quotes_is_not_told(database):
    text = "SELECT CAST(:value AS integer)" if database.is_postgres else "SELECT json_extract('{}', :value)"
    async with database.writing() as connection:
        with pytest.raises(DBAPIError) as caught:
            await connection.execute(sa.text(text), {"value": ADDRESS})
    line = told(caught.value)
    assert ADDRESS not in line
    assert "query argument" in line or "JSON" in line
