"""What a run's tables say. Reads Parquet (and the journal of a run in progress), writes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.doubts import Doubt, DoubtGroup, DoubtGroups
from omni_batch.errors import ConfigError
from omni_batch.requests.media import MediaLoader
from omni_batch.store import read as store
from omni_batch.store.columns import result_columns, schema
from omni_batch.store.record import RunRecord, read_record
from omni_batch.store.run_dir import RunDir
from omni_batch.types import row_name

if TYPE_CHECKING:
    import pandas


NAMING = ("item_id", "variant", "sample")
"""Columns of `results` that make up the name of a row."""


def name_of(row: Mapping[str, Any]) -> str:
    """The name of a row of `results`, as `Item.name`."""
    return row_name(*(row[name] for name in NAMING))


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed items of one kind."""

    error_kind: str
    items: int
    example_item_id: str
    """Its name, as `Item.name`."""
    example_message: str


def read_results(run_dir: str | Path) -> "pandas.DataFrame":
    """All results there are so far as a DataFrame, in manifest order.

    Whole numbers stay whole (`Int64`) where some are missing; columns are those of
    `omni_batch.store.columns.RESULT_COLUMNS`.

    Raises:
        ConfigError: `run_dir` is not a run directory.
    """
    import pandas  # takes longer to import than most runs take to start

    whole_numbers = {pa.int64(): pandas.Int64Dtype()}
    table = results_table(RunDir(Path(run_dir)))
    frame: pandas.DataFrame = table.to_pandas(types_mapper=whole_numbers.get)
    return frame


def results_table(
    directory: RunDir, columns: list[str] | None = None, rows: pc.Expression | None = None
) -> pa.Table:
    """The same as an Arrow table, whole or some columns of it.

    Args:
        rows: which are wanted; the others are dropped as they are read.
    """
    record = read_record(directory.record)
    whole = schema(result_columns(record.annotation_schema))
    names = columns or whole.names
    parts = [
        part.select(names) if rows is None else part.select(names).filter(rows)
        for number in record.shards
        for part in [store.read_results(directory, record, number, names)]
    ]
    return pa.concat_tables([whole.empty_table().select(names), *parts])


def input_files(
    directory: RunDir, record: RunRecord, *, keep_folders: bool = False
) -> MediaLoader | None:
    """Finds the run's media that are still in media.roots; None where these are gone."""
    roots = (record.config.get("media") or {}).get("roots") or ["."]
    try:
        return MediaLoader(directory.root / record.base_folder, roots, keep_folders=keep_folders)
    except ConfigError:
        return None


def failure_groups(directory: RunDir) -> list[FailureGroup]:
    """Failures by kind, the most frequent first, each with an example."""
    told = [*NAMING, "error_kind", "error_message"]
    failed = results_table(directory, told, pc.is_valid(pc.field("error_kind")))
    # The place of a row in the table stands for its name, which may be null in parts.
    failed = failed.append_column("place", pa.array(range(failed.num_rows)))
    groups = failed.group_by("error_kind", use_threads=False).aggregate(
        [("place", "count"), ("place", "first")]
    )
    by_size = groups.sort_by([("place_count", "descending"), ("error_kind", "ascending")])
    return [_failure_group(failed, **row) for row in by_size.to_pylist()]


def _failure_group(
    failed: pa.Table, error_kind: str, place_count: int, place_first: int
) -> FailureGroup:
    (example,) = failed.slice(place_first, 1).to_pylist()
    return FailureGroup(error_kind, place_count, name_of(example), example["error_message"])


def doubt_groups(directory: RunDir) -> list[DoubtGroup]:
    """What is doubted about rows, by rule, the one with most rows first."""
    has_some = pc.greater(pc.list_value_length(pc.field("warnings")), 0)
    doubted = results_table(directory, [*NAMING, "warnings"], has_some)
    groups = DoubtGroups()
    for row in doubted.to_pylist():
        groups.add_row(name_of(row), map(Doubt.read, row["warnings"]))
    return sorted(groups.all(), key=lambda group: -group.rows)
