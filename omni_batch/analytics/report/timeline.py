"""When requests were sent, in as many stretches as a picture needs. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from omni_batch.analytics.report.facts import TimeBucket

_LADDER_S = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 21_600, 86_400, 864_000)
"""Widths of a stretch in seconds; each divides the next, and those below a minute the minute."""
_MOST = 240
_MINUTE_S = 60

Counts = npt.NDArray[np.int64]


class Timeline:
    """Counts exchanges by the second at first, and more coarsely as the run grows longer."""

    def __init__(self) -> None:
        self._width_s = _LADDER_S[0]
        self._stretches: dict[int, Counts] = {}

    def add(self, seconds: Counts, counts: Counts) -> None:
        """Count exchanges.

        Args:
            seconds: when each was sent, since 1970.
            counts: answered at once, answered later, rate limited, broken, tokens of each.
        """
        for second, row in zip(*_summed(seconds // self._width_s, counts), strict=True):
            self._put(int(second), row)
        while self._span() > _MOST and self._width_s < _LADDER_S[-1]:
            self._coarsen()

    def moments(self) -> tuple[TimeBucket, ...]:
        """All stretches from the first request to the last, the empty ones too."""
        if not self._stretches:
            return ()
        first = min(self._stretches)
        rows = np.array([self._stretches.get(first + at, _NONE) for at in range(self._span())])
        return tuple(self._moment(first + at, *pair) for at, pair in enumerate(self._rates(rows)))

    def _span(self) -> int:
        return max(self._stretches) - min(self._stretches) + 1 if self._stretches else 0

    def _put(self, stretch: int, row: Counts) -> None:
        self._stretches[stretch] = self._stretches.get(stretch, _NONE) + row

    def _coarsen(self) -> None:
        wider_s = _LADDER_S[_LADDER_S.index(self._width_s) + 1]
        ratio, finer = wider_s // self._width_s, self._stretches
        self._width_s, self._stretches = wider_s, {}
        for stretch, row in finer.items():
            self._put(stretch // ratio, row)

    def _rates(self, rows: Counts) -> Iterator[tuple[Counts, Counts]]:
        """Each stretch with what the minute up to its end held."""
        window = max(1, _MINUTE_S // self._width_s)
        sums = np.vstack([_NONE, rows.cumsum(axis=0)])
        for at in range(1, len(sums)):
            yield rows[at - 1], sums[at] - sums[max(0, at - window)]

    def _moment(self, stretch: int, row: Counts, minute: Counts) -> TimeBucket:
        minutes = max(1.0, self._width_s / _MINUTE_S)
        answered, retried, rate_limited, broken, _ = map(int, row)
        return TimeBucket(
            start=_time(stretch * self._width_s),
            end=_time((stretch + 1) * self._width_s),
            requests=int(row[:4].sum()),
            answered=answered,
            retried=retried,
            rate_limited=rate_limited,
            broken=broken,
            requests_per_minute=float(minute[:4].sum()) / minutes,
            tokens_per_minute=float(minute[4]) / minutes,
        )


def joined(moments: tuple[TimeBucket, ...], most: int) -> tuple[TimeBucket, ...]:
    """Fewer, longer stretches, for bars; rates are those at the end of each."""
    size = max(1, -(-len(moments) // most))
    return tuple(_join(moments[at : at + size]) for at in range(0, len(moments), size))


def _join(group: tuple[TimeBucket, ...]) -> TimeBucket:
    return TimeBucket(
        start=group[0].start,
        end=group[-1].end,
        requests=sum(moment.requests for moment in group),
        answered=sum(moment.answered for moment in group),
        retried=sum(moment.retried for moment in group),
        rate_limited=sum(moment.rate_limited for moment in group),
        broken=sum(moment.broken for moment in group),
        requests_per_minute=group[-1].requests_per_minute,
        tokens_per_minute=group[-1].tokens_per_minute,
    )


_NONE: Counts = np.zeros(5, dtype=np.int64)


def _summed(stretches: Counts, counts: Counts) -> tuple[Counts, Counts]:
    found, places = np.unique(stretches, return_inverse=True)
    sums = np.zeros((found.size, counts.shape[1]), dtype=np.int64)
    np.add.at(sums, places, counts)
    return found, sums


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
