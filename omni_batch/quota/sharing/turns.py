"""Runs that share an account take turns: each uses the whole limit, for a moment at a time. Pure
but for the task that asks for the next turn.

The account's time is one line, and a turn is a stretch of it that nobody else has. So all runs
together start requests as evenly as one alone would, also where the service counts strictly by
seconds. Who asks for a turn while its last one is running comes behind all others that wait, which
makes shares equal; who does not need its share does not ask, and leaves it to the others; and of
one that is killed a single turn is lost.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

TURN_S = 1.0
_FAR_S = 0.001
_LATE_SHARE = 0.5  # of the distance between two starts
_LATE_S = 0.004


class Turns(Protocol):
    """The line of one account and model, shared with other runs."""

    async def lease(self, seconds: float) -> float:
        """Take the next stretch of so many seconds.

        Returns:
            When it begins, by the event loop's clock. Never fails: without the others, it is now.
        """

    def close(self) -> None:
        """Ask for no more."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of time, by the event loop's clock."""

    begin_s: float
    end_s: float


class TurnTaker:
    """Whether it is this run's turn.

    Args:
        wake: called when a turn was taken.
        began: called as a turn begins that had to be waited for, with since when and how long.
    """

    def __init__(
        self, turns: Turns, wake: Callable[[], None], began: Callable[[float, float], None]
    ) -> None:
        self._turns, self._wake, self._began = turns, wake, began
        self._now = Turn(0.0, 0.0)
        self._next: Turn | None = None
        self._asked_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def wait_s(self, now_s: float, seconds: float, gap_s: float) -> float | None:
        """Seconds until a request may start; None: a turn is being taken.

        Args:
            seconds: how long a turn should be.
            gap_s: between two starts. The last one of a turn keeps it from the next turn's first.
        """
        if self._next is not None and now_s >= self._next.begin_s:
            self._begin(self._next)
        if self._next is None and self._task is None and now_s >= self._now.begin_s:
            self._asked_s = now_s
            self._task = asyncio.get_running_loop().create_task(self._lease(seconds))
        end_s = self._now.end_s
        if self._next is None or self._next.begin_s > end_s:  # somebody else's turn comes next
            end_s -= gap_s - max(_LATE_SHARE * gap_s, _LATE_S)
        if now_s < end_s:
            return 0.0
        return None if self._next is None else self._next.begin_s - now_s

    async def aclose(self) -> None:
        """Take no more turns."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._turns.close()

    def _begin(self, turn: Turn) -> None:
        since_s = max(self._now.end_s, self._asked_s)
        if turn.begin_s > since_s:
            self._began(since_s, turn.begin_s - since_s)
        self._now, self._next = turn, None

    async def _lease(self, seconds: float) -> None:
        begin_s = await self._turns.lease(seconds)
        self._next, self._task = Turn(begin_s, begin_s + seconds), None
        self._wake()


def turn_s(requests: int, gap_s: float, item_s: float) -> float:
    """How long a turn should be: a whole number of starts, and enough for the next item's tokens.

    Args:
        requests: that could start.
        gap_s: between two starts; 0 where only tokens are limited.
        item_s: how long the next item's tokens take.

    Returns:
        Seconds; 0 where the limits are so far away that there is nothing to share.
    """
    if max(gap_s, item_s) < _FAR_S:
        return 0.0
    if not gap_s:
        return max(TURN_S, item_s)
    starts = min(max(1, round(TURN_S / gap_s)), requests)
    return max(starts, math.ceil(item_s / gap_s)) * gap_s
