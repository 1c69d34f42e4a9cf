"""How many requests may be in flight. Pure."""

import math

_ANSWER_S = 60.0
"""An answer that takes longer than that is rare."""
_MOST = 512
"""Connections, and memory: each holds up to 256 KiB."""
_FIRST = 4
_FIRST_CHOSEN = 16
_CUT = 0.75


def needed_in_flight(requests_per_minute: float | None, *, least: int) -> int:
    """How many requests a rate has in flight: as many as start while an answer takes its time.

    Args:
        requests_per_minute: None where no rate is known.
        least: where that is fewer, or nothing is known.
    """
    needed = math.ceil((requests_per_minute or 0.0) / 60 * _ANSWER_S)
    return max(least, min(needed, _MOST))


class ConcurrencyLimit:
    """Starts low, grows by one with each request let in, is cut by a refusal and then grows slowly.

    Args:
        most: `quota.max_in_flight`.
        bounded: False gives all of it at once: a known rate bounds better.
        chosen: nobody stated it; a service that answers nothing gets no more than it always got.
    """

    def __init__(self, most: int, *, bounded: bool, chosen: bool = False) -> None:
        self._most = most
        first = _FIRST if bounded else _FIRST_CHOSEN if chosen else most
        self._allowed = float(min(first, most))
        self._was_cut = False

    @property
    def limit(self) -> int:
        """Requests that may be in flight."""
        return int(self._allowed)

    def admitted(self) -> None:
        """A request was let in."""
        grown = self._allowed + (1 / self._allowed if self._was_cut else 1)
        self._allowed = min(grown, self._most)

    def refused(self) -> None:
        """There were too many. Call it for the first refusal of a cause only."""
        self._was_cut = True
        self._allowed = max(1.0, self._allowed * _CUT)

    def lift(self) -> None:
        """A rate is known now."""
        self._allowed = float(self._most)
