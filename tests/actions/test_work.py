"""What is computed while the database works."""

import asyncio
from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError


def bits(done, count):
    for number in range(count):
        done.append(number)
        yield


async def test_beside_a_statement_what_is_pending_goes_on_and_the_rest_is_left_for_later(work):
    done: list[int] = []
    work.meanwhile = bits(done, 100_000)

    async def three_turns():
        for _ in range(3):
            await asyncio.sleep(0)
        return await work.row(sa.text("SELECT 7 AS seven"))

    assert await work.beside(three_turns()) == {"seven": 7}
    assert 3 <= len(done) < 100_000
    for _ in work.meanwhile:
        pass
    assert done == list(range(100_000))
    assert await work.beside(work.row(sa.text("SELECT 7 AS seven"))) == {"seven": 7}


async def test_what_a_statement_raises_is_raised_beside_others(work):
    with pytest.raises(DBAPIError):
        await replace(work, meanwhile=bits([], 5)).beside(work.row(sa.text("SELECT nothing FROM nowhere")))


async def test_what_is_cancelled_leaves_no_statement_running(work):
    ended = asyncio.Event()

    async def long():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    work.meanwhile = bits([], 1_000_000)
    running = asyncio.create_task(work.beside(long()))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()
