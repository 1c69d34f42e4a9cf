"""What takes the rows of sides piece by piece, and what they come to."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from omni_batch.analytics.agreement import Comparer
from omni_batch.analytics.compare import queries
from omni_batch.analytics.compare.facts import Comparison, Side, StatusChange, TextChange
from omni_batch.analytics.compare.words import word_diff
from omni_batch.analytics.dealt import Values, dealt_runs, named_rows
from omni_batch.analytics.sql import Database
from omni_batch.annotation.shape import read_shape
from omni_batch.counts import Counts
from omni_batch.store import RunDir, RunRecord


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a side is: a run, or one variant of it."""

    run: RunDir
    record: RunRecord
    counts: Counts
    """As `status` shows them."""
    variant: str | None = None


def compared(sides: list[Chosen], limit: int) -> tuple[list[Side], list[Comparison]]:
    """All sides, and each two of them: the first with all others, the second with those after it …

    Args:
        limit: how many items each list holds at most.

    Raises:
        StorageError: a table can't be read, or disk full.
    """
    runs = {side.run.root: (side.run, side.record) for side in sides}
    rows = max(record.items for _, record in runs.values())
    with (
        dealt_runs(list(runs.values()), queries.COLUMNS) as dealt,
        tempfile.TemporaryDirectory(prefix="omni-batch-values-") as folder,
        Database(rows) as database,
    ):
        figures = [_Figures(f"s{n}", side, Path(folder)) for n, side in enumerate(sides)]
        pairs = [_Pair(*two, limit) for two in combinations(figures, 2)]
        for pieces in zip(*(run.pieces() for run in dealt), strict=True):
            shown = dict(zip(runs, pieces, strict=True))
            for one in figures:
                one.add(database, *shown[one.chosen.run.root])
            for pair in pairs:
                pair.add(database)
        found = [one.side() for one in figures]
    two_sides = combinations(found, 2)
    return found, [pair.comparison(*two) for pair, two in zip(pairs, two_sides, strict=True)]


class _Figures:
    """Takes the values of a side."""

    def __init__(self, name: str, chosen: Chosen, folder: Path) -> None:
        self.name, self.chosen = name, chosen
        self._values = {kind: Values(folder / f"{name}-{kind}") for kind in queries.VALUES}

    def add(self, database: Database, results: pa.Table, attempts: pa.Table) -> None:
        """Take a piece of the run, and show what is the side's own of it."""
        database.show(f"{self.name}_results", named_rows(results, self.chosen.variant))
        database.show(f"{self.name}_attempts", named_rows(attempts, self.chosen.variant))
        for kind, values in self._values.items():
            values.add(database.ask(queries.VALUES[kind].format(side=self.name)).read_all())

    def side(self) -> Side:
        """What they come to."""
        record, variant, counts = self.chosen.record, self.chosen.variant, self.chosen.counts
        cost, tokens, request_s, wait_s = (
            values.percentiles(0.5, 0.95) for values in self._values.values()
        )
        return Side(
            path=str(self.chosen.run.root),
            run_id=record.run_id,
            variant=variant,
            state=record.state,
            model=record.model_of(variant) if variant else "+".join(record.models) or None,
            endpoint=record.endpoint_names,
            counts=counts,
            cost_median=cost[0] if len(counts.cost) < 2 else None,
            tokens_median=tokens[0],
            request_s_median=request_s[0],
            request_s_p95=request_s[1],
            wait_s_median=wait_s[0],
            wait_s_p95=wait_s[1],
        )


class _Pair:
    """Takes what differs between two sides."""

    def __init__(self, left: _Figures, right: _Figures, limit: int) -> None:
        self._names = {"a": left.name, "b": right.name, "limit": limit, "words": queries.WORDS}
        self._limit = limit
        self._overlap = Counter[str]()
        self._lists: dict[str, list[dict[str, Any]]] = {kind: [] for kind in queries.LISTS}
        self._comparer = _comparer(left.chosen.record, right.chosen.record)

    def add(self, database: Database) -> None:
        """Take the piece that is shown."""

        def ask(query: str) -> Iterator[dict[str, Any]]:
            return database.rows(query.format(**self._names))

        (overlap,) = ask(queries.OVERLAP)
        self._overlap.update(overlap)
        for kind, query in queries.LISTS.items():
            found = [*self._lists[kind], *ask(query)]
            self._lists[kind] = sorted(found, key=_place)[: self._limit]
        if self._comparer is not None:
            for row in ask(queries.ANNOTATIONS):
                answers = map(msgspec.json.decode, (row["left_json"], row["right_json"]))
                self._comparer.add(*answers)

    def comparison(self, left: Side, right: Side) -> Comparison:
        """What it comes to."""
        lists = self._lists
        return Comparison(
            left=left,
            right=right,
            **self._overlap,
            only_left_items=[row["item_id"] for row in lists["only_left"]],
            only_right_items=[row["item_id"] for row in lists["only_right"]],
            status_changes=[msgspec.convert(row, StatusChange) for row in lists["statuses"]],
            text_changes=list(map(_text_change, lists["texts"])),
            agreement=self._comparer.agreements() if self._comparer else [],
        )


def _comparer(left: RunRecord, right: RunRecord) -> Comparer | None:
    """Of typed answers, where both sides have some."""
    if left.annotation_schema is None or right.annotation_schema is None:
        return None
    return Comparer(read_shape(left.annotation_schema), read_shape(right.annotation_schema))


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """In a list: the most changed texts first, all else in the order of the left run."""
    return (-row["change"], row["item_id"]) if "change" in row else (row["row_number"],)


def _text_change(row: Mapping[str, Any]) -> TextChange:
    return TextChange(**row, segments=word_diff(row["left_text"], row["right_text"]))
