"""Parquet → rows, batch by batch, within bounds whatever the file unfolds to.

A text that is repeated stands once in the file, in a dictionary, and a run of equal values takes a
few bytes however long it is: so neither the file's size nor what it states of its row groups
bounds its rows. The largest text of each dictionary does.
"""

import io
from collections.abc import Iterator, Mapping
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omni_batch.errors import ManifestError
from omni_batch.requests.manifest import rows as bounds
from omni_batch.requests.manifest.formats.delimited import refuse_doubled
from omni_batch.requests.manifest.names import INDEX_NAMES
from omni_batch.requests.manifest.rows import ManifestRow

_BATCH_ROWS = 1024
_BUFFERED: Any = {"buffer_size": 2**20, "pre_buffer": False}  # else a whole row group is read
_VALUE_BYTES = 8
_UNFOLDS_TO_BYTES = 2**26
_UNFOLDS_TO_TIMES = 10_000
"""What a file may unfold to, whichever is more. Honest manifests repeat long prompts: a row of
8 bytes with one of 40,000 characters is 5,000 times as large."""
_ROWS = 1_000_000
_ROWS_PER_BYTE = 20
"""What a file may have, whichever is more: a row that says anything takes some bits."""
_PAGE_BYTES = 2**28
_PAGE_TIMES = 200
"""What a column of a row group may unfold to, whichever is more: it may all be one page, which is
unpacked at once. Texts shrink to a twentieth when they are packed, not to a thousandth."""


def read_parquet(path: str, file: IO[bytes]) -> Iterator[ManifestRow]:
    """Read rows; memory holds one batch."""
    number = 0
    parquet = pq.ParquetFile(file, **_BUFFERED)
    names = [name for name in parquet.schema_arrow.names if name not in INDEX_NAMES]
    refuse_doubled(path, iter(names))
    file_bytes = file.seek(0, io.SEEK_END)
    _check_rows(path, parquet.metadata.num_rows, file_bytes)
    unfolded = _Unfolded(path, file_bytes)
    groups = [parquet.metadata.row_group(index) for index in range(parquet.num_row_groups)]
    unfolded.add(sum(map(_value_bytes, groups)))
    for index, group in enumerate(groups):
        _check_pages(path, index, group)
        largest = _largest_texts(file, parquet.metadata, index)
        rows = _batch_rows(path, index, group, largest)
        for batch in parquet.iter_batches(batch_size=rows, row_groups=[index], columns=names):
            for cells in batch.to_pylist():
                number += 1
                unfolded.add(_checked_chars(path, number, cells), number)
                yield ManifestRow(f"{path}, row {number}", cells)


def _value_bytes(group: pq.RowGroupMetaData) -> int:
    """What the values of a group take at least, nulls among them."""
    chunks = map(group.column, range(group.num_columns))
    return _VALUE_BYTES * sum(int(chunk.num_values) for chunk in chunks)


def _check_rows(path: str, rows: int, file_bytes: int) -> None:
    if rows > max(_ROWS, _ROWS_PER_BYTE * file_bytes):
        raise ManifestError(
            f"manifest {path} says that it has {rows:,} rows in {file_bytes:,} bytes; "
            f"{max(_ROWS, _ROWS_PER_BYTE * file_bytes):,} at most: its rows say nothing"
        )


def _check_pages(path: str, number: int, group: pq.RowGroupMetaData) -> None:
    for chunk in map(group.column, range(group.num_columns)):
        size_bytes, packed_bytes = chunk.total_uncompressed_size, chunk.total_compressed_size
        if size_bytes > max(_PAGE_BYTES, _PAGE_TIMES * packed_bytes):
            raise ManifestError(
                f"manifest {path}, row group {number}: {chunk.path_in_schema} unfolds from "
                f"{packed_bytes:,} to {size_bytes:,} bytes; {_PAGE_BYTES:,} at most, or "
                f"{_PAGE_TIMES} times: write it as JSON Lines, or large texts as files"
            )


def _largest_texts(file: IO[bytes], metadata: pq.FileMetaData, index: int) -> int:
    """Bytes of the largest texts in the dictionaries of a row group, one of each column."""
    group = metadata.row_group(index)
    chunks = map(group.column, range(group.num_columns))
    names = [
        chunk.path_in_schema
        for chunk in chunks
        if chunk.physical_type == "BYTE_ARRAY" and chunk.has_dictionary_page
    ]
    if not names:
        return 0
    parquet = pq.ParquetFile(file, metadata=metadata, read_dictionary=names, **_BUFFERED)
    first = next(parquet.iter_batches(batch_size=1, row_groups=[index], columns=names), None)
    return 0 if first is None else sum(map(_largest_text, first.columns))


def _largest_text(array: pa.Array) -> int:
    if pa.types.is_dictionary(array.type):
        return int(pc.max(pc.binary_length(array.dictionary)).as_py() or 0)
    if pa.types.is_struct(array.type):
        return sum(map(_largest_text, array.flatten()))
    return _largest_text(array.values) if pa.types.is_nested(array.type) else 0


def _batch_rows(path: str, number: int, group: pq.RowGroupMetaData, largest: int) -> int:
    """Rows to read at once, fewer where they are large."""
    stated = int(group.total_byte_size + _value_bytes(group)) // max(1, group.num_rows)
    if stated > bounds.MAX_ROW_CHARS:
        raise ManifestError(
            f"{path}, row group {number}: rows of {stated:,} bytes; "
            f"{bounds.MAX_ROW_CHARS:,} at most: give large media as files or URLs"
        )
    at_once: int = bounds.MAX_ROW_CHARS // max(1, stated, largest)
    return max(1, min(_BATCH_ROWS, at_once))


class _Unfolded:
    """Adds up what a file unfolds to, and ends at its bound."""

    def __init__(self, path: str, file_bytes: int) -> None:
        self._path, self._file_bytes = path, file_bytes
        self._most = max(_UNFOLDS_TO_BYTES, _UNFOLDS_TO_TIMES * file_bytes)
        self._sum = 0

    def add(self, size_bytes: int, rows: int = 0) -> None:
        """Raise ManifestError where it is more than any manifest takes; `rows` of it were read."""
        self._sum += size_bytes
        if self._sum > self._most:
            what = f"{rows:,} of its rows unfold" if rows else "it unfolds"
            raise ManifestError(
                f"manifest {self._path} has {self._file_bytes:,} bytes, but {what} to "
                f"{self._sum:,}; {self._most:,} at most: give large texts as files or URLs, or "
                "write it as JSON Lines"
            )


def _checked_chars(path: str, number: int, cells: Mapping[str, Any]) -> int:
    """Characters of the texts of a row."""
    chars = 0
    for name, value in cells.items():
        if isinstance(value, str | bytes):
            chars += len(value)
            if len(value) > bounds.MAX_CELL_CHARS:
                raise ManifestError(
                    f"{path}, row {number}: {name} has {len(value):,} characters; "
                    f"{bounds.MAX_CELL_CHARS:,} at most"
                )
    return chars
