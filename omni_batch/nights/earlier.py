"""What became of each row in earlier nights: the newest result of it."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.errors import ConfigError, OmniBatchError
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.read import list_runs, part_batches, read_results
from omni_batch.store.record import read_record

log = logging.getLogger("omni_batch")

_KEY = ("item_id", "variant", "sample")
_READ = (*_KEY, "status", "fingerprint", "error_message", "reused_from")
_ROWS_AT_ONCE = 10_000
_BETWEEN = "\x1f"
RESULTS = pa.schema(
    [
        *((name, pa.string()) for name in ("key", "item_id", "status", "content")),
        ("reused", pa.bool_()),
    ]
)
"""A row of a night: which one it is, how it ended, what it asked, and whether it was reused."""


def nights_before(folder: Path, name: str, own: RunDir | None = None) -> Iterator[RunDir]:
    """Runs of a config in a folder, the newest first; those that were begun before `own`."""
    until = read_record(own.record).created_at if own else None
    for directory, record in list_runs(folder):
        is_before = until is None or record.created_at < until
        if record.config.get("name") == name and is_before:
            yield directory


def newest_results(nights: Iterator[RunDir]) -> pa.Table:
    """The newest result of each row: `RESULTS`, with one row for each key.

    Reads back to the first night that was finished, which has a result for each row.
    """
    tables = []
    for directory in nights:
        with suppress(ConfigError):  # it has gone in this moment
            record = read_record(directory.record)
            tables += _read_or_left_out(directory, record)
            if record.state == "finished" and record.config.get("limit") is None:
                break
    every = pa.concat_tables([RESULTS.empty_table(), *tables])
    order = pa.array(range(every.num_rows), pa.int64())
    numbered = every.append_column("place", order)
    newest = numbered.group_by("key").aggregate([("place", "min")])["place_min"]
    return every.take(newest)


def results_of(directory: RunDir, record: RunRecord) -> pa.Table:
    """The results of one night so far.

    Raises:
        StorageError: they can't be read.
    """
    shards = [_told(read_results(directory, record, n, _READ)) for n in record.shards]
    return pa.concat_tables([RESULTS.empty_table(), *shards])


def _read_or_left_out(directory: RunDir, record: RunRecord) -> list[pa.Table]:
    try:
        return [results_of(directory, record)]
    except (OmniBatchError, pa.ArrowException) as exc:
        log.warning("failures of the earlier night %s are not known: %s", directory.root, exc)
        return []


def item_keys(directory: RunDir) -> Iterator[pa.Array]:
    """Which rows a night has, some at a time."""
    for batch in part_batches(directory.items, _ROWS_AT_ONCE, list(_KEY)):
        yield _key(pa.Table.from_batches([batch])).combine_chunks()


def _key(table: pa.Table) -> pa.ChunkedArray:
    parts = [pc.fill_null(table[name].cast(pa.string()), "") for name in _KEY]
    return pc.binary_join_element_wise(*parts, _BETWEEN)


def _told(results: pa.Table) -> pa.Table:
    """A row that could not be made into a request has no fingerprint; its error says why."""
    content = pc.coalesce(results["fingerprint"], results["error_message"])
    reused = pc.is_valid(results["reused_from"])
    columns = [_key(results), results["item_id"], results["status"], content, reused]
    return pa.table(columns, schema=RESULTS)
