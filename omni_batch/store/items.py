"""items.parquet: the manifest as it was read, in row groups of some shards each."""

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from hashlib import blake2b
from itertools import count, islice
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from omni_batch.errors import ManifestError
from omni_batch.store.disk import refuse_special, storage_errors
from omni_batch.store.read import part_batches
from omni_batch.types import Item

SHARD_ROWS = 500
"""Of a shard whose size is ours to choose."""
_GROUP_ROWS, _GROUP_BYTES = 5000, 4 * 2**20  # of several shards: each group is in the footer
_MOST_BYTES = 64 * 2**20  # of one shard, as it is in memory
_MOST_SHARDS = 2000  # Prefect loses records of larger bursts of task runs (measured)
_LISTS = ("image", "frames")
_TYPES = {
    "row_number": pa.int64(),
    "sample": pa.int64(),
    **dict.fromkeys(_LISTS, pa.list_(pa.string())),
}
_SCHEMA = pa.schema([(f.name, _TYPES.get(f.name, pa.string())) for f in fields(Item)])
"""A column for each field of an item; `source` is JSON."""


def choose_shard_size(
    items: int, wanted: int | str, rows: int = SHARD_ROWS, workers: int = 1
) -> int:
    """Items of one shard: as wanted, or some times `rows` so that shards stay below 2,000.

    Args:
        workers: that each have a shard at least.
    """
    if isinstance(wanted, int):
        return wanted
    whole = max(1, -(-items // (_MOST_SHARDS * rows))) * rows
    return min(whole, -(-items // workers)) if workers > 1 else whole


class UniqueIds:
    """Finds duplicate ids; keeps 8 bytes for each row of the manifest.

    Args:
        times: how many items are made of each row, one after the other.
    """

    def __init__(self, times: int = 1) -> None:
        self._hashes = array("Q")
        self._times, self._items = times, 0

    def __len__(self) -> int:
        return self._items

    def add(self, item_id: str) -> None:
        """Take the id of the next item."""
        if self._items % self._times == 0:
            self._hashes.append(int.from_bytes(_hash(item_id)))
        self._items += 1

    def refuse_duplicates(self, ids: Iterable[str]) -> None:
        """Raise ManifestError when an id appears twice.

        Args:
            ids: those of all items in the same order; read only when a duplicate is suspected.
        """
        hashes = np.asarray(self._hashes)  # no copy of it: it is put in order where it is
        hashes.sort()
        suspects = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        seen: dict[str, int] = {}
        rows = islice(ids if suspects else (), 0, None, self._times)
        for number, item_id in enumerate(rows):
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

    Args:
        group_rows: the most rows of a group; it is smaller where they are long.
        times: how many items are made of each row of the manifest, one after the other.

    Raises:
        ManifestError: on `close`, when an id appears twice.
    """

    def __init__(self, path: Path, group_rows: int = _GROUP_ROWS, *, times: int = 1) -> None:
        self._path, self._most_rows = path, group_rows
        self.shard_rows = SHARD_ROWS
        """Of a shard that fits in memory: fewer where items have their media written out."""
        self._rows: list[bytes] = []
        """As lines of JSON: for dictionaries Arrow imports pandas, and the first request waits."""
        self._bytes = 0
        self._ids = UniqueIds(times)
        self._file = pq.ParquetWriter(path, _SCHEMA, compression="zstd")

    def add(self, item: Item) -> None:
        """Take one item."""
        row = {name: getattr(item, name) for name in _SCHEMA.names}
        row["source"] = msgspec.json.encode(item.source, enc_hook=str).decode()
        self._rows.append(msgspec.json.encode(row))
        self._bytes += len(self._rows[-1])
        self._ids.add(item.item_id)
        if self._is_full():
            self._flush()

    def _is_full(self) -> bool:
        rows = len(self._rows)
        if self._bytes >= _MOST_BYTES:
            self.shard_rows = min(self.shard_rows, rows)
            return True
        is_whole = rows % SHARD_ROWS == 0 and self._bytes >= _GROUP_BYTES
        return is_whole or rows == self._most_rows

    def close(self) -> int:
        """End the file; return the number of items."""
        self._flush()
        self._file.close()
        self._ids.refuse_duplicates(_ids(self._path))
        return len(self._ids)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        with storage_errors(self._path, "written"):
            self._file.write_table(_table(b"\n".join(self._rows)))
        self._rows, self._bytes = [], 0


def _table(lines: bytes) -> pa.Table:
    return pj.read_json(
        pa.BufferReader(lines),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        parse_options=pj.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="error"),
    )


def how_many(path: Path, item_ids: Collection[str]) -> int:
    """Items of some rows."""
    return sum(item_id in item_ids for item_id in _ids(path))


def failed_first(path: Path, failed: Collection[str]) -> Iterator[Item]:
    """All items of a file, those of some rows before all others, numbered anew in that order."""
    number = count()
    for is_failed in (True, False):
        for batch in part_batches(path, SHARD_ROWS):
            for item in map(to_item, batch.to_pylist()):
                if (item.item_id in failed) == is_failed:
                    yield replace(item, row_number=next(number))


def read_items(path: Path, shard_number: int, shard_size: int) -> list[Item]:
    """The items of one shard."""
    start = shard_number * shard_size
    with storage_errors(path, "read", pa.ArrowException):
        refuse_special(path)
        footer, ends = _footer(path, path.stat().st_mtime_ns)
        with pq.ParquetFile(path, metadata=footer) as file:
            first, last = np.searchsorted(ends, [start, start + shard_size - 1], side="right")
            table = file.read_row_groups(list(range(first, min(last + 1, len(ends)))))
    before = int(ends[first - 1]) if first else 0
    rows = table.slice(start - before, shard_size).to_pylist()
    return [to_item(row) for row in rows]


@lru_cache(maxsize=1)
def _footer(path: Path, changed_ns: int) -> tuple[pq.FileMetaData, npt.NDArray[np.int64]]:
    """The file's footer, and where each group ends: parsed once, not for every shard."""
    footer = pq.read_metadata(path)
    groups = (footer.row_group(number).num_rows for number in range(footer.num_row_groups))
    return footer, np.cumsum(list(groups), dtype=np.int64)


def to_item(row: Mapping[str, Any]) -> Item:
    """A row of items.parquet as the item that it was made of."""
    lists = {name: tuple(row[name] or ()) for name in _LISTS}
    return Item(**{**row, **lists, "source": msgspec.json.decode(row["source"])})


def _ids(path: Path) -> Iterator[str]:
    for batch in part_batches(path, SHARD_ROWS, ["item_id"]):
        yield from batch["item_id"].to_pylist()


def _hash(item_id: str) -> bytes:
    return blake2b(item_id.encode(), digest_size=8).digest()
