"""What is written of a run at this moment, shard by shard, without reading the parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from omni_batch.columns import RESULT_COLUMNS, schema
from omni_batch.errors import StorageError
from omni_batch.rundir.layout import RunDir
from omni_batch.rundir.parts import _journaled

_SCHEMA = schema(RESULT_COLUMNS)


@dataclass(frozen=True, slots=True)
class Shard:
    """Both tables of a shard: paths of its parts, or what its journal holds so far."""

    results: Path | pa.Table
    attempts: Path | pa.Table


def written_shards(directory: RunDir, shards: int) -> Iterator[Shard]:
    """All shards of which something is written, in manifest order.

    Raises:
        StorageError: a journal can't be read.
    """
    for shard_number in range(shards):
        parts = Shard(directory.results(shard_number), directory.attempts(shard_number))
        journal = directory.journal(shard_number)
        if parts.results.exists():
            yield parts
        elif journal.exists():
            journaled = Shard(*_journaled(journal))
            # The journal goes when the part has come, which may have been just now.
            yield parts if parts.results.exists() else journaled


def result_batches(directory: RunDir, shards: int, rows: int) -> Iterator[pa.RecordBatch]:
    """`results` so far in manifest order and in today's columns, at most `rows` rows at a time.

    Raises:
        StorageError: a part or a journal can't be read.
    """
    for shard in written_shards(directory, shards):
        if not isinstance(shard.results, Path):
            yield from shard.results.to_batches(max_chunksize=rows)
            continue
        try:
            with pq.ParquetFile(shard.results) as file:
                yield from map(_conformed, file.iter_batches(batch_size=rows))
        except (OSError, pa.ArrowException) as exc:
            raise StorageError(f"{shard.results} can't be read: {exc}") from exc


def _conformed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of an earlier or a later version: what it lacks is null, what we lack is left."""
    arrays = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else pa.nulls(len(batch), field.type)
        for field in _SCHEMA
    ]
    return pa.record_batch(arrays, schema=_SCHEMA)
