"""Whether an endpoint is there at all. Pure.

While it is down nothing is sent but a probe now and then; items wait and use up no attempt.
"""

_FAILURES = 5
"""In a row, of two items or more: one item that always fails is not an outage."""
_FIRST_PROBE_S = 1.0
_LAST_PROBE_S = 5.0


class CircuitBreaker:
    """Opens after failures in a row, closes with the first answer of any kind."""

    def __init__(self) -> None:
        self._failures = 0
        self._failed: set[object] = set()
        self._down_since_s: float | None = None
        self._first_failure_s = 0.0
        self._probe_at_s = 0.0
        self._gap_s = _FIRST_PROBE_S
        self.was_there = False
        """Whether it has ever answered."""

    @property
    def is_open(self) -> bool:
        """True while the endpoint is taken to be down."""
        return self._down_since_s is not None

    def down_s(self, now_s: float) -> float:
        """How long it has been down."""
        return 0.0 if self._down_since_s is None else now_s - self._down_since_s

    def wait_s(self, now_s: float) -> float:
        """Seconds until a request may start."""
        return max(0.0, self._probe_at_s - now_s) if self.is_open else 0.0

    def start(self, now_s: float) -> None:
        """A request starts; while open it is a probe, and the next waits longer."""
        if self.is_open:
            self._probe_at_s = now_s + self._gap_s
            self._gap_s = min(2 * self._gap_s, _LAST_PROBE_S)

    def answered(self) -> None:
        """The endpoint is there, whatever it says."""
        self.was_there = True
        self._failures = 0
        self._failed.clear()
        self._down_since_s = None

    def failed(self, item_id: object, now_s: float) -> None:
        """It could not be reached, or said that it is down."""
        if self._failures == 0:
            self._first_failure_s = now_s
        self._failures += 1
        if len(self._failed) < 2:
            self._failed.add(item_id)
        if not self.is_open and self._failures >= _FAILURES and len(self._failed) > 1:
            self._down_since_s = self._first_failure_s
            self._gap_s = _FIRST_PROBE_S
            self._probe_at_s = now_s + self._gap_s
