"""Limits per minute, and their per-second share, for each model (rate limit pages, 2026)."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Counted = Literal["requests", "tokens"]
MINUTE_S = 60.0
SLACK_S = 2.0
"""Seconds of the limit that may be used at once: clocks and networks jitter, so a client that
paces itself exactly at the limit must not be refused for it."""


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """How much of one limit is left."""

    limit: float
    """Per minute."""
    remaining: float
    reset_s: float
    """Until all that may be used at once is available again."""


QuotaStatus = Mapping[Counted, LimitStatus]
"""What is left of a model's limits; without those that are not set."""


@dataclass(slots=True)
class TokenBucket:
    """So much a minute of one thing, earned second by second; that bounds the minute as well.

    A use may overdraw it, since the length of a reply is unknown; then the next has to wait.
    """

    per_minute: float
    _level: float = field(init=False)
    _filled_at_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._level = self._most

    @property
    def _most(self) -> float:
        return max(2.0, self.per_minute / MINUTE_S * SLACK_S)

    def has(self, amount: float, now_s: float) -> bool:
        """Whether `amount` is left."""
        self._refill(now_s)
        return self._level >= amount

    def wait_s(self, amount: float, now_s: float) -> float:
        """How long until `amount` is left."""
        self._refill(now_s)
        return max(0.0, amount - self._level) / self.per_minute * MINUTE_S

    def left(self, now_s: float) -> LimitStatus:
        """What is left now."""
        self._refill(now_s)
        reset_s = (self._most - self._level) / self.per_minute * MINUTE_S
        return LimitStatus(self.per_minute, max(0.0, self._level), reset_s)

    def take(self, amount: float, now_s: float) -> None:
        """Use `amount`, whether it is left or not."""
        self._refill(now_s)
        self._level -= amount

    def _refill(self, now_s: float) -> None:
        earned = (now_s - self._filled_at_s) * self.per_minute / MINUTE_S
        self._level = min(self._most, self._level + earned)
        self._filled_at_s = now_s


class Quota:
    """Requests and tokens per minute of an account, counted apart for each model."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._limits = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._buckets: dict[tuple[Counted, str], TokenBucket] = {}

    def _bucket(self, counted: Counted, model: str) -> TokenBucket | None:
        limit = self._limits[counted]
        if limit is None:
            return None
        return self._buckets.setdefault((counted, model), TokenBucket(limit))

    def request_fits(self, model: str, now_s: float) -> bool:
        """Count a request and tell whether the model had room for it; refused ones cost nothing."""
        bucket = self._bucket("requests", model)
        fits = bucket is None or bucket.has(1, now_s)
        if bucket and fits:
            bucket.take(1, now_s)
        return fits

    def tokens_fit(self, model: str, now_s: float) -> bool:
        """Whether the model has any tokens left, so that another request may start."""
        bucket = self._bucket("tokens", model)
        return bucket is None or bucket.has(1, now_s)

    def wait_s(self, counted: Counted, model: str, now_s: float) -> float:
        """How long until a request fits, or until any tokens are left."""
        bucket = self._bucket(counted, model)
        return bucket.wait_s(1, now_s) if bucket else 0.0

    def status(self, model: str, now_s: float) -> QuotaStatus:
        """What is left of both limits."""
        buckets = {counted: self._bucket(counted, model) for counted in get_args(Counted)}
        return {counted: bucket.left(now_s) for counted, bucket in buckets.items() if bucket}

    def spend(self, model: str, tokens: int, now_s: float) -> None:
        """Count tokens that were read or written."""
        if bucket := self._bucket("tokens", model):
            bucket.take(tokens, now_s)


class BurstLimit:
    """The third limit: by how many one second's requests may exceed those of the second before.

    The service calls its threshold dynamic and names no number. Counted apart for each model.
    """

    def __init__(self, per_s: float | None) -> None:
        self._per_s = per_s
        self._admitted: dict[str, deque[float]] = {}

    def fits(self, model: str, now_s: float) -> bool:
        """Count a request if the rate may rise that far, and tell; refused ones cost nothing."""
        if self._per_s is None:
            return True
        times = self._admitted.setdefault(model, deque())
        while times and times[0] <= now_s - 2:
            times.popleft()
        latest = sum(time_s > now_s - 1 for time_s in times)
        if latest + 1 > len(times) - latest + self._per_s:
            return False
        times.append(now_s)
        return True
