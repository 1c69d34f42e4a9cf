"""The record of a run at this moment: run.json, corrected where its process has died."""

from pathlib import Path

import msgspec

from omni_batch.counts import Counts
from omni_batch.progress.counters import of_tables
from omni_batch.store.read import list_runs, read_tables
from omni_batch.store.record import RunRecord, read_record
from omni_batch.store.run_dir import RunDir

DEAD = "its process ended without finishing (killed, out of memory, or the machine stopped)"


def current_record(directory: RunDir) -> RunRecord:
    """The record of a run; one that says `running` while nobody holds its lock is interrupted.

    The last word of a dead process may be a second old, so its counts are taken from what it wrote.

    Raises:
        ConfigError: it is not a run directory.
        StorageError: a table of a dead run can't be read.
    """
    record = read_record(directory.record)
    if record.state != "running" or directory.is_owned():
        return record
    record = read_record(directory.record)  # it may have ended in an orderly way just now
    return _interrupted(directory, record) if record.state == "running" else record


def current_runs(folder: Path) -> list[tuple[RunDir, RunRecord]]:
    """All runs below a folder, the newest first."""
    return [(directory, current_record(directory)) for directory, _ in list_runs(folder)]


def _interrupted(directory: RunDir, record: RunRecord) -> RunRecord:
    counts = Counts(elapsed_s=record.counts.elapsed_s)
    for results, attempts in read_tables(directory, record.shards):
        counts += of_tables(results, attempts)
    return msgspec.structs.replace(
        record, state="interrupted", reason=record.reason or DEAD, counts=counts, owner=None
    )
