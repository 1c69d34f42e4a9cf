"""Rate, time left and cost of a run, estimated from its past. Pure: the caller brings the time.

Left are the items without a result, at the rate of the later half of this process's time: that half
leaves out a slow start, is long enough for long items, and follows what changes. Pauses are taken
out of the rate and put back by their share so far, so that a single one bends no estimate and many
of them count.
"""

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass

from omni_batch.counts import Counts, Money, Projection
from omni_batch.endpoint_status import EndpointStatus

_LATER_SHARE = 1 / 2
_LEAST_WINDOW_S = 15.0
_LEAST_S = 0.001
_MINUTE_S = 60.0
_DOUBT_S = 60.0  # so much time without a pause is taken for granted
_MOST_SAMPLES = 2048


@dataclass(frozen=True, slots=True)
class _Sample:
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
        last = self._samples[-1]
        worked_s = last.worked_s + (0.0 if self._paused else now_s - last.at_s)
        now = _Sample(now_s, worked_s, counts.done)
        self._samples.append(now)
        self._paused = _stands_still(endpoints)
        self._thin_out()
        return Projection(
            items_per_minute=self._rate(self._minute_ago(now_s), now),
            mean_items_per_minute=self._rate(self._samples[0], now),
            left_s=self._left_s(now, endpoints),
            cost=self._cost(counts),
        )

    def _minute_ago(self, now_s: float) -> _Sample:
        position = bisect_right(self._samples, now_s - _MINUTE_S, key=lambda sample: sample.at_s)
        return self._samples[max(0, position - 1)]

    def _rate(self, then: _Sample, now: _Sample) -> float | None:
        """Items a minute, pauses and all; None before this process has finished its first one."""
        if now.done == self._samples[0].done or now.at_s <= then.at_s:
            return None
        return round(60 * (now.done - then.done) / (now.at_s - then.at_s), 2)

    def _left_s(self, now: _Sample, endpoints: Collection[EndpointStatus]) -> float | None:
        first = self._samples[0]
        asked = [endpoint for endpoint in endpoints if endpoint.closed is None]
        if asked and all(endpoint.down_s for endpoint in asked):
            return None  # it is unknown when one is up again
        window_s = max(_LEAST_WINDOW_S, now.worked_s * _LATER_SHARE)
        begin_s = now.worked_s - window_s
        position = bisect_right(self._samples, begin_s, key=lambda sample: sample.worked_s)
        then = self._samples[max(0, position - 1)]
        if now.done == then.done:  # an item takes longer than the window
            then = first
        if now.done == then.done:
            return None
        per_s = (now.done - then.done) / max(now.worked_s - then.worked_s, _LEAST_S)
        at_work = (now.worked_s + _DOUBT_S) / (now.at_s - first.at_s + _DOUBT_S)
        pause_s = (
            min((endpoint.paused_s for endpoint in asked), default=0.0) if self._paused else 0.0
        )
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

    def _thin_out(self) -> None:
        """Of an old past every other sample is enough."""
        if len(self._samples) > _MOST_SAMPLES:
            old, new = self._samples[: _MOST_SAMPLES // 2], self._samples[_MOST_SAMPLES // 2 :]
            self._samples = old[::2] + new


def _stands_still(endpoints: Collection[EndpointStatus]) -> bool:
    """Whether nothing is sent anywhere for now."""
    asked = [endpoint for endpoint in endpoints if endpoint.closed is None]
    return bool(asked) and all(endpoint.paused_s or endpoint.down_s for endpoint in asked)
