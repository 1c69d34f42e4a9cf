"""Counts, tokens and money by modality, model and endpoint. Pure."""

from collections import defaultdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.analytics.report.facts import Group, TokenKind

GROUP_COLUMNS = ("modality", "model", "endpoint")
TOKEN_COLUMNS = {
    "prompt_text_tokens": ("text", "in"),
    "prompt_audio_tokens": ("sound", "in"),
    "prompt_image_tokens": ("images", "in"),
    "prompt_video_tokens": ("video", "in"),
    "completion_text_tokens": ("text", "out"),
    "completion_audio_tokens": ("speech", "out"),
    "reasoning_tokens": ("thinking", "out"),
}
"""Column → (what it counts, which way it went). Together they make up the bill."""
_UNNAMED = {"endpoint": "never sent"}
_SUMS = ("prompt_tokens", "completion_tokens", "audio_s", "succeeded")


class Breakdown:
    """Sums of `results`, kept while shards go by."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, _Sums]] = {
            name: defaultdict(_Sums) for name in GROUP_COLUMNS
        }
        self._kinds = dict.fromkeys(TOKEN_COLUMNS, 0)

    def add(self, results: pa.Table) -> None:
        """Count the rows of one shard."""
        succeeded = pc.cast(pc.equal(results["status"], "succeeded"), pa.int64())
        results = results.append_column("succeeded", succeeded)
        for column, groups in self._groups.items():
            for row in _aggregated(results, column):
                groups[row[column] or _UNNAMED.get(column, "unknown")].add(row)
        for column in TOKEN_COLUMNS:
            self._kinds[column] += pc.sum(results[column]).as_py() or 0

    def groups(self, column: str) -> tuple[Group, ...]:
        """One group for each value of a column, the one with most items first."""
        groups = (sums.group(name) for name, sums in self._groups[column].items())
        return tuple(sorted(groups, key=lambda group: (-group.items, group.name)))

    def token_kinds(self) -> tuple[TokenKind, ...]:
        """What the bill is made of; kinds that did not occur are left out."""
        return tuple(
            TokenKind(*TOKEN_COLUMNS[column], tokens)
            for column, tokens in self._kinds.items()
            if tokens
        )


class _Sums:
    def __init__(self) -> None:
        self._items = 0
        self._sums: dict[str, float] = dict.fromkeys(_SUMS, 0)
        self._costs: dict[str, float] = defaultdict(float)

    def add(self, row: dict[str, Any]) -> None:
        self._items += row["status_count"]
        for name in _SUMS:
            self._sums[name] += row[f"{name}_sum"] or 0
        if row["cost_sum"] is not None:
            self._costs[row["currency"] or ""] += row["cost_sum"]

    def group(self, name: str) -> Group:
        return Group(
            name=name,
            items=self._items,
            succeeded=int(self._sums["succeeded"]),
            prompt_tokens=int(self._sums["prompt_tokens"]),
            completion_tokens=int(self._sums["completion_tokens"]),
            audio_s=self._sums["audio_s"],
            costs=dict(self._costs),
        )


def _aggregated(results: pa.Table, column: str) -> list[dict[str, Any]]:
    sums = [(name, "sum") for name in (*_SUMS, "cost")]
    grouped = results.group_by([column, "currency"], use_threads=False)
    rows: list[dict[str, Any]] = grouped.aggregate([("status", "count"), *sums]).to_pylist()
    return rows
