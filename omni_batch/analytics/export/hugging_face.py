"""A folder that `datasets.load_dataset` opens: Parquet with features in its metadata, and a card.

Sound and images are structs of `bytes` and `path`, as the Audio and Image features of the datasets
library store them; a URL has no bytes.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from omni_batch.analytics.export.card import ONLY_SPLIT, dataset_card
from omni_batch.analytics.export.rows import (
    ExportRow,
    Inputs,
    Medium,
    RunReader,
    ShardCounter,
    ShardLimits,
)
from omni_batch.sources import is_store
from omni_batch.text import is_url

_GROUP_ROWS = 500
_GROUP_BYTES = 32_000_000
_FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_DTYPES = {"double": "float64", "date32[day]": "date32"}
"""Names of types in `datasets`, where they are not Arrow's."""

Feature = dict[str, Any]


def write_hf(reader: RunReader, folder: Path, limits: ShardLimits, licence: str | None) -> None:
    """Write `data/train-00000.parquet` and so on for each split, and README.md.

    Raises:
        OSError: disk full or not writable.
    """
    columns = _schema(reader.columns, reader.inputs(), speech=reader.speech)
    (folder / "data").mkdir()
    for split in reader.splits:
        rows = reader.rows(split)
        _write_split(rows, folder / "data", split or ONLY_SPLIT, columns, limits)
    card = dataset_card(reader, columns, licence)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _write_split(
    rows: Iterable[ExportRow], folder: Path, split: str, columns: pa.Schema, limits: ShardLimits
) -> None:
    shards = ShardCounter(limits)
    with ExitStack() as files:
        for group in _groups(rows, limits):
            if shards.is_due():
                files.close()
                path = folder / f"{split}-{shards.begin():05d}.parquet"
                writer = files.enter_context(_writer(path, columns))
            values = [_values(row) for row in group]
            writer.write_batch(pa.RecordBatch.from_pylist(values, schema=columns))
            for row in group:
                shards.add(_size_bytes(row))
    if shards.number < 0:
        _writer(folder / f"{split}-00000.parquet", columns).close()


def _schema(columns: pa.Schema, inputs: Inputs, *, speech: bool) -> pa.Schema:
    media: dict[str, tuple[pa.DataType, Feature]] = {}
    if speech:
        media["audio"] = _FILE, {"_type": "Audio"}
    if inputs.images == 1:
        media["image"] = _FILE, {"_type": "Image"}
    if inputs.images > 1:
        media["images"] = pa.list_(_FILE), _list({"_type": "Image"})
    if inputs.frames:
        media["frames"] = pa.list_(_FILE), _list({"_type": "Image"})
    if inputs.audio:
        media["input_audio"] = _FILE, {"_type": "Audio"}
    features = {field.name: _feature(field.type) for field in columns}
    features |= {name: feature for name, (_, feature) in media.items()}
    fields = [*columns, *(pa.field(name, kind) for name, (kind, _) in media.items())]
    metadata = msgspec.json.encode({"info": {"features": features}})
    return pa.schema(fields, metadata={"huggingface": metadata})


def _feature(kind: pa.DataType) -> Feature:
    if pa.types.is_list(kind):
        return _list(_feature(kind.value_type))
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_dictionary(kind):
        return _feature(kind.value_type)
    return {"dtype": _DTYPES.get(str(kind), str(kind)), "_type": "Value"}


def _list(feature: Feature) -> Feature:
    # "Sequence" is what releases before datasets 4 know, and later ones still read.
    return {"feature": feature, "_type": "Sequence"}


def _writer(path: Path, columns: pa.Schema) -> pq.ParquetWriter:
    plain = [field.name for field in columns if field.type not in (_FILE, pa.list_(_FILE))]
    return pq.ParquetWriter(
        path, columns, compression="zstd", use_dictionary=plain, write_statistics=plain
    )


def _groups(rows: Iterable[ExportRow], limits: ShardLimits) -> Iterator[list[ExportRow]]:
    """Rows that make up one row group: bounded by their number and by their bytes."""
    group: list[ExportRow] = []
    size_bytes = 0
    most = min(_GROUP_ROWS, limits.items or _GROUP_ROWS)
    for row in rows:
        group.append(row)
        size_bytes += _size_bytes(row)
        if len(group) == most or size_bytes >= _GROUP_BYTES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group


def _size_bytes(row: ExportRow) -> int:
    return sum(medium.size_bytes for medium in row.media()) + len(row.values["text"] or "")


def _values(row: ExportRow) -> dict[str, Any]:
    """All that a schema may ask for; what it does not name is left aside."""
    return {
        **row.values,
        "audio": _file(row.speech),
        "image": _file(row.image[0]) if row.image else None,
        "images": [_file(medium) for medium in row.image],
        "frames": [_file(medium) for medium in row.frames],
        "input_audio": _file(row.input_audio),
    }


def _file(medium: Medium | None) -> dict[str, Any] | None:
    if medium is None:
        return None
    if not (medium.embeddable or is_url(medium.reference) or is_store(medium.reference)):
        return None
    return {"bytes": medium.read(), "path": medium.reference}
