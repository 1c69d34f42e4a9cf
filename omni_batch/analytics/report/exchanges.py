"""The HTTP exchanges of a run: when, how long, how they ended. Pure."""

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.analytics.report.distribution import Distribution, Values
from omni_batch.analytics.report.facts import Costs, ExchangeKind, TimeBucket, Wait
from omni_batch.analytics.report.timeline import Timeline

ANSWERED = "answered"
_WAITS = {"first_chunk_s": "first event", "latency_s": "whole exchange"}


class Exchanges:
    """Sums of `attempts`, kept while shards go by."""

    def __init__(self) -> None:
        self.total = self.retries = self.rate_limited = self.tokens = 0
        self._timeline = Timeline()
        self._waits: dict[tuple[str, str], Distribution] = defaultdict(Distribution)
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._cut_costs: Counter[str] = Counter()

    def add(self, attempts: pa.Table) -> None:
        """Count the rows of one shard."""
        if not attempts.num_rows:
            return
        outcome = pc.fill_null(attempts["error_kind"], ANSWERED)
        self._add_times(attempts, outcome)
        self._add_waits(attempts, pc.equal(outcome, ANSWERED))
        endpoints = pc.fill_null(attempts["endpoint"], "unknown").to_pylist()
        self._outcomes.update(zip(endpoints, outcome.to_pylist(), strict=True))
        for row in attempts.select(["estimated_cost", "currency"]).to_pylist():
            if row["estimated_cost"]:
                self._cut_costs[row["currency"] or ""] += row["estimated_cost"]

    def moments(self) -> tuple[TimeBucket, ...]:
        """The exchanges over time."""
        return self._timeline.moments()

    def waits(self) -> tuple[Wait, ...]:
        """How long answered exchanges took, by endpoint."""
        return tuple(
            Wait(_WAITS[column], endpoint, distribution.spread())
            for (endpoint, column), distribution in sorted(self._waits.items())
            if distribution.count
        )

    def kinds(self) -> tuple[ExchangeKind, ...]:
        """How exchanges ended, the most frequent first."""
        return tuple(ExchangeKind(*key, count) for key, count in self._outcomes.most_common())

    def cut_costs(self) -> Costs:
        """Estimated money for replies that broke off, where the table has it."""
        return dict(self._cut_costs)

    def _add_times(self, attempts: pa.Table, outcome: pa.ChunkedArray) -> None:
        known = pc.is_valid(attempts["started_at"])
        seconds = pc.divide(pc.cast(attempts["started_at"], pa.int64()), 1_000_000)
        answered = numbers(pc.equal(outcome, ANSWERED)) > 0
        limited = numbers(pc.equal(outcome, "rate_limited")) > 0
        later = numbers(attempts["number"]) > 1
        tokens = np.nan_to_num(numbers(attempts["total_tokens"]))
        self.total += attempts.num_rows
        self.retries += int(later.sum())
        self.rate_limited += int(limited.sum())
        self.tokens += int(tokens.sum())
        columns = (answered & ~later, answered & later, limited, ~answered & ~limited, tokens)
        counts = np.stack([column.astype(np.int64) for column in columns], axis=1)
        keep = numbers(known) > 0
        self._timeline.add(numbers(seconds)[keep].astype(np.int64), counts[keep])

    def _add_waits(self, attempts: pa.Table, answered: pa.ChunkedArray) -> None:
        whole = attempts.filter(answered)
        for endpoint in pc.unique(whole["endpoint"]).to_pylist():
            rows = whole.filter(pc.equal(whole["endpoint"], endpoint)) if endpoint else whole
            for column in _WAITS:
                self._waits[endpoint or "unknown", column].add(numbers(rows[column]))


def numbers(values: pa.ChunkedArray) -> Values:
    """An Arrow column as floats; null becomes NaN."""
    floats: Values = pc.cast(values, pa.float64()).to_numpy()
    return floats
