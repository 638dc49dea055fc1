import asyncio
import hashlib
import re
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import sqlalchemy as sa

from app.actions import keys, users
from app.actions.activities import ACTIVITY
from app.actions.keys import KEY
from app.actions.work import Caller, Role, Work
from app.errors import ApiKeyNotFound, BadUserInput, Conflict
from app.rules.written import moment

HERE = sa.bindparam("workspace")
SCRIPT = {"name": " Nightly script ", "role": "EDITOR"}


async def log(work):
    return await work.rows(sa.select(ACTIVITY).where(ACTIVITY.c.workspace_id == HERE).order_by(ACTIVITY.c.sequence))


async def stored(work, key_id):
    return await work.row(sa.select(KEY).where(KEY.c.workspace_id == HERE, KEY.c.id == sa.bindparam("key")), {"key": key_id})


async def test_a_key_carries_its_workspace_and_is_kept_as_a_hash(work):
    row, key = await keys.create(work, SCRIPT)
    assert row == await stored(work, row["id"])
    workspace = work.workspace.removeprefix("wsp_")
    assert re.fullmatch(rf"lg_{workspace}_[0-9A-Za-z]{{43}}", key)
    assert keys.workspace_of(key) == work.workspace
    assert row["prefix"] == key[: len(f"lg_{workspace}_") + 4]
    assert row["hash"] == hashlib.sha256(key.encode()).hexdigest()
    assert row["id"].startswith("key_")
    facts = {name: row[name] for name in ("name", "role", "created_at", "expires_at", "last_used_at", "revoked_at")}
    assert facts == {
        "name": "Nightly script",
        "role": "EDITOR",
        "created_at": work.now,
        "expires_at": None,
        "last_used_at": None,
        "revoked_at": None,
    }


async def test_the_log_tells_of_a_key_and_holds_nothing_of_its_secret(work):
    ends = work.now + timedelta(days=1)
    row, key = await keys.create(work, {**SCRIPT, "expiresAt": ends})
    await keys.revoke(work, row["id"])
    made, revoked = await log(work)
    assert [made["kind"], made["event"], made["subject_id"]] == ["ADMINISTERED", "apiKey.created", row["id"]]
    assert made["changes"] == [
        {"field": "name", "before": None, "after": "Nightly script"},
        {"field": "role", "before": None, "after": "EDITOR"},
        {"field": "expiresAt", "before": None, "after": moment(ends)},
    ]
    assert [revoked["event"], revoked["subject_id"]] == ["apiKey.revoked", row["id"]]
    assert revoked["changes"] == [{"field": "revokedAt", "before": None, "after": moment(work.now)}]
    text = orjson.dumps([made, revoked]).decode()
    assert key[-43:][:4] not in text.replace(row["id"], "")
    assert row["hash"] not in text


@pytest.mark.parametrize(
    ("values", "argument", "rule"),
    [
        ({"name": ""}, "input.name", "BLANK"),
        ({"name": "a\nb"}, "input.name", "INVALID"),
        ({"name": "a" * 201}, "input.name", "TOO_LONG"),
        ({"role": "ROOT"}, "input.role", "INVALID"),
        ({"expiresAt": datetime(2020, 1, 1, tzinfo=UTC)}, "input.expiresAt", "INVALID"),
    ],
)
async def test_a_bad_value_is_refused_by_name_and_rule(work, values, argument, rule):
    with pytest.raises(BadUserInput) as refused:
        await keys.create(work, {**SCRIPT, **values})
    assert refused.value.extensions == {"code": "BAD_USER_INPUT", "argument": argument, "rule": rule}
    assert await log(work) == []


async def test_revoking_twice_is_revoking_once(work):
    row, _ = await keys.create(work, SCRIPT)
    revoked = await keys.revoke(work, row["id"])
    assert revoked == {**row, "revoked_at": work.now} == await stored(work, row["id"])
    later = Work(work.connection, work.caller)
    assert await keys.revoke(later, row["id"]) == revoked
    assert len(await log(work)) == 2


async def test_another_workspaces_key_is_not_there(work):
    row, _ = await keys.create(work, SCRIPT)
    stranger = Work(work.connection, Caller(workspace_id="wsp_other", role=Role.ADMIN))
    for asked in (keys.revoke(stranger, row["id"]), keys.revoke(work, "key_01kf8xvz7ee5q9gsm8n5v4m2nz"), keys.revoke(work, "x")):
        with pytest.raises(ApiKeyNotFound, match=ApiKeyNotFound.__doc__) as refused:
            await asked
        assert refused.value.argument == "id"
    assert await stored(work, row["id"]) == row


async def test_the_last_live_admin_key_is_kept_until_a_user_is_admin(work):
    row, _ = await keys.create(work, {"name": "only", "role": "ADMIN"})
    await keys.create(work, {"name": "short", "role": "ADMIN", "expiresAt": work.now + timedelta(microseconds=1)})
    await keys.create(work, {"name": "reader", "role": "VIEWER"})
    later = Work(work.connection, work.caller, now=work.now + timedelta(seconds=1))
    with pytest.raises(Conflict) as refused:
        await keys.revoke(later, row["id"])
    assert refused.value.argument == "id"
    await users.create(work, {"email": "ada@example.com", "role": "ADMIN"})
    with pytest.raises(Conflict):
        await keys.revoke(later, row["id"], users_log_in=False)
    assert (await keys.revoke(later, row["id"]))["revoked_at"] == later.now


async def test_two_last_keys_cannot_be_revoked_at_once(database, caller):
    async with database.writing() as connection:
        ids = [(await keys.create_key(connection, caller.workspace_id, f"{n}", Role.ADMIN))[0]["id"] for n in range(2)]

    async def revoke(key_id):
        async with database.writing() as connection:
            return (await keys.revoke(Work(connection, caller), key_id))["id"]

    outcomes = await asyncio.gather(*map(revoke, ids), return_exceptions=True)
    [revoked] = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert [type(outcome) for outcome in outcomes if outcome != revoked] == [Conflict]


async def test_a_key_made_on_the_command_line_is_nobodys_doing(database, caller):
    async with database.writing() as connection:
        row, key = await keys.create_key(connection, caller.workspace_id, "first", Role.ADMIN)
        work = Work(connection, caller)
        [told] = await log(work)
    assert [told["event"], told["subject_id"], told["actor_id"]] == ["apiKey.created", row["id"], None]
    assert keys.workspace_of(key) == caller.workspace_id


@pytest.mark.parametrize(
    "text", ["", "lg_", "lg_short_x", f"lg_{'u' * 26}_{'a' * 43}", f"lg_{'0' * 26}_{'a' * 42}", f"lg_{'0' * 26}_{'a' * 43}\n"]
)
def test_what_is_no_key_names_no_workspace(text):
    assert keys.workspace_of(text) is None


async def test_a_key_is_found_by_its_text_while_it_lasts(database, caller):
    async with database.writing() as connection:
        work = Work(connection, caller)
        ends = work.now + timedelta(hours=1)
        row, key = await keys.create(work, {**SCRIPT, "expiresAt": ends})
        other, gone = await keys.create(work, SCRIPT)
        await keys.revoke(work, other["id"])
    async with database.readers.reading() as reading:
        found = await keys.find(reading, key, work.now)
        assert {name: found[name] for name in ("id", "workspace_id", "role", "expires_at", "last_used_at")} == {
            "id": row["id"],
            "workspace_id": caller.workspace_id,
            "role": "EDITOR",
            "expires_at": ends,
            "last_used_at": None,
        }
        assert await keys.find(reading, key, ends) is None
        assert await keys.find(reading, gone, work.now) is None
        assert await keys.find(reading, f"{key[:-1]}{'a' if key[-1] != 'a' else 'b'}", work.now) is None
        assert await keys.find(reading, "no key", work.now) is None


async def test_a_use_is_noted_once_a_minute(work):
    row, _ = await keys.create(work, SCRIPT)
    for seconds, noted in ((0, 0), (59, 0), (60, 60), (61, 60)):
        await keys.note_use(work.connection, work.workspace, row["id"], work.now + timedelta(seconds=seconds))
        assert (await stored(work, row["id"]))["last_used_at"] == work.now + timedelta(seconds=noted)
