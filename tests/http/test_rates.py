"""How often a workspace may ask: the buckets by a clock of the test's own, and what whoever asks too often is told."""

import sys

import httpx2
import pytest

from app.asgi import build
from app.errors import RateLimited
from app.http.rates import Rates
from app.settings import Settings

PROBE = "{ viewer { role } }"


class Clock:
    """Stands still until it is set."""

    def __init__(self, now=1_000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rates(clock):
    def make(per_second, per_minute, **more):
        return Rates(Settings(rate_per_second=per_second, rate_per_minute=per_minute), clock=clock, **more)

    return make


def taken(rates, workspace, times):
    """Ask so often, and tell how often that was allowed."""
    allowed = 0
    for _ in range(times):
        try:
            rates.count(workspace)
        except RateLimited:
            continue
        allowed += 1
    return allowed


def test_a_hundred_requests_at_once_pass_and_the_next_waits_a_second(rates, clock):
    counted = rates(100, 6_000)
    assert taken(counted, "wsp_a", 100) == 100
    with pytest.raises(RateLimited) as refused:
        counted.count("wsp_a")
    assert (refused.value.retry_after, refused.value.message) == (1, "Your workspace may send 100 requests a second: wait 1 s.")
    clock.now += 1
    assert taken(counted, "wsp_a", 200) == 100


def test_a_pace_above_the_limit_is_cut_down_to_it(rates, clock):
    counted, allowed = rates(100, 0), []
    for _ in range(60):
        second = 0
        for _ in range(150):
            second += taken(counted, "wsp_a", 1)
            clock.now += 1 / 150
        allowed.append(second)
    assert allowed[0] == 150  # a full bucket, and what came in
    assert 99 <= min(allowed[3:]) <= max(allowed[3:]) <= 101
    assert sum(allowed[3:]) / (57 * 150) == pytest.approx(2 / 3, abs=0.001)  # a third is refused


def test_a_pace_at_the_limit_passes(rates, clock):
    counted = rates(100, 6_000)
    for _ in range(20_000):
        counted.count("wsp_a")
        clock.now += 0.01


def test_a_minute_has_a_limit_of_its_own(rates, clock):
    counted = rates(100, 300)
    for _ in range(3):
        assert taken(counted, "wsp_a", 100) == 100
        clock.now += 1
    assert taken(counted, "wsp_a", 100) == 15  # five a second came in
    with pytest.raises(RateLimited) as refused:
        counted.count("wsp_a")
    assert (refused.value.retry_after, refused.value.message) == (1, "Your workspace may send 300 requests a minute: wait 1 s.")
    clock.now += 60
    assert taken(counted, "wsp_a", 100) == 100


def test_retry_after_is_when_the_next_request_passes(rates, clock):
    counted = rates(0, 2)
    assert taken(counted, "wsp_a", 3) == 2
    with pytest.raises(RateLimited) as refused:
        counted.count("wsp_a")
    assert refused.value.retry_after == 30
    clock.now += 29.9
    assert taken(counted, "wsp_a", 1) == 0
    clock.now += 0.1
    assert taken(counted, "wsp_a", 5) == 1


@pytest.mark.parametrize(("per_second", "per_minute", "allowed"), [(0, 0, 1_000), (0, 7, 7), (7, 0, 7)])
def test_a_limit_of_0_is_none(rates, per_second, per_minute, allowed):
    assert taken(rates(per_second, per_minute), "wsp_a", 1_000) == allowed


def test_a_workspace_does_not_notice_what_others_do(rates):
    counted = rates(3, 0)
    assert taken(counted, "wsp_a", 100) == 3
    assert taken(counted, "wsp_b", 100) == 3


def test_what_is_kept_has_a_bound_and_who_goes_on_asking_is_counted_on(rates, clock):
    counted = rates(3, 0, counted=10)
    assert taken(counted, "wsp_busy", 3) == 3
    for number in range(10_000):
        assert taken(counted, f"wsp_{number}", 1) == 1
        assert taken(counted, "wsp_busy", 1) == 0
    assert len(counted._full_at) + len(counted._before) <= 20
    assert sys.getsizeof(counted._full_at) < 2_000


@pytest.fixture
async def limited(database, clock):
    """The service with limits of three a second and five a minute, by the test's clock."""
    app = build(database.settings.model_copy(update={"rate_per_second": 3, "rate_per_minute": 5}))
    app.graphql.app.rates._clock = clock
    transport = httpx2.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport, base_url="http://leadgraph.example") as client:
        yield client


async def test_who_asks_too_often_is_told_when_to_come_again_and_nobody_else_notices(limited, clock, api, stranger, statements):
    ours, theirs = ({"authorization": f"Bearer {who.key}"} for who in (api, stranger))

    async def ask(headers, **more):
        return await limited.post("/graphql", json={"query": PROBE}, headers={**headers, **more})

    assert [(await ask(ours)).status_code for _ in range(3)] == [200] * 3
    with statements() as ran:
        refused = await ask(ours, accept="application/graphql-response+json", **{"x-request-id": "r"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.headers["content-type"] == "application/graphql-response+json; charset=utf-8"
    assert refused.json() == {
        "errors": [
            {
                "message": "Your workspace may send 3 requests a second: wait 1 s.",
                "extensions": {"code": "RATE_LIMITED", "requestId": "r"},
            }
        ]
    }
    assert ran == []
    by_get = await limited.get("/graphql", params={"query": PROBE}, headers=ours)
    assert (by_get.status_code, by_get.json()["errors"][0]["extensions"]["code"]) == (429, "RATE_LIMITED")
    assert [(await ask(theirs)).status_code for _ in range(3)] == [200] * 3
    assert (await limited.get("/livez")).text == "ok"
    clock.now += 1
    assert [(await ask(ours)).status_code for _ in range(4)] == [200, 200, 429, 429]
    assert (await ask(ours)).headers["retry-after"] == "11"  # of five a minute the sixth


async def test_all_the_keys_of_a_workspace_are_counted_together(limited, api, api_of, caller):
    other = await api_of(caller)

    async def status(who):
        return (await limited.post("/graphql", json={"query": PROBE}, headers={"x-org-api-key": who.key})).status_code

    statuses = [await status(who) for who in (api, other, api, other)]
    assert statuses == [200, 200, 200, 429]


async def test_a_stranger_uses_nothing_up(limited, api):
    workspace = api.key.split("_")[1]
    for _ in range(5):
        answer = await limited.post("/graphql", json={"query": PROBE}, headers={"authorization": f"Bearer lg_{workspace}_{'x' * 43}"})
        assert answer.status_code == 401
    assert (await limited.post("/graphql", json={"query": PROBE}, headers={"authorization": f"Bearer {api.key}"})).status_code == 200
