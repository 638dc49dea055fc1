"""Turns: one a workspace, so many in all, and a wait that ends."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from app.turns import Busy, Turns


async def test_a_workspace_has_one_turn_and_leaves_the_others_theirs():
    turns = Turns(2, 0.05)
    async with turns.of("a"):
        for _ in range(2):  # who was refused has taken nothing
            with pytest.raises(Busy):
                await AsyncExitStack().enter_async_context(turns.of("a"))
            async with turns.of("b"):
                pass
    async with turns.of("a"):
        pass


async def test_where_all_turns_are_taken_the_wait_for_one_ends():
    turns = Turns(2, 0.05)
    async with turns.of("a"), turns.of("b"):
        with pytest.raises(Busy):
            await AsyncExitStack().enter_async_context(turns.of("c"))
    async with turns.of("c"), turns.of("a"):
        pass


async def test_who_waits_has_a_turn_when_one_ends():
    turns, came = Turns(1, 10), asyncio.Event()

    async def wait(workspace):
        async with turns.of(workspace):
            came.set()

    async with turns.of("a"):
        waiting = [asyncio.create_task(wait(workspace)) for workspace in ("a", "b")]
        await asyncio.sleep(0)
        assert not came.is_set()
    await asyncio.gather(*waiting)
    assert len(turns._own) == 0  # nothing is kept of who has none
