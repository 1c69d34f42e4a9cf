"""How fast requests may start: one quota for an endpoint and model, shared by all that run.

Requests and tokens are paced evenly, because the service enforces a sixtieth of its limits of the
minute every second (Model Studio rate limits, 2026). Tokens are charged by estimate and corrected
by usage. The number in flight starts low, grows by success and is halved by 429. Waiters are served
in the order they came, so a large item is not passed over for ever.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from omni_batch.config import QuotaConfig

_FIRST_IN_FLIGHT = 4
_THROTTLED_PAUSE_S = 1.0
_LEAST_PAUSE_S = 0.1  # "Retry-After: 0" must not become a loop without a breath


class _Pacer:
    """Spreads units evenly over time; a charge moves the moment of the next free one."""

    def __init__(self, units_per_minute: float | None) -> None:
        self._seconds_per_unit = 60 / units_per_minute if units_per_minute else 0.0
        self._free_at_s = 0.0

    def wait_s(self, now_s: float) -> float:
        return max(0.0, self._free_at_s - now_s)

    def charge(self, units: float, now_s: float) -> None:
        self._free_at_s = max(self._free_at_s, now_s) + units * self._seconds_per_unit

    def correct(self, units: float) -> None:
        self._free_at_s += units * self._seconds_per_unit


class Slot:
    """The right to one request; say what it really used before giving it back."""

    def __init__(self, estimated_tokens: float, tokens: _Pacer) -> None:
        self._estimated_tokens = estimated_tokens
        self._tokens = tokens

    def used(self, tokens: float) -> None:
        """Correct the estimate by what was billed."""
        self._tokens.correct(tokens - self._estimated_tokens)
        self._estimated_tokens = tokens


class Quota:
    """Requests per minute, tokens per minute, and a number in flight.

    Args:
        config: None limits are unlimited here; the catalogue's have been filled in by the caller.
        clock, sleep: seconds; tests hand in their own time.
    """

    def __init__(
        self,
        config: QuotaConfig,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._requests = _Pacer(config.requests_per_minute)
        self._tokens = _Pacer(config.tokens_per_minute)
        self._paused_until_s = 0.0
        self._max_in_flight = config.max_in_flight
        self._adaptive = config.adaptive
        self._allowed = float(
            min(_FIRST_IN_FLIGHT, config.max_in_flight) if config.adaptive else config.max_in_flight
        )
        self._turn = asyncio.Lock()  # serves waiters in order
        self._room = asyncio.Event()
        self.in_flight = 0

    @asynccontextmanager
    async def slot(self, estimated_tokens: float) -> AsyncIterator[Slot]:
        """Wait for the quota, then hold one place in flight."""
        async with self._turn:
            await self._wait_for_room()
            await self._wait_for_rate()
            now_s = self._clock()
            self._requests.charge(1, now_s)
            self._tokens.charge(estimated_tokens, now_s)
            self.in_flight += 1
        try:
            yield Slot(estimated_tokens, self._tokens)
        finally:
            self.in_flight -= 1
            self._room.set()

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        while self.in_flight:
            self._room.clear()
            await self._room.wait()

    def succeeded(self) -> None:
        """A request went through: there may be room for one more."""
        if self._adaptive:
            self._allowed = min(self._max_in_flight, self._allowed + 1)
            self._room.set()

    def throttled(self, retry_after_s: float | None) -> None:
        """The service said 429: everybody waits, fewer go on."""
        now_s = self._clock()
        if self._adaptive and now_s >= self._paused_until_s:  # a volley of 429 counts once
            self._allowed = max(1.0, self._allowed / 2)
        pause_s = _THROTTLED_PAUSE_S if retry_after_s is None else retry_after_s
        pause_s = max(pause_s, _LEAST_PAUSE_S)
        self._paused_until_s = max(self._paused_until_s, now_s + pause_s)

    async def _wait_for_room(self) -> None:
        while self.in_flight >= int(self._allowed):
            self._room.clear()
            await self._room.wait()

    async def _wait_for_rate(self) -> None:
        while True:
            now_s = self._clock()
            pause_s = self._paused_until_s - now_s
            wait_s = max(pause_s, self._requests.wait_s(now_s), self._tokens.wait_s(now_s))
            if wait_s <= 0:
                return
            await self._sleep(wait_s)
