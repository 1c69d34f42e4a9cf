"""When the next request may start, by all that is known of an endpoint. Pure.

Each module beside this one knows one reason to wait. Here they are asked in turn, and each learns
from what the service did.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from omni_batch.config import QuotaConfig
from omni_batch.endpoint_status import EndpointStatus, Held, Learned
from omni_batch.errors import EndpointError, RateLimited, ServerLimits, Unavailable
from omni_batch.quota.backoff import Backoff
from omni_batch.quota.circuit_breaker import CircuitBreaker
from omni_batch.quota.concurrency import ConcurrencyLimit
from omni_batch.quota.pacer import Pacer
from omni_batch.quota.rate import REQUESTS, TOKENS, Edge, Lately, Rate
from omni_batch.quota.recent import LastSecond, Recent
from omni_batch.quota.sharing.turns import turn_s
from omni_batch.quota.slow_start import SlowStart

_REQUESTS_TOLERANCE_S = 0.25  # lateness of a busy event loop
_TOLERANCE_OF_MANY_S = REQUESTS.first_slack / 2  # half of what a second spares
_MOST_LATE_S = 0.025
_LATE_DECAY = 0.98
"""For each start."""
_COUNTED_PER_S = 1000.0
"""Up to so many starts a second are counted one by one."""
_TOKENS_TOLERANCE_S = 60 * TOKENS.first_slack
"""What a minute spares: small requests make up for large ones."""
_TIMERS_PER_S = 50.0
"""Up to so many starts a second, each can have a moment of its own."""
_GROWS_EACH_S = 1.0
_LAG_PAUSE_S = 2.0
_LATE_SMOOTHING = 1 / 16
_FIRST_GUESS_S = 1.0  # of a latency
_IN_FLIGHT = 16
_HELD_S = 30  # of a surge, by the service (3 to 120 are known to be sensible)
_EDGE_PAUSE_S = _A_SECOND_S = 1.0
_DOWN = (None, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Start:
    """How a request started."""

    at_s: float
    first_after_pause: bool
    held_s: int | None
    """How long the service should hold it rather than call it a surge."""


class LimiterPolicy:
    """All limits of one endpoint and model.

    Args:
        config: limits that are None are unknown; the catalogue's have been filled in.
        learned: by an earlier run; used where `config.adaptive`.
        chosen: the number in flight is not the user's.
    """

    def __init__(
        self, config: QuotaConfig, learned: Learned | None = None, *, chosen: bool = False
    ) -> None:
        known = self._known = learned or Learned()
        self._adaptive, self._config = config.adaptive, config
        self._request_rate = _rate(config, config.requests_per_minute, known.requests_per_minute)
        self._token_rate = _rate(config, config.tokens_per_minute, known.tokens_per_minute, TOKENS)
        self._requests, self._tokens = Pacer(), Pacer(saves=True)
        self._apply_rates(0.0)
        self._slow_start = SlowStart(self._request_rate.per_s, known.burst_doubling_s)
        paced = self._request_rate.per_s is not None or self._token_rate.per_s is not None
        self._concurrency = ConcurrencyLimit(
            config.max_in_flight or _IN_FLIGHT,
            bounded=config.adaptive and not paced,
            chosen=chosen,
        )
        self._backoff = Backoff()
        self._recent, self._token_second = Recent(), LastSecond()
        self._late_share, self._late_s = 0.5, 0.0
        self._rate_limited: Counter[str] = Counter()
        self._held: tuple[Held, float] | None = None
        self._held_s: dict[Held, float] = defaultdict(float)
        self._grown_at_s = 0.0
        self._surged = False
        self.breaker = CircuitBreaker()

    @property
    def limit(self) -> int:
        """Requests that may be in flight."""
        return self._concurrency.limit

    def wait_s(self, now_s: float) -> float:
        """How long the next request must wait."""
        wait_s, cause = max(self._waits(now_s))
        if wait_s > 0 and self._held is None:
            self._held = cause, now_s
        return wait_s

    def backlog_s(self, now_s: float, in_flight: int, waiting: int, tokens: float) -> float:
        """About how long one more request would wait behind those that wait, with their tokens."""
        waits_s = [self._backoff.wait_s(now_s), self.breaker.wait_s(now_s)]
        for pacer, rate, queued in (
            (self._requests, self._request_rate, float(waiting)),
            (self._tokens, self._token_rate, tokens),
        ):
            waits_s.append(pacer.wait_s(now_s) + (queued / rate.per_s if rate.per_s else 0.0))
        crowd = in_flight + waiting - self.limit
        latency_s = self._recent.usual_latency_s or _FIRST_GUESS_S
        waits_s.append(max(0.0, crowd + 1) / self.limit * latency_s)
        return max(waits_s)

    def turn(self, requests: int, tokens: float) -> tuple[float, float]:
        """How long a turn among several runs should be, and the distance between two starts, both
        in seconds; 0 for the turn where there is nothing to share.

        Args:
            requests: that could start.
            tokens: of the first of them.
        """
        gap_s = self._requests.seconds_per_unit
        return turn_s(requests, gap_s, tokens * self._tokens.seconds_per_unit), gap_s

    # --- What happens ---

    def turn_began(self, since_s: float, seconds: float) -> None:
        """A turn begins that was waited for: what is owed is not paid by the time of others."""
        self._tokens.skip(since_s, seconds)
        self._slow_start.skip(seconds)
        self._requests.begin(since_s + seconds)

    def start(self, tokens: float, now_s: float) -> Start:
        """A request starts that is expected to use so many tokens."""
        self._note_wait(now_s)
        self._grow(now_s)
        self._requests.charge(1, now_s)
        self._tokens.charge(tokens, now_s)
        self._request_rate.accepted(1)
        self._recent.started(tokens, now_s)
        self._token_second.add((1 - self._late_share) * tokens, now_s)
        self._slow_start.start(now_s)
        self.breaker.start(now_s)
        return Start(now_s, self._backoff.over(), _HELD_S if self._surged else None)

    def woken(self, late_s: float) -> None:
        """A request goes out so long after its start: what this process adds to the jitter."""
        self._late_s = min(max(late_s, _LATE_DECAY * self._late_s), _MOST_LATE_S)

    def correct(self, tokens: float) -> None:
        """Requests under way will use so many tokens more than was charged, or fewer."""
        self._tokens.correct(tokens)
        self._recent.corrected(tokens)

    def used(self, tokens: float, more: float, late: float | None, now_s: float) -> None:
        """A request has used so many tokens, which is so many more than were charged, or fewer.

        Args:
            late: of them, those that the answer took; None where it is unknown.
        """
        if late is not None and tokens > 0:
            self._late_share += _LATE_SMOOTHING * (late / tokens - self._late_share)
        self._token_second.add(self._late_share * tokens if late is None else late, now_s)
        self._tokens.correct(more)
        self._token_rate.accepted(tokens)  # now, as most of them are counted when they are made
        self._recent.corrected(more)

    def ended(self, latency_s: float) -> None:
        """A request has ended."""
        self._recent.ended(latency_s)

    def admitted(self, server_limits: ServerLimits | None, now_s: float) -> None:
        """A request was let in."""
        self.breaker.answered()
        self._concurrency.admitted()
        self._take_in_limits(server_limits, now_s)

    def refused(self, start: Start, item_id: object, error: EndpointError, now_s: float) -> None:
        """A request was not let in."""
        match error:
            case RateLimited():
                self.breaker.answered()
                self._throttle(start, error, now_s)
            case Unavailable(http_status=status) if status in _DOWN:
                self.breaker.failed(item_id, now_s)
                if self.breaker.is_open:
                    error.uses_attempt = False
            case _:
                self.breaker.answered()
        self._take_in_limits(error.server_limits, now_s)

    # --- What is known ---

    def learned(self) -> Learned:
        """What the next run should start with."""
        found = (
            _per_minute(self._request_rate.learned_per_s),
            _per_minute(self._token_rate.learned_per_s),
            self._slow_start.learned_doubling_s,
        )
        if not any(found):
            return Learned()
        own = self._request_rate.found_out or self._token_rate.found_out or self._surged
        return Learned(*found, at=None if own else self._known.at, handed_on=not own)

    def held_by(self, now_s: float) -> Held | None:
        """What the next request waits for; None: nothing that is known here."""
        wait_s, cause = max(self._waits(now_s))
        return cause if wait_s > 0 else None

    def status(self, endpoint: str, now_s: float) -> EndpointStatus:
        """How the endpoint is used at this moment, without what only its queue knows."""
        requests, tokens = self._recent.last_minute(now_s)
        return EndpointStatus(
            name=endpoint,
            requests_per_minute=_per_minute(self._request_rate.per_s),
            tokens_per_minute=_per_minute(self._token_rate.per_s),
            requests_last_minute=requests,
            tokens_last_minute=tokens,
            paused_s=round(self._backoff.wait_s(now_s), 1),
            paused_after_429=self._backoff.after_refusal,
            down_s=round(self.breaker.down_s(now_s), 1),
            rate_limited=dict(self._rate_limited),
            held_s={cause: round(seconds, 1) for cause, seconds in self._held_s.items()},
            stated_requests_per_minute=self._config.requests_per_minute,
            stated_tokens_per_minute=self._config.tokens_per_minute,
        )

    # --- How ---

    def _waits(self, now_s: float) -> Iterator[tuple[float, Held]]:
        yield max(self._requests.wait_s(now_s), self._second_s(now_s)), "requests"
        yield max(self._tokens.wait_s(now_s), self._token_second_s(now_s)), "tokens"
        yield self._backoff.wait_s(now_s), "pause"
        yield self._slow_start.wait_s(now_s), "ramp"
        yield self.breaker.wait_s(now_s), "outage"

    def _second_s(self, now_s: float) -> float:
        """Until the last second has room for one more: lateness is made up for within it only."""
        rate = self._request_rate
        if rate.per_s is None or rate.per_s > _COUNTED_PER_S:
            return 0.0
        started_s = self._recent.start_before(math.ceil(rate.per_s - 1e-9))
        distance_s = 1 + max(rate.slack, self._late_s)
        return 0.0 if started_s is None else max(0.0, started_s + distance_s - now_s)

    def _token_second_s(self, now_s: float) -> float:
        """The same for tokens, once a service was found to count them by the second: answers that
        end together use up a second that is not full in the mean."""
        rate = self._token_rate
        if rate.per_s is None or not rate.tightened:
            return 0.0
        return self._token_second.wait_s(rate.per_s, now_s)

    def _note_wait(self, now_s: float) -> None:
        """Sum up how long requests waited for what."""
        if self._held is not None:
            (cause, since_s), self._held = self._held, None
            self._held_s[cause] += now_s - since_s
            if cause != "requests":
                self._requests.begin(now_s)  # nothing to make up for: it was not the limit's turn
            if cause == "pause":
                self._request_rate.paused(now_s - since_s)
                self._token_rate.paused(now_s - since_s)

    def _grow(self, now_s: float) -> None:
        if now_s - self._grown_at_s < _GROWS_EACH_S:
            return
        self._grown_at_s = now_s
        requests, tokens = self._recent.last_minute(now_s)
        grown = self._request_rate.grow(now_s, requests / 60)
        if self._token_rate.grow(now_s, tokens / 60) or grown:
            self._apply_rates(now_s)

    def _throttle(self, start: Start, error: RateLimited, now_s: float) -> None:
        self._react(start, error, now_s)
        self._requests.begin(now_s + self._backoff.wait_s(now_s))  # nothing to make up for

    def _react(self, start: Start, error: RateLimited, now_s: float) -> None:
        passed = self._recent.passed
        self._rate_limited[error.limit] += 1
        self._request_rate.accepted(-1)
        self._recent.refused(start.at_s, now_s)
        self._slow_start.refused()
        if self._at_edge(start, error, passed, now_s):
            return
        # Requests in flight use tokens for as long as they take.
        lag_s = self._recent.usual_latency_s
        lags = error.limit == "tokens" and self._token_rate.settling(now_s, lag_s)
        again, waited_s = start.first_after_pause, self._backoff.last_s
        pause_s = error.retry_after_s
        if pause_s is None:
            pause_s = _LAG_PAUSE_S if lags else self._short_pause_s(error, now_s, again=again)
        cause = self._backoff.refused(now_s, start.at_s, pause_s, again=again)
        if cause == "repeat" and waited_s >= _A_SECOND_S:
            self._rate_of(error).refused_after_pause()
        if cause == "first" and not lags:
            self._slow_down(error, now_s)

    def _short_pause_s(self, error: RateLimited, now_s: float, *, again: bool) -> float | None:
        """A pause for a service that counts by seconds; None for any other."""
        if again or error.limit not in ("requests", "tokens"):
            return None
        return self._rate_of(error).strict_pause_s(self._lately(error, now_s))

    def _at_edge(self, start: Start, error: RateLimited, passed: int, now_s: float) -> bool:
        """Whether it was a matter of milliseconds; then only the spacing changes."""
        rate = self._rate_of(error)
        if error.limit not in ("requests", "tokens") or self._backoff.is_answered(start.at_s):
            return False
        if start.first_after_pause or rate.per_s is None or not rate.at_edge(now_s, passed):
            return False
        pause_s = _EDGE_PAUSE_S if error.limit == "tokens" else min(1 / rate.per_s, _EDGE_PAUSE_S)
        self._backoff.hold(now_s, error.retry_after_s or pause_s)
        self._apply_rates(now_s)
        return True

    def _rate_of(self, error: RateLimited) -> Rate:
        return self._token_rate if error.limit == "tokens" else self._request_rate

    def _slow_down(self, error: RateLimited, now_s: float) -> None:
        requests_per_s, tokens_per_s = self._recent.lately_per_s(now_s)
        rate, lately = self._request_rate, Lately(0.0, 1.0)
        match error.limit:
            case "burst":
                self._surged = True
                self._slow_start.surged()
                return
            case "tokens":
                rate = self._token_rate
                rate.seed(tokens_per_s)
                lately = self._lately(error, now_s)
            case "requests":
                rate.seed(requests_per_s)
                lately = self._lately(error, now_s)
            case "unknown":
                pass  # perhaps there are too many at once
        rate.refused(now_s, lately)
        if rate.per_s is None and self._adaptive:
            self._concurrency.refused()
        else:
            self._concurrency.lift()
        self._apply_rates(now_s)

    def _lately(self, error: RateLimited, now_s: float) -> Lately:
        """What was let through of what was refused."""
        if error.limit == "tokens":
            return Lately(self._token_second.tokens(now_s), self._token_second.busiest)
        return Lately(*self._recent.seconds(now_s))

    def _apply_rates(self, now_s: float) -> None:
        for pacer, rate, tolerance_s in (
            (self._requests, self._request_rate, _lateness_s(self._request_rate)),
            (self._tokens, self._token_rate, _TOKENS_TOLERANCE_S),
        ):
            if rate.per_s is not None:
                pacer.change(rate.per_s / (1 + rate.slack), now_s, tolerance_s)

    def _take_in_limits(self, server_limits: ServerLimits | None, now_s: float) -> None:
        """Take in what the service says of its limits."""
        if server_limits is None:
            return
        if server_limits.requests_per_minute:
            self._request_rate.named_by_server(server_limits.requests_per_minute / 60)
        if server_limits.tokens_per_minute:
            self._token_rate.named_by_server(server_limits.tokens_per_minute / 60)
        if server_limits.wait_s:
            self._backoff.until(now_s + server_limits.wait_s)
        self._apply_rates(now_s)


def _lateness_s(rate: Rate) -> float:
    """How much of it may be made up for."""
    if (rate.per_s or 0.0) > _COUNTED_PER_S:
        return _TOLERANCE_OF_MANY_S
    if rate.tightened:  # perhaps each start counts for itself, not those of a second
        return 0.0 if (rate.per_s or 0.0) < _TIMERS_PER_S else _TOLERANCE_OF_MANY_S
    return _REQUESTS_TOLERANCE_S


def _rate(
    config: QuotaConfig,
    per_minute: float | None,
    learned: float | None,
    edge: Edge = REQUESTS,
) -> Rate:
    return Rate(
        per_minute / 60 if per_minute else None,
        learned / 60 if learned else None,
        adaptive=config.adaptive,
        explore=config.explore,
        edge=edge,
    )


def _per_minute(per_s: float | None) -> float | None:
    return None if per_s is None else round(60 * per_s, 1)
