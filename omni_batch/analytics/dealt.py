"""Rows in pieces that fit in memory, whatever their number: each is written and read once.

All rows of an item are in one piece, the same one of everything that is dealt into as many. So what
is compared item by item is compared piece by piece, in whatever order the rows of two runs are.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.analytics.results import NAMING
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.columns import ATTEMPT_COLUMNS, result_columns, schema
from omni_batch.store.disk import storage_errors
from omni_batch.store.read import NUMBERS, Names, checked, named, written_shards

_PIECE_ROWS = 10_000
_PIECE_BYTES = 2 * 2**20  # of parts, as they are on the disk
_MOST_PIECES = 128  # of those that are written at once each takes its own time
_AT_ONCE_BYTES = 4 * 2**20
_PLAIN = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True, slots=True)
class Dealt:
    """One table in pieces, which are batches of one file."""

    path: Path
    columns: pa.Schema
    batches: tuple[list[int], ...]
    """Of each piece."""

    def piece(self, number: int) -> pa.Table:
        """Its rows are in the order in which they were dealt."""
        path = self.path
        with storage_errors(path, "read", pa.ArrowException), pa.OSFile(str(path)) as file:
            reader = pa.ipc.open_file(file)
            found = [reader.get_batch(batch) for batch in self.batches[number]]
        return pa.Table.from_batches(found, self.columns)


@dataclass(frozen=True, slots=True)
class DealtRun:
    """Both tables of a run in pieces, or one of them."""

    tables: tuple[Dealt, ...]

    def pieces(self) -> Iterator[tuple[pa.Table, ...]]:
        """One of each table, then the next ones."""
        for number in range(len(self.tables[0].batches)):
            yield tuple(table.piece(number) for table in self.tables)


class Values:
    """Numbers on the disk, until all are there of which percentiles are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    def add(self, rows: pa.Table) -> None:
        """Take those of the only column; nulls are left out."""
        (column,) = rows.columns
        with storage_errors(self._path, "written"), self._path.open("ab") as file:
            column.drop_null().to_numpy().astype(np.float64).tofile(file)

    def percentiles(self, *shares: float) -> list[float | None]:
        """As `quantile_cont` of SQL, in 8 bytes for each value; None of none."""
        with storage_errors(self._path, "read"):
            values = np.fromfile(self._path, np.float64)
        if not len(values):
            return [None for _ in shares]
        return [_percentile(values, share) for share in shares]


def _percentile(values: npt.NDArray[np.float64], share: float) -> float:
    """Puts them into another order."""
    place, between = divmod((len(values) - 1) * share, 1)
    below, above = int(place), min(int(place) + 1, len(values) - 1)
    values.partition((below, above))
    return float(values[below] + (values[above] - values[below]) * between)


def named_rows(rows: pa.Table, variant: str | None) -> pa.Table:
    """Rows with the name that they are matched by, as `name`.

    Args:
        variant: its rows alone, whose names don't have it.
    """
    if variant is not None:
        rows = rows.filter(pc.equal(rows["variant"], variant))
    naming = [rows[each].cast(pa.string()) for each in NAMING if each != "variant" or not variant]
    return rows.append_column(
        "name", pc.binary_join_element_wise(*naming, ".", null_handling="skip")
    )


def how_many_pieces(rows: int, size_bytes: int) -> int:
    """Pieces that rows are dealt into, which take so much space where they are now."""
    wanted = max(rows / _PIECE_ROWS, size_bytes / _PIECE_BYTES)
    return min(1 + int(wanted), _MOST_PIECES)


def dealt(tables: Iterable[pa.Table], columns: pa.Schema, pieces: int, path: Path) -> Dealt:
    """Deal rows by their `item_id`.

    Args:
        path: of the file for the pieces.

    Raises:
        StorageError: disk full, or whatever the tables raise.
    """
    numbers = count()
    found = Dealt(path, columns, tuple([] for _ in range(pieces)))
    with (
        storage_errors(path, "written"),
        pa.OSFile(str(path), "wb") as file,
        pa.ipc.new_file(file, columns, options=_PLAIN) as written,
    ):
        for rows in _some_at_a_time(tables):
            for piece, own in _by_piece(rows, pieces):
                found.batches[piece].append(next(numbers))
                written.write_batch(own)
    pa.default_memory_pool().release_unused()
    return found


@contextmanager
def dealt_runs(runs: Sequence[tuple[RunDir, RunRecord]], wanted: Names) -> Iterator[list[DealtRun]]:
    """Some columns of runs as written so far, dealt alike; their numbers are within bounds.

    Args:
        wanted: of a table that is wanted, `item_id` among them.

    Raises:
        StorageError: a table can't be read, or disk full.
    """
    rows = max(record.items for _, record in runs)
    pieces = how_many_pieces(rows, max(_size_bytes(run, record) for run, record in runs))
    with tempfile.TemporaryDirectory(prefix="omni-batch-dealt-") as folder:
        yield [
            _dealt_run(run, record, wanted, pieces, Path(folder, str(number)))
            for number, (run, record) in enumerate(runs)
        ]


def _dealt_run(
    run: RunDir, record: RunRecord, wanted: Names, pieces: int, folder: Path
) -> DealtRun:
    folder.mkdir()
    shards = list(written_shards(run, record))
    whole = {"results": result_columns(record.annotation_schema), "attempts": ATTEMPT_COLUMNS}
    tables = []
    for kind, columns in whole.items():
        if names := getattr(wanted, kind):
            looked_at = named(columns, names | getattr(NUMBERS, kind))
            kept = schema(named(columns, names))
            found = (checked(getattr(shard, kind), looked_at) for shard in shards)
            own = (table.select(kept.names) for table in found)
            tables.append(dealt(own, kept, pieces, folder / kind))
    return DealtRun(tuple(tables))


def _size_bytes(run: RunDir, record: RunRecord) -> int:
    parts = (run.results(number) for number in record.shards)
    return sum(part.stat().st_size for part in parts if part.exists())


def _some_at_a_time(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Pieces of many shards at once: each of them costs a message in every piece."""
    waiting: list[pa.Table] = []
    size_bytes = 0
    for table in tables:
        waiting.append(table)
        size_bytes += table.nbytes
        if size_bytes >= _AT_ONCE_BYTES:
            yield pa.concat_tables(waiting)
            waiting, size_bytes = [], 0
    if size_bytes:
        yield pa.concat_tables(waiting)


def _by_piece(rows: pa.Table, pieces: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    numbers = _numbers(rows["item_id"], pieces)
    order = np.argsort(numbers, kind="stable")
    ends = np.searchsorted(numbers[order], np.arange(pieces + 1))
    (sorted_rows,) = rows.take(pa.array(order)).combine_chunks().to_batches()
    for number in np.flatnonzero(np.diff(ends)).tolist():
        yield number, sorted_rows.slice(ends[number], ends[number + 1] - ends[number])


def _numbers(item_ids: pa.ChunkedArray, pieces: int) -> npt.NDArray[np.int64]:
    """A run of another version may lack them: such rows are in the first piece."""
    found = (crc32((name or "").encode()) % pieces for name in item_ids.to_pylist())
    return np.fromiter(found, np.int64, len(item_ids))
