"""Limits of an account, for each model (rate limit pages, 2026)."""

from collections import deque
from collections.abc import Mapping
from typing import Literal, get_args

from omni_batch.simulator.checks.windows import LimitStatus, Window, window_of

Counted = Literal["requests", "tokens"]

QuotaStatus = Mapping[Counted, LimitStatus]
"""What is left of a model's limits; without those that are not set."""


class Quota:
    """Requests and tokens per minute of an account, counted apart for each model.

    Args:
        window: how they are counted, one of `option_values.WINDOWS`.
        burst: requests that may come at once, where they are counted by buckets.
    """

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        window: str = "bucket",
        burst: float | None = None,
    ) -> None:
        self._limits = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._kind, self._burst = window, burst
        self._windows: dict[tuple[Counted, str], Window] = {}

    def _window(self, counted: Counted, model: str) -> Window | None:
        limit = self._limits[counted]
        if limit is None:
            return None
        if (counted, model) not in self._windows:
            burst = self._burst if counted == "requests" else None
            self._windows[counted, model] = window_of(self._kind, limit, burst)
        return self._windows[counted, model]

    def request_fits(self, model: str, now_s: float) -> bool:
        """Count a request and tell whether the model had room for it; refused ones cost nothing."""
        window = self._window("requests", model)
        fits = window is None or window.wait_s(1, now_s) == 0
        if window and fits:
            window.take(1, now_s)
        return fits

    def tokens_fit(self, model: str, now_s: float) -> bool:
        """Whether the model has any tokens left, so that another request may start."""
        return self.wait_s("tokens", model, now_s) == 0

    def wait_s(self, counted: Counted, model: str, now_s: float) -> float:
        """How long until a request fits, or until any tokens are left."""
        window = self._window(counted, model)
        return window.wait_s(1, now_s) if window else 0.0

    def status(self, model: str, now_s: float) -> QuotaStatus:
        """What is left of both limits."""
        windows = {counted: self._window(counted, model) for counted in get_args(Counted)}
        return {counted: window.left(now_s) for counted, window in windows.items() if window}

    def spend(self, model: str, tokens: int, now_s: float) -> None:
        """Count tokens that were read or written."""
        if window := self._window("tokens", model):
            window.take(tokens, now_s)


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
