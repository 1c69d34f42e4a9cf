"""How fast requests may start. Time is virtual: it moves when everybody waits."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.config import QuotaConfig
from omni_batch.endpoint_status import Learned
from omni_batch.errors import EndpointError, Limit, RateLimited, Rejected, ServerLimits, Unavailable
from omni_batch.quota import Permit, RateLimiter
from tests.support import virtual_time


def throttled(
    limit: Limit = "requests",
    retry_after_s: float | None = None,
    server_limits: ServerLimits | None = None,
) -> RateLimited:
    error = RateLimited("slow down", retry_after_s=retry_after_s, server_limits=server_limits)
    error.limit = limit
    return error


def about(times_s: list[float]) -> Any:
    """Starts keep a little more distance than the limit asks for, up to a hundredth."""
    return pytest.approx(times_s, rel=0.01)


def now_s() -> float:
    return asyncio.get_running_loop().time()


class Bench:
    """A quota, and what happened when."""

    def __init__(self, learned: Learned | None = None, **config: Any) -> None:
        config = {"adaptive": False, "max_in_flight": 1000, **config}
        self.quota = RateLimiter(QuotaConfig(**config), learned)
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
        error: EndpointError | None = None,
        server_limits: ServerLimits | None = None,
    ) -> None:
        """Send one: it is let in, or fails with the error after a round trip."""
        with suppress(EndpointError):
            async with self.quota.permit(lambda: tokens, name) as permit:
                self.started_s.append(round(now_s(), 6))
                self.order.append(name)
                self.most_in_flight = max(self.most_in_flight, self.quota.in_flight)
                if error is not None:
                    await asyncio.sleep(takes_s)
                    raise error
                permit.admitted(server_limits)
                await asyncio.sleep(takes_s)
                if used is not None:
                    permit.used(used)

    def run(self, *work: Coroutine[Any, Any, Any]) -> list[float]:
        """Do it all at once; returns when each began."""
        virtual_time.run(together(*work))
        return self.started_s


async def together(*work: Coroutine[Any, Any, Any]) -> None:
    await asyncio.gather(*work)


async def after(seconds: float, work: Coroutine[Any, Any, Any]) -> None:
    await asyncio.sleep(seconds)
    await work


# --- EndpointStatus ---


def test_without_limits_all_start_at_once() -> None:
    bench = Bench()
    assert bench.run(*[bench.request(10**9) for _ in range(50)]) == [0] * 50


def test_requests_start_evenly() -> None:
    bench = Bench(requests_per_minute=60)
    assert bench.run(*[bench.request() for _ in range(5)]) == about([0, 1, 2, 3, 4])


def test_idle_time_is_not_saved_up_for_a_burst() -> None:
    bench = Bench(requests_per_minute=60)
    later = [after(100, bench.request()) for _ in range(3)]
    assert bench.run(bench.request(), *later) == about([0, 100, 101, 102])


def test_tokens_are_paced_by_their_estimate() -> None:
    bench = Bench(tokens_per_minute=6000)  # 100 a second
    work = [bench.request(tokens) for tokens in (300, 100, 50, 50)]
    assert bench.run(*work) == about([0, 3, 4, 4.5])


def test_the_slower_of_both_limits_counts() -> None:
    bench = Bench(requests_per_minute=60, tokens_per_minute=6000)
    work = [bench.request(tokens) for tokens in (300, 10, 10, 10)]
    assert bench.run(*work) == about([0, 3, 4, 5])


@pytest.mark.parametrize(("used", "second_s"), [(300, 3), (50, 0.5), (0, 0.0), (100, 1)])
def test_the_estimate_is_corrected_by_what_was_billed(used: float, second_s: float) -> None:
    bench = Bench(tokens_per_minute=6000)

    async def one_after_the_other() -> None:
        await bench.request(100, used=used)
        await bench.request(100)

    assert bench.run(one_after_the_other()) == about([0, second_s])


def test_a_second_correction_takes_the_place_of_the_first() -> None:
    bench = Bench(tokens_per_minute=6000)

    async def twice() -> None:
        async with bench.quota.permit(lambda: 100) as permit:
            permit.used(900)
            permit.used(200)
        await bench.request()

    assert bench.run(twice()) == about([2])


def test_what_is_under_way_is_charged_anew_when_the_estimates_get_better() -> None:
    bench = Bench(tokens_per_minute=6000)
    expected = 100.0

    async def first() -> None:
        async with bench.quota.permit(lambda: expected):
            await asyncio.sleep(60)

    async def learn() -> None:
        nonlocal expected
        await asyncio.sleep(0.5)
        expected = 700.0

    assert bench.run(first(), learn(), bench.request(), bench.request()) == about([7, 7])


def test_what_was_refused_gives_its_tokens_back() -> None:
    bench = Bench(tokens_per_minute=6000)

    async def one_after_the_other() -> None:
        await bench.request(6000, error=Rejected("no"))
        await bench.request(1)

    assert bench.run(one_after_the_other()) == [0, 0]


def test_a_request_beyond_a_whole_minute_goes_and_the_next_one_pays() -> None:
    bench = Bench(tokens_per_minute=6000)
    assert bench.run(bench.request(12_000), bench.request(1)) == about([0, 120])


# --- Places ---


def test_no_more_are_in_flight_than_allowed() -> None:
    bench = Bench(max_in_flight=3)
    work = [bench.request(takes_s=1) for _ in range(7)]
    assert bench.run(*work) == [0, 0, 0, 1, 1, 1, 2]
    assert (bench.most_in_flight, bench.quota.in_flight) == (3, 0)


def test_a_request_that_fails_gives_its_place_back() -> None:
    bench = Bench(max_in_flight=1)

    async def fails() -> None:
        with suppress(ValueError):
            async with bench.quota.permit(lambda: 0):
                raise ValueError

    bench.run(fails(), fails(), bench.request())
    assert bench.quota.in_flight == 0


def test_waiters_are_served_in_the_order_they_came() -> None:
    bench = Bench(tokens_per_minute=6000, max_in_flight=2)
    sizes = [100, 5000, 10, 10, 4000, 10]
    bench.run(*[bench.request(size, takes_s=7, name=n) for n, size in enumerate(sizes)])
    assert bench.order == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("waits_for", ["a place", "the rate"])
def test_a_waiter_that_is_cancelled_holds_up_nobody(waits_for: str) -> None:
    bench = Bench(
        max_in_flight=1 if waits_for == "a place" else 9,
        requests_per_minute=None if waits_for == "a place" else 60,
        tokens_per_minute=6000,
    )

    async def cancels_the_first() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(bench.quota.permit(lambda: 0))
            large, small = (
                asyncio.ensure_future(bench.request(tokens, name=tokens)) for tokens in (9000, 2)
            )
            await asyncio.sleep(0.5)
            large.cancel()
        await asyncio.gather(small, bench.request(name=3))

    bench.run(cancels_the_first())
    assert (bench.order, bench.quota.in_flight, bench.quota.waiting) == ([2, 3], 0, 0)
    assert max(bench.started_s) <= 2.1  # and it was charged nothing


def test_one_that_is_served_and_cancelled_at_once_gives_its_place_back() -> None:
    bench = Bench(max_in_flight=1)

    async def served_and_cancelled() -> None:
        async with bench.quota.permit(lambda: 0):
            waiter = asyncio.ensure_future(bench.request(name="cancelled"))
            await asyncio.sleep(1)
        waiter.cancel()  # its turn has come in this very moment
        await bench.request(name="next")

    bench.run(served_and_cancelled())
    assert (bench.order, bench.quota.in_flight) == (["next"], 0)


def test_drained_waits_for_all_in_flight() -> None:
    bench = Bench(max_in_flight=2)

    async def drained() -> float:
        await bench.quota.drained()  # nothing has begun
        both = asyncio.gather(bench.request(takes_s=3), bench.request(takes_s=5))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await bench.quota.drained()
        ended_s = now_s()
        await both
        return ended_s

    assert virtual_time.run(drained()) == 5


# --- What it learns ---


def test_with_an_unknown_limit_it_starts_low_and_grows_by_what_is_let_in() -> None:
    bench = Bench(adaptive=True, max_in_flight=7)
    assert bench.run(*[bench.request(takes_s=1) for _ in range(18)]) == [0] * 7 + [1] * 7 + [2] * 4


def test_a_known_rate_begins_at_half_and_is_whole_after_a_second() -> None:
    bench = Bench(adaptive=True, requests_per_minute=6000)
    starts = bench.run(*[bench.request(takes_s=1) for _ in range(400)])
    per_second = [sum(second <= start < second + 1 for start in starts) for second in range(5)]
    assert 50 <= per_second[0] <= 75
    assert per_second[1:4] == pytest.approx([99, 99, 99], abs=2)


def test_after_a_long_silence_it_begins_slowly_again() -> None:
    bench = Bench(adaptive=True, requests_per_minute=6000)
    first = [bench.request() for _ in range(800)]
    starts = bench.run(*first, *[after(60, bench.request()) for _ in range(100)])
    assert sum(60 <= start < 61 for start in starts) <= 75


@pytest.mark.parametrize("adaptive", [True, False])
def test_a_small_bound_is_kept_from_the_start(adaptive: bool) -> None:
    bench = Bench(adaptive=adaptive, max_in_flight=2)
    bench.run(*[bench.request(takes_s=1) for _ in range(6)])
    assert bench.most_in_flight == 2


def test_a_429_for_an_unknown_reason_cuts_the_number_in_flight() -> None:
    bench = Bench(adaptive=True)
    crowd = [bench.request(takes_s=5) for _ in range(16)]
    refused = [after(1, bench.request(error=throttled("unknown"))) for _ in range(3)]
    later = [after(20, bench.request(takes_s=5)) for _ in range(40)]
    bench.run(*crowd, *refused)
    bench.most_in_flight = 0
    bench.run(*later)
    assert 8 <= bench.most_in_flight <= 16


def serve(bench: Bench, true_per_s: float, seconds: float, limit: Limit = "requests") -> list[int]:
    """A service with a reserve of two seconds; returns 429s in each ten seconds."""
    level, filled_s = 2 * true_per_s, 0.0
    refused: list[float] = []

    async def ask() -> None:
        nonlocal level, filled_s
        with suppress(EndpointError):
            async with bench.quota.permit(lambda: 1) as permit:
                level = min(2 * true_per_s, level + (now_s() - filled_s) * true_per_s)
                filled_s = now_s()
                await asyncio.sleep(0.05)
                if level < 1:
                    refused.append(now_s())
                    raise throttled(limit)
                level -= 1
                bench.started_s.append(now_s())
                permit.admitted()
                permit.used(1)

    async def all_the_time() -> None:
        async with asyncio.TaskGroup() as group:
            while now_s() < seconds:
                group.create_task(ask())
                await asyncio.sleep(0 if bench.quota.waiting < 20 else 0.2)

    bench.run(all_the_time())
    return [sum(ten <= at < ten + 10 for at in refused) for ten in range(0, int(seconds), 10)]


@pytest.mark.parametrize("limit", ["requests", "tokens"])
def test_a_rate_that_is_stated_too_high_is_found_out(limit: Limit) -> None:
    stated = {"requests": "requests_per_minute", "tokens": "tokens_per_minute"}[limit]
    config: dict[str, Any] = {stated: 1200}
    bench = Bench(adaptive=True, **config)
    refused = serve(bench, true_per_s=10, seconds=200, limit=limit)
    served = sum(100 <= start < 200 for start in bench.started_s)
    assert 920 <= served <= 1030
    assert sum(refused) <= 0.02 * len(bench.started_s)
    learned = bench.quota.learned()
    assert 560 <= (learned.requests_per_minute or learned.tokens_per_minute or 0) <= 660


def in_any(width_s: float, starts_s: list[float]) -> int:
    """The most starts within any stretch of time."""
    return max(
        sum(first <= other < first + width_s for other in starts_s[number:])
        for number, first in enumerate(starts_s)
    )


def test_what_is_stated_is_a_ceiling_also_where_nothing_is_refused() -> None:
    bench = Bench(adaptive=True, requests_per_minute=300)
    assert sum(serve(bench, true_per_s=10, seconds=400)) == 0
    assert in_any(60, bench.started_s) <= 300
    assert sum(100 <= start < 400 for start in bench.started_s) >= 1480
    assert bench.quota.learned() == Learned()


def test_to_explore_is_to_try_more_after_three_minutes() -> None:
    bench = Bench(adaptive=True, explore=True, requests_per_minute=300)
    refused = serve(bench, true_per_s=10, seconds=500)
    assert in_any(60, [start for start in bench.started_s if start < 180]) <= 300
    assert sum(400 <= start < 500 for start in bench.started_s) >= 900
    assert sum(refused) <= 0.02 * len(bench.started_s)


def test_without_adaptation_the_numbers_are_the_law() -> None:
    bench = Bench(requests_per_minute=900)
    assert sum(serve(bench, true_per_s=10, seconds=60)) > 0
    assert bench.quota.status("", 0).requests_per_minute == 900
    assert bench.quota.learned() == Learned()


def test_the_next_run_begins_with_what_was_learned() -> None:
    bench = Bench(Learned(requests_per_minute=600), adaptive=True, requests_per_minute=1200)
    assert sum(serve(bench, true_per_s=10, seconds=70)) == 0
    assert sum(20 <= start < 70 for start in bench.started_s) == pytest.approx(500, abs=7)


@pytest.mark.parametrize(("stated", "gap_s"), [(None, 0.1), (60, 1.0), (6000, 0.1)])
def test_a_service_that_names_its_limit_is_believed_up_to_what_is_stated(
    stated: float | None, gap_s: float
) -> None:
    bench = Bench(adaptive=True, requests_per_minute=stated)
    first = bench.request(server_limits=ServerLimits(requests_per_minute=600))
    starts = bench.run(first, *[after(1, bench.request()) for _ in range(40)])
    assert starts[-1] - starts[-2] == pytest.approx(gap_s, rel=0.01)


def test_a_service_with_nothing_left_is_left_alone_until_it_has() -> None:
    bench = Bench(adaptive=True)
    assert bench.run(
        bench.request(server_limits=ServerLimits(wait_s=7)),
        after(1, bench.request()),
        after(9, bench.request()),
    ) == [0, 7, 9]


# --- 429 ---


@pytest.mark.parametrize(("retry_after_s", "start_s"), [(None, 1), (30.0, 30), (0.0, 0.1)])
def test_a_429_pauses_everybody(retry_after_s: float | None, start_s: float) -> None:
    bench = Bench(requests_per_minute=60_000)
    refused = bench.request(error=throttled(retry_after_s=retry_after_s))
    assert bench.run(refused, after(0.01, bench.request())) == [0, pytest.approx(start_s)]


def test_pauses_get_longer_while_the_first_request_after_them_is_refused() -> None:
    bench = Bench(max_in_flight=1)
    starts = bench.run(*[bench.request(error=throttled()) for _ in range(7)])
    gaps = [round(late - early) for early, late in pairwise(starts)]
    assert gaps == [1, 2, 4, 8, 10, 10]


def test_a_volley_of_429s_counts_once() -> None:
    bench = Bench(adaptive=True, tokens_per_minute=600)
    volley = [bench.request(takes_s=5, error=throttled("requests")) for _ in range(5)]
    bench.run(*volley)
    assert bench.quota.status("", 9).rate_limited == {"requests": 5}
    assert bench.quota.status("", 9).paused_s <= 1


def test_a_first_429_at_the_stated_rate_costs_a_second_at_most() -> None:
    bench = Bench(adaptive=True, requests_per_minute=600)
    before = [bench.request(takes_s=0.05) for _ in range(100)]
    refused = bench.request(error=throttled(), takes_s=0.05)
    starts = bench.run(*before, refused, *[bench.request() for _ in range(100)])
    assert starts[-1] - starts[100] == pytest.approx(10, abs=1)
    assert bench.quota.learned() == Learned()


def test_429s_that_go_on_lower_the_rate() -> None:
    bench = Bench(adaptive=True, requests_per_minute=600)

    async def go_on() -> None:
        for _ in range(30):
            await bench.request(takes_s=0.05)
        for _ in range(3):
            await bench.request(error=throttled(), takes_s=0.05)

    bench.run(go_on())
    assert 300 <= (bench.quota.learned().requests_per_minute or 0) <= 550


def test_a_rate_that_was_lowered_is_back_within_three_minutes_of_peace() -> None:
    bench = Bench(Learned(requests_per_minute=300), adaptive=True, requests_per_minute=600)
    assert sum(serve(bench, true_per_s=20, seconds=240)) == 0
    assert sum(190 <= start < 240 for start in bench.started_s) >= 480
    assert bench.quota.learned() == Learned()


def test_a_surge_is_climbed_more_slowly_the_next_time_and_the_service_may_hold_requests() -> None:
    bench = Bench(adaptive=True, requests_per_minute=6000)
    held: list[int | None] = []

    async def surge() -> None:
        await bench.request(error=throttled("burst"))
        async with bench.quota.permit(lambda: 0) as permit:
            held.append(permit.held_s)

    bench.run(surge())
    assert held == [30]
    assert bench.quota.learned().burst_doubling_s == 1.5


# --- Outages ---


def test_an_endpoint_that_is_down_is_only_probed() -> None:
    bench = Bench()
    down = [bench.request(name=n, error=Unavailable("refused")) for n in range(5)]
    later = [after(0.5 + n / 100, bench.request(error=Unavailable("no"))) for n in range(9)]
    assert bench.run(*down, *later)[5:] == [1, 2, 4, 8, 13, 18, 23, 28, 33]
    assert bench.quota.breaker.is_open


def test_a_failure_while_it_is_down_costs_the_item_no_attempt() -> None:
    bench = Bench()
    errors = [Unavailable("refused") for _ in range(6)]
    bench.run(*[bench.request(name=n, error=error) for n, error in enumerate(errors)])
    assert [error.uses_attempt for error in errors] == [True] * 4 + [False] * 2


@pytest.mark.parametrize("error", [None, throttled(), Rejected("bad", http_status=400)])
def test_any_answer_ends_the_outage(error: EndpointError | None) -> None:
    bench = Bench()
    bench.run(*[bench.request(name=n, error=Unavailable("refused")) for n in range(5)])
    bench.run(after(9, bench.request(error=error)))
    assert not bench.quota.breaker.is_open


def test_one_item_that_always_fails_is_no_outage() -> None:
    bench = Bench()
    bench.run(*[bench.request(name="bad", error=Unavailable("refused")) for _ in range(50)])
    assert not bench.quota.breaker.is_open


def test_an_error_of_the_model_is_no_outage() -> None:
    bench = Bench()
    broken = [Unavailable("inference internal error", http_status=500) for _ in range(50)]
    bench.run(*[bench.request(name=n, error=error) for n, error in enumerate(broken)])
    assert not bench.quota.breaker.is_open


# --- Together ---


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 9)), min_size=1, max_size=30),
    st.integers(1, 9),
    st.booleans(),
)
def test_all_are_served_in_order_and_within_every_limit(
    work: list[tuple[int, int]], limit: int, adaptive: bool
) -> None:
    bench = Bench(
        requests_per_minute=60, tokens_per_minute=60_000, max_in_flight=limit, adaptive=adaptive
    )
    numbered: list[Callable[[], Coroutine[Any, Any, None]]] = [
        lambda n=n, tokens=tokens, takes_s=takes_s: bench.request(tokens, takes_s=takes_s, name=n)  # type: ignore[misc]
        for n, (tokens, takes_s) in enumerate(work)
    ]
    starts = bench.run(*[begin() for begin in numbered])
    assert bench.order == list(range(len(work)))
    assert (bench.quota.in_flight, bench.most_in_flight <= limit) == (0, True)
    for first in range(len(work)):
        for last in range(first + 1, len(work)):
            passed_s = starts[last] - starts[first]
            assert last - first <= passed_s + 1e-5
            assert sum(tokens for tokens, _ in work[first:last]) <= 1000 * (passed_s + 0.5) + 1e-2


def test_a_slot_is_what_the_quota_gives() -> None:
    bench = Bench()
    assert isinstance(bench.quota.permit(lambda: 1), Permit)
