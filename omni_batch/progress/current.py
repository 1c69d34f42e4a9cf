"""The record of a run at this moment: run.json, corrected where its process has died."""

import socket
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import msgspec
import pyarrow as pa

from omni_batch.counts import Counts, Projection
from omni_batch.errors import StorageError
from omni_batch.progress.counters import COUNTED, of_tables
from omni_batch.progress.partitions import combined, read_partitions
from omni_batch.store.census import refuse_other_manifest, shortage
from omni_batch.store.read import list_runs, read_tables
from omni_batch.store.record import RunRecord, read_record
from omni_batch.store.remote.copies import address_of
from omni_batch.store.remote.lease import is_alive
from omni_batch.store.run_dir import RunDir

_SHARDS_AT_ONCE = 16
_SILENT_S = 60.0  # run.json is written every second
DEAD = "its process ended without finishing (killed, out of memory, or the machine stopped)"


def current_record(directory: RunDir) -> RunRecord:
    """The record of a run; one that says `running` while nobody holds its lock is interrupted.

    One that says `finished` while rows of it are gone is stopped, with what is gone as its reason.

    The last word of a dead process may be a second old, so its counts are taken from what it wrote.
    Where a table can't be read, that is a part of its reason.

    Raises:
        ConfigError: it is not a run directory.
        StorageError: run.json is of another run than the manifest beside it.
    """
    record = read_record(directory.record)
    refuse_other_manifest(directory, record)
    if record.state == "finished" and (lack := shortage(directory, record)):
        return msgspec.structs.replace(record, state="stopped", reason=lack)
    if record.state != "running":
        return record
    if is_at_work(directory, record):
        return record if directory.is_led() else _led_by_nobody(directory, record)
    record = read_record(directory.record)  # it may have ended in an orderly way just now
    if record.state != "running":
        return record
    return _interrupted(directory, record)


def current_runs(folder: Path) -> list[tuple[RunDir, RunRecord]]:
    """All runs below a folder, the newest first; one that can't be counted is among them."""
    return [(directory, _listed(directory, record)) for directory, record in list_runs(folder)]


def published_runs(found: Iterable[RunDir]) -> list[tuple[RunDir, RunRecord]]:
    """Copies of runs at a store with their records as these were published, the newest first."""
    runs = [(directory, _as_published(directory)) for directory in found]
    return sorted(runs, key=lambda pair: pair[1].created_at, reverse=True)


def _as_published(directory: RunDir) -> RunRecord:
    record = read_record(directory.record)
    if record.state != "running" or is_at_work(directory, record):
        return record
    reason = record.reason or DEAD
    return msgspec.structs.replace(record, state="interrupted", reason=reason, owner=None)


def _listed(directory: RunDir, record: RunRecord) -> RunRecord:
    try:
        return current_record(directory)
    except StorageError as exc:  # one damaged run must not hide the others
        return msgspec.structs.replace(record, state="stopped", reason=str(exc), owner=None)


def _led_by_nobody(directory: RunDir, record: RunRecord) -> RunRecord:
    """Who leads its partitions has died, and they work on."""
    record = msgspec.structs.replace(record, projection=Projection())
    return combined(record, read_partitions(directory))


def is_at_work(directory: RunDir, record: RunRecord, wait_s: float = 0.0) -> bool:
    """Whether a process works on it. A lock of another machine may not be seen from this one.

    Args:
        wait_s: for a lock that is held for an instant only.
    """
    owned = directory.is_owned(wait_s)
    elsewhere = record.owner is not None and (
        record.owner.host != socket.gethostname()
        # Of another user or home on this machine, whose copy is not this one.
        or (address_of(directory.root) is not None and is_alive(record.owner.pid))
    )
    if owned is None or (elsewhere and not owned):
        return time.time() - directory.record.stat().st_mtime < _SILENT_S
    return owned


def written_counts(directory: RunDir, record: RunRecord) -> Counts:
    """What a run has written so far. Reads the columns that count."""
    counts = Counts(elapsed_s=record.counts.elapsed_s)
    pairs = read_tables(directory, record, COUNTED)
    while some := list(islice(pairs, _SHARDS_AT_ONCE)):
        # A sum takes as long over one small shard as over many.
        counts += of_tables(*map(pa.concat_tables, zip(*some, strict=True)))
    return counts


def _interrupted(directory: RunDir, record: RunRecord) -> RunRecord:
    reason, counts = record.reason or DEAD, record.counts
    try:
        counts = written_counts(directory, record)
        if address_of(directory.root) and counts.done < record.counts.done:
            counts = record.counts  # the rest was journaled on another machine
    except StorageError as exc:
        reason = f"{reason}; {exc}"
    return msgspec.structs.replace(
        record, state="interrupted", reason=reason, counts=counts, owner=None
    )
