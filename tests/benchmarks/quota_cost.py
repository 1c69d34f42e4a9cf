"""What one pass through the limiter costs, with ten thousand waiting, on a real event loop."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from omni_batch.config import QuotaConfig
from omni_batch.quota import RateLimiter
from tests.benchmarks.quota_figures import Figures

_WAITING = 10_000
_PLACES = 16
_ROUNDS = 5

Gate = Callable[[], AbstractAsyncContextManager[object]]

TARGETS = {"cost_us": 20.0}


def measure() -> Figures:
    """CPU microseconds of each pass, above those of the same tasks without a gate."""
    bare_us = _best_us(lambda: nullcontext)
    return {
        "cost_us": _best_us(_unlimited) - bare_us,
        "cost_paced_us": _best_us(_paced) - bare_us,
        "semaphore_us": _best_us(_semaphore) - bare_us,
    }


def _unlimited() -> Gate:
    quota = RateLimiter(QuotaConfig(max_in_flight=_PLACES, adaptive=False))
    return lambda: quota.permit(lambda: 100)


def _paced() -> Gate:
    """Every start waits for a timer of its own, as it does under a real limit."""
    quota = RateLimiter(
        QuotaConfig(requests_per_minute=1e7, tokens_per_minute=1e12, max_in_flight=_PLACES)
    )
    return lambda: quota.permit(lambda: 100)


def _semaphore() -> Gate:
    semaphore = asyncio.Semaphore(_PLACES)
    return lambda: semaphore


def _best_us(make: Callable[[], Gate]) -> float:
    return min(asyncio.run(_pass_all(make)) for _ in range(_ROUNDS))


async def _pass_all(make: Callable[[], Gate]) -> float:
    gate = make()

    async def one() -> None:
        async with gate():
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(one()) for _ in range(_WAITING)]
    started_s = time.process_time()
    await asyncio.gather(*tasks)
    return (time.process_time() - started_s) / _WAITING * 1e6
