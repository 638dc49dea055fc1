"""Batches that are made, worked off and taken back, and all leads as they are."""

import asyncio

import pytest
from undoing import STATE, UNDO

from app.worker import Worker


@pytest.fixture
def state(api):
    async def state():
        return (await api(STATE))["leads"]["nodes"]

    return state


@pytest.fixture
def upsert(api):
    async def upsert(rows, **more):
        return (await api("leads/upsert_many", input={"leads": rows, **more}))["leadUpsertMany"]

    return upsert


@pytest.fixture
def take_back(api):
    async def take_back(batch):
        return (await api(UNDO, id=batch if isinstance(batch, str) else batch["batch"]["id"]))["batchUndo"]["batch"]

    return take_back


@pytest.fixture
async def campaign(api):
    return (await api("campaigns/create", input={"name": "Spring", "criteria": {"titles": ["cto"]}}))["campaignCreate"]["campaign"]["id"]


@pytest.fixture
def until_ended(api, database, settings):
    """Runs the worker until a batch has ended, and gives of it what is asked."""

    async def until_ended(asked, batch_id):
        stop = asyncio.Event()
        working = asyncio.create_task(Worker(database, settings).run(stop))
        try:
            async with asyncio.timeout(60):
                while True:
                    found = (await api(f"query($id: ID!) {{ node(id: $id) {{ ... on Batch {{ status {asked} }} }} }}", id=batch_id))["node"]
                    if found["status"] not in ("PENDING", "RUNNING"):
                        return found
                    await asyncio.sleep(0.02)
        finally:
            stop.set()
            await working

    return until_ended
