import asyncio
import gc

import pytest

from app.http.deadlines import within


async def test_what_need_not_wait_sets_no_clock(monkeypatch):
    async def work():
        return 7

    monkeypatch.setattr(asyncio, "timeout", None)
    assert await within(0, work()) == 7


async def test_what_waits_goes_on_where_it_was():
    async def work():
        first = await asyncio.sleep(0.001, "first")
        await asyncio.sleep(0)
        return [first, await asyncio.create_task(asyncio.sleep(0.001, "second"))]

    assert await within(10, work()) == ["first", "second"]


async def test_an_error_comes_out_before_and_after_a_wait():
    async def at_once():
        raise LookupError("at once")

    async def later():
        await asyncio.sleep(0.001)
        raise LookupError("later")

    for work, words in ((at_once(), "at once"), (later(), "later")):
        with pytest.raises(LookupError, match=words):
            await within(10, work)


async def test_what_takes_too_long_is_cancelled_and_cleans_up():
    done = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            done.append("cleaned")

    with pytest.raises(TimeoutError):
        await within(0.01, work())
    assert done == ["cleaned"]


async def test_what_survives_an_error_of_what_it_waits_for_goes_on():
    broken = asyncio.get_running_loop().create_future()

    async def work():
        try:
            await broken
        except LookupError:
            return await asyncio.sleep(0, "mended")

    asyncio.get_running_loop().call_soon(broken.set_exception, LookupError())
    assert await within(10, work()) == "mended"


async def test_cancelling_who_waits_cancels_the_work():
    seen = []

    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = asyncio.create_task(within(10, work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]
    gc.collect()


async def test_deadlines_nest_and_the_inner_one_counts():
    async def inner():
        await asyncio.sleep(0)
        try:
            await within(0.01, asyncio.sleep(60))
        except TimeoutError:
            return "inner"

    assert await within(10, inner()) == "inner"


async def test_all_of_it_runs_in_one_task():
    async def work():
        before = asyncio.current_task()
        await asyncio.sleep(0)
        return before is asyncio.current_task()

    assert await within(10, work())
