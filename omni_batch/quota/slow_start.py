"""How fast the rate of starts may rise. Pure.

Beside its limits the service has a surge rule: "request rate increased too quickly", with a
threshold that it calls dynamic (rate limit pages, 2026). So starts begin slowly, double every
second, and fall back as fast while nothing is started: after a pause of any kind, also after an
outage, requests do not come back all at once.
"""

_FLOOR_PER_S = 1.0
_FIRST_SHARE = 1 / 2  # of the limit, where it is known
_DOUBLING_S = 1.0
_SLOWEST_DOUBLING_S = 32.0
_SLOWER = 1.5
_SMOOTHING = 1 / 8


class SlowStart:
    """A rate of starts that doubles while it is used and halves while it is not.

    Args:
        known_per_s: the limit; where none is known, nothing is held back until the first refusal.
        doubling_s: as learned by an earlier run.
    """

    def __init__(self, known_per_s: float | None, doubling_s: float | None = None) -> None:
        self._floor_per_s = max(_FLOOR_PER_S, (known_per_s or 0.0) * _FIRST_SHARE)
        self._per_s = self._floor_per_s
        self._binding = known_per_s is not None or doubling_s is not None
        self._doubling_s = doubling_s or _DOUBLING_S
        self._usual_gap_s = 1 / self._per_s
        self._started_at_s: float | None = None

    @property
    def learned_doubling_s(self) -> float | None:
        """Slower than usual, where the service asked for it."""
        return self._doubling_s if self._doubling_s > _DOUBLING_S else None

    def wait_s(self, now_s: float) -> float:
        """Seconds until another start is not a surge."""
        if self._started_at_s is None or not self._binding:
            return 0.0
        return max(0.0, self._started_at_s + 1 / self._per_s - now_s)

    def start(self, now_s: float) -> None:
        """A request starts now."""
        if self._started_at_s is not None:
            self._move(now_s - self._started_at_s)
        self._started_at_s = now_s

    def skip(self, seconds: float) -> None:
        """Let time pass that was not this run's to start anything in."""
        if self._started_at_s is not None:
            self._started_at_s += seconds

    def refused(self) -> None:
        """The service said 429, whatever for: from now on it binds."""
        if not self._binding:
            self._binding = True
            self._per_s = max(1 / self._usual_gap_s / 2, self._floor_per_s)

    def surged(self) -> None:
        """The service called it a surge: half as fast, and rising more slowly from now on."""
        self._floor_per_s = _FLOOR_PER_S
        self._per_s = max(self._per_s / 2, self._floor_per_s)
        self._doubling_s = min(_SLOWER * self._doubling_s, _SLOWEST_DOUBLING_S)

    def _move(self, gap_s: float) -> None:
        self._usual_gap_s += _SMOOTHING * (min(gap_s, 1.0) - self._usual_gap_s)
        idle_s = max(0.0, gap_s - max(1.0, 2 / self._per_s))
        grown = self._per_s * 2 ** (min(gap_s, 1.0) / self._doubling_s - min(idle_s, 60.0))
        # Twice the rate in use is room enough, and soon fallen from.
        most_per_s = 2 / self._usual_gap_s
        self._per_s = max(min(grown, most_per_s), self._floor_per_s)
