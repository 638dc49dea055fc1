"""Batches that are made and taken back, and all leads as they are."""

import pytest
from undoing import STATE, UNDO


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
