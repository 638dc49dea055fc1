import asyncio
import gc

import pytest

from app.deadlines import Deadlines


@pytest.fixture
def within():
    return Deadlines().within


@pytest.fixture
async def kept_back(monkeypatch):
    """Keeps the timers of deadlines back, and no others': the loop is the whole session's."""
    loop, timers = asyncio.get_running_loop(), []
    call_later = loop.call_later

    def kept(delay, callback, *args, **options):
        if isinstance(getattr(callback, "__self__", None), Deadlines):
            timers.append(lambda: callback(*args))
            return None
        return call_later(delay, callback, *args, **options)

    monkeypatch.setattr(loop, "call_later", kept)
    return timers


async def test_all_that_is_under_way_shares_one_timer(kept_back):
    deadlines = Deadlines()
    assert await asyncio.gather(*[deadlines.within(10, asyncio.sleep(0, number)) for number in range(100)]) == list(range(100))
    assert len(kept_back) == 1


async def test_a_timer_that_finds_nothing_rests_and_is_set_again_when_needed(kept_back):
    deadlines = Deadlines()
    work = asyncio.create_task(deadlines.within(0, asyncio.Event().wait()))
    await asyncio.sleep(0)
    kept_back.pop()()
    with pytest.raises(TimeoutError):
        await work
    kept_back.pop()()  # it looked once more, and found nothing
    assert kept_back == []
    await deadlines.within(10, asyncio.sleep(0))
    assert len(kept_back) == 1


async def test_what_ends_well_although_it_was_told_to_end_counts(within):
    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done"

    assert await within(0.01, work()) == "done"
    assert asyncio.current_task().cancelling() == 0


async def test_who_is_cancelled_besides_stays_cancelled(within):
    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            raise

    task = asyncio.create_task(within(0.01, work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_waits_goes_on_where_it_was(within):
    async def work():
        first = await asyncio.sleep(0.001, "first")
        await asyncio.sleep(0)
        return [first, await asyncio.create_task(asyncio.sleep(0.001, "second"))]

    assert await within(10, work()) == ["first", "second"]


async def test_an_error_comes_out_before_and_after_a_wait(within):
    async def at_once():
        raise LookupError("at once")

    async def later():
        await asyncio.sleep(0.001)
        raise LookupError("later")

    for work, words in ((at_once(), "at once"), (later(), "later")):
        with pytest.raises(LookupError, match=words):
            await within(10, work)


async def test_what_takes_too_long_is_cancelled_and_cleans_up(within):
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


async def test_what_survives_an_error_of_what_it_waits_for_goes_on(within):
    broken = asyncio.get_running_loop().create_future()

    async def work():
        try:
            await broken
        except LookupError:
            return await asyncio.sleep(0, "mended")

    asyncio.get_running_loop().call_soon(broken.set_exception, LookupError())
    assert await within(10, work()) == "mended"


async def test_cancelling_who_waits_cancels_the_work(within):
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


async def test_deadlines_nest_and_the_inner_one_counts(within):
    async def inner():
        await asyncio.sleep(0)
        try:
            await within(0.01, asyncio.sleep(60))
        except TimeoutError:
            return "inner"

    assert await within(10, inner()) == "inner"


async def test_all_of_it_runs_in_one_task(within):
    async def work():
        before = asyncio.current_task()
        await asyncio.sleep(0)
        return before is asyncio.current_task()

    assert await within(10, work())
