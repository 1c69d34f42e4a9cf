"""The parts of a run as one Arrow dataset, read in the memory of a few of them."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from omni_batch.errors import StorageError
from omni_batch.store.columns import Column, schema
from omni_batch.store.disk import refuse_special, storage_errors
from omni_batch.store.read import checked

_AT_ONCE = 8
_COPIED_AT_ONCE = 32
_READ_AHEAD = {"batch_readahead": 2, "fragment_readahead": 1}
"""Arrow's own are 16 batches of 131,072 rows."""
_COPIED_ROWS = 16_384
"""Rows in a group of a copy: few enough for memory, and so many that groups cost nothing."""


class Parts(pyarrow.dataset.Dataset):  # type: ignore[misc]  # pyarrow has no types
    """Many files as one table; columns that some of them lack are null there.

    A dataset of Arrow's own keeps the footer of every file that it has read: hundreds of MB
    for the 2,000 parts of a million rows. This one opens a few files at a time, and forgets them.

    DuckDB asks a dataset for its schema and for scanners, so that is all that this one can do.
    """

    def __init__(self, paths: list[Path]) -> None:
        self._paths = list(map(str, paths))
        try:
            self._columns = pa.unify_schemas(_schemas(paths), promote_options="permissive")
        except (OSError, pa.ArrowException) as exc:
            folder = paths[0].parent
            raise StorageError(f"the tables below {folder} can't be read: {exc}") from exc

    @property
    def schema(self) -> pa.Schema:
        """Columns of all of them."""
        return self._columns

    def scanner(self, **wanted: Any) -> pyarrow.dataset.Scanner:
        """Go through them once.

        Args:
            wanted: columns and filter, as of Arrow's datasets.
        """
        found = pyarrow.dataset.dataset(self._columns.empty_table()).scanner(**wanted)
        return pyarrow.dataset.Scanner.from_batches(
            self._batches(wanted), schema=found.projected_schema
        )

    def _batches(self, wanted: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        paths = iter(self._paths)
        while some := list(islice(paths, _AT_ONCE)):
            opened = pyarrow.dataset.dataset(some, schema=self._columns, format="parquet")
            # What was read goes back to the system at once, not to a pool of Arrow's.
            pool = pa.system_memory_pool()
            found = opened.scanner(**wanted, **_READ_AHEAD, memory_pool=pool)
            yield from found.to_batches()


def copied(path: Path, columns: Iterable[Column], tables: Iterable[Path | pa.Table]) -> None:
    """Some columns of many parts in one file, which each of many queries reads in a moment.

    Raises:
        StorageError: a table can't be read, or a number in it is out of bounds; disk full.
    """
    columns = tuple(columns)
    with storage_errors(path, "written"), pq.ParquetWriter(path, schema(columns)) as file:
        found = (checked(table, columns) for table in tables)
        while some := list(islice(found, _COPIED_AT_ONCE)):
            file.write_table(pa.concat_tables(some), row_group_size=_COPIED_ROWS)


def _schemas(paths: list[Path]) -> list[pa.Schema]:
    """The different ones among the files, which are few."""
    found: list[pa.Schema] = []
    for path in paths:
        with storage_errors(path, "read", pa.ArrowException):
            refuse_special(path)
            columns = pq.read_schema(path)
        if columns not in found:
            found.append(columns)
    return found
