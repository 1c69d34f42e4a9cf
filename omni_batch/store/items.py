"""items.parquet: the manifest as it was read, in row groups that match the shards."""

from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from omni_batch.errors import ManifestError, StorageError
from omni_batch.store.read import part_batches
from omni_batch.types import Item

GROUP_ROWS = 500
_MOST_SHARDS = 2000  # Prefect loses records of larger bursts of task runs (measured)
_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("row_number", pa.int64()),
        ("prompt", pa.string()),
        ("system", pa.string()),
        ("voice", pa.string()),
        ("image", pa.list_(pa.string())),
        ("audio", pa.string()),
        ("video", pa.string()),
        ("frames", pa.list_(pa.string())),
        ("messages", pa.string()),
        ("source", pa.string()),
    ]
)
_LISTS = ("image", "frames")


def choose_shard_size(items: int, wanted: int | str) -> int:
    """Items of one shard: as wanted, or whole row groups so that shards stay below 2,000."""
    if isinstance(wanted, int):
        return wanted
    return max(1, -(-items // (_MOST_SHARDS * GROUP_ROWS))) * GROUP_ROWS


def choose_group_rows(shard_size: int | str) -> int:
    """Rows of one row group: shards are whole groups, or a group is whole small shards."""
    if isinstance(shard_size, int):
        return shard_size * -(-GROUP_ROWS // shard_size)
    return GROUP_ROWS


class UniqueIds:
    """Finds duplicate ids; keeps 8 bytes for each."""

    def __init__(self) -> None:
        self._hashes = array("Q")

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, item_id: str) -> None:
        """Take the next id."""
        self._hashes.append(int.from_bytes(_hash(item_id)))

    def refuse_duplicates(self, ids: Iterable[str]) -> None:
        """Raise ManifestError when an id appears twice.

        Args:
            ids: the same ids in the same order; read only when a duplicate is suspected.
        """
        hashes, counts = np.unique(np.asarray(self._hashes), return_counts=True)
        suspects = set(hashes[counts > 1].tolist())
        seen: dict[str, int] = {}
        for number, item_id in enumerate(ids if suspects else ()):
            if int.from_bytes(_hash(item_id)) not in suspects:
                continue
            if item_id in seen:
                raise ManifestError(
                    f"item_id {item_id!r} appears in rows {seen[item_id] + 1} and {number + 1}; "
                    "ids must be unique (rows without an id column need different content)"
                )
            seen[item_id] = number


class ItemsWriter:
    """Writes items as they come; keeps one row group and 8 bytes for each id.

    Raises:
        ManifestError: on `close`, when an id appears twice.
        StorageError: disk full or not writable.
    """

    def __init__(self, path: Path, group_rows: int) -> None:
        self._path = path
        self._group_rows = group_rows
        self._rows: list[dict[str, Any]] = []
        self._ids = UniqueIds()
        self._file = pq.ParquetWriter(path, _SCHEMA, compression="zstd")

    def add(self, item: Item) -> None:
        """Take one item."""
        row = {name: getattr(item, name) for name in _SCHEMA.names}
        row["source"] = msgspec.json.encode(item.source, enc_hook=str).decode()
        self._rows.append(row)
        self._ids.add(item.item_id)
        if len(self._rows) == self._group_rows:
            self._flush()

    def close(self) -> int:
        """End the file; return the number of items."""
        self._flush()
        self._file.close()
        self._ids.refuse_duplicates(_ids(self._path))
        return len(self._ids)

    def __enter__(self) -> "ItemsWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._file.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        try:
            self._file.write_table(pa.Table.from_pylist(self._rows, schema=_SCHEMA))
        except OSError as exc:
            raise StorageError(f"{self._path} can't be written: {exc}") from exc
        self._rows = []


def read_items(path: Path, shard_number: int, shard_size: int) -> list[Item]:
    """The items of one shard.

    Raises:
        StorageError: the file can't be read.
    """
    start = shard_number * shard_size
    try:
        with pq.ParquetFile(path, metadata=_metadata(path, path.stat().st_mtime_ns)) as file:
            group_rows = file.metadata.row_group(0).num_rows
            first, last = start // group_rows, -(-(start + shard_size) // group_rows)
            table = file.read_row_groups(list(range(first, min(last, file.num_row_groups))))
            rows = table.slice(start - first * group_rows, shard_size).to_pylist()
    except (OSError, pa.ArrowException) as exc:
        raise StorageError(f"{path} can't be read: {exc}") from exc
    return [_to_item(row) for row in rows]


@lru_cache(maxsize=1)
def _metadata(path: Path, changed_ns: int) -> pq.FileMetaData:
    """The file's footer, which grows with it: parsed once, not for every shard."""
    return pq.read_metadata(path)


def _to_item(row: dict[str, Any]) -> Item:
    lists = {name: tuple(row[name] or ()) for name in _LISTS}
    return Item(**{**row, **lists, "source": msgspec.json.decode(row["source"])})


def _ids(path: Path) -> Iterator[str]:
    for batch in part_batches(path, GROUP_ROWS, ["item_id"]):
        yield from batch["item_id"].to_pylist()


def _hash(item_id: str) -> bytes:
    return blake2b(item_id.encode(), digest_size=8).digest()
