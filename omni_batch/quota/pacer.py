"""Units spread evenly over time. Pure: the caller brings the time."""

import math


class Pacer:
    """Moves the moment of the next free unit; a large charge is paid off by waiting after it.

    Lateness of up to `tolerance_s` (of timers, of a busy loop) is made up for. Who comes later
    than that has not waited: nothing is saved up while nobody asks.

    Args:
        saves: so much is saved up all the same, for charges of all sizes.
    """

    def __init__(self, *, saves: bool = False) -> None:
        self._saves = saves
        self.seconds_per_unit = 0.0
        """Until a pace is known, everything is free."""
        self._tolerance_s = 0.0
        self._free_at_s = -math.inf

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next unit is free."""
        return max(0.0, self._free_at_s - now_s)

    def charge(self, units: float, now_s: float) -> None:
        """Use units now."""
        if self._free_at_s == -math.inf:  # the first one: there is no lateness to make up for
            self._free_at_s = now_s
        least_s = now_s - self._tolerance_s
        begin_s = self._free_at_s
        if begin_s < least_s:
            begin_s = least_s if self._saves else now_s
        self._free_at_s = begin_s + units * self.seconds_per_unit

    def skip(self, since_s: float, seconds: float) -> None:
        """Let time pass in which nothing is paid off."""
        if self._free_at_s > since_s:
            self._free_at_s += seconds

    def begin(self, now_s: float) -> None:
        """Make up for nothing of before."""
        self._free_at_s = max(self._free_at_s, now_s)

    def correct(self, units: float) -> None:
        """Add what an earlier charge fell short by; negative gives back."""
        self._free_at_s += units * self.seconds_per_unit

    def change(self, per_s: float, now_s: float, tolerance_s: float) -> None:
        """Go on at another pace; what is owed stays owed."""
        self._tolerance_s = tolerance_s
        owed = self.wait_s(now_s) / self.seconds_per_unit if self.seconds_per_unit else 0.0
        self.seconds_per_unit = 1 / per_s
        if self._free_at_s > now_s:
            self._free_at_s = now_s + owed * self.seconds_per_unit
