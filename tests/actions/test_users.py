import asyncio

import pytest
import sqlalchemy as sa

from app.actions import keys, leads, users
from app.actions.activities import ACTIVITY
from app.actions.users import USER
from app.actions.work import Role, Work
from app.database import table_of
from app.errors import BadUserInput, Conflict, Taken, UserNotFound
from app.tables import Lead

LEAD = table_of(Lead)
HERE = sa.bindparam("workspace")
ADA = {"email": " Ada@Example.com ", "name": " Ada Lovelace ", "role": "ADMIN"}


async def log(work, after=0):
    told = (ACTIVITY.c.workspace_id == HERE, ACTIVITY.c.sequence > sa.bindparam("after"))
    return await work.rows(sa.select(ACTIVITY).where(*told).order_by(ACTIVITY.c.sequence), {"after": after})


async def stored(work, user_id):
    return await work.row(sa.select(USER).where(USER.c.workspace_id == HERE, USER.c.id == sa.bindparam("user")), {"user": user_id})


async def create_lead(work, email, assignee=None):
    return await leads.create(work, {"email": email}, campaign_ids=None, assignee=assignee, auto_score=True)


async def test_a_user_is_created_trimmed_and_logged(work):
    row = await users.create(work, ADA)
    assert row == await stored(work, row["id"])
    assert row["id"].startswith("usr_")
    assert [row[name] for name in ("email", "email_key", "name", "role", "created_at")] == [
        "Ada@Example.com",
        "ada@example.com",
        "Ada Lovelace",
        "ADMIN",
        work.now,
    ]
    [told] = await log(work)
    assert [told["kind"], told["event"], told["subject_id"], told["lead_id"], told["request_id"]] == [
        "ADMINISTERED",
        "user.created",
        row["id"],
        None,
        "req_test",
    ]
    assert told["changes"] == [
        {"field": "email", "before": None, "after": "Ada@Example.com"},
        {"field": "name", "before": None, "after": "Ada Lovelace"},
        {"field": "role", "before": None, "after": "ADMIN"},
    ]


async def test_an_email_is_one_users_alone(work):
    await users.create(work, ADA)
    with pytest.raises(Taken) as refused:
        await users.create(work, {"email": "ada@EXAMPLE.com", "name": None, "role": "VIEWER"})
    assert refused.value.argument == "input.email"
    assert len(await log(work)) == 1


@pytest.mark.parametrize(
    ("values", "argument", "rule"),
    [
        ({"email": "  "}, "input.email", "BLANK"),
        ({"email": "no address"}, "input.email", "INVALID"),
        ({"email": f"{'a' * 250}@example.com"}, "input.email", "TOO_LONG"),
        ({"name": "a" * 201}, "input.name", "TOO_LONG"),
        ({"name": "a\0b"}, "input.name", "INVALID"),
        ({"role": "OWNER"}, "input.role", "INVALID"),
        ({"role": None}, "input.role", "BLANK"),
    ],
)
async def test_a_bad_value_is_refused_by_name_and_rule(work, values, argument, rule):
    with pytest.raises(BadUserInput) as refused:
        await users.create(work, {**ADA, **values})
    assert refused.value.extensions == {"code": "BAD_USER_INPUT", "argument": argument, "rule": rule}
    assert await log(work) == []


async def test_an_update_changes_what_it_names_and_nothing_where_nothing_differs(work):
    row = await users.create(work, {**ADA, "role": "EDITOR"})
    after = await users.update(work, row["id"], {"role": "ADMIN"})
    assert after == {**row, "role": "ADMIN"} == await stored(work, row["id"])
    assert await users.update(work, row["id"], {"name": "Ada Lovelace", "role": Role.ADMIN}) == after
    cleared = await users.update(work, row["id"], {"name": None})
    assert cleared["name"] is None
    assert [(told["event"], told["changes"]) for told in await log(work, after=1)] == [
        ("user.updated", [{"field": "role", "before": "EDITOR", "after": "ADMIN"}]),
        ("user.updated", [{"field": "name", "before": "Ada Lovelace", "after": None}]),
    ]
    with pytest.raises(BadUserInput) as refused:
        await users.update(work, row["id"], {"role": None})
    assert refused.value.extensions == {"code": "BAD_USER_INPUT", "argument": "patch.role", "rule": "BLANK"}


@pytest.mark.parametrize("user_id", ["usr_01kf8xvz7ee5q9gsm8n5v4m2nz", "nobody", ""])
async def test_a_user_that_never_was_is_not_found(work, user_id):
    for attempt in (users.update(work, user_id, {"name": "x"}), users.delete(work, user_id)):
        with pytest.raises(UserNotFound) as refused:
            await attempt
        assert refused.value.argument == "id"


async def test_a_nul_in_an_id_is_refused(work):
    with pytest.raises(BadUserInput):
        await users.delete(work, "usr_\0")


async def test_another_workspaces_user_can_neither_be_changed_nor_deleted(caller, work):
    row = await users.create(work, {**ADA, "role": "EDITOR"})
    stranger = Work(work.connection, type(caller)(workspace_id="wsp_other", role=Role.ADMIN))
    for attempt in (users.update(stranger, row["id"], {"name": "x"}), users.delete(stranger, row["id"])):
        with pytest.raises(UserNotFound, match=UserNotFound.__doc__):
            await attempt
    assert await stored(work, row["id"]) == row


async def test_a_deleted_users_leads_are_nobodys_in_the_same_breath(work):
    ada, bob = [await users.create(work, {"email": f"{name}@example.com", "role": "EDITOR"}) for name in ("ada", "bob")]
    hers = [await create_lead(work, f"{n}@example.org", {"id": ada["id"]}) for n in range(2)]
    his = await create_lead(work, "his@example.org", {"id": bob["id"]})
    before = len(await log(work))
    assert await users.delete(work, ada["id"]) == ada["id"]
    rows = {row["id"]: row for row in await work.rows(sa.select(LEAD).where(LEAD.c.workspace_id == HERE))}
    assert [(rows[lead["id"]]["assignee_id"], rows[lead["id"]]["version"], rows[lead["id"]]["updated_at"]) for lead in hers] == [
        (None, lead["version"] + 1, work.now) for lead in hers
    ]
    assert rows[his["id"]]["assignee_id"] == bob["id"]
    assert rows[his["id"]]["version"] == his["version"]
    assert await stored(work, ada["id"]) is None
    *assigned, gone = await log(work, after=before)
    assert [(told["kind"], told["lead_id"], told["changes"]) for told in assigned] == [
        ("ASSIGNED", lead["id"], [{"field": "assignee", "before": ada["id"], "after": None}]) for lead in hers
    ]
    assert [gone["kind"], gone["event"], gone["subject_id"]] == ["ADMINISTERED", "user.deleted", ada["id"]]
    assert gone["changes"] == [
        {"field": "email", "before": "ada@example.com", "after": None},
        {"field": "role", "before": "EDITOR", "after": None},
    ]


async def test_deleting_a_user_takes_as_many_statements_for_ten_leads_as_for_one(work, statements):
    counts = []
    for many in (1, 10):
        user = await users.create(work, {"email": f"{many}@example.com", "role": "EDITOR"})
        for n in range(many):
            await create_lead(work, f"{many}.{n}@example.org", {"id": user["id"]})
        statements.clear()
        await users.delete(work, user["id"])
        counts.append(len(statements))
    assert counts == [7, 7]


@pytest.fixture
def statements(work):
    ran = []
    connection = work.connection.sync_connection

    def note(_connection, _cursor, statement, _parameters, _context, executemany):
        assert not executemany
        ran.append(statement)

    sa.event.listen(connection, "before_cursor_execute", note)
    yield ran
    sa.event.remove(connection, "before_cursor_execute", note)


async def test_the_last_admin_can_neither_be_removed_nor_demoted(work):
    ada = await users.create(work, ADA)
    await users.create(work, {"email": "bob@example.com", "role": "EDITOR"})
    with pytest.raises(Conflict) as refused:
        await users.delete(work, ada["id"])
    assert [refused.value.code, refused.value.argument] == ["CONFLICT", "id"]
    with pytest.raises(Conflict) as refused:
        await users.update(work, ada["id"], {"role": "EDITOR"})
    assert refused.value.argument == "patch.role"
    assert (await users.update(work, ada["id"], {"name": "Countess"}))["role"] == "ADMIN"
    assert await stored(work, ada["id"]) == {**ada, "name": "Countess"}


async def test_an_admin_may_go_while_another_user_or_a_live_key_is_admin(work):
    ada = await users.create(work, ADA)
    bob = await users.create(work, {"email": "bob@example.com", "role": "ADMIN"})
    await users.delete(work, ada["id"])
    key, _ = await keys.create(work, {"name": "script", "role": "ADMIN"})
    await users.update(work, bob["id"], {"role": "VIEWER"})
    cleo = await users.create(work, {"email": "cleo@example.com", "role": "ADMIN"})
    await keys.revoke(work, key["id"])
    with pytest.raises(Conflict):
        await users.delete(work, cleo["id"])


async def test_users_are_free_to_go_where_no_tokens_let_them_in(work):
    ada = await users.create(work, ADA)
    await users.update(work, ada["id"], {"role": "EDITOR"}, users_log_in=False)
    await users.update(work, ada["id"], {"role": "ADMIN"})
    assert await users.delete(work, ada["id"], users_log_in=False) == ada["id"]


async def test_two_last_admins_cannot_remove_each_other_at_once(database, caller):
    async with database.writing() as connection:
        ids = [(await users.create(Work(connection, caller), {"email": f"{n}@example.com", "role": "ADMIN"}))["id"] for n in range(2)]

    async def remove(user_id):
        async with database.writing() as connection:
            return await users.delete(Work(connection, caller), user_id)

    outcomes = await asyncio.gather(*map(remove, ids), return_exceptions=True)
    [removed] = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert [type(outcome) for outcome in outcomes if outcome != removed] == [Conflict]
    async with database.writing() as connection:
        work = Work(connection, caller)
        assert [await stored(work, user_id) is None for user_id in ids] == [user_id == removed for user_id in ids]


async def test_a_user_is_found_in_whatever_workspace(database, caller):
    email = f"{caller.workspace_id}@example.com"
    async with database.writing() as connection:
        row = await users.create(Work(connection, caller), {"email": email, "role": "VIEWER"})
    async with database.readers.reading() as reading:
        [found] = await users.everywhere(reading, email)
        assert await users.everywhere(reading, "nobody@example.com") == []
    assert found["slug"].startswith("test-")
    assert [found["workspace_id"], found["id"], found["role"]] == [caller.workspace_id, row["id"], "VIEWER"]
