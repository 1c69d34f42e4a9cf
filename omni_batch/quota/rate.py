"""What one limit lets through a second: what is stated, or less where that was refused. Pure.

A stated number is a ceiling. Right at it a refusal may be a matter of milliseconds, since the
service counts by its own seconds: then the spacing is widened a little, and that is all. Refusals
that go on say that the number is wrong: the rate is set to what was let through, and grows back
from there within three minutes, so that nothing that was learned is for ever.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edge:
    """What is done about refusals right at the limit."""

    slacks: tuple[float, ...]
    """By which share starts are further apart than the rate asks for, one after the other."""
    least_quiet_s: float = 0.0
    """A refusal so soon after another one is no matter of milliseconds."""
    overdrawn: bool = False
    """A second may hold more than its limit, as answers end when they end: what it held when a
    request was refused is about the limit."""

    @property
    def first_slack(self) -> float:
        """Before anything is refused."""
        return self.slacks[0]


REQUESTS = Edge((0.008, 0.025, 0.04, 0.06, 0.09))
TOKENS = Edge((0.008, 0.015, 0.025), least_quiet_s=3.0, overdrawn=True)
"""Of which the last second is counted after a first refusal."""
_AMONG = 2
"""Requests between two refusals, at least, if they are due to milliseconds."""
_AMONG_WIDEST = 20
"""The same with the widest distance, which leaves little to milliseconds."""
_RARE = 100
"""Requests between two refusals that are put up with: more distance would cost more."""
_SLACK_FOR_S = 180.0
_FIRST_HOLD_S = 10.0
_LONGEST_HOLD_S = 100.0
"""No growth so long after a refusal; doubled each time growing was refused."""
_GROWTH_PER_S = 0.01
_FAST_GROWTH_PER_S = 0.025
_SLOW_GROWTH_S = 20.0
_SAFE = 0.98
"""Share of a measured rate that is used: a client exactly as fast is refused by chance."""
_CUT, _QUICK_CUT, _SMALL_CUT = 0.75, 0.85, 0.9
"""Shares that refusals leave where little is known: the first, one soon after it, later ones."""
_QUICK_S = 3.0
_EDGE_CUT = 0.96
"""The same where the limit was found."""
_RARE_CUT, _OFTEN_S = 0.99, 10.0
"""Of tokens that are counted by seconds: refusals that far apart are more likely due to chance."""
_DEEPEST_CUT = 0.6
_NEAR = 1.02
"""How near the rate from which growing began a strict limit is taken to be."""
_OVERDRAWN_PAUSE_S = 0.6
"""Until most of a second's tokens are no longer counted."""
_SHORTEST_MEASURE_S = 6.0
_LONGEST_MEASURE_S = 75.0
"""A window of the service and a little. Over a longer peace, too little was asked for."""
EXPLORED_AFTER_S = 180.0
"""How long a stated number has to bind before anything above it is tried: three whole windows."""
_EXPLORE_PER_S = 0.01
EXPLORE_MOST = 10.0
"""Times the stated number."""
_BEYOND_SENT = 1.25
"""How far above what is let through a rate that nothing else bounds may stand."""


@dataclass(frozen=True, slots=True)
class Lately:
    """What was let through of one thing when a request was refused."""

    last_second: float
    busiest_second: float
    """Of those before, in which nothing was refused."""

    @property
    def strict(self) -> bool:
        """The second is what counts: none before had more, as it had if there were a reserve."""
        return self.last_second >= 0.75 * self.busiest_second


class Rate:
    """Units a second of one limit.

    Args:
        stated_per_s: what config or catalogue say; None where nothing is known.
        learned_per_s: what an earlier run has learned.
        adaptive: False keeps to what is stated.
        explore: more than what is stated is tried when that binds.
    """

    def __init__(
        self,
        stated_per_s: float | None,
        learned_per_s: float | None = None,
        *,
        adaptive: bool = True,
        explore: bool = False,
        edge: Edge = REQUESTS,
    ) -> None:
        self._adaptive, self._explore, self._edge = adaptive, explore, edge
        self.stated_per_s = stated_per_s
        self._handed_on = learned_per_s if adaptive else None
        if self._handed_on and stated_per_s and not explore:
            self._handed_on = min(self._handed_on, stated_per_s)
        self.per_s = self._handed_on or stated_per_s
        """In force now; None lets everything through."""
        self.was_refused = False
        self.tightened = False
        """The service has refused what was no more than the stated number, or counts by seconds."""
        self._slack = 0
        self._since_s: float | None = 0.0 if self._handed_on else None
        self._refused_at_s = self._lowered_at_s = -math.inf
        self._passed = 0.0
        self._paused_s = 0.0
        self._hold_s = _LONGEST_HOLD_S if self._handed_on else _FIRST_HOLD_S
        self._grown_at_s = 0.0
        self._held_per_s = math.inf
        self._proved_per_s = 0.0
        self._told = 0.0
        self._limit_per_s = self._handed_on
        self._by_seconds: bool | None = None
        self._limits_named = False

    @property
    def slack(self) -> float:
        """Share by which starts are further apart than the rate asks for."""
        return self._edge.slacks[self._slack]

    @property
    def learned_per_s(self) -> float | None:
        """What was refused or really let through, where it differs from what is stated."""
        if self._proved_per_s > (self.stated_per_s or math.inf):
            return self._proved_per_s
        if self.per_s is None or (self.stated_per_s and self.per_s >= self.stated_per_s):
            return None
        if not self.was_refused:
            return self._handed_on
        return max(self.per_s, min(self._limit_per_s or 0.0, self.stated_per_s or math.inf))

    @property
    def found_out(self) -> bool:
        """This run itself has learned something of the limit."""
        return self.was_refused or self._proved_per_s > (self.stated_per_s or math.inf)

    @property
    def _ceiling_per_s(self) -> float:
        if self.stated_per_s is None:
            return math.inf
        return self.stated_per_s * (EXPLORE_MOST if self._explore else 1.0)

    def settling(self, now_s: float, lag_s: float) -> bool:
        """Whether what is under way is still more than the rate in force lets start."""
        return now_s - self._lowered_at_s < lag_s

    def accepted(self, units: float) -> None:
        """Units were sent and not refused; a later correction may be negative."""
        self._passed += units

    def paused(self, seconds: float) -> None:
        """Nothing was sent for so long."""
        self._paused_s += seconds

    def refused_after_pause(self) -> None:
        """A second without a request was not enough: the service counts by more than seconds."""
        self._by_seconds = False

    def strict_pause_s(self, lately: Lately) -> float | None:
        """How long to wait where the service seems to count by seconds: until it has room for one.
        None where it counts otherwise."""
        by_seconds = lately.strict if self._by_seconds is None else self._by_seconds
        if not (by_seconds and self.per_s and self._adaptive):
            return None
        return _OVERDRAWN_PAUSE_S if self._edge.overdrawn else 1 / self.per_s

    def seed(self, per_s: float) -> None:
        """Begin with what was used lately, where nothing else is known."""
        if self.per_s is None and self._adaptive and per_s > 0:
            self.per_s = per_s

    def named_by_server(self, per_s: float) -> None:
        """The service names its limit itself. It may lower what is stated, not raise it."""
        if not self._adaptive or self.was_refused:
            return
        if self.stated_per_s is None or self._limits_named or per_s < self.stated_per_s:
            self._limits_named = self._limits_named or self.stated_per_s is None
            self.stated_per_s = self.per_s = per_s

    # --- Up ---

    def grow(self, now_s: float, last_minute_per_s: float) -> bool:
        """Recover from a refusal; beyond what is stated only to explore. Whether it changed.

        Args:
            last_minute_per_s: what was let through.
        """
        since_s, self._grown_at_s = now_s - self._grown_at_s, now_s
        if self.per_s is None or not self._adaptive:
            return False
        before = self.per_s, self._slack
        if now_s - self._refused_at_s > _SLACK_FOR_S:
            self._slack = max(0, self._slack - 1)
            if self._slack:
                self._refused_at_s = now_s - _SLACK_FOR_S / 2
        most_per_s = self._most_per_s(now_s, last_minute_per_s)
        grown = self.per_s * (1 + self._growth_per_s(now_s) * min(since_s, 1.0))
        self.per_s = max(self.per_s, min(grown, most_per_s))
        return (self.per_s, self._slack) != before

    def _most_per_s(self, now_s: float, last_minute_per_s: float) -> float:
        stated = self.stated_per_s
        if stated is None:
            return _BEYOND_SENT * last_minute_per_s
        if not self._explore or now_s < EXPLORED_AFTER_S or last_minute_per_s < 0.9 * stated:
            return stated
        self._proved_per_s = max(self._proved_per_s, last_minute_per_s)
        return min(self._ceiling_per_s, max(stated, _BEYOND_SENT * last_minute_per_s))

    def _growth_per_s(self, now_s: float) -> float:
        if self.stated_per_s and (self.per_s or 0) >= self.stated_per_s:
            return _EXPLORE_PER_S if now_s - self._refused_at_s > self._hold_s else 0.0
        grown_s = now_s - max(self._refused_at_s, 0.0) - self._hold_s
        if grown_s <= 0:
            return 0.0
        return _GROWTH_PER_S if grown_s < _SLOW_GROWTH_S else _FAST_GROWTH_PER_S

    # --- Down ---

    def at_edge(self, now_s: float, passed: int) -> bool:
        """The limit was passed while no more than the stated number was sent: whether it is enough
        to keep more distance.

        Args:
            passed: requests that were let through since the last refusal.
        """
        stated = self.per_s is not None and self.per_s == self.stated_per_s
        widest = self._slack + 1 == len(self._edge.slacks)
        least = 0 if not self._slack else _AMONG_WIDEST if widest else _AMONG
        soon = self._slack and now_s - self._refused_at_s < self._edge.least_quiet_s
        if not (self._adaptive and stated) or soon or passed < least:
            return False
        self._slack += not widest and (not self._slack or passed < _RARE)
        self.tightened = True
        self._refused_at_s = now_s
        return True

    def refused(self, now_s: float, lately: Lately) -> None:
        """The limit was passed, and not by chance. Call it for the first refusal of a cause only:
        refusals meanwhile say nothing new.
        """
        if not self._adaptive:
            return
        quiet_s = now_s - self._refused_at_s
        grew = self.was_refused and quiet_s > self._hold_s
        if self._by_seconds is None:
            self._by_seconds = lately.strict
        self.tightened = self.tightened or self._by_seconds
        measured_per_s = self._measure(now_s)
        if self.per_s is None:
            self.per_s = measured_per_s
        else:
            self.per_s *= self._left_of(self.per_s, measured_per_s, lately, quiet_s, grew=grew)
        self._hold_s = min(2 * self._hold_s, _LONGEST_HOLD_S) if grew else self._hold_s
        self._refused_at_s = self._lowered_at_s = now_s
        self._slack, self.was_refused = 0, True

    def _left_of(
        self,
        per_s: float,
        measured_per_s: float | None,
        lately: Lately,
        quiet_s: float,
        *,
        grew: bool,
    ) -> float:
        """Which share of a rate is kept."""
        if self._by_seconds:
            share = self._left_of_seconds(per_s, lately, quiet_s)
            near = _NEAR * self._held_per_s / per_s
            self._held_per_s = share * per_s if share >= _SMALL_CUT else math.inf
            return min(share, max(near, _QUICK_CUT)) if grew else share
        if measured_per_s is not None:
            return min(max(_SAFE * measured_per_s / per_s, _DEEPEST_CUT), _SAFE)
        if self._limit_per_s is not None:
            return _EDGE_CUT
        return _SMALL_CUT if self.was_refused else _CUT

    def _left_of_seconds(self, per_s: float, lately: Lately, quiet_s: float) -> float:
        """The same where the service counts by seconds."""
        if self._edge.overdrawn:
            most = _RARE_CUT if quiet_s > _OFTEN_S else _EDGE_CUT
            return min(max(_SAFE * lately.last_second / per_s, _DEEPEST_CUT), most)
        if self.was_refused and quiet_s > _QUICK_S:
            self._limit_per_s = _SAFE * per_s
            return _EDGE_CUT
        if self._limit_per_s is not None:
            return _EDGE_CUT
        before, self._told = self._told, lately.last_second
        if abs(self._told - before) <= 1 and self._told >= per_s / 2:
            return min(self._told / per_s, _SMALL_CUT)  # twice the same number: that is the limit
        return _QUICK_CUT if self.was_refused else _CUT

    def _measure(self, now_s: float) -> float | None:
        """What was let through between two refusals, at both of which nothing was left; of a strict
        second nothing is saved up during a pause."""
        since_s, passed, paused_s = self._since_s, self._passed, self._paused_s
        if since_s is not None and now_s - since_s < _SHORTEST_MEASURE_S:
            return None  # measured from the same refusal next time
        self._since_s, self._passed, self._paused_s = now_s, 0.0, 0.0
        if since_s is None or now_s - since_s > _LONGEST_MEASURE_S or passed <= 0:
            return None
        return passed / (now_s - since_s - (paused_s if self._by_seconds else 0.0))
