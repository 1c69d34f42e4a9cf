"""What a run's tables say. Reads Parquet (and the journal of a run in progress), writes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from omni_batch.columns import RESULT_COLUMNS, schema
from omni_batch.errors import ConfigError
from omni_batch.rundir.layout import RunDir
from omni_batch.rundir.parts import read_tables
from omni_batch.rundir.record import RunRecord, read_record


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed items of one kind."""

    error_kind: str
    items: int
    example_item_id: str
    example_message: str


def read_results(directory: RunDir, columns: list[str]) -> pa.Table:
    """Columns of all results there are so far, in manifest order."""
    shards = read_record(directory.record).shards
    parts = [results.select(columns) for results, _ in read_tables(directory, shards)]
    empty = schema(RESULT_COLUMNS).empty_table().select(columns)
    return pa.concat_tables([empty, *parts])


def failure_groups(directory: RunDir) -> list[FailureGroup]:
    """Failures by kind, the most frequent first, each with an example."""
    results = read_results(directory, ["status", "error_kind", "item_id", "error_message"])
    frame = results.to_pandas()
    failed = frame[frame["status"] == "failed"]
    groups = [
        FailureGroup(kind, len(rows), rows["item_id"].iloc[0], rows["error_message"].iloc[0])
        for kind, rows in failed.groupby("error_kind", sort=True)
    ]
    return sorted(groups, key=lambda group: -group.items)


def list_runs(folder: Path) -> Iterator[tuple[RunDir, RunRecord]]:
    """All runs below a folder, the newest first."""
    found = [RunDir(path.parent) for path in folder.glob("*/run.json")]
    records = []
    for directory in found:
        try:
            records.append((directory, read_record(directory.record)))
        except ConfigError:
            continue  # somebody else's run.json
    yield from sorted(records, key=lambda pair: pair[1].created_at, reverse=True)
