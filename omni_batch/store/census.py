"""What a run must have and what of it is there: every row once, every file of speech whole."""

import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.errors import StorageError
from omni_batch.store.disk import storage_errors
from omni_batch.store.journal import salvage_journal
from omni_batch.store.parts import merged
from omni_batch.store.read import part_rows, read_results
from omni_batch.store.record import RunRecord
from omni_batch.store.remote.copies import shown
from omni_batch.store.remote.published import size_at_store
from omni_batch.store.run_dir import RunDir

WAV_HEADER_BYTES = 44
"""libsndfile writes one chunk of format and one of sound."""
_SAMPLE_BYTES = 2
_SPEECH = ("audio_path", "audio_s", "audio_sample_rate_hz")


@dataclass(frozen=True, slots=True)
class Gap:
    """What a shard lacks, though it was there."""

    shard_number: int
    rows: frozenset[int]
    """Rows that are gone or can't be trusted; none where only their attempts are gone."""
    reason: str
    """Of the first."""
    is_damage: bool = False
    """A file is there and can't be used. A copy may be whole, or the disk be better tomorrow, so
    nothing takes its place before somebody says so."""


def refuse_other_manifest(directory: RunDir, record: RunRecord) -> None:
    """Nothing is counted by a run.json that speaks of other items than the manifest has.

    Raises:
        StorageError: it does. Where items.parquet can't be read, its reader says so.
    """
    try:
        rows = part_rows(directory.items)
    except StorageError:
        return
    items = record.slice.items_of_run if record.slice else record.items
    if rows != items:
        raise StorageError(
            f"{directory.record} says {items:,} items, {directory.items} has {rows:,}: one "
            "of them was changed or is of another run; bring the right one back"
        )


def shortage(directory: RunDir, record: RunRecord) -> str | None:
    """What a finished run lacks, in one line; None where all of it is there.

    Reads the footers of all parts, no row.
    """
    found = [gap for n in record.shards if (gap := _gap_by_footers(directory, record, n))]
    return in_words(directory, record, found) if found else None


def _gap_by_footers(directory: RunDir, record: RunRecord, shard_number: int) -> Gap | None:
    path, wanted = directory.results(shard_number), record.shard_rows(shard_number)
    if not path.exists():
        return Gap(shard_number, frozenset(wanted), f"{path} is gone")
    try:
        rows = part_rows(path)
    except StorageError as exc:
        return Gap(shard_number, frozenset(wanted), str(exc), is_damage=True)
    if rows != len(wanted):
        reason = f"{path} has {rows} rows, not the {len(wanted)} of its shard"
        return Gap(shard_number, frozenset(wanted[rows:]), reason, is_damage=True)
    return _gap_of_attempts(directory.attempts(shard_number), shard_number)


def shortage_of_files(directory: RunDir, record: RunRecord) -> str | None:
    """The same of rows and of the files that they name; reads some columns of all parts."""
    found = list(gaps(directory, record))
    return in_words(directory, record, found) if found else None


def in_words(directory: RunDir, record: RunRecord, found: Sequence[Gap]) -> str:
    """What is gone, and what to do."""
    there = record.items - sum(len(gap.rows) for gap in found)
    damage = next((gap for gap in found if gap.is_damage), None)
    remedy = (
        f"bring it back, or give it up with: omni-batch verify {shown(directory.root)} --repair"
        if damage
        else f"what is gone is asked for again with: omni-batch resume {shown(directory.root)}"
    )
    reason = (damage or found[0]).reason
    return f"{there:,} of {record.items:,} rows are there whole: {reason}; {remedy}"


def gaps(directory: RunDir, record: RunRecord) -> Iterator[Gap]:
    """What each shard of a run lacks, though it was finished."""
    for number in record.shards:
        if gap := gap_of(directory, record, number):
            yield gap


def gap_of(directory: RunDir, record: RunRecord, shard_number: int) -> Gap | None:
    """The same of one shard. What was never finished is no gap, while the run is not."""
    if directory.results(shard_number).exists():
        gap = _gap_of_parts(directory, record, shard_number)
        if gap and gap.is_damage and directory.journal(shard_number).exists():
            # Power was lost between the part and the end of its journal, which has it all.
            return replace(gap, rows=frozenset(), is_damage=False)
        return gap
    if directory.journal(shard_number).exists():
        return _gap_of_journal(directory, record.shard_rows(shard_number), shard_number)
    if directory.attempts(shard_number).exists() or record.state == "finished":
        wanted = frozenset(record.shard_rows(shard_number))
        return Gap(shard_number, wanted, f"{directory.results(shard_number)} is gone")
    return None


def _gap_of_parts(directory: RunDir, record: RunRecord, shard_number: int) -> Gap | None:
    path, wanted = directory.results(shard_number), record.shard_rows(shard_number)
    try:
        found = read_results(directory, record, shard_number, ("row_number", *_SPEECH))
    except StorageError as exc:
        return Gap(shard_number, frozenset(wanted), str(exc), is_damage=True)
    numbers = found["row_number"].to_pylist()
    if numbers != list(wanted):
        lost = frozenset(wanted) - frozenset(numbers)
        reason = f"{path} has {len(numbers)} rows, not the {len(wanted)} of its shard"
        return Gap(shard_number, lost, reason, is_damage=True)
    if faults := speech_faults(directory, found):
        return Gap(shard_number, frozenset(faults), next(iter(faults.values())))
    return _gap_of_attempts(directory.attempts(shard_number), shard_number)


def _gap_of_attempts(path: Path, shard_number: int) -> Gap | None:
    if not path.exists():
        return Gap(shard_number, frozenset(), f"{path} is gone")
    try:
        part_rows(path)
    except StorageError as exc:
        return Gap(shard_number, frozenset(), str(exc), is_damage=True)
    return None


def _gap_of_journal(directory: RunDir, wanted: range, shard_number: int) -> Gap | None:
    path = directory.journal(shard_number)
    try:
        entries, damaged, cut = salvage_journal(path)
    except StorageError as exc:
        return Gap(shard_number, frozenset(wanted), str(exc), is_damage=True)
    results, _ = merged(entries)
    faults = dict.fromkeys(results.keys() - set(wanted), f"{path} has rows of another shard")
    for row, result in results.items():
        if fault := speech_fault(directory, result):
            faults[row] = fault
    if damaged:
        reason = f"{path} has {damaged} lines that can't be read"
        return Gap(shard_number, frozenset(faults), reason, is_damage=True)
    if faults or cut:
        reason = next(iter(faults.values()), f"{path} was cut")
        return Gap(shard_number, frozenset(faults), reason)
    return None


def speech_faults(directory: RunDir, results: pa.Table) -> dict[int, str]:
    """By row: what is wrong with the files of speech that rows of `results` name."""
    spoken = results.filter(pc.is_valid(results["audio_path"]))
    pairs = ((row["row_number"], speech_fault(directory, row)) for row in spoken.to_pylist())
    return {row_number: fault for row_number, fault in pairs if fault}


def speech_fault(directory: RunDir, result: Mapping[str, Any]) -> str | None:
    """What is wrong with the file of speech that a row of `results` names, if it names one."""
    name, length_s, rate_hz = (result.get(column) for column in _SPEECH)
    if name is None:
        return None
    path = directory.root / name
    with storage_errors(path, "read"):
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            size_bytes = size_at_store(directory.root, name)
        else:
            if not stat.S_ISREG(found.st_mode):
                return f"{path} is not a regular file"
            size_bytes = found.st_size
    if size_bytes is None:
        return f"{shown(directory.root)}/{name} is gone"
    if not length_s or not rate_hz:
        return None
    wanted = WAV_HEADER_BYTES + round(length_s * rate_hz) * _SAMPLE_BYTES
    fault = f"{shown(directory.root)}/{name} has {size_bytes} bytes, not {wanted}"
    return None if size_bytes == wanted else fault
