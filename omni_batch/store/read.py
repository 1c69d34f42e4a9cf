"""A run's tables as written so far, from its parts and its journals. The one reader of both.

Tables of another version get today's columns: missing ones are null, unknown ones are dropped.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from omni_batch.errors import ConfigError, StorageError
from omni_batch.store.columns import (
    ATTEMPT_COLUMNS,
    RESULT_COLUMNS,
    Column,
    result_columns,
    schema,
)
from omni_batch.store.disk import refuse_special, storage_errors
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
    found = []
    for path in folder.glob("[!.]*/run.json"):
        with suppress(ConfigError):  # another program's
            found.append((RunDir(path.parent), read_record(path)))
    yield from sorted(found, key=lambda pair: pair[1].created_at, reverse=True)


def broken_runs(folder: Path) -> Iterator[tuple[RunDir, str]]:
    """Runs below a folder whose run.json can't be read, each with the reason."""
    for path in sorted(folder.glob("[!.]*/run.json")):
        directory = RunDir(path.parent)
        if directory.items.exists():  # else it is another program's
            try:
                read_record(path)
            except ConfigError as exc:
                yield directory, str(exc)


def run_columns(directory: RunDir) -> tuple[Column, ...]:
    """The columns of a run's results; those of a run without typed answers if nobody knows."""
    try:
        return result_columns(read_record(directory.record).annotation_schema)
    except ConfigError:
        return RESULT_COLUMNS


def written_shards(directory: RunDir, shards: int) -> Iterator[Shard]:
    """All shards with any rows written, in manifest order."""
    columns = run_columns(directory)
    found = (_written_shard(directory, number, columns) for number in range(shards))
    yield from (shard for shard in found if shard)


def _written_shard(
    directory: RunDir, shard_number: int, columns: Collection[Column]
) -> Shard | None:
    parts = Shard(directory.results(shard_number), directory.attempts(shard_number))
    journal = directory.journal(shard_number)
    if directory.results(shard_number).exists():
        return parts
    if not journal.exists():
        return None
    written = Shard(*journaled(journal, tuple(columns)))
    # The journal goes when the part has come, which may have been just now.
    return parts if directory.results(shard_number).exists() else written


def read_tables(directory: RunDir, shards: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """(results, attempts) of each written shard, in manifest order."""
    columns = run_columns(directory)
    for shard_number in range(shards):
        if found := _read_shard(directory, shard_number, columns):
            yield found


def read_shard(directory: RunDir, shard_number: int) -> tuple[pa.Table, pa.Table] | None:
    """(results, attempts) of a shard so far; None where nothing is written."""
    return _read_shard(directory, shard_number, run_columns(directory))


def _read_shard(
    directory: RunDir, shard_number: int, columns: Collection[Column]
) -> tuple[pa.Table, pa.Table] | None:
    shard = _written_shard(directory, shard_number, columns)
    if shard is None:
        return None
    return _table(shard.results, columns), _table(shard.attempts, ATTEMPT_COLUMNS)


def read_results(directory: RunDir, shard_number: int, names: Collection[str]) -> pa.Table:
    """Some columns of a shard's results so far; no rows where none is written."""
    whole = run_columns(directory)
    columns = tuple(column for column in whole if column.name in names)
    shard = _written_shard(directory, shard_number, whole)
    return _table(shard.results, columns) if shard else schema(columns).empty_table()


def result_batches(directory: RunDir, shards: int, rows: int) -> Iterator[pa.RecordBatch]:
    """`results` in manifest order, at most `rows` rows at a time."""
    columns = run_columns(directory)
    for shard in written_shards(directory, shards):
        if isinstance(shard.results, Path):
            batches = part_batches(shard.results, rows)
        else:
            batches = shard.results.to_batches(max_chunksize=rows)
        for batch in batches:
            yield from conformed(columns, pa.Table.from_batches([batch])).to_batches()


def part_batches(
    path: Path, rows: int, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """A Parquet file of a run, at most `rows` rows at a time, whole or some columns of it."""
    with _open_part(path) as file:
        yield from file.iter_batches(batch_size=rows, columns=columns)


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The same at once."""
    with _open_part(path) as file:
        return file.read(columns=columns)


def part_rows(path: Path) -> int:
    """How many rows a Parquet file has, by its footer."""
    with _open_part(path) as file:
        rows: int = file.metadata.num_rows
        return rows


@contextmanager
def _open_part(path: Path) -> Iterator[pq.ParquetFile]:
    with storage_errors(path, "read", pa.ArrowException):
        refuse_special(path)
        with pq.ParquetFile(path) as file:
            yield file


def conformed(columns: Iterable[Column], found: pa.Table) -> pa.Table:
    """A table that another version has written, with today's columns."""
    wanted = schema(columns)
    return pa.table([_conformed(field, found) for field in wanted], schema=wanted)


def _conformed(field: pa.Field, found: pa.Table) -> pa.ChunkedArray | pa.Array:
    if field.name not in found.column_names:
        return pa.nulls(found.num_rows, field.type)
    try:
        return found[field.name].cast(field.type)
    except pa.ArrowException as exc:
        raise StorageError(
            f"column {field.name} is {found[field.name].type}, where the run's schema asks for "
            f"{field.type}: do the change again that was not finished (omni-batch reparse)"
        ) from exc


def _table(written: Path | pa.Table, columns: Collection[Column]) -> pa.Table:
    if isinstance(written, Path):
        written = read_part(written, [column.name for column in columns])
    return conformed(columns, written)
