"""How long no request starts after a 429. Pure."""

import math
from typing import Literal

_FIRST_S = 1.0
_USUAL_MOST_S = 10.0
_LONGEST_S = 60.0
_MINUTE_S = 60.0
_LEAST_S = 0.1  # "Retry-After: 0" must not become a loop without a breath

Cause = Literal["first", "duplicate", "repeat"]


class Backoff:
    """One pause for everybody; longer each time the first request after it is refused as well.

    The service's windows clear within a minute (rate limit pages, 2026), so for that long the
    pauses stay short enough not to miss the moment.
    """

    def __init__(self) -> None:
        self._until_s = -math.inf
        self._refused_at_s = -math.inf
        self._started_at_s = -math.inf
        self._next_s = _FIRST_S
        self._pending = False
        self.after_refusal = False
        """Whether the pause is due to a 429."""

    def wait_s(self, now_s: float) -> float:
        """Seconds until requests may start."""
        return max(0.0, self._until_s - now_s)

    def until(self, until_s: float, *, refused: bool = False) -> None:
        """Backoff at least so long.

        Args:
            refused: because of a 429, not of what the service says of its limits.
        """
        if until_s > self._until_s:
            self._until_s, self.after_refusal = until_s, refused
        self._pending = True

    def is_answered(self, started_s: float) -> bool:
        """Whether a request that started then was too early to know of the last refusal."""
        return started_s < self._refused_at_s

    @property
    def last_s(self) -> float:
        """How long the last pause was."""
        return self._until_s - self._refused_at_s

    def hold(self, now_s: float, pause_s: float) -> None:
        """Wait a moment after a refusal that calls for nothing more."""
        self._refused_at_s = now_s
        if now_s + pause_s > self._until_s:
            self._until_s, self.after_refusal = now_s + pause_s, True

    def over(self) -> bool:
        """A request starts: whether it is the first one after a pause."""
        pending, self._pending = self._pending, False
        return pending

    def refused(
        self, now_s: float, started_s: float, pause_s: float | None, *, again: bool
    ) -> Cause:
        """Backoff because of a request that was refused.

        Args:
            started_s: when it started.
            pause_s: how long, where that is known; else it is longer each time.
            again: it was the first one after the pause before.

        Returns:
            duplicate: it started before the last refusal, which has been reacted to. repeat: the
            pause was too short. first: anything else.
        """
        if self.is_answered(started_s):
            if pause_s is not None:
                self.until(now_s + pause_s, refused=True)
            return "duplicate"
        self._refused_at_s = now_s
        if not again:
            self._started_at_s, self._next_s = now_s, _FIRST_S
        if pause_s is None:
            pause_s = self._next_s
            most_s = _USUAL_MOST_S if now_s - self._started_at_s < _MINUTE_S else _LONGEST_S
            self._next_s = min(2 * self._next_s, most_s)
        self.until(now_s + max(pause_s, _LEAST_S), refused=True)
        return "repeat" if again else "first"
