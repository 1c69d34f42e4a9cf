"""The line in front of one endpoint: who goes next. The event loop is its clock.

Items are served in the order they came, so a large one is not passed over for ever. What a request
will use is charged before it starts and corrected when it ends; a request larger than a whole
window goes, and those behind it pay by waiting.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType

from omni_batch.config import QuotaConfig
from omni_batch.errors import EndpointError
from omni_batch.pace import Learned, Pace, Told
from omni_batch.quota.breaker import Breaker
from omni_batch.quota.limits import Limits, Start

_LEAST_WAIT_S = 0.002  # a timer for each of thousands a second would cost more than they do
_ESTIMATE_AGAIN_S = 1.0


class Quota:
    """What may be sent to one endpoint and model, shared by all that send.

    Args:
        config, learned: as for `Limits`.
    """

    def __init__(self, config: QuotaConfig, learned: Learned | None = None) -> None:
        self._limits = Limits(config, learned)
        self._line: deque[tuple[asyncio.Future[None], Slot]] = deque()
        self._queued_tokens = 0.0
        self._flying: set[Slot] = set()
        self._estimated_at_s = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._freed = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._flying)

    @property
    def waiting(self) -> int:
        """Requests in the line."""
        return len(self._line)

    @property
    def breaker(self) -> Breaker:
        """Whether the endpoint is there at all."""
        return self._limits.breaker

    def slot(self, expected_tokens: Callable[[], float], who: object = None) -> "Slot":
        """The right to send one request: `async with quota.slot(lambda: tokens) as slot`.

        Args:
            expected_tokens: asked again while the request waits and runs, as estimates get better.
            who: the item; failures of several items make an outage.
        """
        return Slot(self, self._limits, expected_tokens, who)

    def backlog_s(self, now_s: float) -> float:
        """About how long one more request would wait."""
        return self._limits.backlog_s(now_s, self.in_flight, self.waiting, self._queued_tokens)

    def wants_probe(self, now_s: float) -> bool:
        """Whether it is down and nobody in the line would find out that it is not any more."""
        breaker = self.breaker
        return breaker.is_open and not self.waiting and breaker.wait_s(now_s) == 0

    def learned(self) -> Learned:
        """What the next run should start with."""
        return self._limits.learned()

    def pace(self, endpoint: str, now_s: float, closed: str | None = None) -> Pace:
        """How things stand."""
        return self._limits.pace(endpoint, now_s, self.in_flight, self.waiting, closed)

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        while self.in_flight:
            self._freed.clear()
            await self._freed.wait()

    def turn_away(self, reason: Exception) -> None:
        """Send everybody in the line away with this error."""
        while self._line:
            future, slot = self._line.popleft()
            self._queued_tokens -= slot.queued_tokens
            if not future.done():
                future.set_exception(reason)

    # --- For Slot ---

    async def enter(self, slot: "Slot") -> None:
        """Wait in the line until it is the slot's turn."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((future, slot))
        self._queued_tokens += slot.queued_tokens
        if len(self._line) == 1:
            self.serve()
        try:
            await future
        except asyncio.CancelledError:
            if slot in self._flying:  # it was served and cancelled in the same moment
                slot.used(0)
                self.leave(slot)
            raise

    def leave(self, slot: "Slot") -> None:
        """Give the place back."""
        self._flying.discard(slot)
        self._freed.set()
        self.serve()

    def serve(self) -> None:
        """Start all that may start now, and set the alarm for the next."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._estimate_again()
        while self._line and self.in_flight < self._limits.places:
            now_s = _now_s()
            if (wait_s := self._limits.wait_s(now_s)) > 0:
                alarm_s = now_s + max(wait_s, _LEAST_WAIT_S)
                self._alarm = asyncio.get_running_loop().call_at(alarm_s, self.serve)
                return
            future, slot = self._line.popleft()
            self._queued_tokens -= slot.queued_tokens
            if not future.done():
                slot.start(now_s)
                self._flying.add(slot)
                future.set_result(None)

    def _estimate_again(self) -> None:
        """Charge what is under way by what is known now: first guesses are the worst."""
        now_s = _now_s()
        if now_s - self._estimated_at_s >= _ESTIMATE_AGAIN_S:
            self._estimated_at_s = now_s
            self._limits.correct(sum(slot.gap() for slot in self._flying))


class Slot:
    """The right to one request, from the moment it may start until it has ended.

    An `EndpointError` that leaves the block tells the quota why the request was refused.
    """

    def __init__(
        self, quota: Quota, limits: Limits, expected_tokens: Callable[[], float], who: object
    ) -> None:
        self._quota, self._limits = quota, limits
        self._expected_tokens = expected_tokens
        self._charged_tokens = self.queued_tokens = expected_tokens()
        self._used = False
        self._who = who
        self._start: Start | None = None

    @property
    def held_s(self) -> int | None:
        """How long the service should hold the request rather than call it a surge."""
        return self._start.held_s if self._start else None

    async def __aenter__(self) -> "Slot":
        await self._quota.enter(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        now_s = _now_s()
        if self._start is not None:
            if isinstance(error, EndpointError):
                self._limits.refused(self._start, self._who, error, now_s)
                if not self._used:
                    self.used(0)
            self._limits.ended(now_s - self._start.at_s)
        self._quota.leave(self)

    def admitted(self, told: Told | None = None) -> None:
        """The service has begun to answer."""
        self._limits.admitted(told, _now_s())
        self._quota.serve()

    def used(self, tokens: float) -> None:
        """Correct the estimate by what was billed; nothing is, for a refusal."""
        more = tokens - self._charged_tokens
        self._limits.used(more if self._used else tokens, more)
        self._charged_tokens, self._used = tokens, True

    # --- For Quota ---

    def start(self, now_s: float) -> None:
        """It is its turn."""
        self._charged_tokens = self._expected_tokens()
        self._start = self._limits.start(self._charged_tokens, now_s)

    def gap(self) -> float:
        """How many tokens more are expected by now than were charged, which are charged thereby."""
        if self._used:
            return 0.0
        expected_tokens = self._expected_tokens()
        gap = expected_tokens - self._charged_tokens
        self._charged_tokens = expected_tokens
        return gap


def _now_s() -> float:
    return asyncio.get_running_loop().time()
