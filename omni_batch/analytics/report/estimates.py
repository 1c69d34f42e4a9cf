"""How good the estimates of prompt tokens were. Pure."""

from collections import defaultdict

import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.analytics.report.distribution import Distribution
from omni_batch.analytics.report.exchanges import numbers
from omni_batch.analytics.report.facts import Estimate

_PER_OCTAVE = 256  # ratios lie around 1 and are told apart by 0.3 %


class Estimates:
    """Compares estimated with billed prompt tokens of items that were answered."""

    def __init__(self) -> None:
        self._of: dict[str, _Pair] = defaultdict(_Pair)

    def add(self, results: pa.Table) -> None:
        """Count the rows of one shard."""
        both = pc.and_(
            pc.greater(results["prompt_tokens"], 0),
            pc.greater(results["estimated_prompt_tokens"], 0),
        )
        rows = results.filter(both)
        for modality in pc.unique(rows["modality"]).to_pylist():
            if modality is not None:
                self._of[modality].add(rows.filter(pc.equal(rows["modality"], modality)))

    def rows(self) -> tuple[Estimate, ...]:
        """One row for each modality, the one with most tokens first."""
        found = (pair.estimate(modality) for modality, pair in self._of.items())
        return tuple(sorted(found, key=lambda row: -row.billed_tokens))


class _Pair:
    def __init__(self) -> None:
        self._estimated = self._billed = 0
        self._ratios = Distribution(_PER_OCTAVE)

    def add(self, rows: pa.Table) -> None:
        estimated = numbers(rows["estimated_prompt_tokens"])
        billed = numbers(rows["prompt_tokens"])
        self._estimated += int(estimated.sum())
        self._billed += int(billed.sum())
        self._ratios.add(billed / estimated)

    def estimate(self, modality: str) -> Estimate:
        ratio = self._ratios.spread()
        return Estimate(modality, ratio.count, self._estimated, self._billed, ratio)
