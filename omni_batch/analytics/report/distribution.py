"""Percentiles of any number of values in the memory of a few hundred counters. Pure."""

import math

import numpy as np
import numpy.typing as npt

from omni_batch.analytics.report.facts import Bin, Percentiles

Values = npt.NDArray[np.float64]

_SMALLEST = 1e-3
_OCTAVES = 27  # up to 134,000: 37 hours in seconds
_BARS = 30


class Distribution:
    """Counts values in logarithmic bins.

    Args:
        per_octave: bins from one value to its double; 32 tells values apart that differ by 2.2 %.
    """

    def __init__(self, per_octave: int = 32) -> None:
        self._per_octave = per_octave
        self._counts = np.zeros(_OCTAVES * per_octave, dtype=np.int64)
        self._smallest, self._largest = math.inf, 0.0

    def add(self, values: Values) -> None:
        """Count values; NaN and what is below 0 are passed over."""
        values = values[values >= 0]
        if not values.size:
            return
        self._smallest = min(self._smallest, float(values.min()))
        self._largest = max(self._largest, float(values.max()))
        places = np.log2(np.maximum(values, _SMALLEST) / _SMALLEST) * self._per_octave
        places = np.minimum(places.astype(np.int64), self._counts.size - 1)
        self._counts += np.bincount(places, minlength=self._counts.size)

    @property
    def count(self) -> int:
        """Values counted."""
        return int(self._counts.sum())

    def quantile(self, part: float) -> float:
        """The value below which that part (0 to 1) of all lies; 0 where there is none."""
        if not self.count:
            return 0.0
        rank = max(1, math.ceil(part * self.count))
        place = int(np.searchsorted(np.cumsum(self._counts), rank))
        middle = self._value(place + 0.5)
        return min(max(middle, self._smallest), self._largest)

    def spread(self) -> Percentiles:
        """The usual percentiles, and bars for a picture."""
        p10, p50, p90, p99 = (self.quantile(part) for part in (0.10, 0.50, 0.90, 0.99))
        return Percentiles(self.count, p10, p50, p90, p99, self._largest, self._bars())

    def _bars(self) -> tuple[Bin, ...]:
        filled = np.flatnonzero(self._counts)
        if not filled.size:
            return ()
        first, last = int(filled[0]), int(filled[-1])
        width = max(2, -(-(last - first + 1) // _BARS))
        return tuple(
            Bin(self._value(at), self._value(at + width), int(self._counts[at : at + width].sum()))
            for at in range(first, last + 1, width)
        )

    def _value(self, place: float) -> float:
        return float(_SMALLEST * 2 ** (place / self._per_octave))
