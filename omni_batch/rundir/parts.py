"""Journal → Parquet: a finished shard becomes one part of each table."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omni_batch.columns import ATTEMPT_COLUMNS, RESULT_COLUMNS, Column, table
from omni_batch.errors import StorageError
from omni_batch.rundir.journal import read_journal
from omni_batch.rundir.layout import RunDir


def write_parts(directory: RunDir, shard_number: int) -> None:
    """Write both parts in manifest order, then drop the journal they came from.

    Raises:
        StorageError: disk full or not writable; the journal stays.
    """
    journal = directory.journal(shard_number)
    entries = sorted(read_journal(journal), key=lambda entry: entry.result["row_number"])
    attempts = [row for entry in entries for row in entry.attempts]
    # Attempts first: the part of results is the mark that the shard is done.
    _write(directory.attempts(shard_number), ATTEMPT_COLUMNS, attempts)
    _write(directory.results(shard_number), RESULT_COLUMNS, [entry.result for entry in entries])
    journal.unlink(missing_ok=True)


def _write(path: Path, columns: Iterable[Column[Any]], rows: list[dict[str, Any]]) -> None:
    temporary = path.with_suffix(".parquet.part")
    try:
        pq.write_table(table(columns, rows), temporary, compression="zstd")
        temporary.replace(path)
    except (OSError, pa.ArrowException) as exc:
        raise StorageError(f"{path} can't be written: {exc}") from exc


def read_tables(directory: RunDir, shards: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """What is written so far, shard by shard: (results, attempts), from part or journal.

    Raises:
        StorageError: a part can't be read.
    """
    for shard_number in range(shards):
        try:
            if directory.results(shard_number).exists():
                yield (
                    pq.read_table(directory.results(shard_number)),
                    pq.read_table(directory.attempts(shard_number)),
                )
            elif directory.journal(shard_number).exists():
                entries = list(read_journal(directory.journal(shard_number)))
                attempts = [row for entry in entries for row in entry.attempts]
                yield (
                    table(RESULT_COLUMNS, [entry.result for entry in entries]),
                    table(ATTEMPT_COLUMNS, attempts),
                )
        except (OSError, pa.ArrowException) as exc:
            raise StorageError(f"shard {shard_number} of {directory.root}: {exc}") from exc
