"""How fast requests may start. Time is virtual: it moves when everybody waits."""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.config import QuotaConfig
from omni_batch.quota import Quota


class Time:
    """A clock that jumps to the next sleeper once nothing else can run."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._tickets = count()

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        heapq.heappush(self._sleepers, (self.now_s + seconds, next(self._tickets), woken))
        await woken.wait()

    async def settle(self) -> None:
        """Let everything run that can without time passing."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def run(self, *work: Coroutine[Any, Any, Any]) -> None:
        """Do it all, moving time as needed."""
        tasks = [asyncio.ensure_future(one) for one in work]
        await self.settle()
        while self._sleepers and not all(task.done() for task in tasks):
            self.now_s, _, woken = heapq.heappop(self._sleepers)
            woken.set()
            await self.settle()
        async with asyncio.timeout(1):  # what still waits now would wait for ever
            await asyncio.gather(*tasks)


class Bench:
    """A quota, its time, and what happened when."""

    def __init__(self, **config: Any) -> None:
        self.time = Time()
        config = {"adaptive": False, "max_in_flight": 1000, **config}
        self.quota = Quota(QuotaConfig(**config), self.time, self.time.sleep)
        self.started_s: list[float] = []
        self.order: list[object] = []
        self.most_in_flight = 0

    async def request(
        self,
        tokens: float = 0,
        *,
        takes_s: float = 0,
        used: float | None = None,
        name: object = None,
        then: Callable[[Quota], None] = lambda quota: None,
    ) -> None:
        async with self.quota.slot(tokens) as slot:
            self.started_s.append(round(self.time.now_s, 6))
            self.order.append(name)
            self.most_in_flight = max(self.most_in_flight, self.quota.in_flight)
            if takes_s:
                await self.time.sleep(takes_s)
            if used is not None:
                slot.used(used)
        then(self.quota)


# --- Pace ---


async def test_without_limits_all_start_at_once() -> None:
    bench = Bench()
    await bench.time.run(*[bench.request(10**9) for _ in range(50)])
    assert bench.started_s == [0] * 50


async def test_requests_start_evenly() -> None:
    bench = Bench(requests_per_minute=60)
    await bench.time.run(*[bench.request() for _ in range(5)])
    assert bench.started_s == [0, 1, 2, 3, 4]


async def test_idle_time_is_not_saved_up_for_a_burst() -> None:
    bench = Bench(requests_per_minute=60)
    await bench.time.run(bench.request())
    bench.time.now_s = 100
    await bench.time.run(*[bench.request() for _ in range(3)])
    assert bench.started_s == [0, 100, 101, 102]


async def test_tokens_are_paced_by_their_estimate() -> None:
    bench = Bench(tokens_per_minute=6000)  # 100 a second
    await bench.time.run(*[bench.request(tokens) for tokens in (300, 100, 50, 50)])
    assert bench.started_s == [0, 3, 4, 4.5]


async def test_the_slower_of_both_limits_counts() -> None:
    bench = Bench(requests_per_minute=60, tokens_per_minute=6000)
    await bench.time.run(*[bench.request(tokens) for tokens in (300, 10, 10, 10)])
    assert bench.started_s == [0, 3, 4, 5]


@pytest.mark.parametrize(("used", "second_s"), [(300, 3), (50, 0.5), (0, 0.0), (100, 1)])
async def test_the_estimate_is_corrected_by_what_was_billed(used: float, second_s: float) -> None:
    bench = Bench(tokens_per_minute=6000)
    await bench.time.run(bench.request(100, used=used))
    await bench.time.run(bench.request(100))
    assert bench.started_s == [0, second_s]


async def test_a_second_correction_takes_the_place_of_the_first() -> None:
    bench = Bench(tokens_per_minute=6000)
    async with bench.quota.slot(100) as slot:
        slot.used(900)
        slot.used(200)
    await bench.time.run(bench.request())
    assert bench.started_s == [2]


async def test_a_request_beyond_a_whole_minute_goes_and_the_next_one_pays() -> None:
    bench = Bench(tokens_per_minute=6000)
    await bench.time.run(bench.request(12_000), bench.request(1))
    assert bench.started_s == [0, 120]


# --- Places ---


async def test_no_more_are_in_flight_than_allowed() -> None:
    bench = Bench(max_in_flight=3)
    await bench.time.run(*[bench.request(takes_s=1) for _ in range(7)])
    assert bench.started_s == [0, 0, 0, 1, 1, 1, 2]
    assert (bench.most_in_flight, bench.quota.in_flight) == (3, 0)


async def test_a_request_that_fails_gives_its_place_back() -> None:
    bench = Bench(max_in_flight=1)

    async def fails() -> None:
        with suppress(ValueError):
            async with bench.quota.slot(0):
                raise ValueError

    await bench.time.run(fails(), fails(), bench.request())
    assert bench.quota.in_flight == 0


async def test_waiters_are_served_in_the_order_they_came() -> None:
    bench = Bench(tokens_per_minute=6000, max_in_flight=2)
    sizes = [100, 5000, 10, 10, 4000, 10]
    work = [bench.request(size, takes_s=7, name=n) for n, size in enumerate(sizes)]
    await bench.time.run(*work)
    assert bench.order == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("waits_for", ["a place", "the rate"])
async def test_a_waiter_that_is_cancelled_holds_up_nobody(waits_for: str) -> None:
    bench = Bench(
        max_in_flight=1 if waits_for == "a place" else 9,
        requests_per_minute=None if waits_for == "a place" else 60,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(bench.quota.slot(0))
        first, second = (asyncio.ensure_future(bench.request(name=name)) for name in "ab")
        await bench.time.settle()
        first.cancel()
        await bench.time.settle()
        assert (first.cancelled(), bench.quota.in_flight) == (True, 1)
    await bench.time.run(asyncio.wait_for(second, None), bench.request(name="c"))
    assert (bench.order, bench.quota.in_flight) == (["b", "c"], 0)


async def test_a_cancelled_waiter_is_charged_nothing() -> None:
    bench = Bench(tokens_per_minute=6000)
    await bench.time.run(bench.request(100))
    waiter = asyncio.ensure_future(bench.request(10_000))
    await bench.time.settle()
    waiter.cancel()
    await bench.time.run(bench.request(100))
    assert bench.started_s == [0, 1]


async def test_drained_waits_for_all_in_flight() -> None:
    bench = Bench(max_in_flight=2)
    ended_s: list[float] = []

    async def drained() -> None:
        await bench.time.settle()
        await bench.quota.drained()
        ended_s.append(bench.time.now_s)

    await bench.time.run(bench.request(takes_s=3), bench.request(takes_s=5), drained())
    assert ended_s == [5]
    await bench.quota.drained()


# --- What it learns ---


async def test_an_adaptive_quota_starts_low_and_grows_by_success() -> None:
    bench = Bench(adaptive=True, max_in_flight=7)
    work = [bench.request(takes_s=1, then=Quota.succeeded) for _ in range(18)]
    await bench.time.run(*work)
    assert bench.started_s == [0] * 4 + [1] * 7 + [2] * 7


@pytest.mark.parametrize("adaptive", [True, False])
async def test_a_small_bound_is_kept_from_the_start(adaptive: bool) -> None:
    bench = Bench(adaptive=adaptive, max_in_flight=2)
    await bench.time.run(*[bench.request(takes_s=1, then=Quota.succeeded) for _ in range(6)])
    assert bench.most_in_flight == 2


async def places(bench: Bench) -> int:
    """How many can start now."""
    bench.most_in_flight = 0
    await bench.time.run(*[bench.request(takes_s=1) for _ in range(40)])
    return bench.most_in_flight


async def test_a_429_halves_the_number_in_flight_down_to_one() -> None:
    bench = Bench(adaptive=True)
    seen = []
    for _ in range(4):
        seen.append(await places(bench))
        bench.time.now_s += 100  # the last pause is over
        bench.quota.throttled(None)
    assert seen == [4, 2, 1, 1]
    bench.quota.succeeded()
    assert await places(bench) == 2


async def test_a_volley_of_429s_counts_once() -> None:
    bench = Bench(adaptive=True)
    for _ in range(5):
        bench.quota.throttled(2.0)
    assert await places(bench) == 2


async def test_without_adaptation_a_429_only_pauses() -> None:
    bench = Bench(max_in_flight=8)
    bench.quota.throttled(None)
    bench.quota.succeeded()
    assert await places(bench) == 8


@pytest.mark.parametrize(("retry_after_s", "start_s"), [(None, 1), (30.0, 30), (0.0, 0.1)])
async def test_a_429_pauses_everybody(retry_after_s: float | None, start_s: float) -> None:
    bench = Bench(requests_per_minute=6000)
    bench.quota.throttled(retry_after_s)
    await bench.time.run(*[bench.request() for _ in range(2)])
    assert bench.started_s == [start_s, start_s + 0.01]


async def test_a_429_while_others_wait_holds_them_too() -> None:
    bench = Bench(requests_per_minute=60)
    throttled = bench.request(takes_s=0.5, then=lambda quota: quota.throttled(20))
    await bench.time.run(throttled, bench.request(), bench.request())
    assert bench.started_s == [0, 20.5, 21.5]


async def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    bench = Bench()
    bench.quota.throttled(30.0)
    bench.quota.throttled(1.0)
    await bench.time.run(bench.request())
    assert bench.started_s == [30]


# --- Together ---


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 9)), min_size=1, max_size=30),
    st.integers(1, 9),
    st.booleans(),
)
async def test_all_are_served_in_order_and_within_every_limit(
    work: list[tuple[int, int]], places: int, adaptive: bool
) -> None:
    bench = Bench(
        requests_per_minute=60, tokens_per_minute=60_000, max_in_flight=places, adaptive=adaptive
    )
    await bench.time.run(
        *[
            bench.request(tokens, takes_s=takes_s, name=n, then=Quota.succeeded)
            for n, (tokens, takes_s) in enumerate(work)
        ]
    )
    assert bench.order == list(range(len(work)))
    assert (bench.quota.in_flight, bench.most_in_flight <= places) == (0, True)
    starts = bench.started_s
    for n in range(1, len(work)):
        assert starts[n] - starts[n - 1] >= max(1, work[n - 1][0] / 1000) - 1e-5
