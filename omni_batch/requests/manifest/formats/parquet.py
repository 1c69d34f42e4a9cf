"""Parquet → rows, batch by batch."""

from collections.abc import Iterator, Mapping
from typing import IO, Any

import pyarrow.parquet as pq

from omni_batch.errors import ManifestError
from omni_batch.requests.manifest import rows as bounds
from omni_batch.requests.manifest.formats.delimited import refuse_doubled
from omni_batch.requests.manifest.names import INDEX_NAMES
from omni_batch.requests.manifest.rows import ManifestRow

_BATCH_ROWS = 1024


def read_parquet(path: str, file: IO[bytes]) -> Iterator[ManifestRow]:
    """Read rows; memory holds one batch."""
    number = 0
    parquet = pq.ParquetFile(file)
    names = [name for name in parquet.schema_arrow.names if name not in INDEX_NAMES]
    refuse_doubled(path, iter(names))
    for group in range(parquet.num_row_groups):
        rows = _batch_rows(path, group, parquet.metadata.row_group(group))
        for batch in parquet.iter_batches(batch_size=rows, row_groups=[group], columns=names):
            for cells in batch.to_pylist():
                number += 1
                _check_cells(path, number, cells)
                yield ManifestRow(f"{path}, row {number}", cells)


def _batch_rows(path: str, number: int, group: pq.RowGroupMetaData) -> int:
    """Rows to read at once, fewer where they are large; by the file's own figures."""
    row_bytes: int = group.total_byte_size // max(1, group.num_rows)
    if row_bytes > bounds.MAX_ROW_CHARS:
        raise ManifestError(
            f"{path}, row group {number}: rows of {row_bytes:,} bytes; "
            f"{bounds.MAX_ROW_CHARS:,} at most: give large media as files or URLs"
        )
    return min(_BATCH_ROWS, bounds.MAX_ROW_CHARS // max(1, row_bytes))


def _check_cells(path: str, number: int, cells: Mapping[str, Any]) -> None:
    for name, value in cells.items():
        if isinstance(value, str | bytes) and len(value) > bounds.MAX_CELL_CHARS:
            raise ManifestError(
                f"{path}, row {number}: {name} has {len(value):,} characters; "
                f"{bounds.MAX_CELL_CHARS:,} at most"
            )
