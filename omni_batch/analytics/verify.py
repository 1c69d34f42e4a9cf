"""Looks whether a run directory is whole, in one pass: rows, speech to the last byte, sums."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import msgspec
import pyarrow as pa

from omni_batch.counts import Counts
from omni_batch.errors import StorageError
from omni_batch.progress.counters import of_tables
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.census import gap_of, refuse_other_manifest, speech_fault
from omni_batch.store.read import part_batches, read_results, read_shard
from omni_batch.store.record import write_record
from omni_batch.store.remote.copies import shown
from omni_batch.store.remote.speech import speech_here
from omni_batch.store.reopen import reopen
from omni_batch.types import row_name

_LISTED = 50
_BATCH_ROWS = 2000
_READERS = 8  # files of speech read side by side: disks are faster so
_FINGERPRINT = re.compile("[0-9a-f]{64}")
_SUMS = ("succeeded", "failed", "reused", "requests", "prompt_tokens", "completion_tokens")
_ROW = ["row_number", "item_id", "variant", "sample", "fingerprint", "audio_path", "audio_s"]
_ROW += ["audio_sample_rate_hz", "audio_sha256"]


@dataclass(slots=True)
class Verification:
    """What a run directory holds, and what is wrong with it."""

    state: str
    items: int
    """Rows of the manifest, times variants and samples."""
    rows: int = 0
    """Results that are there, whole or not."""
    speech_files: int = 0
    problems: int = 0
    listed: list[str] = field(default_factory=list)
    """The first of them."""
    to_be_asked: int = 0
    """Rows that a repair has made unfinished."""

    def add(self, problem: str) -> None:
        """Take note of something that is wrong."""
        self.problems += 1
        if len(self.listed) < _LISTED:
            self.listed.append(problem)


def verify_run(directory: RunDir, *, repair: bool = False) -> Verification:
    """Read all of a run once, a shard at a time.

    Args:
        repair: make rows that are damaged or gone unfinished, so that resume asks for them again;
            all other rows stay as they are.

    Raises:
        ConfigError: not a run directory, or a process works on it.
        StorageError: items.parquet can't be read, or with `repair` something can't be written.
    """
    with directory.owned_record() as record:
        refuse_other_manifest(directory, record)
        found = Verification(record.state, record.items)
        ids = _item_names(directory)
        counts = Counts(elapsed_s=record.counts.elapsed_s)
        for number in record.shards:
            wanted = dict(islice(ids, len(record.shard_rows(number))))
            counts += _verify_shard(directory, record, number, wanted, found, repair=repair)
        _compare_sums(record, counts, found)
        if repair and found.problems:
            _write_repaired(directory, record, counts, found)
    return found


def _item_names(directory: RunDir) -> Iterator[tuple[int, str]]:
    named = ["row_number", "item_id", "variant", "sample"]
    for batch in part_batches(directory.items, _BATCH_ROWS, named):
        yield from ((row["row_number"], _name(row)) for row in batch.to_pylist())


def _name(row: Mapping[str, Any]) -> str:
    return row_name(row["item_id"], row.get("variant"), row.get("sample"))


def _verify_shard(
    directory: RunDir,
    record: RunRecord,
    shard_number: int,
    wanted: dict[int, str],
    found: Verification,
    *,
    repair: bool,
) -> Counts:
    gap, tables = gap_of(directory, record, shard_number), None
    try:
        tables = read_shard(directory, record, shard_number)
    except StorageError as exc:
        if gap is None:
            found.add(str(exc))
    results = tables[0] if tables else _results_alone(directory, record, shard_number)
    found.rows += results.num_rows
    faults = _row_faults(directory, results, wanted, found)
    for fault in faults.values():
        found.add(fault)
    if gap and gap.reason not in faults.values():
        found.add(gap.reason)
    if repair and (gap or faults):
        lost = (gap.rows if gap else frozenset()) | faults.keys()
        reopen(directory, shard_number, lost)
        found.to_be_asked += len(lost & wanted.keys())
    return of_tables(*tables) if tables else Counts()


def _results_alone(directory: RunDir, record: RunRecord, shard_number: int) -> pa.Table:
    """What can be read of a shard whose attempts can't; no rows where nothing can."""
    try:
        return read_results(directory, record, shard_number, _ROW)
    except StorageError:
        return pa.table({name: [] for name in _ROW})


def _row_faults(
    directory: RunDir, results: pa.Table, wanted: dict[int, str], found: Verification
) -> dict[int, str]:
    """By row number: what is wrong with it."""
    faults = {}
    rows = results.select(_ROW).to_pylist()
    for row in rows:
        number, name = row["row_number"], _name(row)
        if wanted.get(number) != name:
            faults[number] = f"row {number} is of item {name!r}, which the manifest has not there"
        elif row["fingerprint"] and not _FINGERPRINT.fullmatch(row["fingerprint"]):
            faults[number] = f"row {number} ({name}) has no valid fingerprint"
    spoken = [row for row in rows if row["audio_path"]]
    found.speech_files += len(spoken)
    return faults | _speech_faults(directory, spoken)


def _speech_faults(directory: RunDir, rows: list[dict[str, Any]]) -> dict[int, str]:
    def look(some: list[dict[str, Any]]) -> list[tuple[int, str | None]]:
        return [
            (row["row_number"], speech_fault(directory, row) or _sum_fault(directory, row))
            for row in some
        ]

    # A share of the files for each reader: handing over single ones would cost more than a look.
    shares = [rows[first::_READERS] for first in range(_READERS)]
    with ThreadPoolExecutor(_READERS) as threads:
        looked = chain.from_iterable(threads.map(look, shares))
        return {number: fault for number, fault in sorted(looked) if fault}


def _sum_fault(directory: RunDir, row: dict[str, Any]) -> str | None:
    path, wanted = directory.root / row["audio_path"], row["audio_sha256"]
    try:
        path, _held = speech_here(directory.root, row["audio_path"])
        with path.open("rb", buffering=0) as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == wanted
    except OSError as exc:
        return f"{path} can't be read: {exc.strerror}"
    except StorageError as exc:
        return str(exc)
    name = f"{shown(directory.root)}/{row['audio_path']}"
    return None if same else f"{name} is not the speech that was received (its SHA-256 differs)"


def _compare_sums(record: RunRecord, counts: Counts, found: Verification) -> None:
    """The tables against run.json, where nothing else is wrong and no process died before it."""
    if record.state != "finished" or found.problems:
        return
    for name in _SUMS:
        said, there = getattr(record.counts, name), getattr(counts, name)
        if said != there:
            found.add(f"run.json counts {said:,} {name.replace('_', ' ')}, the tables {there:,}")
    for currency, amount in counts.cost.items():
        if abs(record.counts.cost.get(currency, 0.0) - amount) > 1e-6 * max(1.0, amount):
            said = record.counts.cost.get(currency, 0.0)
            found.add(f"run.json counts {said:.6f} {currency}, the tables {amount:.6f}")


def _write_repaired(
    directory: RunDir, record: RunRecord, counts: Counts, found: Verification
) -> None:
    if any(directory.journals.glob("shard-*.jsonl")):
        # Its counts stay, so that resume can say how much that was paid for is gone.
        reason = f"it was repaired: {found.to_be_asked} rows are to be asked for again"
        record = msgspec.structs.replace(
            record, state="stopped", reason=reason, finished_at=None, owner=None
        )
    else:
        record = msgspec.structs.replace(record, counts=counts)
    write_record(directory.record, record, directory.disk)
