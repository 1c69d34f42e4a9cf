"""The queue in front of one endpoint: which request starts next. The event loop is its clock.

Items are served in the order they came, so a large one is not passed over for ever. What a request
will use is charged before it starts and corrected when it ends; a request larger than a whole
window goes, and those behind it pay by waiting.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType

from msgspec.structs import replace

from omni_batch.config import QuotaConfig
from omni_batch.endpoint_status import EndpointStatus, Held, Learned
from omni_batch.errors import EndpointError, ServerLimits
from omni_batch.quota.circuit_breaker import CircuitBreaker
from omni_batch.quota.policy import LimiterPolicy, Start
from omni_batch.quota.sharing import Turns, TurnTaker

_LEAST_WAIT_S = 0.002  # a timer for each of thousands a second would cost more than they do
_ESTIMATE_AGAIN_S = 1.0


class RateLimiter:
    """What may be sent to one endpoint and model, shared by all that send.

    Args:
        config, learned: as for `LimiterPolicy`.
        turns: shared with other runs that use the same account; None where there are none.
        defaults: numbers of `config` that are the catalogue's, by name.
    """

    def __init__(
        self,
        config: QuotaConfig,
        learned: Learned | None = None,
        turns: Turns | None = None,
        defaults: tuple[str, ...] = (),
    ) -> None:
        self._defaults = defaults
        self._limits = LimiterPolicy(config, learned, chosen="max_in_flight" in defaults)
        self._turns = (
            None if turns is None else TurnTaker(turns, self.serve, self._limits.turn_began)
        )
        self._queue: deque[tuple[asyncio.Future[None], Permit]] = deque()
        self._queued_tokens = 0.0
        self._in_flight: set[Permit] = set()
        self._estimated_at_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._released = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._in_flight)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def breaker(self) -> CircuitBreaker:
        """Whether the endpoint is there at all."""
        return self._limits.breaker

    def permit(self, expected_tokens: Callable[[], float], item_id: object = None) -> "Permit":
        """The right to send one request: `async with quota.permit(lambda: tokens) as permit`.

        Args:
            expected_tokens: asked again while the request waits and runs, as estimates get better.
            item_id: the item; failures of several items make an outage.
        """
        return Permit(self, self._limits, expected_tokens, item_id)

    def backlog_s(self, now_s: float) -> float:
        """About how long one more request would wait."""
        return self._limits.backlog_s(now_s, self.in_flight, self.waiting, self._queued_tokens)

    def wants_probe(self, now_s: float) -> bool:
        """Whether it is down and no waiting request would find out that it is up again."""
        breaker = self.breaker
        return breaker.is_open and not self.waiting and breaker.wait_s(now_s) == 0

    def learned(self) -> Learned:
        """What the next run should start with."""
        learned = self._limits.learned()
        found_now = learned != Learned() and not learned.handed_on
        return replace(learned, at=datetime.now(UTC)) if found_now else learned

    def status(self, endpoint: str, now_s: float, closed: str | None = None) -> EndpointStatus:
        """How the endpoint is used at this moment."""
        return replace(
            self._limits.status(endpoint, now_s),
            in_flight=self.in_flight,
            waiting=self.waiting,
            closed=closed,
            learned=self.learned(),
            held_by=self._held_by(now_s),
            defaults=self._defaults,
        )

    def _held_by(self, now_s: float) -> Held | None:
        if self.in_flight >= self._limits.limit:
            return "in_flight"
        if not self._queue:
            return "media"
        return self._limits.held_by(now_s) or (None if self._turns is None else "turn")

    async def aclose(self) -> None:
        """Take no more turns."""
        if self._turns is not None:
            await self._turns.aclose()

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        while self.in_flight:
            self._released.clear()
            await self._released.wait()

    def reject_waiting(self, reason: Exception) -> None:
        """End the wait of all requests in the queue with this error."""
        while self._queue:
            future, permit = self._queue.popleft()
            self._queued_tokens -= permit.queued_tokens
            if not future.done():
                future.set_exception(reason)

    # --- For Permit ---

    async def enter(self, permit: "Permit") -> None:
        """Wait in the queue until it is the permit's turn."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((future, permit))
        self._queued_tokens += permit.queued_tokens
        if len(self._queue) == 1:
            self.serve()
        try:
            await future
        except asyncio.CancelledError:
            if permit in self._in_flight:  # it was served and cancelled in the same moment
                permit.used(0)
                self.leave(permit)
            raise

    def leave(self, permit: "Permit") -> None:
        """The request has ended."""
        self._in_flight.discard(permit)
        self._released.set()
        self.serve()

    def serve(self) -> None:
        """Start all that may start now, and set a timer for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._estimate_again()
        while self._queue and self.in_flight < self._limits.limit:
            now_s = _now_s()
            wait_s = self._limits.wait_s(now_s) or self._turn_wait_s(now_s)
            if wait_s is None:
                return
            if wait_s > 0:
                timer_s = now_s + max(wait_s, _LEAST_WAIT_S)
                self._timer = asyncio.get_running_loop().call_at(timer_s, self.serve)
                return
            future, permit = self._queue.popleft()
            self._queued_tokens -= permit.queued_tokens
            if not future.done():
                permit.start(now_s)
                self._in_flight.add(permit)
                future.set_result(None)

    def _turn_wait_s(self, now_s: float) -> float | None:
        """Until it is this run's turn; None while that is being found out, which calls `serve`."""
        if self._turns is None:
            return 0.0
        could_start = min(self.waiting, self._limits.limit - self.in_flight)
        seconds, gap_s = self._limits.turn(could_start, self._queue[0][1].queued_tokens)
        return self._turns.wait_s(now_s, seconds, gap_s) if seconds else 0.0

    def _estimate_again(self) -> None:
        """Charge what is under way by what is known now: first guesses are the worst."""
        now_s = _now_s()
        if now_s - self._estimated_at_s >= _ESTIMATE_AGAIN_S:
            self._estimated_at_s = now_s
            self._limits.correct(sum(permit.gap() for permit in self._in_flight))


class Permit:
    """The right to one request, from the moment it may start until it has ended.

    An `EndpointError` that leaves the block tells the quota why the request was refused.
    """

    def __init__(
        self,
        quota: RateLimiter,
        limits: LimiterPolicy,
        expected_tokens: Callable[[], float],
        item_id: object,
    ) -> None:
        self._quota, self._limits = quota, limits
        self._expected_tokens = expected_tokens
        self._charged_tokens = self.queued_tokens = expected_tokens()
        self._used = False
        self._item_id = item_id
        self._start: Start | None = None

    @property
    def held_s(self) -> int | None:
        """How long the service should hold the request rather than call it a surge."""
        return self._start.held_s if self._start else None

    async def __aenter__(self) -> "Permit":
        await self._quota.enter(self)
        if self._start is not None:
            self._limits.woken(_now_s() - self._start.at_s)
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
                self._limits.refused(self._start, self._item_id, error, now_s)
                if not self._used:
                    self.used(0)
            self._limits.ended(now_s - self._start.at_s)
        self._quota.leave(self)

    def admitted(self, server_limits: ServerLimits | None = None) -> None:
        """The service has begun to answer."""
        self._limits.admitted(server_limits, _now_s())
        self._quota.serve()

    def used(self, tokens: float, late: float | None = None) -> None:
        """Correct the estimate by what was billed; nothing is, for a refusal.

        Args:
            late: tokens of the answer, which the service counts as it ends.
        """
        more = tokens - self._charged_tokens
        self._limits.used(more if self._used else tokens, more, late, _now_s())
        self._charged_tokens, self._used = tokens, True

    # --- For RateLimiter ---

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
