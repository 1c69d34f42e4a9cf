"""Journal → Parquet: a finished shard becomes one part of each table."""

import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omni_batch.errors import StorageError
from omni_batch.store.columns import ATTEMPT_COLUMNS, IN_DOUBT, RESULT_COLUMNS, Column, table
from omni_batch.store.disk import draft_path, open_new, reason_of, storage_errors
from omni_batch.store.journal import Entry, Journal, read_journal
from omni_batch.store.run_dir import RunDir

_ABANDONED_AFTER_S = 3600.0  # pages take seconds


def write_parts(
    directory: RunDir,
    shard_number: int,
    rows: Collection[int] | None = None,
    journal: Journal | None = None,
    columns: Sequence[Column] = RESULT_COLUMNS,
) -> None:
    """Write both parts in manifest order, then drop the journal, which stays if one fails.

    Args:
        rows: row numbers of the shard, where the parts must have exactly these.
        columns: of the run's results.
        journal: where it is open; it is whole then, even where its file has lost its name.

    Raises:
        StorageError: disk full or not writable, or rows that were finished are gone.
    """
    path = directory.journal(shard_number)
    entries = journal.entries() if journal else list(read_journal(path))
    results, attempts = _tables(entries, columns, path)
    if rows is not None:
        _refuse_other_rows(path, results["row_number"].to_pylist(), rows)
    # Attempts first: the part of results marks the shard as done.
    _write(directory, attempts, directory.attempts(shard_number))
    _write(directory, results, directory.results(shard_number))
    if journal:
        journal.remove()
    else:
        directory.disk.remove(path)


def _refuse_other_rows(journal: Path, found: list[int], wanted: Collection[int]) -> None:
    lost, foreign = set(wanted) - set(found), set(found) - set(wanted)
    if lost:
        raise StorageError(
            f"{len(lost)} of {len(wanted)} rows that were finished are gone from {journal}: "
            "another program removed or cut it while the run worked; resume asks for them again"
        )
    if foreign:
        raise StorageError(
            f"{journal} has rows of another shard, such as row {min(foreign)}; another program "
            "changed it while the run worked; resume leaves them out"
        )


def drop_leftovers(directory: RunDir, shards: Iterable[int]) -> None:
    """Remove what a killed process left incomplete or duplicate."""
    for shard_number in shards:
        if directory.results(shard_number).exists() and directory.journal(shard_number).exists():
            _drop_journal(directory, shard_number)
    for draft in (*directory.drafts.glob("*.part"), *_drafts_beside(directory)):
        directory.disk.remove(draft)
    if directory.downloads.is_symlink():
        directory.disk.remove(directory.downloads)
    shutil.rmtree(directory.downloads, ignore_errors=True)


def _drafts_beside(directory: RunDir) -> Iterator[Path]:
    """Of run.json, which only the owner writes; of pages, which another process may be writing."""
    for draft in directory.home.glob("*.part"):
        with suppress(OSError):
            age_s = time.time() - draft.lstat().st_mtime
            is_left = draft.is_symlink() or age_s > _ABANDONED_AFTER_S
            if is_left or directory.record.name in draft.name:
                yield draft


def _drop_journal(directory: RunDir, shard_number: int) -> None:
    for part in (directory.attempts(shard_number), directory.results(shard_number)):
        with storage_errors(part, "read"):
            # Its process may have been killed before all of it was on the disk.
            directory.disk.sync_path(part)
            directory.disk.sync_path(part.parent)
    directory.disk.remove(directory.journal(shard_number))


def _write(directory: RunDir, rows: pa.Table, path: Path) -> None:
    # Drafts are elsewhere: whoever reads the folder of a table finds whole parts only.
    draft = draft_path(path, directory.drafts)
    try:
        with open_new(draft) as file:
            pq.write_table(rows, file, compression="zstd")
        directory.disk.publish(draft, path)
    except (OSError, pa.ArrowException) as exc:
        directory.disk.remove(draft)
        raise StorageError(f"{path} can't be written: {reason_of(exc)}") from exc


def journaled(journal: Path, columns: Sequence[Column]) -> tuple[pa.Table, pa.Table]:
    """(results, attempts) of a journal, in manifest order. Each line must be a finished item.

    Args:
        columns: of the run's results.
    """
    return _tables(list(read_journal(journal)), columns, journal)


def merged(
    entries: Iterable[Entry],
) -> tuple[dict[int, dict[str, Any]], dict[tuple[int, int], dict[str, Any]]]:
    """Results by row, attempts by row and number: each once, the first that was written.

    An attempt that is in doubt gives way to its end.
    """
    results: dict[int, dict[str, Any]] = {}
    attempts: dict[tuple[int, int], dict[str, Any]] = {}
    for entry in entries:
        if entry.result is not None:
            results.setdefault(entry.result["row_number"], entry.result)
        for row in entry.attempts:
            key = row["row_number"], row["number"]
            if key not in attempts or attempts[key].get("error_kind") == IN_DOUBT:
                attempts[key] = row
    return results, attempts


def _tables(
    entries: list[Entry], columns: Sequence[Column], journal: Path
) -> tuple[pa.Table, pa.Table]:
    try:
        results, attempts = merged(entries)
        return (
            table(columns, [results[row] for row in sorted(results)]),
            table(ATTEMPT_COLUMNS, [attempts[key] for key in sorted(attempts)]),
        )
    except (KeyError, TypeError, ValueError, pa.ArrowException) as exc:
        raise StorageError(
            f"{journal} contains a line that is not a finished item: {exc!r}"
        ) from exc
