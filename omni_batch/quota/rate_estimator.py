"""What one limit really lets through, measured by what it refuses. Pure.

A stated number is trusted at first. A refusal says that more was sent than the limit lets through,
and two refusals say how much that is: both times the service had nothing left, so what it took in
between is its rate, whatever its windows are. In between the rate creeps up, so that a limit that
was raised, or that others have stopped using, is found again.
"""

import math
from collections import deque

TRUST_S = 180.0
"""How long a stated number has to bind before anything above it is tried: three whole windows."""
_HOLD_S = 20.0
"""No growth so long after a refusal; doubled each time a measurement confirms the one before."""
_LEARNED_HOLD_S = 160.0
_LONGEST_HOLD_S = 640.0
_AGREES = 0.2
_SAFE = 0.98
"""Share of a measured rate that is used: a client exactly as fast is refused by chance."""
UNMEASURED_CUT = 0.75
"""At a first refusal the service may have used up a reserve, so what it took says too much."""
_SMALL_CUT = 0.9
_DEEPEST_CUT = 0.5
_SHORTEST_MEASURE_S = 6.0
_LONGEST_MEASURE_S = 75.0
"""A window of the service and a little. After a longer peace, only its end tells the limit."""
_END_OF_PEACE_S = 10.0
_PEACE_CUT = 0.95
_GROWTH_PER_S = 0.002
_MOST_GROWTH_PER_S = 0.01
_GROWTH_SOONER_S = 30.0
"""The rate grows by a share of itself each second, a share that grows itself."""
_SEARCH_PER_S = 0.05
"""The same above a stated number that was never refused: plainly wrong, or plainly right."""


class RateEstimator:
    """Units a second of one limit.

    Args:
        stated_per_s: what config or catalogue say; None where nothing is known.
        learned_per_s: what an earlier run has learned.
        adaptive: False keeps to what is stated.
        first_cut: what a first refusal leaves of it.
    """

    def __init__(
        self,
        stated_per_s: float | None,
        learned_per_s: float | None = None,
        *,
        adaptive: bool = True,
        first_cut: float = UNMEASURED_CUT,
    ) -> None:
        self._adaptive = adaptive
        self._first_cut = first_cut
        learned_per_s = learned_per_s if adaptive else None
        self._stated_per_s = stated_per_s
        self._stated_by_server = False
        self._trusted = True
        self.per_s = learned_per_s or stated_per_s
        """In force now; None lets everything through."""
        self._was_refused = learned_per_s is not None
        self._measured_per_s = learned_per_s
        self._hold_s = _LEARNED_HOLD_S if self._was_refused else _HOLD_S
        self._saturated_s = 0.0
        self._refused_at_s: float | None = None
        self._cut_at_s = -math.inf
        self._accepted = 0.0
        self._marks: deque[tuple[float, float]] = deque()

    @property
    def learned_per_s(self) -> float | None:
        """What was learned, where it differs from what is stated."""
        if self.per_s is None or self.per_s == self._stated_per_s:
            return None
        return self._measured_per_s * _SAFE if self._measured_per_s else self.per_s

    def settling(self, now_s: float, lag_s: float) -> bool:
        """Whether what is under way is still more than the rate in force lets start."""
        return now_s - self._cut_at_s < lag_s

    def accepted(self, units: float) -> None:
        """Units were sent and not refused; a later correction may be negative."""
        self._accepted += units

    def seed(self, per_s: float) -> None:
        """Begin with what was used lately, where nothing else is known."""
        if self.per_s is None and self._adaptive and per_s > 0:
            self.per_s = per_s

    def stated_by_server(self, per_s: float) -> None:
        """The service names its limit itself: nothing above it is tried."""
        if self._adaptive and not self._was_refused:
            self._stated_per_s = self.per_s = per_s
            self._stated_by_server = True

    def saturated_for(self, seconds: float, now_s: float) -> None:
        """This limit is what everybody waited for. Only then does growing make sense."""
        if self.per_s is None or not self._adaptive:
            return
        self._mark(now_s)
        self._saturated_s += seconds
        grown_per_s = self.per_s * (1 + self._growth_per_s(self.per_s) * seconds)
        if self._stated_by_server and self._stated_per_s is not None:
            grown_per_s = min(grown_per_s, self._stated_per_s)
        self.per_s = grown_per_s

    def refused(self, now_s: float) -> None:
        """The limit was passed. Call it for the first refusal of a cause, and while nothing lags:
        refusals meanwhile say nothing new.
        """
        if not self._adaptive:
            return
        self._cut_at_s = now_s
        measured_per_s = self._measure(now_s)
        if measured_per_s is not None:
            self._settle(measured_per_s)
        elif self.per_s is not None:
            self.per_s *= self._unmeasured_cut()
        if not self._was_refused and self._saturated_s > TRUST_S:
            self._trusted = False  # more than the stated number was let through for a while
        self._was_refused = True
        self._saturated_s = 0.0

    def _unmeasured_cut(self) -> float:
        if self._measured_per_s is not None:
            return _SMALL_CUT
        return min(self._first_cut, _SMALL_CUT) if self._was_refused else self._first_cut

    def _mark(self, now_s: float) -> None:
        """Note how much has passed, about once a second, for the last seconds."""
        if not self._marks or now_s - self._marks[-1][0] >= 1:
            self._marks.append((now_s, self._accepted))
            while self._marks[0][0] < now_s - _END_OF_PEACE_S - 1:
                self._marks.popleft()

    def _growth_per_s(self, per_s: float) -> float:
        if not self._was_refused:
            return _SEARCH_PER_S if self._saturated_s > TRUST_S else 0.0
        beyond = self._trusted and self._stated_per_s is not None and per_s >= self._stated_per_s
        grown_s = self._saturated_s - max(self._hold_s, TRUST_S if beyond else 0.0)
        if grown_s <= 0:
            return 0.0
        return min(_GROWTH_PER_S * (1 + grown_s / _GROWTH_SOONER_S), _MOST_GROWTH_PER_S)

    def _measure(self, now_s: float) -> float | None:
        """What the limit lets through; None where that is unknown."""
        since_s, passed = self._refused_at_s, self._accepted
        if since_s is not None and now_s - since_s < _SHORTEST_MEASURE_S:
            return None  # measured from the same refusal next time
        quiet_window = self._quiet_window(now_s)
        self._refused_at_s, self._accepted = now_s, 0.0
        self._marks.clear()
        if since_s is None or now_s - since_s > _LONGEST_MEASURE_S:
            return (
                min(quiet_window, _PEACE_CUT * self.per_s) if quiet_window and self.per_s else None
            )
        return passed / (now_s - since_s) if passed > 0 else None

    def _quiet_window(self, now_s: float) -> float | None:
        if not self._marks or now_s - self._marks[0][0] < _END_OF_PEACE_S:
            return None
        at_s, passed = self._marks[0]
        return (self._accepted - passed) / (now_s - at_s)

    def _settle(self, measured_per_s: float) -> None:
        before, self._measured_per_s = self._measured_per_s, measured_per_s
        agrees = before is not None and abs(measured_per_s / before - 1) < _AGREES
        self._hold_s = min(2 * self._hold_s, _LONGEST_HOLD_S) if agrees else _HOLD_S
        used_per_s = _SAFE * measured_per_s
        if self.per_s is None:
            self.per_s = used_per_s
        else:
            least = _DEEPEST_CUT * self.per_s
            self.per_s = min(max(used_per_s, least), _SAFE * self.per_s)
