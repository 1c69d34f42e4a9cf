"""What is stated is a ceiling, in each minute and each second, whatever arrives when."""

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.config import QuotaConfig
from omni_batch.quota import RateLimiter
from tests.support import virtual_time

_MINUTE_S = 60.0

arrivals = st.lists(st.tuples(st.floats(0, 150), st.integers(1, 30)), min_size=1, max_size=12)
"""Moments, and how many requests come then."""


def starts_of(
    quota: RateLimiter, come: list[tuple[float, int]], takes_s: float = 0.3
) -> list[float]:
    """When each request started, in order."""
    started_s: list[float] = []

    async def one(at_s: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(at_s)
        async with quota.permit(lambda: 100) as permit:
            started_s.append(loop.time())
            permit.admitted()
            await asyncio.sleep(takes_s)
            permit.used(100)

    async def main() -> None:
        await asyncio.gather(*[one(at_s) for at_s, number in come for _ in range(number)])

    virtual_time.run(main())
    return started_s


def most_within(width_s: float, starts_s: list[float]) -> int:
    """The most starts in any stretch of time, both of its ends included."""
    return max(sum(first <= other <= first + width_s for other in starts_s) for first in starts_s)


@settings(max_examples=60, deadline=None)
@given(come=arrivals, per_minute=st.integers(1, 900), adaptive=st.booleans())
def test_requests_never_pass_what_is_stated(
    come: list[tuple[float, int]], per_minute: int, adaptive: bool
) -> None:
    quota = QuotaConfig(requests_per_minute=per_minute, max_in_flight=1000, adaptive=adaptive)
    starts_s = starts_of(RateLimiter(quota), come)
    assert most_within(_MINUTE_S, starts_s) <= per_minute
    assert most_within(1.0, starts_s) <= math.ceil(per_minute / 60)


@settings(max_examples=60, deadline=None)
@given(come=arrivals, per_minute=st.integers(300, 60_000))
def test_tokens_never_pass_what_is_stated_by_more_than_one_request(
    come: list[tuple[float, int]], per_minute: int
) -> None:
    quota = QuotaConfig(tokens_per_minute=per_minute, max_in_flight=1000)
    starts_s = starts_of(RateLimiter(quota), come)
    assert 100 * (most_within(_MINUTE_S, starts_s) - 1) <= per_minute


@pytest.mark.parametrize("per_minute", [7, 40, 60, 600])
def test_and_all_of_it_is_used(per_minute: int) -> None:
    quota = RateLimiter(QuotaConfig(requests_per_minute=per_minute, max_in_flight=1000))
    starts_s = starts_of(quota, [(0.0, 3 * per_minute)])
    assert starts_s[-1] <= 1.01 * _MINUTE_S * (3 * per_minute - 1) / per_minute + 1


class LateLoop(virtual_time.VirtualTimeLoop):
    """A loop whose timers go off late, each by another few milliseconds."""

    _turn = 0

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        self._turn += 1
        late_s = (0.0, 0.004, 0.031, 0.002, 0.017)[self._turn % 5]
        return super().call_at(when + late_s, callback, *args, context=context)


def test_a_busy_loop_makes_up_for_its_lateness_and_passes_nothing() -> None:
    quota = QuotaConfig(requests_per_minute=600, max_in_flight=1000)
    started_s: list[float] = []

    async def one(limiter: RateLimiter) -> None:
        async with limiter.permit(lambda: 1):
            started_s.append(asyncio.get_running_loop().time())

    async def main() -> None:
        limiter = RateLimiter(quota)
        await asyncio.gather(*[one(limiter) for _ in range(600)])

    with asyncio.Runner(loop_factory=LateLoop) as runner:
        runner.run(main())
    assert most_within(1.0, started_s) <= 10
    assert most_within(_MINUTE_S, started_s) <= 600
    assert started_s[-1] <= 63
