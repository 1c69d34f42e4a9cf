"""One file of rows for each split: JSON lines with structs, CSV with a column for each member."""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from omni_batch.analytics import table_files
from omni_batch.analytics.export.own_columns import unique_name
from omni_batch.analytics.export.rows import RunReader, encode_row

_FLATTENED = "annotation"


def write_jsonl(reader: RunReader, split: str | None, file: BinaryIO) -> None:
    """An object a line; the annotation is an object in it."""
    for batch in reader.batches(split):
        file.writelines(encode_row(values) + b"\n" for values in batch.to_pylist())


def write_csv(reader: RunReader, split: str | None, file: BinaryIO) -> None:
    """A cell for each member of the annotation, as `annotation.label`; lists are JSON."""
    columns = _flat(pa.RecordBatch.from_pylist([], schema=reader.columns)).schema
    batches = (_flat(batch) for batch in reader.batches(split))
    table_files.write_csv(pa.RecordBatchReader.from_batches(columns, batches), file)


def _flat(batch: pa.RecordBatch) -> pa.RecordBatch:
    taken = set(batch.schema.names)
    names: list[str] = []
    arrays: list[pa.Array] = []
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        for path, member in _members(name, array) if name == _FLATTENED else [(name, array)]:
            names.append(path if path == name else unique_name(path, taken))
            taken.add(names[-1])
            arrays.append(member)
    return pa.record_batch(arrays, names=names)


def _members(name: str, array: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    if not pa.types.is_struct(array.type):
        yield name, array
        return
    for field, member in zip(array.type, array.flatten(), strict=True):
        yield from _members(f"{name}.{field.name}", member)
