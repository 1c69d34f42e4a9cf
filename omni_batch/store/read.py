"""A run's tables as written so far, from its parts and its journals. The one reader of both.

Tables of another version get today's columns: missing ones are null, unknown ones are dropped.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from omni_batch.errors import ConfigError, StorageError
from omni_batch.store.columns import ATTEMPT_COLUMNS, RESULT_COLUMNS, Column, schema
from omni_batch.store.parts import journaled
from omni_batch.store.record import RunRecord, read_record
from omni_batch.store.run_dir import RunDir


@dataclass(frozen=True, slots=True)
class Shard:
    """Both tables of a shard: paths of its parts, or the content of its journal so far."""

    results: Path | pa.Table
    attempts: Path | pa.Table


def list_runs(folder: Path) -> Iterator[tuple[RunDir, RunRecord]]:
    """All runs below a folder, the newest first."""
    found = [RunDir(path.parent) for path in folder.glob("[!.]*/run.json")]
    records = []
    for directory in found:
        try:
            records.append((directory, read_record(directory.record)))
        except ConfigError:
            continue  # another program's run.json
    yield from sorted(records, key=lambda pair: pair[1].created_at, reverse=True)


def written_shards(directory: RunDir, shards: int) -> Iterator[Shard]:
    """All shards with any rows written, in manifest order.

    Raises:
        StorageError: a journal can't be read.
    """
    found = (_written_shard(directory, shard_number) for shard_number in range(shards))
    yield from (shard for shard in found if shard)


def _written_shard(directory: RunDir, shard_number: int) -> Shard | None:
    parts = Shard(directory.results(shard_number), directory.attempts(shard_number))
    journal = directory.journal(shard_number)
    if directory.results(shard_number).exists():
        return parts
    if not journal.exists():
        return None
    written = Shard(*journaled(journal))
    # The journal goes when the part has come, which may have been just now.
    return parts if directory.results(shard_number).exists() else written


def read_tables(directory: RunDir, shards: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """(results, attempts) of each written shard, in manifest order.

    Raises:
        StorageError: a part or a journal can't be read.
    """
    for shard in written_shards(directory, shards):
        yield _table(shard.results, RESULT_COLUMNS), _table(shard.attempts, ATTEMPT_COLUMNS)


def read_results(directory: RunDir, shard_number: int, names: Collection[str]) -> pa.Table:
    """Some columns of a shard's results so far; no rows where none is written.

    Raises:
        StorageError: the part or the journal can't be read.
    """
    columns = tuple(column for column in RESULT_COLUMNS if column.name in names)
    shard = _written_shard(directory, shard_number)
    return _table(shard.results, columns) if shard else schema(columns).empty_table()


def result_batches(directory: RunDir, shards: int, rows: int) -> Iterator[pa.RecordBatch]:
    """`results` in manifest order, at most `rows` rows at a time.

    Raises:
        StorageError: a part or a journal can't be read.
    """
    for shard in written_shards(directory, shards):
        if isinstance(shard.results, Path):
            batches = part_batches(shard.results, rows)
        else:
            batches = shard.results.to_batches(max_chunksize=rows)
        for batch in batches:
            yield from conformed(RESULT_COLUMNS, pa.Table.from_batches([batch])).to_batches()


def part_batches(
    path: Path, rows: int, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """A Parquet file of a run, at most `rows` rows at a time, whole or some columns of it.

    Raises:
        StorageError: it can't be read.
    """
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=rows, columns=columns)
    except (OSError, pa.ArrowException) as exc:
        raise StorageError(f"{path} can't be read: {exc}") from exc


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The same at once.

    Raises:
        StorageError: it can't be read.
    """
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=columns)
    except (OSError, pa.ArrowException) as exc:
        raise StorageError(f"{path} can't be read: {exc}") from exc


def conformed(columns: Iterable[Column], found: pa.Table) -> pa.Table:
    """A table that another version has written, with today's columns."""
    wanted, names = schema(columns), set(found.column_names)
    arrays = [
        found[field.name].cast(field.type)
        if field.name in names
        else pa.nulls(found.num_rows, field.type)
        for field in wanted
    ]
    return pa.table(arrays, schema=wanted)


def _table(written: Path | pa.Table, columns: Collection[Column]) -> pa.Table:
    if isinstance(written, Path):
        written = read_part(written, [column.name for column in columns])
    return conformed(columns, written)
