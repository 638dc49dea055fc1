"""Look-ups that come at the same time: found by one statement, each for itself."""

import asyncio
import secrets

import pytest

from app.actions import workspaces
from app.actions.work import Caller, Role
from app.errors import TookTooLong
from app.look_ups import LookUp, LookUps

FIND = LookUp("one", "many", place=1)


class Asked:
    """A database that answers when it is told to, and keeps what it was asked."""

    def __init__(self):
        self.asked = []
        self.go = asyncio.Event()
        self.fail_many = None

    async def run(self, sql, binds):
        self.asked.append((sql, binds))
        await self.go.wait()
        workspace, key = binds
        if sql == "one":
            return [(f"{workspace} {key}",)] if key != "nobody" else []
        if self.fail_many:
            raise self.fail_many
        return [(f"{workspace} {each}", each) for each in sorted({*key}) if each != "nobody"]


async def asking(look_ups, *binds, look_up=FIND):
    tasks = []
    for each in binds:
        tasks.append(asyncio.create_task(look_ups.rows(look_up, each)))
        for _ in range(3):
            await asyncio.sleep(0)
    return tasks


async def test_who_comes_first_asks_alone_and_who_comes_meanwhile_together():
    database = Asked()
    look_ups = LookUps(database.run)
    tasks = await asking(look_ups, ["w", "a"], ["w", "b"], ["w", "nobody"], ["w", "b"])
    assert database.asked == [("one", ["w", "a"])]
    database.go.set()
    rows = await asyncio.gather(*tasks)
    assert [[row[0] for row in found] for found in rows] == [["w a"], ["w b"], [], ["w b"]]
    assert database.asked == [("one", ["w", "a"]), ("many", ["w", ["b", "nobody", "b"]])]
    assert [row[0] for row in await look_ups.rows(FIND, ["w", "c"])] == ["w c"]
    assert database.asked[2:] == [("one", ["w", "c"])]  # nothing is left over


async def test_what_is_asked_for_in_one_turn_goes_together():
    database = Asked()
    database.go.set()
    look_ups = LookUps(database.run)
    rows = await asyncio.gather(*(look_ups.rows(FIND, ["w", key]) for key in "abc"))
    assert [[row[0] for row in found] for found in rows] == [["w a"], ["w b"], ["w c"]]
    assert database.asked == [("many", ["w", ["a", "b", "c"]])]


async def test_two_workspaces_and_two_kinds_are_never_in_one_statement():
    database = Asked()
    look_ups = LookUps(database.run)
    other = LookUp("one", "many others", place=1)
    tasks = await asking(look_ups, ["w", "a"], ["v", "b"], ["w", "c"], ["v", "d"])
    tasks += await asking(look_ups, ["w", "e"], ["w", "f"], look_up=other)
    assert database.asked == [("one", ["w", "a"]), ("one", ["v", "b"]), ("one", ["w", "e"])]
    database.go.set()
    await asyncio.gather(*tasks)
    assert sorted(database.asked[3:]) == [("one", ["v", "d"]), ("one", ["w", "c"]), ("one", ["w", "f"])]


async def test_who_leaves_keeps_nobody():
    database = Asked()
    look_ups = LookUps(database.run)
    first, left, stays = await asking(look_ups, ["w", "a"], ["w", "b"], ["w", "c"])
    first.cancel()
    left.cancel()
    await asyncio.sleep(0)
    database.go.set()
    assert [row[0] for row in await stays] == ["w c"]
    assert first.cancelled()
    assert left.cancelled()


async def test_who_waits_when_all_is_broken_off_asks_alone():
    database = Asked()
    look_ups = LookUps(database.run)
    first, second = await asking(look_ups, ["w", "a"], ["w", "b"])
    [task] = look_ups._tasks
    task.cancel()
    await asyncio.sleep(0)
    database.go.set()
    assert [row[0][0] for row in await asyncio.gather(first, second)] == ["w a", "w b"]
    assert database.asked[1:] == [("one", ["w", "a"]), ("one", ["w", "b"])]


async def test_what_ends_the_statement_ends_all_who_wait_for_it():
    database = Asked()
    database.fail_many = TookTooLong()
    look_ups = LookUps(database.run)
    _, second, third = await asking(look_ups, ["w", "a"], ["w", "b"], ["w", "c"])
    database.go.set()
    for task in (second, third):
        with pytest.raises(TookTooLong):
            await task


async def test_what_nobody_expected_lets_each_ask_alone():
    database = Asked()
    database.fail_many = RuntimeError("one key spoils it")
    look_ups = LookUps(database.run)
    tasks = await asking(look_ups, ["w", "a"], ["w", "b"], ["w", "c"])
    database.go.set()
    assert [row[0][0] for row in await asyncio.gather(*tasks)] == ["w a", "w b", "w c"]
    assert sorted(database.asked[2:]) == [("one", ["w", "b"]), ("one", ["w", "c"])]


async def test_leads_that_are_asked_for_at_once_are_each_the_right_one(api, api_of, database, statements):
    documents = {
        "id": "query ($by: LeadRef!) { lead(by: $by) { id email qualityScore score { components { kind } } } }",
        "email": "query ($by: LeadRef!) { lead(by: $by) { email } }",
        "crmId": "query ($by: LeadRef!) { lead(by: $by) { crmId email } }",
    }
    async with database.writing() as connection:
        other = await workspaces.create(connection, slug=f"other-{secrets.token_hex(6)}", name="Other")
    theirs = await api_of(Caller(other["id"], Role.ADMIN, workspace_ids=(other["id"],)))
    await theirs("workspace/viewer")  # who asks is known
    leads = []
    for one in (api, theirs):
        rows = [{"email": f"P{place}@example.com", "crmId": f"C{place}"} for place in range(12)]
        made = await one(
            "mutation ($input: LeadUpsertManyInput!) { leadUpsertMany(input: $input) { results { lead { id email crmId } } } }",
            input={"leads": rows},
        )
        leads.append([each["lead"] for each in made["leadUpsertMany"]["results"]])
    for key, document in documents.items():
        asked = [(one, lead) for place in range(12) for one, lead in ((api, leads[0][place]), (theirs, leads[1][place]))]
        with statements() as seen:
            found = await asyncio.gather(
                *(one.send(document, {"by": {key: lead[key]}}) for one, lead in asked),
                *(api.send(document, {"by": {key: gone}}) for gone in ("nobody", leads[1][0]["id"])),
            )
        told = [answer["data"]["lead"] for answer in found]
        assert told[-2:] == [None, None]
        for (_, lead), shown in zip(asked, told, strict=False):
            assert {name: shown[name] for name in shown if name in lead} == {name: lead[name] for name in shown if name in lead}
        if database.is_postgres:
            assert len(seen) <= len(asked) / 2
        else:
            assert len(seen) == len(asked) + 2
