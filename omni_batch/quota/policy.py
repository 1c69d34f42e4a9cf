"""When the next request may start, by all that is known of an endpoint. Pure.

Each module beside this one knows one reason to wait. Here they are asked in turn, and each learns
from what the service did.
"""

from collections import Counter
from dataclasses import dataclass

from omni_batch.config import QuotaConfig
from omni_batch.endpoint_status import EndpointStatus, Learned
from omni_batch.errors import EndpointError, RateLimited, ServerLimits, Unavailable
from omni_batch.quota.backoff import Backoff
from omni_batch.quota.circuit_breaker import CircuitBreaker
from omni_batch.quota.concurrency import ConcurrencyLimit
from omni_batch.quota.pacer import Pacer
from omni_batch.quota.rate_estimator import UNMEASURED_CUT, RateEstimator
from omni_batch.quota.recent import Recent
from omni_batch.quota.slow_start import SlowStart

_REQUESTS_TOLERANCE_S = 0.1  # lateness of a busy event loop
_TOKENS_TOLERANCE_S = 0.7  # requests come in all sizes: small ones make up for large ones
_LAG_PAUSE_S = 2.0
_FIRST_GUESS_S = 1.0  # of a latency
_IN_FLIGHT = 16
_HELD_S = 30  # of a surge, by the service (3 to 120 are known to be sensible)
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
    """

    def __init__(self, config: QuotaConfig, learned: Learned | None = None) -> None:
        known = learned or Learned()
        self._adaptive, self._config = config.adaptive, config
        self._request_rate = _rate(config.requests_per_minute, known.requests_per_minute, config)
        # Tokens are guessed: one refusal alone says nothing of the limit.
        self._token_rate = _rate(config.tokens_per_minute, known.tokens_per_minute, config, 1.0)
        self._requests = Pacer(self._request_rate.per_s, _REQUESTS_TOLERANCE_S)
        self._tokens = Pacer(self._token_rate.per_s, _TOKENS_TOLERANCE_S)
        self._slow_start = SlowStart(self._request_rate.per_s, known.burst_doubling_s)
        paced = self._request_rate.per_s is not None or self._token_rate.per_s is not None
        self._concurrency = ConcurrencyLimit(
            config.max_in_flight or _IN_FLIGHT, bounded=config.adaptive and not paced
        )
        self._backoff = Backoff()
        self._recent = Recent()
        self._rate_limited: Counter[str] = Counter()
        self._saturated: tuple[RateEstimator | None, float] | None = None
        self._surged = False
        self.breaker = CircuitBreaker()

    @property
    def limit(self) -> int:
        """Requests that may be in flight."""
        return self._concurrency.limit

    def wait_s(self, now_s: float) -> float:
        """How long the next request must wait."""
        wait_s, rate = self._longest_wait(now_s)
        if wait_s > 0:
            self._saturated = self._saturated or (rate, now_s)
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

    # --- What happens ---

    def start(self, tokens: float, now_s: float) -> Start:
        """A request starts that is expected to use so many tokens."""
        self._note_saturation(now_s)
        self._requests.charge(1, now_s)
        self._tokens.charge(tokens, now_s)
        self._request_rate.accepted(1)
        self._recent.started(tokens, now_s)
        self._slow_start.start(now_s)
        self.breaker.start(now_s)
        return Start(now_s, self._backoff.over(), _HELD_S if self._surged else None)

    def correct(self, tokens: float) -> None:
        """Requests under way will use so many tokens more than was charged, or fewer."""
        self._tokens.correct(tokens)
        self._recent.corrected(tokens)

    def used(self, tokens: float, more: float) -> None:
        """A request has used so many tokens, which is so many more than were charged, or fewer."""
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
        return Learned(
            _per_minute(self._request_rate.learned_per_s),
            _per_minute(self._token_rate.learned_per_s),
            self._slow_start.learned_doubling_s,
        )

    def status(
        self, endpoint: str, now_s: float, in_flight: int, waiting: int, closed: str | None
    ) -> EndpointStatus:
        """How the endpoint is used at this moment."""
        requests, tokens = self._recent.last_minute(now_s)
        return EndpointStatus(
            name=endpoint,
            requests_per_minute=_per_minute(self._request_rate.per_s),
            tokens_per_minute=_per_minute(self._token_rate.per_s),
            requests_last_minute=requests,
            tokens_last_minute=tokens,
            in_flight=in_flight,
            waiting=waiting,
            paused_s=round(self._backoff.wait_s(now_s), 1),
            paused_after_429=self._backoff.after_refusal,
            down_s=round(self.breaker.down_s(now_s), 1),
            rate_limited=dict(self._rate_limited),
            closed=closed,
            learned=self.learned(),
            stated_requests_per_minute=self._config.requests_per_minute,
            stated_tokens_per_minute=self._config.tokens_per_minute,
        )

    # --- How ---

    def _longest_wait(self, now_s: float) -> tuple[float, RateEstimator | None]:
        """With the limit that it is due to; None where it is something else."""
        requests_s, tokens_s = self._requests.wait_s(now_s), self._tokens.wait_s(now_s)
        others_s = max(
            self._backoff.wait_s(now_s), self.breaker.wait_s(now_s), self._slow_start.wait_s(now_s)
        )
        if others_s >= requests_s and others_s >= tokens_s:
            return others_s, None
        if requests_s >= tokens_s:
            return requests_s, self._request_rate
        return tokens_s, self._token_rate

    def _note_saturation(self, now_s: float) -> None:
        """Tell the limit that was waited for how long that was; it may grow by it."""
        if self._saturated is None:
            return
        (rate, since_s), self._saturated = self._saturated, None
        if rate is not None:
            rate.saturated_for(now_s - since_s, now_s)
            self._apply_rates(now_s)

    def _throttle(self, start: Start, error: RateLimited, now_s: float) -> None:
        self._rate_limited[error.limit] += 1
        self._request_rate.accepted(-1)
        self._slow_start.refused()
        # Requests in flight use tokens for as long as they take.
        lag_s = self._recent.usual_latency_s
        lags = error.limit == "tokens" and self._token_rate.settling(now_s, lag_s)
        pause_s = _LAG_PAUSE_S if lags and error.retry_after_s is None else error.retry_after_s
        again = start.first_after_pause
        cause = self._backoff.refused(now_s, start.at_s, pause_s, again=again)
        if cause == "first" and not lags:
            self._slow_down(error, now_s)

    def _slow_down(self, error: RateLimited, now_s: float) -> None:
        requests_per_s, tokens_per_s = self._recent.lately_per_s(now_s)
        rate = self._request_rate
        match error.limit:
            case "burst":
                self._surged = True
                self._slow_start.surged()
                return
            case "tokens":
                rate = self._token_rate
                rate.seed(tokens_per_s)
            case "requests":
                rate.seed(requests_per_s)
            case "unknown":
                pass  # perhaps there are too many at once
        rate.refused(now_s)
        if rate.per_s is None and self._adaptive:
            self._concurrency.refused()
        else:
            self._concurrency.lift()
        self._apply_rates(now_s)

    def _apply_rates(self, now_s: float) -> None:
        for pacer, rate in ((self._requests, self._request_rate), (self._tokens, self._token_rate)):
            if rate.per_s is not None:
                pacer.change(rate.per_s, now_s)

    def _take_in_limits(self, server_limits: ServerLimits | None, now_s: float) -> None:
        """Take in what the service says of its limits."""
        if server_limits is None:
            return
        if server_limits.requests_per_minute:
            self._request_rate.stated_by_server(server_limits.requests_per_minute / 60)
        if server_limits.tokens_per_minute:
            self._token_rate.stated_by_server(server_limits.tokens_per_minute / 60)
        if server_limits.wait_s:
            self._backoff.until(now_s + server_limits.wait_s)
        self._apply_rates(now_s)


def _rate(
    per_minute: float | None,
    learned: float | None,
    config: QuotaConfig,
    first_cut: float = UNMEASURED_CUT,
) -> RateEstimator:
    return RateEstimator(
        per_minute / 60 if per_minute else None,
        learned / 60 if learned else None,
        adaptive=config.adaptive,
        first_cut=first_cut,
    )


def _per_minute(per_s: float | None) -> float | None:
    return None if per_s is None else round(60 * per_s, 1)
