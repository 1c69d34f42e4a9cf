"""A service with limits in virtual time: what it lets in, what it refuses, how it fails.

It is written from the outside, from what such services are known to do, and shares no code with the
limiter that is measured against it.
"""

import asyncio
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from omni_batch.errors import EndpointError, Limit, RateLimited, StreamError, Unavailable
from omni_batch.simulator.checks.quota import BurstLimit
from omni_batch.simulator.checks.windows import Window, window_of
from tests.benchmarks.quota_terms import Diary, Item, Terms

TRAVEL_S = 0.020
"""One way, and some jitter; a refusal takes about 50 ms there and back."""
_FIRST_BYTE_AFTER = 0.1
"""Share of an answer's time that passes before its first byte."""


def windows(terms: Terms, per_minute: float | None, burst: float | None = None) -> list[Window]:
    """What counts one limit."""
    return [] if per_minute is None else [window_of(terms.window, per_minute, burst)]


class Service:
    """Answers requests by its terms and keeps a diary."""

    def __init__(self, terms: Terms, seed: int) -> None:
        self.terms, self.diary = terms, Diary()
        self._rng = random.Random(f"{seed}/service")
        self._requests = windows(terms, terms.requests_per_minute, terms.burst)
        self._tokens = windows(terms, terms.tokens_per_minute)
        self._phase_s = self._rng.uniform(0, 60) if terms.any_phase else 0.0
        self._growth = BurstLimit(terms.burst_growth_per_s)
        self._in_flight = 0

    @asynccontextmanager
    async def exchange(self, item: Item) -> AsyncIterator["Stream"]:
        """Send a request; begins with the headers of the answer.

        Raises:
            EndpointError: it was refused, or nobody is there.
        """
        self.diary.sent_s.append(now_s())
        await self._travel()
        if (refusal := self._judge(item)) is not None:
            await self._travel()
            raise refusal
        self._count(+1)
        try:
            await asyncio.sleep(_FIRST_BYTE_AFTER * item.latency_s)
            if (down := self._outage()) is not None:
                self.diary.faults += 1
                raise down
            fault = self._fault()
            if fault == "error_500":
                raise Unavailable("internal error", http_status=500)
            yield Stream(self, item, fault)
        finally:
            self._count(-1)

    def spend(self, tokens: float) -> None:
        """Count tokens that were read or written."""
        self.diary.tokens.append((now_s(), tokens))
        for window in self._tokens:
            window.take(tokens, self._clock_s())

    async def serve_others(self, mean_tokens: float) -> None:
        """Another client takes its share, evenly, and does not mind a refusal."""
        if self.terms.others_s is None or self.terms.requests_per_minute is None:
            return
        begin_s, end_s = self.terms.others_s
        per_s = self.terms.others_share * self.terms.requests_per_minute / 60
        for number in range(int((end_s - begin_s) * per_s)):
            await asyncio.sleep(begin_s + number / per_s - now_s())
            if self._limit() is None:
                self._use(mean_tokens)

    def _judge(self, item: Item) -> EndpointError | None:
        if (down := self._outage()) is not None:
            self.diary.down_s.append(now_s())
            return down
        if (limit := self._limit()) is not None:
            self.diary.refused.append((now_s(), limit))
            if self.terms.refused_count:
                self._take_request()
            error = RateLimited(limit, http_status=429, retry_after_s=self._retry_after_s())
            error.limit = limit
            return error
        self.diary.admitted_s.append(now_s())
        self._use(0)
        self.spend(item.prompt_tokens)
        return None

    def _outage(self) -> Unavailable | None:
        begin_s, end_s = self.terms.outage_s or (0, 0)
        if not begin_s <= now_s() < end_s:
            return None
        if now_s() < (begin_s + end_s) / 2:
            return Unavailable("connection refused")
        return Unavailable("overloaded", http_status=503)

    def _limit(self) -> Limit | None:
        most = self.terms.most_in_flight
        if not all(window.wait_s(1, self._clock_s()) == 0 for window in self._requests):
            return "requests"
        if not all(window.wait_s(1, self._clock_s()) == 0 for window in self._tokens):
            return "tokens"
        if most is not None and self._in_flight >= most:
            return "unknown"
        return None if self._growth.fits("", now_s()) else "burst"

    def _retry_after_s(self) -> float | None:
        if not self.terms.retry_after:
            return None
        waits_s = [window.wait_s(1, self._clock_s()) for window in (*self._requests, *self._tokens)]
        return max(1.0, math.ceil(max(waits_s)))

    def _use(self, tokens: float) -> None:
        self._take_request()
        for window in self._tokens:
            window.take(tokens, self._clock_s())

    def _take_request(self) -> None:
        for window in self._requests:
            window.take(1, self._clock_s())

    def _fault(self) -> str | None:
        lot = self._rng.random()
        for kind in ("cut", "stall", "error_500"):
            lot -= getattr(self.terms, kind)
            if lot < 0:
                self.diary.faults += 1
                return kind
        return None

    def _count(self, change: int) -> None:
        self._in_flight += change
        self.diary.in_flight.append((now_s(), self._in_flight))

    def _clock_s(self) -> float:
        return now_s() + self._phase_s

    async def _travel(self) -> None:
        await asyncio.sleep(TRAVEL_S + self._rng.uniform(0, self.terms.jitter_s))


class Stream:
    """The rest of an answer."""

    def __init__(self, service: Service, item: Item, fault: str | None) -> None:
        self._service, self._item, self._fault = service, item, fault
        self._share = random.Random(f"{item.number}/share").random()
        self.written = 0.0
        """Completion tokens that came before the end."""

    async def rest(self) -> int:
        """Read to the end; returns the tokens billed.

        Raises:
            StreamError: it was cut. A stall has no end.
        """
        left_s = (1 - _FIRST_BYTE_AFTER) * self._item.latency_s
        written = self._item.completion_tokens
        down_at_s = (self._service.terms.outage_s or (math.inf, 0))[0]
        if now_s() <= down_at_s < now_s() + left_s:
            self._service.diary.faults += 1
            await self._stop_after(down_at_s - now_s(), 0)
            raise StreamError("connection reset")
        if self._fault is None:
            await self._stop_after(left_s, written)
            return self._item.tokens
        await self._stop_after(self._share * left_s, self._share * written)
        if self._fault == "cut":
            raise StreamError("cut")
        stalls = self._service.diary.stalls
        stalls[self._item.number] = stalls.get(self._item.number, 0) + 1
        await asyncio.Event().wait()
        return 0  # never: only the reader ends a stall

    async def _stop_after(self, seconds: float, tokens: float) -> None:
        await asyncio.sleep(seconds)
        self.written = tokens
        self._service.spend(tokens)


def now_s() -> float:
    """The loop's time."""
    return asyncio.get_running_loop().time()
