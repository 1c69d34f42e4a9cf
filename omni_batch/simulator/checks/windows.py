"""The ways in which a service can count one limit: how much within which time.

The rate limit pages (2026) state a number a minute and say that a sixtieth of it holds in each
second as well. How the seconds and minutes are cut, and whether there is a reserve, they leave
open; so there is a window of each kind.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

MINUTE_S = 60.0
RESERVE_S = 2.0
"""Seconds of a limit that its bucket holds where nothing is said: clocks and networks jitter, so a
client that paces itself exactly at the limit must not be refused for it."""


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """How much of one limit is left."""

    limit: float
    """Per minute."""
    remaining: float
    reset_s: float
    """Until all that may be used at once is available again."""


class Window(Protocol):
    """Counts one thing. A use may overdraw it, since the length of a reply is unknown."""

    def wait_s(self, amount: float, now_s: float) -> float:
        """How long until so much is left, seconds; 0 where it is."""

    def take(self, amount: float, now_s: float) -> None:
        """Use it, whether it is left or not."""

    def left(self, now_s: float) -> LimitStatus:
        """What is left now."""


@dataclass(slots=True)
class Bucket:
    """So much a minute, earned evenly; what was not used is kept up to `most`."""

    per_minute: float
    most: float
    _level: float = field(init=False)
    _filled_at_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._level = self.most

    def wait_s(self, amount: float, now_s: float) -> float:
        """How long until so much has been earned."""
        self._refill(now_s)
        lacking = amount - self._level
        return lacking / self.per_minute * MINUTE_S if lacking > 1e-9 else 0.0

    def take(self, amount: float, now_s: float) -> None:
        """Use it; what is overdrawn has to be earned before the next."""
        self._refill(now_s)
        self._level -= amount

    def left(self, now_s: float) -> LimitStatus:
        """What is left now."""
        self._refill(now_s)
        reset_s = (self.most - self._level) / self.per_minute * MINUTE_S
        return LimitStatus(self.per_minute, max(0.0, self._level), reset_s)

    def _refill(self, now_s: float) -> None:
        earned = (now_s - self._filled_at_s) * self.per_minute / MINUTE_S
        self._level = min(self.most, self._level + earned)
        self._filled_at_s = now_s


@dataclass(slots=True)
class Sliding:
    """So much within any stretch of `width_s`."""

    per_minute: float
    width_s: float
    _uses: deque[tuple[float, float]] = field(default_factory=deque, init=False)
    _used: float = field(default=0.0, init=False)

    @property
    def most(self) -> float:
        """Within the window; one request has to fit."""
        return max(1.0, self.per_minute * self.width_s / MINUTE_S)

    def wait_s(self, amount: float, now_s: float) -> float:
        """How long until enough has left the window."""
        self._forget(now_s)
        kept, ends_at_s = self._used, now_s
        for at_s, used in self._uses:
            if kept + amount <= self.most + 1e-9:
                break
            kept, ends_at_s = kept - used, at_s + self.width_s
        return ends_at_s - now_s

    def take(self, amount: float, now_s: float) -> None:
        """Use it."""
        self._forget(now_s)
        self._uses.append((now_s, amount))
        self._used += amount

    def left(self, now_s: float) -> LimitStatus:
        """What is left now."""
        self._forget(now_s)
        reset_s = self._uses[-1][0] + self.width_s - now_s if self._uses else 0.0
        return LimitStatus(self.per_minute, max(0.0, self.most - self._used), reset_s)

    def _forget(self, now_s: float) -> None:
        while self._uses and self._uses[0][0] <= now_s - self.width_s:
            self._used -= self._uses.popleft()[1]
        if not self._uses:
            self._used = 0.0


@dataclass(slots=True)
class Whole:
    """So much within each whole second or minute of the clock; each begins from nothing."""

    per_minute: float
    width_s: float
    _number: int = field(default=-1, init=False)
    _used: float = field(default=0.0, init=False)

    @property
    def most(self) -> float:
        """Within the window; one request has to fit."""
        return max(1.0, self.per_minute * self.width_s / MINUTE_S)

    def wait_s(self, amount: float, now_s: float) -> float:
        """How long until the next window, where this one has too little."""
        self._turn(now_s)
        fits = self._used + amount <= self.most + 1e-9 or not self._used
        return 0.0 if fits else self._ends_in_s(now_s)

    def take(self, amount: float, now_s: float) -> None:
        """Use it."""
        self._turn(now_s)
        self._used += amount

    def left(self, now_s: float) -> LimitStatus:
        """What is left now."""
        self._turn(now_s)
        remaining = max(0.0, self.most - self._used)
        return LimitStatus(self.per_minute, remaining, self._ends_in_s(now_s))

    def _ends_in_s(self, now_s: float) -> float:
        return (self._number + 1) * self.width_s - now_s

    def _turn(self, now_s: float) -> None:
        number = math.floor(now_s / self.width_s)
        if number != self._number:
            self._number, self._used = number, 0.0


@dataclass(slots=True)
class All:
    """Several windows at once: what the narrowest leaves."""

    windows: tuple[Window, ...]

    def wait_s(self, amount: float, now_s: float) -> float:
        """How long until it is left in all of them."""
        return max(window.wait_s(amount, now_s) for window in self.windows)

    def take(self, amount: float, now_s: float) -> None:
        """Use it in all of them."""
        for window in self.windows:
            window.take(amount, now_s)

    def left(self, now_s: float) -> LimitStatus:
        """What is left of the one that is nearest to its end."""
        return min((window.left(now_s) for window in self.windows), key=lambda one: one.remaining)


def window_of(kind: str, per_minute: float, burst: float | None = None) -> Window:
    """The window of one limit.

    Args:
        kind: one of `option_values.WINDOWS`.
        burst: what the bucket holds; None is two seconds of the limit.
    """
    match kind:
        case "sliding-second":
            return All((Sliding(per_minute, 1.0), Sliding(per_minute, MINUTE_S)))
        case "whole-second":
            return All((Whole(per_minute, 1.0), Whole(per_minute, MINUTE_S)))
        case "sliding-minute":
            return Sliding(per_minute, MINUTE_S)
        case "whole-minute":
            return Whole(per_minute, MINUTE_S)
    return Bucket(per_minute, burst or max(2.0, per_minute / MINUTE_S * RESERVE_S))
