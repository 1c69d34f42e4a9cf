"""Journal → Parquet: a finished shard becomes one part of each table."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from omni_batch.errors import StorageError
from omni_batch.store.columns import ATTEMPT_COLUMNS, RESULT_COLUMNS, table
from omni_batch.store.disk import reason_of, storage_errors
from omni_batch.store.journal import read_journal
from omni_batch.store.run_dir import RunDir


def write_parts(directory: RunDir, shard_number: int) -> None:
    """Write both parts in manifest order, then drop the journal, which stays if one fails."""
    journal = directory.journal(shard_number)
    results, attempts = journaled(journal)
    # Attempts first: the part of results marks the shard as done.
    _write(directory, attempts, directory.attempts(shard_number))
    _write(directory, results, directory.results(shard_number))
    directory.disk.remove(journal)


def drop_leftovers(directory: RunDir, shards: int) -> None:
    """Remove what a killed process left incomplete or duplicate."""
    for shard_number in range(shards):
        if directory.results(shard_number).exists() and directory.journal(shard_number).exists():
            _drop_journal(directory, shard_number)
    for draft in directory.journals.glob("*.part"):
        directory.disk.remove(draft)
    shutil.rmtree(directory.downloads, ignore_errors=True)


def _drop_journal(directory: RunDir, shard_number: int) -> None:
    for part in (directory.attempts(shard_number), directory.results(shard_number)):
        with storage_errors(part, "read"):
            # Its process may have been killed before all of it was on the disk.
            directory.disk.sync_path(part)
            directory.disk.sync_path(part.parent)
    directory.disk.remove(directory.journal(shard_number))


def _write(directory: RunDir, rows: pa.Table, path: Path) -> None:
    # Drafts are elsewhere: whoever reads the folder of a table finds whole parts only.
    draft = directory.journals / f"{path.parent.name}-{path.name}.part"
    try:
        pq.write_table(rows, draft, compression="zstd")
        directory.disk.publish(draft, path)
    except (OSError, pa.ArrowException) as exc:
        directory.disk.remove(draft)
        raise StorageError(f"{path} can't be written: {reason_of(exc)}") from exc


def journaled(journal: Path) -> tuple[pa.Table, pa.Table]:
    """(results, attempts) of a journal, in manifest order. Each line must be a finished item."""
    try:
        entries = list(read_journal(journal))
        results = [entry.result for entry in entries if entry.result is not None]
        attempts = [row for entry in entries for row in entry.attempts]
        results.sort(key=lambda row: row["row_number"])
        attempts.sort(key=lambda row: (row["row_number"], row["number"]))
        return table(RESULT_COLUMNS, results), table(ATTEMPT_COLUMNS, attempts)
    except (KeyError, TypeError, ValueError, pa.ArrowException) as exc:
        raise StorageError(
            f"{journal} contains a line that is not a finished item: {exc!r}"
        ) from exc
