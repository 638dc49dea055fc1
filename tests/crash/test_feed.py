"""The feed has no gap and nothing twice, whoever dies while writing to it."""

import asyncio
import multiprocessing
from random import Random

import feeding
import orjson
import sqlalchemy as sa
from graphql import parse

from app.actions.activities import ACTIVITY
from app.actions.work import Work
from app.http.live import Live
from schema.graph import graph
from schema.live import live

WRITERS, KILLS = 8, 10
#: Seconds after which it is taken for broken.
PATIENCE = 240
PAGE = "query ($after: String) { activities(first: 40, after: $after) { nodes { id } pageInfo { endCursor } } }"
WATCH = "subscription ($after: String) { activityAdded(after: $after) { node { id } } }"


class Writers:
    """Processes that write, killed at random and replaced."""

    def __init__(self, url, workspace, told):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["feeding"])
        self._start = lambda seed: context.Process(target=feeding.write, args=(url, workspace, seed, str(told)), daemon=True)
        self.chance = Random(5)  # noqa: S311
        self.running = [self._new() for _ in range(WRITERS)]

    def _new(self):
        process = self._start(self.chance.getrandbits(40))
        process.start()
        return process

    def kill_one(self):
        """Kill one that runs; one that died by itself fails the test."""
        assert all(process.exitcode is None for process in self.running)
        process = self.running.pop(self.chance.randrange(WRITERS))
        process.kill()
        process.join()
        assert process.exitcode == -9
        self.running.append(self._new())

    def kill_all(self):
        for process in self.running:
            process.kill()
            process.join()


class Follower:
    """Reads pages by cursor, one after the other."""

    def __init__(self, api):
        self.api, self.cursor, self.seen = api, None, []

    async def page(self):
        found = (await self.api(PAGE, after=self.cursor))["activities"]
        self.seen += [node["id"] for node in found["nodes"]]
        self.cursor = found["pageInfo"]["endCursor"]
        return len(found["nodes"])


async def test_eight_writers_are_killed_at_random_and_every_reader_sees_all_once_in_order(api, database, caller, tmp_path):
    hub, told, subscribed = Live(database), tmp_path / "told", []
    follower = Follower(api)
    await follower.page()
    document = parse(WATCH)
    events = await hub.follow(live(graph.plans, document, document.definitions[0], {"after": follower.cursor}, caller), 50)
    before = list(follower.seen)

    async def subscribe():
        async for some in events:
            subscribed.extend(orjson.loads(event)["data"]["activityAdded"]["node"]["id"] for event in some)

    async with database.listening():
        beside = [asyncio.create_task(hub.run()), asyncio.create_task(subscribe())]
        writers = Writers(database.settings.database_url, caller.workspace_id, told)
        try:
            async with asyncio.timeout(PATIENCE):
                for _ in range(KILLS):
                    # By what was written and not by the clock, so that a slow machine has as many deaths in as long a log.
                    goal = len(follower.seen) + writers.chance.randint(1, 12)
                    while len(follower.seen) < goal:
                        await follower.page()
                        await asyncio.sleep(0.02)
                    writers.kill_one()
        finally:
            writers.kill_all()
        written = await log_of(database, caller)
        async with asyncio.timeout(PATIENCE):
            while await follower.page():
                pass
            while len(subscribed) < len(written) - len(before):  # noqa: ASYNC110  (what is tested ends in a list)
                await asyncio.sleep(0.05)
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)
    await events.aclose()

    assert [row["sequence"] for row in written] == list(range(1, len(written) + 1))
    ids = [row["id"] for row in written]
    assert follower.seen == ids
    assert before + subscribed == ids
    assert {"LEAD_CREATED", "LEAD_DELETED"} <= {row["kind"] for row in written}
    # What a writer was told is committed is there.
    acknowledged = set(told.read_text().splitlines())
    assert acknowledged
    assert acknowledged - {row["request_id"] for row in written} == set()


async def log_of(database, caller):
    """The log as it stands, once the database has rolled back what the dead left open."""
    async with database.writing() as connection:
        mine = sa.select(ACTIVITY.c.sequence, ACTIVITY.c.id, ACTIVITY.c.kind, ACTIVITY.c.request_id)
        return await Work(connection, caller).rows(
            mine.where(ACTIVITY.c.workspace_id == sa.bindparam("workspace")).order_by(ACTIVITY.c.sequence)
        )
