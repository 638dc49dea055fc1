"""How subscriptions read the log: once for all that ask the same, later for those who are slow, and again after a failure."""

import asyncio
import tracemalloc
from contextlib import AsyncExitStack

import orjson
import pytest
from graphql import parse

import schema.live
from app.actions.upserts import upsert_many
from app.actions.work import Work
from app.errors import TookTooLong, Unavailable
from app.http import live as hub
from app.http.live import Live
from schema.graph import graph
from schema.live import live
from schema.planner import cursors

WATCH = "subscription ($after: String) { activityAdded(after: $after) { cursor node { kind leadId } } }"
SOON = 30


@pytest.fixture
async def following(database):
    """A hub of its own, looking at the logs."""
    one = Live(database)
    async with database.listening():
        looking = asyncio.create_task(one.run())
        yield one
        looking.cancel()
        await asyncio.wait([looking])


@pytest.fixture
def write(database, caller):
    async def write(*names):
        async with database.writing() as connection:
            await upsert_many(Work(connection, caller), [{"email": f"{name}@example.com"} for name in names])

    return write


def asked(caller, query=WATCH, **variables):
    document = parse(query)
    return live(graph.plans, document, document.definitions[0], variables, caller)


def beginning(caller):
    return cursors.encode(cursors.prefix(caller.workspace_id, b"log"), [0])


def reads(ran):
    """Count the statements that read the log."""
    return sum(text.lstrip().upper().startswith("SELECT") and " activity " in text for text in ran)


async def some(events):
    found = await asyncio.wait_for(anext(events), SOON)
    return [orjson.loads(event)["data"]["activityAdded"] for event in found]


async def take(events, count):
    found = []
    while len(found) < count:
        found += await some(events)
    return found


async def test_one_read_serves_all_that_ask_the_same(following, write, caller, statements):
    async with AsyncExitStack() as stack:
        readers = [await following.follow(asked(caller), 200) for _ in range(50)]
        for events in readers:
            stack.push_async_callback(events.aclose)
        waiting = [asyncio.create_task(some(events)) for events in readers]
        await asyncio.sleep(0)
        with statements() as ran:
            await write("ada")
            found = [await task for task in waiting]
    assert [len(each) for each in found] == [1] * 50
    assert all(each == found[0] for each in found)
    assert reads(ran) == 1


async def test_a_slow_reader_reads_later_what_the_others_have_forgotten(following, write, caller, monkeypatch):
    monkeypatch.setattr(hub, "KEPT_BYTES", 500)
    slow, quick = await following.follow(asked(caller), 200), await following.follow(asked(caller), 200)
    told = []
    for number in range(20):
        await write(f"n{number}")
        told += await take(quick, 1)
    [shared] = following._shared.values()
    assert shared._bytes <= 500 + 2_000
    late = await take(slow, 20)
    assert late == told
    assert len({each["node"]["leadId"] for each in told}) == 20
    await slow.aclose()
    await quick.aclose()


async def test_a_reader_that_catches_up_goes_page_by_page_and_shares_with_those_at_its_place(following, write, caller, statements):
    await write(*(f"n{number}" for number in range(25)))
    before = await following.follow(asked(caller), 200)
    await before.aclose()
    start = beginning(caller)
    one, two = await following.follow(asked(caller, after=start), 10), await following.follow(asked(caller, after=start), 10)
    with statements() as ran:
        found = await asyncio.gather(take(one, 20), take(two, 20))
    assert found[0] == found[1]
    assert reads(ran) <= 2
    await one.aclose()
    await two.aclose()


async def test_a_page_that_takes_too_long_is_made_smaller(following, write, caller, monkeypatch):
    await write(*(f"n{number}" for number in range(8)))
    start = beginning(caller)
    slow = asked(caller, after=start)
    read, sizes = type(slow).read, []

    async def reading(self, reading, position, last, size):
        sizes.append(size)
        if size > 3:
            raise TookTooLong
        return await read(self, reading, position, last, size)

    monkeypatch.setattr(type(slow), "read", reading)
    events = await following.follow(slow, 100)
    assert len(await take(events, 8)) >= 8
    assert sizes[:4] == [100, 25, 6, 1]
    await events.aclose()


async def test_long_events_are_read_a_few_at_a_time_and_short_ones_again_by_the_hundred(following, write, caller, monkeypatch):
    await write(*(f"n{number}" for number in range(40)))
    long = asked(caller, after=beginning(caller))
    read, sizes = type(long).read, []

    async def reading(self, reading, position, last, size):
        sizes.append(size)
        return await read(self, reading, position, last, size)

    monkeypatch.setattr(type(long), "read", reading)
    monkeypatch.setattr(hub, "STRETCH_BYTES", 500)
    events = await following.follow(long, 8)
    await take(events, 16)
    assert sizes[0] == 8
    assert sizes[1] < 4
    monkeypatch.setattr(hub, "STRETCH_BYTES", 1_000_000)
    await take(events, 20)
    assert sizes[-1] == 8
    await events.aclose()


async def test_an_event_that_is_kept_takes_no_more_memory_than_its_bytes(following, write, caller):
    await write(*(f"n{number}" for number in range(40)))
    long = asked(caller, after=beginning(caller))
    async with following.database.readers.reading() as reading:
        await long.read(reading, 0, 0, 40)
        tracemalloc.start()
        try:
            stretch = await long.read(reading, 0, 0, 40)
            held = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, schema.live.__file__)])
        finally:
            tracemalloc.stop()
    assert len(stretch.events) == 40
    assert sum(each.size for each in held.statistics("filename")) < 2 * sum(map(len, stretch.events)) + 20_000


async def test_a_database_that_is_away_for_a_while_ends_nothing(following, write, caller, monkeypatch):
    monkeypatch.setattr(hub, "AGAIN", 0.01)
    events = await following.follow(asked(caller), 200)
    kind = type(asked(caller))
    read, failures = kind.read, [1, 1, 1]

    async def away(self, *arguments):
        if failures:
            failures.pop()
            raise Unavailable
        return await read(self, *arguments)

    monkeypatch.setattr(kind, "read", away)
    await write("ada")
    assert len(await take(events, 1)) == 1
    assert failures == []
    await events.aclose()


async def test_those_who_resume_from_different_places_share_once_they_are_at_the_end(following, write, caller, statements):
    await write("a", "b")
    start = beginning(caller)
    one, two = await following.follow(asked(caller, after=start), 200), await following.follow(asked(caller), 200)
    await some(one)
    assert len(following._shared) == 1
    with statements() as ran:
        waiting = [asyncio.create_task(some(each)) for each in (one, two)]
        await write("c")
        found = [await task for task in waiting]
    assert found[0] == found[1]
    assert reads(ran) == 1
    await one.aclose()
    await two.aclose()
