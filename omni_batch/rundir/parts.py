"""Journal → Parquet: a finished shard becomes one part of each table."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from omni_batch.columns import ATTEMPT_COLUMNS, RESULT_COLUMNS, table
from omni_batch.errors import StorageError
from omni_batch.rundir.journal import read_journal
from omni_batch.rundir.layout import RunDir


def write_parts(directory: RunDir, shard_number: int) -> None:
    """Write both parts in manifest order, then drop the journal they came from.

    Raises:
        StorageError: disk full or not writable; the journal stays.
    """
    journal = directory.journal(shard_number)
    results, attempts = _journaled(journal)
    # Attempts first: the part of results is the mark that the shard is done.
    _write(attempts, directory.attempts(shard_number), directory.journals)
    _write(results, directory.results(shard_number), directory.journals)
    journal.unlink(missing_ok=True)


def _write(rows: pa.Table, path: Path, drafts: Path) -> None:
    # Drafts lie elsewhere: whoever reads the folder of a table finds whole parts only.
    temporary = drafts / f"{path.parent.name}-{path.name}.part"
    try:
        pq.write_table(rows, temporary, compression="zstd")
        temporary.replace(path)
    except (OSError, pa.ArrowException) as exc:
        raise StorageError(f"{path} can't be written: {exc}") from exc


def _journaled(journal: Path) -> tuple[pa.Table, pa.Table]:
    """(results, attempts) of a journal, in manifest order."""
    entries = sorted(read_journal(journal), key=lambda entry: entry.result["row_number"])
    attempts = [row for entry in entries for row in entry.attempts]
    results = [entry.result for entry in entries]
    return table(RESULT_COLUMNS, results), table(ATTEMPT_COLUMNS, attempts)


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
                yield _journaled(directory.journal(shard_number))
        except (OSError, pa.ArrowException) as exc:
            raise StorageError(f"shard {shard_number} of {directory.root}: {exc}") from exc
