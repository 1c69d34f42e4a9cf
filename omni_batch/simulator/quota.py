"""Limits per minute, and their per-second share, for each model (rate limit pages, 2026)."""

from __future__ import annotations

from dataclasses import dataclass, field

MINUTE_S = 60.0
SLACK_S = 2.0
"""Seconds of the limit that may be used at once: clocks and networks jitter, so a client that
paces itself exactly at the limit must not be refused for it."""


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

    def spend(self, model: str, tokens: int, now_s: float) -> None:
        """Count tokens that were read or written."""
        limit = self._limits[1]
        if limit is not None:
            self._tokens.setdefault(model, Allowance(limit)).take(tokens, now_s)
