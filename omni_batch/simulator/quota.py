"""Limits per minute, and their per-second share, for each model (rate limit pages, 2026)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

MINUTE_S = 60.0
SLACK_S = 2.0
"""Seconds of the limit that may be used at once: clocks and networks jitter, so a client that
paces itself exactly at the limit must not be refused for it."""


@dataclass(frozen=True, slots=True)
class Left:
    """How much of one limit is left."""

    limit: float
    """Per minute."""
    remaining: float
    reset_s: float
    """Until all that may be used at once is there again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a model stands with its limits; None where there is none."""

    requests: Left | None
    tokens: Left | None


@dataclass(slots=True)
class Allowance:
    """So much a minute of one thing, earned second by second; that bounds the minute as well.

    A use may overdraw it, since nobody knows how long a reply gets; then the next has to wait.
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

    def left(self, now_s: float) -> Left:
        """What is left now."""
        self._refill(now_s)
        reset_s = (self._most - self._level) / self.per_minute * MINUTE_S
        return Left(self.per_minute, max(0.0, self._level), reset_s)

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
        self._limits = (requests_per_minute, tokens_per_minute)
        self._requests: dict[str, Allowance] = {}
        self._tokens: dict[str, Allowance] = {}

    def request_fits(self, model: str, now_s: float) -> bool:
        """Count a request and tell whether the model had room for it; refused ones cost nothing."""
        limit = self._limits[0]
        if limit is None:
            return True
        allowance = self._requests.setdefault(model, Allowance(limit))
        if not allowance.has(1, now_s):
            return False
        allowance.take(1, now_s)
        return True

    def tokens_fit(self, model: str, now_s: float) -> bool:
        """Whether the model has any tokens left, so that another request may start."""
        limit = self._limits[1]
        if limit is None:
            return True
        return self._tokens.setdefault(model, Allowance(limit)).has(1, now_s)

    def request_wait_s(self, model: str, now_s: float) -> float:
        """How long until a request fits."""
        limit = self._limits[0]
        return self._requests.setdefault(model, Allowance(limit)).wait_s(1, now_s) if limit else 0

    def tokens_wait_s(self, model: str, now_s: float) -> float:
        """How long until any tokens are left."""
        limit = self._limits[1]
        return self._tokens.setdefault(model, Allowance(limit)).wait_s(1, now_s) if limit else 0

    def standing(self, model: str, now_s: float) -> Standing:
        """What is left of both limits."""
        requests, tokens = (
            None if limit is None else kept.setdefault(model, Allowance(limit)).left(now_s)
            for limit, kept in zip(self._limits, (self._requests, self._tokens), strict=True)
        )
        return Standing(requests, tokens)

    def spend(self, model: str, tokens: int, now_s: float) -> None:
        """Count tokens that were read or written."""
        limit = self._limits[1]
        if limit is not None:
            self._tokens.setdefault(model, Allowance(limit)).take(tokens, now_s)


class Growth:
    """The third rule: requests of one second may exceed those of the second before by only so many.

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
