"""The line in front of one endpoint: who goes next, and when. The event loop is its clock.

Items are served in the order they came, so a large one is not passed over for ever. What a request
will use is charged before it starts and corrected when it ends; a request larger than a whole
window goes, and those behind it pay by waiting. All decisions are made by the pure parts beside
this file; here they are asked in turn.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from types import TracebackType

from omni_batch.config import QuotaConfig
from omni_batch.errors import EndpointError, RateLimited, Unavailable
from omni_batch.pace import Learned, Pace, Told
from omni_batch.quota.breaker import Breaker
from omni_batch.quota.pacer import Pacer
from omni_batch.quota.pause import Pause
from omni_batch.quota.ramp import Ramp
from omni_batch.quota.rate import UNMEASURED_CUT, Rate
from omni_batch.quota.recent import Recent
from omni_batch.quota.room import Room

_REQUESTS_TOLERANCE_S = 0.1  # lateness of a busy event loop
_TOKENS_TOLERANCE_S = 0.7  # requests come in all sizes: small ones make up for large ones
_LEAST_WAIT_S = 0.002  # a timer for each of thousands a second would cost more than they do
_ESTIMATE_AGAIN_S = 1.0
_LAG_PAUSE_S = 2.0
_FIRST_GUESS_S = 1.0  # of a latency
_HELD_S = 30  # of a surge, by the service (3 to 120 are known to be sensible)
_DOWN = (None, 502, 503, 504)


class Quota:
    """What may be sent to one endpoint and model, shared by all that send.

    Args:
        config: limits that are None are unknown; the catalogue's have been filled in.
        learned: by an earlier run; used where `config.adaptive`.
    """

    def __init__(self, config: QuotaConfig, learned: Learned | None = None) -> None:
        known = learned or Learned()
        self._adaptive, self._config = config.adaptive, config
        self._request_rate = _rate(config.requests_per_minute, known.requests_per_minute, config)
        # Tokens are guessed: one refusal alone says nothing of the limit.
        self._token_rate = _rate(config.tokens_per_minute, known.tokens_per_minute, config, 1.0)
        self._requests = Pacer(self._request_rate.per_s, _REQUESTS_TOLERANCE_S)
        self._tokens = Pacer(self._token_rate.per_s, _TOKENS_TOLERANCE_S)
        per_s, doubling_s = self._request_rate.per_s, known.burst_doubling_s
        self._ramp = Ramp(per_s, doubling_s)
        paced = per_s is not None or self._token_rate.per_s is not None
        self._room = Room(config.max_in_flight, bounded=config.adaptive and not paced)
        self._pause = Pause()
        self._recent = Recent()
        self._rate_limited: Counter[str] = Counter()
        self._line: deque[tuple[asyncio.Future[Slot], Slot]] = deque()
        self._queued_tokens = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._pressed: tuple[Rate | None, float] | None = None
        self._flying: set[Slot] = set()
        self._estimated_at_s = 0.0
        self._freed = asyncio.Event()
        self._surged = False
        self.breaker = Breaker()

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._flying)

    @property
    def waiting(self) -> int:
        """Requests in the line."""
        return len(self._line)

    def slot(self, expected_tokens: Callable[[], float], who: object = None) -> "Slot":
        """The right to send one request: `async with quota.slot(lambda: tokens) as slot`.

        Args:
            expected_tokens: asked again while the request waits and runs, as estimates get better.
            who: the item; failures of several items make an outage.
        """
        return Slot(self, expected_tokens, who)

    def backlog_s(self, now_s: float) -> float:
        """About how long one more request would wait."""
        waits_s = [self._pause.wait_s(now_s), self.breaker.wait_s(now_s)]
        for pacer, rate, queued in (
            (self._requests, self._request_rate, float(self.waiting)),
            (self._tokens, self._token_rate, self._queued_tokens),
        ):
            waits_s.append(pacer.wait_s(now_s) + (queued / rate.per_s if rate.per_s else 0.0))
        crowd = self.in_flight + self.waiting - self._room.places
        latency_s = self._recent.usual_latency_s or _FIRST_GUESS_S
        waits_s.append(max(0.0, crowd + 1) / self._room.places * latency_s)
        return max(waits_s)

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

    def learned(self) -> Learned:
        """What the next run should start with."""
        return Learned(
            _per_minute(self._request_rate.learned_per_s),
            _per_minute(self._token_rate.learned_per_s),
            self._ramp.learned_doubling_s,
        )

    def pace(self, endpoint: str, now_s: float, closed: str | None = None) -> Pace:
        """How things stand."""
        requests, tokens = self._recent.last_minute(now_s)
        return Pace(
            endpoint=endpoint,
            requests_per_minute=_per_minute(self._request_rate.per_s),
            tokens_per_minute=_per_minute(self._token_rate.per_s),
            requests_last_minute=requests,
            tokens_last_minute=tokens,
            in_flight=self.in_flight,
            waiting=self.waiting,
            paused_s=round(self._pause.wait_s(now_s), 1),
            down_s=round(self.breaker.down_s(now_s), 1),
            rate_limited=dict(self._rate_limited),
            closed=closed,
            learned=self.learned(),
            stated_requests_per_minute=self._config.requests_per_minute,
            stated_tokens_per_minute=self._config.tokens_per_minute,
        )

    # --- For Slot ---

    async def enter(self, slot: "Slot") -> None:
        """Wait in the line until it is the slot's turn."""
        future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._line.append((future, slot))
        self._queued_tokens += slot.queued_tokens
        if len(self._line) == 1:
            self._serve()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                slot.used(0)
                self.leave(slot)  # it was served and cancelled in the same moment
            raise

    def leave(self, slot: "Slot") -> None:
        """Give the place back."""
        self._flying.discard(slot)
        self._recent.ended(_now_s() - slot.started_s)
        self._freed.set()
        self._serve()

    def used(self, tokens: float, more: float) -> None:
        """A request has used so many tokens, which is so many more than were charged, or fewer."""
        self._tokens.correct(more)
        self._token_rate.passed(tokens)  # now, as most of them are counted when they are made
        self._recent.corrected(more)

    def admitted(self, told: Told | None) -> None:
        """A request was let in."""
        self.breaker.answered()
        self._room.admitted()
        self._hear(told)
        self._serve()

    def refused(self, slot: "Slot", error: EndpointError) -> None:
        """A request was not let in."""
        match error:
            case RateLimited():
                self.breaker.answered()
                self._throttle(slot, error)
            case Unavailable(http_status=status) if status in _DOWN:
                self.breaker.failed(slot.who, _now_s())
                if self.breaker.is_open:
                    error.uses_attempt = False
            case _:
                self.breaker.answered()
        self._hear(error.told)

    # --- How ---

    def _serve(self) -> None:
        """Start all that may start now, and set the alarm for the next."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._estimate_again()
        while self._line and self.in_flight < self._room.places:
            now_s = _now_s()
            wait_s, rate = self._wait_s(now_s)
            if wait_s > 0:
                self._pressed = self._pressed or (rate, now_s)
                alarm_s = now_s + max(wait_s, _LEAST_WAIT_S)
                self._alarm = asyncio.get_running_loop().call_at(alarm_s, self._serve)
                return
            future, slot = self._line.popleft()
            self._queued_tokens -= slot.queued_tokens
            if not future.done():
                self._start(slot, now_s)
                future.set_result(slot)

    def _wait_s(self, now_s: float) -> tuple[float, Rate | None]:
        """How long the next must wait, and which limit it is that makes it."""
        requests_s, tokens_s = self._requests.wait_s(now_s), self._tokens.wait_s(now_s)
        others_s = max(
            self._pause.wait_s(now_s),
            self.breaker.wait_s(now_s),
            self._ramp.wait_s(now_s),
        )
        if others_s >= requests_s and others_s >= tokens_s:
            return others_s, None
        if requests_s >= tokens_s:
            return requests_s, self._request_rate
        return tokens_s, self._token_rate

    def _start(self, slot: "Slot", now_s: float) -> None:
        if self._pressed is not None:
            rate, since_s = self._pressed
            self._pressed = None
            if rate is not None:
                rate.pressed(now_s - since_s, now_s)
                self._keep_pace(now_s)
        slot.estimated_tokens = slot.expected_tokens()
        self._requests.charge(1, now_s)
        self._tokens.charge(slot.estimated_tokens, now_s)
        self._request_rate.passed(1)
        self._recent.started(slot.estimated_tokens, now_s)
        self._ramp.start(now_s)
        self.breaker.start(now_s)
        slot.started_s, slot.first_after_pause = now_s, self._pause.over()
        if self._surged:
            slot.held_s = _HELD_S
        self._flying.add(slot)

    def _estimate_again(self) -> None:
        """Charge what is under way by what is known now: first guesses are the worst."""
        now_s = _now_s()
        if now_s - self._estimated_at_s < _ESTIMATE_AGAIN_S:
            return
        self._estimated_at_s = now_s
        for slot in self._flying:
            tokens = slot.expected_tokens()
            self._tokens.correct(tokens - slot.estimated_tokens)
            slot.estimated_tokens = tokens

    def _keep_pace(self, now_s: float) -> None:
        for pacer, rate in ((self._requests, self._request_rate), (self._tokens, self._token_rate)):
            if rate.per_s is not None:
                pacer.change(rate.per_s, now_s)

    def _throttle(self, slot: "Slot", error: RateLimited) -> None:
        now_s = _now_s()
        self._rate_limited[error.limit] += 1
        self._request_rate.passed(-1)
        self._ramp.refused()
        # What is under way goes on to use tokens for as long as a request takes.
        lag_s = self._recent.usual_latency_s
        lags = error.limit == "tokens" and self._token_rate.lags(now_s, lag_s)
        pause_s = _LAG_PAUSE_S if lags and error.retry_after_s is None else error.retry_after_s
        again = slot.first_after_pause
        volley = self._pause.refused(now_s, slot.started_s, pause_s, again=again)
        if volley == "new" and not lags:
            self._slow_down(error, now_s)

    def _slow_down(self, error: RateLimited, now_s: float) -> None:
        if error.limit == "burst":
            self._surged = True
            self._ramp.surged()
            return
        requests_per_s, tokens_per_s = self._recent.lately_per_s(now_s)
        if error.limit == "tokens":
            rate = self._token_rate
            rate.guess(tokens_per_s)
        else:
            rate = self._request_rate
            if error.limit == "requests":
                rate.guess(requests_per_s)
        rate.refused(now_s)
        if rate.per_s is None and self._adaptive:
            self._room.refused()
        else:
            self._room.open()
        self._keep_pace(now_s)

    def _hear(self, told: Told | None) -> None:
        """Take in what the service says of its limits."""
        if told is None:
            return
        now_s = _now_s()
        for rate, limit in (
            (self._request_rate, told.requests_per_minute),
            (self._token_rate, told.tokens_per_minute),
        ):
            if limit:
                rate.told(limit / 60)
        if told.wait_s:
            self._pause.until(now_s + told.wait_s)
        self._keep_pace(now_s)


class Slot:
    """The right to one request, from the moment it may start until it has ended.

    An `EndpointError` that leaves the block tells the quota why the request was refused.
    """

    def __init__(self, quota: Quota, expected_tokens: Callable[[], float], who: object) -> None:
        self._quota = quota
        self._used = False
        self.expected_tokens = expected_tokens
        self.estimated_tokens = self.queued_tokens = expected_tokens()
        self.who = who
        self.started_s = 0.0
        self.first_after_pause = False
        self.held_s: int | None = None
        """How long the service should hold the request rather than call it a surge."""

    async def __aenter__(self) -> "Slot":
        await self._quota.enter(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        if isinstance(error, EndpointError):
            self._quota.refused(self, error)
            if not self._used:
                self.used(0)
        self._quota.leave(self)

    def admitted(self, told: Told | None = None) -> None:
        """The service has begun to answer."""
        self._quota.admitted(told)

    def used(self, tokens: float) -> None:
        """Correct the estimate by what was billed; nothing is, for a refusal."""
        more = tokens - self.estimated_tokens
        self._quota.used(more if self._used else tokens, more)
        self.expected_tokens = lambda: tokens
        self.estimated_tokens, self._used = tokens, True


def _rate(
    per_minute: float | None,
    learned: float | None,
    config: QuotaConfig,
    first_cut: float = UNMEASURED_CUT,
) -> Rate:
    return Rate(
        per_minute / 60 if per_minute else None,
        learned / 60 if learned else None,
        adaptive=config.adaptive,
        first_cut=first_cut,
    )


def _per_minute(per_s: float | None) -> float | None:
    return None if per_s is None else round(60 * per_s, 1)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
