"""A run's tables as written so far, from its parts and its journals. The one reader of both.

Tables of another version get today's columns: missing ones are null, unknown ones are dropped.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omni_batch.errors import ConfigError, StorageError
from omni_batch.store.columns import (
    ATTEMPT_COLUMNS,
    IN_DOUBT,
    RESULT_COLUMNS,
    Column,
    result_columns,
    schema,
)
from omni_batch.store.disk import refuse_special, storage_errors
from omni_batch.store.parts import journaled
from omni_batch.store.record import RunRecord, read_record
from omni_batch.store.run_dir import RunDir
from omni_batch.store.trust.bounds import MOST, TIMES

_NOT_OURS = (ValueError, OverflowError, pa.ArrowException)


@dataclass(frozen=True, slots=True)
class Shard:
    """Both tables of a shard: paths of its parts, or the content of its journal so far."""

    results: Path | pa.Table
    attempts: Path | pa.Table


@dataclass(frozen=True, slots=True)
class Names:
    """Columns of both tables."""

    results: frozenset[str]
    attempts: frozenset[str]

    def __or__(self, more: "Names") -> "Names":
        """Those of both."""
        return Names(self.results | more.results, self.attempts | more.attempts)


def list_runs(folder: Path) -> Iterator[tuple[RunDir, RunRecord]]:
    """All runs below a folder, the newest first."""
    found = []
    for path in folder.glob("[!.]*/run.json"):
        with suppress(ConfigError):  # another program's
            found.append((RunDir(path.parent), read_record(path)))
    yield from sorted(found, key=lambda pair: pair[1].created_at, reverse=True)


def broken_runs(folder: Path) -> Iterator[tuple[RunDir, str]]:
    """Runs below a folder whose run.json is gone or can't be read, each with the reason."""
    for path in sorted(folder.glob("[!.]*")):
        directory = RunDir(path)
        if not _is_of_a_run(directory):  # but another program's
            continue
        try:
            if not os.path.lexists(directory.record):
                yield directory, f"{directory.record} is gone"
            else:
                read_record(directory.record)
        except ConfigError as exc:
            yield directory, str(exc)


def _is_of_a_run(directory: RunDir) -> bool:
    try:
        return directory.items.exists() or (
            directory.journals.is_dir() and directory.results(0).parent.is_dir()
        )
    except OSError:  # it may not be looked into
        return False


def written_shards(directory: RunDir, record: RunRecord) -> Iterator[Shard]:
    """All shards with any rows written, in manifest order.

    Requests that a living process has under way are left out; those of a dead one are in doubt.
    """
    living_since = record.owner.since if record.state == "running" and record.owner else None
    columns = result_columns(record.annotation_schema)
    for shard_number in record.shards:
        if shard := _written_shard(directory, shard_number, columns):
            if living_since and isinstance(shard.attempts, pa.Table):
                shard = replace(shard, attempts=_ended(shard.attempts, living_since))
            yield shard


def _ended(attempts: pa.Table, living_since: datetime) -> pa.Table:
    in_doubt = pc.equal(attempts["error_kind"], IN_DOUBT)
    under_way = pc.and_(in_doubt, pc.greater_equal(attempts["started_at"], living_since))
    return attempts.filter(pc.invert(pc.fill_null(under_way, False)))


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


def read_tables(
    directory: RunDir, record: RunRecord, names: Names | None = None
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """(results, attempts) of each written shard, in manifest order.

    Args:
        names: of the columns that are wanted; None for all, which takes far longer.
    """
    for shard_number in record.shards:
        if found := read_shard(directory, record, shard_number, names):
            yield found


def read_shard(
    directory: RunDir, record: RunRecord, shard_number: int, names: Names | None = None
) -> tuple[pa.Table, pa.Table] | None:
    """(results, attempts) of a shard so far; None where nothing is written.

    Args:
        names: as of `read_tables`.
    """
    columns = result_columns(record.annotation_schema)
    shard = _written_shard(directory, shard_number, columns)
    if shard is None:
        return None
    if names is None:
        return checked(shard.results, columns), checked(shard.attempts, ATTEMPT_COLUMNS)
    results, attempts = named(columns, names.results), named(ATTEMPT_COLUMNS, names.attempts)
    return checked(shard.results, results), checked(shard.attempts, attempts)


def read_results(
    directory: RunDir, record: RunRecord, shard_number: int, names: Collection[str]
) -> pa.Table:
    """Some columns of a shard's results so far; no rows where none is written."""
    whole = result_columns(record.annotation_schema)
    columns = named(whole, names)
    shard = _written_shard(directory, shard_number, whole)
    if shard is None:  # without arrays, for which Arrow imports pandas: a new run has none yet
        return pa.Table.from_batches([], schema(columns))
    return checked(shard.results, columns)


def named(columns: Iterable[Column], names: Collection[str]) -> tuple[Column, ...]:
    """Those columns, in their order."""
    return tuple(column for column in columns if column.name in names)


def result_batches(directory: RunDir, record: RunRecord, rows: int) -> Iterator[pa.RecordBatch]:
    """`results` in manifest order, at most `rows` rows at a time."""
    columns = result_columns(record.annotation_schema)
    for shard in written_shards(directory, record):
        if isinstance(shard.results, Path):
            batches = part_batches(shard.results, rows)
        else:
            batches = shard.results.to_batches(max_chunksize=rows)
        for batch in batches:
            with storage_errors(directory.root / "results", "used", *_NOT_OURS):
                found = conformed(columns, pa.Table.from_batches([batch]))
            yield from found.to_batches()


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
    """A table that another version has written, with today's columns.

    Raises:
        ValueError, pa.ArrowException: a column is of another kind, or a number out of bounds.
        StorageError: the typed answers are of another schema than the run's.
    """
    wanted = schema(columns)
    return pa.table([_conformed(field, found) for field in wanted], schema=wanted)


def _conformed(field: pa.Field, found: pa.Table) -> pa.ChunkedArray | pa.Array:
    if field.name not in found.column_names:
        return pa.nulls(found.num_rows, field.type)
    column = found[field.name]
    try:
        # A cast takes its time even where there is nothing to do.
        cast = column if column.type == field.type else column.cast(field.type)
        return _bounded(cast, field.name)
    except pa.ArrowException as exc:
        if field.name != "annotation":
            raise
        raise StorageError(
            f"typed answers are {found[field.name].type}, where the run's schema asks for "
            f"{field.type}: finish what changed it, with omni-batch reparse"
        ) from exc


def _bounded(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """The column, if nothing in it is beyond what a request can take or cost."""
    limits = _limits(column.type)
    if limits is not None and len(column):
        ends = pc.min_max(column).as_py()
        least, most = ends["min"], ends["max"]
        if least is not None and not limits[0] <= least <= most <= limits[1]:
            raise ValueError(f"its column {name} holds {least} to {most}, which is out of bounds")
        if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
            raise ValueError(f"its column {name} holds what is not a number")
    return column


def _limits(kind: pa.DataType) -> tuple[Any, Any] | None:
    if pa.types.is_timestamp(kind):
        return TIMES
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return 0, MOST
    return None


def checked(written: Path | pa.Table, columns: Collection[Column]) -> pa.Table:
    """Some columns of a table of a shard, as today's; their numbers are within bounds.

    Raises:
        StorageError: they are not, or the table can't be read.
    """
    if not isinstance(written, Path):
        return conformed(columns, written)
    found = read_part(written, [column.name for column in columns])
    with storage_errors(written, "used", *_NOT_OURS):
        return conformed(columns, found)


def _numbers(columns: Iterable[Column]) -> frozenset[str]:
    return frozenset(column.name for column in columns if _limits(column.type) is not None)


NUMBERS = Names(_numbers(RESULT_COLUMNS), _numbers(ATTEMPT_COLUMNS))
"""Every column of numbers: where sums are made of some, all are looked at."""
