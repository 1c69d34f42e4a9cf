"""Batches of rows → one CSV, JSON or Parquet file, as they come.

A cell of text that a spreadsheet would take for a formula (it begins with = + - @, tab or carriage
return) gets an apostrophe in front, as OWASP's page on CSV injection advises. A cell that begins
with apostrophes and then one of these gets one more, so that no text is lost: dropping one
apostrophe from each of these cells restores it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from omni_batch.errors import QueryError
from omni_batch.store.disk import draft_of

_RISKY = re.compile(r"'*[=+\-@\t\r]")
_RISKY_RE2 = r"\A('*[=+\-@\t\r])"

_PLAIN = (
    *(pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
    *(pa.types.is_timestamp, pa.types.is_date, pa.types.is_time),
)

Writer = Callable[[pa.RecordBatchReader, BinaryIO], None]

_encoder = msgspec.json.Encoder(enc_hook=str, decimal_format="number")


def guard(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if _RISKY.match(text) else text


def write_file(path: Path, write: Writer, rows: pa.RecordBatchReader) -> None:
    """Write beside `path` and rename, so that it is whole or not there.

    Raises:
        QueryError: a type that the format can't hold.
        StorageError: disk full or not writable.
    """
    try:
        with draft_of(path) as file:
            write(rows, file)
    except pa.ArrowNotImplementedError as exc:
        raise QueryError(f"{path.name} can't contain this: {exc}") from None


def write_csv(rows: pa.RecordBatchReader, file: BinaryIO) -> None:
    """UTF-8 with a header; lists and structs are JSON, null is an empty cell without quotes."""
    cells = pa.schema([(guard(field.name), _cell_type(field.type)) for field in rows.schema])
    with pyarrow.csv.CSVWriter(file, cells) as writer:
        for batch in rows:
            writer.write_batch(pa.record_batch(list(map(_cells, batch.columns)), schema=cells))


def write_json(rows: pa.RecordBatchReader, file: BinaryIO) -> None:
    """One array, an object a line; times in ISO 8601."""
    empty = True
    for batch in rows:
        for row in batch.to_pylist():
            file.write((b"[\n" if empty else b",\n") + _encoder.encode(row))
            empty = False
    file.write(b"[]\n" if empty else b"\n]\n")


def write_parquet(rows: pa.RecordBatchReader, file: BinaryIO) -> None:
    """A row group for each batch, zstd."""
    with pq.ParquetWriter(file, rows.schema, compression="zstd") as writer:
        for batch in rows:
            writer.write_batch(batch)


def _cell_type(kind: pa.DataType) -> pa.DataType:
    return kind if any(is_plain(kind) for is_plain in _PLAIN) else pa.string()


def _cells(column: pa.Array) -> pa.Array:
    if _cell_type(column.type) == column.type and not pa.types.is_string(column.type):
        return column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_string(column.type):
        column = pa.array([_text(value) for value in column.to_pylist()], pa.string())
    return pc.replace_substring_regex(column, _RISKY_RE2, r"'\1", max_replacements=1)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return _encoder.encode(value).decode()
