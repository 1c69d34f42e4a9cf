"""Two runs over the same items, or two variants of one: what changed.

Rows are matched by the name of their item: its id, with variant and sample where a run has them.
They are dealt into pieces, which DuckDB joins one after the other.
"""

import pyarrow.compute as pc

from omni_batch.analytics.compare.facts import Comparison, Side, TextChange, VariantComparison
from omni_batch.analytics.compare.sides import Chosen, compared
from omni_batch.analytics.compare.words import word_diff
from omni_batch.counts import Counts
from omni_batch.errors import ConfigError
from omni_batch.progress.counters import COUNTED, of_tables
from omni_batch.progress.current import current_record
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.read import Names, read_tables

__all__ = [
    "Comparison",
    "Side",
    "TextChange",
    "VariantComparison",
    "compare_runs",
    "compare_variants",
    "word_diff",
]

_OF_VARIANTS = COUNTED | Names(frozenset({"variant"}), frozenset({"variant"}))


def compare_runs(left: RunDir, right: RunDir, limit: int = 10) -> Comparison:
    """Compare the results there are so far, item by item.

    Args:
        left: the run before.
        right: the run after.
        limit: how many items each list holds at most.

    Raises:
        ConfigError: one of them is not a run directory, or only one has variants or samples.
        StorageError: a table can't be read.
    """
    before, after = map(current_record, (left, right))
    _refuse_other_rows(before, after)
    sides = [Chosen(left, before, before.counts), Chosen(right, after, after.counts)]
    _, (comparison,) = compared(sides, limit)
    return comparison


def compare_variants(directory: RunDir, limit: int = 10) -> VariantComparison:
    """Compare each two variants of a run by the results there are so far, item by item.

    Args:
        limit: how many items each list of a pair holds at most.

    Raises:
        ConfigError: it is not a run directory, or has less than two variants.
        StorageError: a table can't be read.
    """
    record = current_record(directory)
    if len(record.variants) < 2:
        found = ", ".join(record.variants) or "none"
        raise ConfigError(
            f"run {directory.root} has no two variants to compare ({found}); two runs are "
            "compared with: omni-batch compare RUN_A RUN_B"
        )
    counts = _counts_by_variant(directory, record)
    sides = [Chosen(directory, record, counts[name], name) for name in record.variants]
    return VariantComparison(*compared(sides, limit))


def _refuse_other_rows(left: RunRecord, right: RunRecord) -> None:
    """Runs whose rows have other names."""
    for one, other in ((left, right), (right, left)):
        if one.variants and not set(one.variants) & set(other.variants):
            raise ConfigError(
                f"run {one.run_id} has the variants {', '.join(one.variants)}, and run "
                f"{other.run_id} has {', '.join(other.variants) or 'none'}: no rows match. "
                "omni-batch compare RUN --by variant compares the variants of one run"
            )
        if one.config.get("samples") and not other.config.get("samples"):
            raise ConfigError(
                f"run {one.run_id} has {one.config['samples']} samples of each row, and run "
                f"{other.run_id} has none: no rows match. The view majority of omni-batch sql has "
                "one row for each item"
            )


def _counts_by_variant(directory: RunDir, record: RunRecord) -> dict[str, Counts]:
    """Of each variant; the working time is that of all together."""
    start = Counts(elapsed_s=record.counts.elapsed_s)
    counts = dict.fromkeys(record.variants, start)
    for tables in read_tables(directory, record, _OF_VARIANTS):
        for variant in counts:
            own = (table.filter(pc.field("variant") == variant) for table in tables)
            counts[variant] += of_tables(*own)
    return counts
