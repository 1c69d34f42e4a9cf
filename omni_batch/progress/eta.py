"""Rate, time left and cost of a run, estimated from its past. Pure: the caller brings the time.

Left are the items without a result, at the rate of the later half of this process's time: that half
leaves out a slow start, is long enough for long items, and follows what changes. Pauses are taken
out of the rate and put back by their share so far, so that a single one bends no estimate and many
of them count.
"""

from bisect import bisect_right
from collections.abc import Collection
from operator import attrgetter
from typing import NamedTuple

from omni_batch.counts import Counts, Money, Projection
from omni_batch.endpoint_status import EndpointStatus

_LATER_SHARE = 1 / 2
_LEAST_WINDOW_S = 15.0
_LEAST_S = 0.001
_MINUTE_S = 60.0
_DOUBT_S = 60.0  # so much time without a pause is taken for granted
_MOST_SAMPLES = 2048


class _Sample(NamedTuple):
    at_s: float
    worked_s: float
    """Time without pauses."""
    done: int


class ProgressEstimator:
    """Show it the counts now and then, ask it what they come to.

    Args:
        items: of the whole run.
        now_s: when this process began to work on it.
        counts: what was done before.
    """

    def __init__(self, items: int, now_s: float, counts: Counts) -> None:
        self._items = items
        self._before = counts
        self._samples = [_Sample(now_s, 0.0, counts.done)]
        self._paused = False

    def update(
        self, now_s: float, counts: Counts, endpoints: Collection[EndpointStatus] = ()
    ) -> Projection:
        """What can be said now."""
        last, asked = self._samples[-1], [e for e in endpoints if e.closed is None]
        worked_s = last.worked_s + (0.0 if self._paused else now_s - last.at_s)
        now = _Sample(now_s, worked_s, counts.done)
        self._samples.append(now)
        self._paused = bool(asked) and all(e.paused_s or e.down_s for e in asked)
        if len(self._samples) > _MOST_SAMPLES:  # of an old past every other one is enough
            del self._samples[1 : _MOST_SAMPLES // 2 : 2]
        return Projection(
            items_per_minute=self._rate(self._until("at_s", now_s - _MINUTE_S), now),
            mean_items_per_minute=self._rate(self._samples[0], now),
            left_s=self._left_s(now, asked),
            cost=self._cost(counts),
        )

    def _until(self, clock: str, moment_s: float) -> _Sample:
        """The last sample up to a moment of one of its two clocks, or the first of all."""
        position = bisect_right(self._samples, moment_s, key=attrgetter(clock))
        return self._samples[max(0, position - 1)]

    def _rate(self, then: _Sample, now: _Sample) -> float | None:
        """Items a minute, pauses and all; None before this process has finished its first one."""
        if now.done == self._samples[0].done or now.at_s <= then.at_s:
            return None
        return round(60 * (now.done - then.done) / (now.at_s - then.at_s), 2)

    def _left_s(self, now: _Sample, asked: Collection[EndpointStatus]) -> float | None:
        first = self._samples[0]
        if now.done == first.done or (asked and all(e.down_s for e in asked)):
            return None  # it is unknown how fast items end, or when an endpoint is up again
        window_s = max(_LEAST_WINDOW_S, now.worked_s * _LATER_SHARE)
        then = self._until("worked_s", now.worked_s - window_s)
        if now.done == then.done:  # an item takes longer than the window
            then = first
        per_s = (now.done - then.done) / max(now.worked_s - then.worked_s, _LEAST_S)
        at_work = (now.worked_s + _DOUBT_S) / (now.at_s - first.at_s + _DOUBT_S)
        pause_s = min((e.paused_s for e in asked), default=0.0)
        return round((self._items - now.done) / (per_s * at_work) + pause_s, 1)

    def _cost(self, counts: Counts) -> Money:
        """What is left costs by the item what this process has paid by the item."""
        here, left = counts.done - self._before.done, self._items - counts.done
        before = self._before.spent
        if not here:
            return {}
        return {
            currency: round(spent + left * (spent - before.get(currency, 0.0)) / here, 9)
            for currency, spent in counts.spent.items()
        }
