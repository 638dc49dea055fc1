import asyncio
import time
from contextlib import asynccontextmanager
from datetime import timedelta

import jwt
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from starlette.datastructures import Headers

from app.actions import keys, users, workspaces
from app.actions.keys import KEY
from app.actions.work import Caller, Role, Work
from app.errors import BadRequest, Unauthenticated
from app.http import tokens
from app.http.callers import Callers

SECRET = "a secret of more than thirty-two characters"
HERE = sa.bindparam("workspace")


@pytest.fixture
async def open_door(database, settings):
    """Makes what tells who asks, with settings of the test's own."""
    opened = []

    def make(**changes):
        opened.append(Callers(database, settings.model_copy(update=changes)))
        return opened[-1]

    yield make
    for door in opened:
        await door.close()


@pytest.fixture
async def callers(open_door):
    return open_door(jwt_secret=SecretStr(SECRET))


@pytest.fixture
def reads(database, monkeypatch):
    """The statements that readers run."""
    ran = []
    reading_type = type(database.readers)
    original = reading_type.reading

    @asynccontextmanager
    async def counted(self, **options):
        async with original(self, **options) as reading:
            ran.append(reading)
            yield reading

    monkeypatch.setattr(reading_type, "reading", counted)
    return ran


@pytest.fixture
def make_key(database, caller):
    async def make(role=Role.EDITOR, expires_in=None):
        async with database.writing() as connection:
            work = Work(connection, caller)
            ends = None if expires_in is None else work.now + expires_in
            return await keys.create(work, {"name": "test", "role": role, "expiresAt": ends})

    return make


@pytest.fixture
def make_user(database, caller):
    async def make(email, role=Role.EDITOR, caller=caller):
        async with database.writing() as connection:
            return await users.create(Work(connection, caller), {"email": email, "role": role})

    return make


def bearer(text):
    return Headers({"authorization": f"Bearer {text}"})


def token(email, *, ends_in=600):
    return jwt.encode({"email": email, "exp": int(time.time()) + ends_in}, SECRET, algorithm="HS256")


async def refused(callers, headers):
    with pytest.raises(Unauthenticated, match=r"^Send a valid API key or token: `Authorization: Bearer KEY`\.$") as answer:
        await callers.identify(headers)
    return answer.value


# Keys


async def test_a_key_says_who_asks_and_where(callers, make_key, caller):
    row, key = await make_key()
    expected = Caller(workspace_id=caller.workspace_id, role=Role.EDITOR, api_key_id=row["id"], workspace_ids=(caller.workspace_id,))
    for headers in (
        {"authorization": f"Bearer {key}"},
        {"authorization": f"bearer  {key} "},
        {"x-org-api-key": key},
        {"x-org-api-key": key, "authorization": f"Bearer {key}"},
        {"x-org-api-key": key, "x-workspace": "elsewhere"},
    ):
        assert await callers.identify(Headers(headers)) == expected
    assert expected.actor_id == row["id"]


async def test_two_credentials_that_differ_are_nobodys(callers, make_key):
    (_, one), (_, other) = await make_key(), await make_key()
    await refused(callers, Headers({"authorization": f"Bearer {one}", "x-org-api-key": other}))
    await refused(callers, Headers({"authorization": "Basic dXNlcjpwYXNz", "x-org-api-key": one}))
    await refused(callers, Headers(raw=[(b"x-org-api-key", one.encode()), (b"x-org-api-key", other.encode())]))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"authorization": "Bearer nonsense"},
        {"authorization": "Bearer a.b.c"},
        {"authorization": "Bearer lg_"},
        {"authorization": f"Bearer lg_{'0' * 26}_{'a' * 43}é"},
        {"authorization": "Bearer lg_\x1b[31m"},
        {"authorization": f"Bearer {'a' * 4_096}"},
        {"authorization": f"Bearer {'a' * 1_000_000}"},
        {"x-org-api-key": ""},
        {"x-org-api-key": "a" * 5_000},
        {"x-org-api-key": "a.b.c"},
    ],
)
async def test_what_is_no_credential_is_refused_without_a_statement(callers, reads, headers):
    answer = await refused(callers, Headers(headers))
    assert [answer.status, answer.code] == [401, "UNAUTHENTICATED"]
    assert reads == []


async def test_bytes_that_are_no_text_are_refused(callers):
    await refused(callers, Headers(raw=[(b"authorization", b"Bearer lg_\xff\xfe")]))


async def test_a_key_that_never_was_is_refused_and_a_flood_of_it_does_not_reach_the_database(callers, make_key, reads):
    _, key = await make_key()
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    for _ in range(50):
        await refused(callers, bearer(wrong))
    assert len(reads) == 1


async def test_a_key_of_one_workspace_does_not_open_another(callers, make_key, database):
    _, key = await make_key()
    async with database.writing() as connection:
        other = await workspaces.create(connection, slug=f"other-{time.monotonic_ns()}")
    await refused(callers, bearer(f"lg_{other['id'].removeprefix('wsp_')}_{key[-43:]}"))


async def test_the_second_request_runs_no_statement(callers, make_key, reads):
    _, key = await make_key()
    first = await callers.identify(bearer(key))
    assert len(reads) == 1
    assert await callers.identify(bearer(key)) is first
    assert len(reads) == 1


async def test_requests_at_once_share_one_look_up(callers, make_key, reads):
    _, key = await make_key()
    answers = await asyncio.gather(*[callers.identify(bearer(key)) for _ in range(100)])
    assert len({id(answer) for answer in answers}) == 1
    assert len(reads) == 1


async def test_a_request_that_leaves_takes_the_look_up_from_nobody(callers, make_key):
    row, key = await make_key()
    first, second = [asyncio.create_task(callers.identify(bearer(key))) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).api_key_id == row["id"]


async def test_a_revoked_key_ends_at_once_here_and_within_a_second_elsewhere(open_door, make_key, database, caller):
    row, key = await make_key()
    here, elsewhere = open_door(), open_door()
    for door in (here, elsewhere):
        await door.identify(bearer(key))
    async with database.writing() as connection:
        await keys.revoke(Work(connection, caller), row["id"])
    here.forget(row["id"])
    await refused(here, bearer(key))
    await asyncio.sleep(1)
    await refused(elsewhere, bearer(key))


async def test_an_answer_looked_up_before_the_revocation_is_not_remembered_after(open_door, make_key, monkeypatch):
    row, key = await make_key()
    door, find, go_on = open_door(), keys.find, asyncio.Event()

    async def slow(*arguments):
        found = await find(*arguments)
        await go_on.wait()
        return found

    monkeypatch.setattr(keys, "find", slow)
    early = asyncio.create_task(door.identify(bearer(key)))
    await asyncio.sleep(0.05)
    door.forget(row["id"])
    late = asyncio.create_task(door.identify(bearer(key)))
    go_on.set()
    await early
    assert await late is not await early
    assert await door.identify(bearer(key)) is await late


async def test_forgetting_one_key_leaves_the_others(callers, make_key, reads):
    (one, first), (_, second) = await make_key(), await make_key()
    await callers.identify(bearer(first))
    await callers.identify(bearer(second))
    callers.forget(one["id"])
    await callers.identify(bearer(second))
    assert len(reads) == 2
    callers.forget(None)
    await callers.identify(bearer(second))
    assert len(reads) == 3


async def test_a_new_key_works_at_once_where_it_was_tried_too_early(callers, make_key, database):
    row, key = await make_key()
    async with database.writing() as connection:
        mine = (KEY.c.workspace_id == HERE, KEY.c.id == sa.bindparam("key"))
        binds = {"workspace": row["workspace_id"], "key": row["id"]}
        await connection.execute(sa.update(KEY).values(hash="not yet").where(*mine), binds)
    await refused(callers, bearer(key))
    async with database.writing() as connection:
        await connection.execute(sa.update(KEY).values(hash=row["hash"]).where(*mine), binds)
    await refused(callers, bearer(key))
    callers.forget(None)
    assert (await callers.identify(bearer(key))).api_key_id == row["id"]


async def test_a_key_ends_when_it_expires_though_it_is_remembered(callers, make_key):
    _, key = await make_key(expires_in=timedelta(seconds=0.3))
    await callers.identify(bearer(key))
    await asyncio.sleep(0.35)
    await refused(callers, bearer(key))


async def test_what_is_remembered_is_bounded(callers, make_key, monkeypatch):
    monkeypatch.setattr("app.http.callers.REMEMBERED", 3)
    _, key = await make_key()
    await callers.identify(bearer(key))
    for letter in "abcdef":
        await refused(callers, bearer(f"{key[:-2]}{letter}{letter}"))
    assert [len(callers._known), len(callers._strangers)] == [1, 3]


async def test_nothing_that_is_remembered_holds_a_key(callers, make_key):
    _, key = await make_key()
    await callers.identify(bearer(key))
    assert key not in repr(vars(callers))


async def test_a_use_is_noted_beside_the_request_and_once(callers, make_key, database, caller):
    row, key = await make_key()
    for _ in range(3):
        await callers.identify(bearer(key))
        callers.forget(None)
    await callers.close()
    async with database.writing() as connection:
        work = Work(connection, caller)
        [stored] = await work.rows(sa.select(KEY).where(KEY.c.workspace_id == HERE))
    assert timedelta(0) <= work.now - stored["last_used_at"] < timedelta(seconds=5)
    assert list(callers._noted) == [row["id"]]


async def test_a_use_that_cannot_be_noted_disturbs_nobody(callers, make_key, monkeypatch):
    row, key = await make_key()

    async def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(keys, "note_use", fail)
    assert (await callers.identify(bearer(key))).api_key_id == row["id"]
    await callers.close()
    assert callers._noting == set()


# Tokens


async def test_a_token_names_its_user_by_email(callers, make_user, caller):
    email = f"Ada.{caller.workspace_id}@example.com"
    row = await make_user(email, Role.ADMIN)
    asked = await callers.identify(bearer(token(email.upper())))
    assert asked == Caller(workspace_id=caller.workspace_id, role=Role.ADMIN, user_id=row["id"], workspace_ids=(caller.workspace_id,))
    assert asked.actor_id == row["id"]


async def test_a_user_of_several_workspaces_names_one(callers, make_user, database, caller):
    email = f"{caller.workspace_id}@example.com"
    await make_user(email, Role.ADMIN)
    slugs = [f"z{n}-{time.monotonic_ns()}" for n in range(2)]
    for slug in slugs:
        async with database.writing() as connection:
            other = await workspaces.create(connection, slug=slug)
        await make_user(email, Role.VIEWER, Caller(workspace_id=other["id"], role=Role.ADMIN))
    with pytest.raises(BadRequest, match="X-Workspace") as answer:
        await callers.identify(bearer(token(email)))
    assert answer.value.status == 400
    asked = await callers.identify(Headers({"authorization": f"Bearer {token(email)}", "x-workspace": slugs[1]}))
    assert [asked.workspace_id, asked.role, len(asked.workspace_ids)] == [other["id"], Role.VIEWER, 3]
    await refused(callers, Headers({"authorization": f"Bearer {token(email)}", "x-workspace": "elsewhere"}))


async def test_a_token_of_nobody_is_refused(callers):
    await refused(callers, bearer(token("nobody@example.com")))


async def test_a_token_ends_when_it_expires_though_it_is_remembered(callers, make_user, caller, monkeypatch):
    monkeypatch.setattr(tokens, "LEEWAY", 0)
    email = f"{caller.workspace_id}@example.com"
    await make_user(email)
    ending = token(email, ends_in=2)
    await callers.identify(bearer(ending))
    await asyncio.sleep(2.05)
    await refused(callers, bearer(ending))


async def test_a_user_who_is_gone_is_refused_once_forgotten(callers, make_user, database, caller):
    email = f"{caller.workspace_id}@example.com"
    row = await make_user(email)
    await callers.identify(bearer(token(email)))
    async with database.writing() as connection:
        await users.delete(Work(connection, caller), row["id"])
    callers.forget(None)
    await refused(callers, bearer(token(email)))
