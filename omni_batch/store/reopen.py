"""Progress of a shard by its journal, and how a shard is reopened: for a retry, or for a repair."""

from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omni_batch.errors import StorageError
from omni_batch.store.census import gaps, in_words
from omni_batch.store.disk import Disk, draft_path, storage_errors
from omni_batch.store.journal import Entry, Journal, read_journal, salvage_journal
from omni_batch.store.parts import merged
from omni_batch.store.read import read_part
from omni_batch.store.record import RunRecord
from omni_batch.store.run_dir import RunDir


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """What a shard's journal contains, by row number."""

    done: set[int] = field(default_factory=set)
    attempts: Counter[int] = field(default_factory=Counter)
    """How many were made for an item that has no result yet: the number of the last."""


def read_progress(journal: Path) -> ShardProgress:
    """The progress of a shard's items."""
    progress = ShardProgress()
    for entry in read_journal(journal):
        if entry.result is not None:
            progress.done.add(entry.result["row_number"])
        else:
            for attempt in entry.attempts:  # a line when it goes out, and one when it ends
                row_number, number = attempt["row_number"], attempt["number"]
                progress.attempts[row_number] = max(progress.attempts[row_number], number)
    return progress


def failed_rows(directory: RunDir, shard_number: int, kinds: Collection[str]) -> set[int]:
    """Row numbers of a finished shard's failed items, of some kinds or (none given) of all."""
    found = read_part(directory.results(shard_number), ["row_number", "error_kind"]).to_pylist()
    return {
        row["row_number"]
        for row in found
        if row["error_kind"] is not None and (not kinds or row["error_kind"] in kinds)
    }


def mend(directory: RunDir, record: RunRecord) -> list[str]:
    """Make unfinished again what is gone, and nothing else.

    Returns:
        What was wrong, a line for each shard.

    Raises:
        StorageError: a file is there and damaged; nothing was changed.
    """
    found = list(gaps(directory, record))
    if any(gap.is_damage for gap in found):
        raise StorageError(in_words(directory, record, found))
    for gap in found:
        reopen(directory, gap.shard_number, gap.rows)
    return [gap.reason for gap in found]


def reopen(directory: RunDir, shard_number: int, rows: Collection[int]) -> None:
    """Turn a shard back into a journal in which some items have attempts but no result.

    The journal is complete before the part of `results`, which takes precedence, is removed: every
    row is in one of the two at any time. The part of `attempts` stays until it is rewritten.
    """
    journal = directory.journal(shard_number)
    draft = draft_path(journal)
    entries = _left_of(directory, shard_number, rows)
    directory.make_folders()
    with storage_errors(journal, "written"):
        with Journal(draft) as file:
            for entry in entries:
                file.append(entry)
        # Rows that were safe in a part stay so, whatever `durability` says.
        Disk(durable=True).publish(draft, journal)
        directory.results(shard_number).unlink(missing_ok=True)


def _left_of(directory: RunDir, shard_number: int, rows: Collection[int]) -> list[Entry]:
    """What can be read of a shard's parts and journal, without the results of some rows."""
    entries = [
        *(Entry(row, []) for row in _readable(directory.results(shard_number))),
        *(Entry(None, [row]) for row in _readable(directory.attempts(shard_number))),
        *salvage_journal(directory.journal(shard_number)).entries,
    ]
    results, attempts = merged(entries)
    history: dict[int, list[dict[str, Any]]] = {}
    for row_number, number in sorted(attempts):
        history.setdefault(row_number, []).append(attempts[row_number, number])
    kept = results.keys() - set(rows)
    return [
        Entry(results[row] if row in kept else None, history.get(row, []))
        for row in sorted(kept | history.keys())
    ]


def _readable(part: Path) -> list[dict[str, Any]]:
    with suppress(StorageError):
        rows: list[dict[str, Any]] = read_part(part).to_pylist()
        return rows
    return []
