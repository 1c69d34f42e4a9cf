"""Progress of a shard by its journal, and how a finished shard is reopened."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omni_batch.errors import StorageError
from omni_batch.store.disk import Disk
from omni_batch.store.journal import Entry, Journal, read_journal
from omni_batch.store.read import read_part
from omni_batch.store.run_dir import RunDir


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """What a shard's journal contains, by row number."""

    done: set[int] = field(default_factory=set)
    attempts: dict[int, int] = field(default_factory=dict)
    """How many were made for an item that has no result yet."""


def read_progress(journal: Path) -> ShardProgress:
    """The progress of a shard's items.

    Raises:
        StorageError: the journal can't be read.
    """
    progress = ShardProgress()
    for entry in read_journal(journal):
        if entry.result is not None:
            progress.done.add(entry.result["row_number"])
            continue
        for attempt in entry.attempts:
            row = attempt["row_number"]
            progress.attempts[row] = progress.attempts.get(row, 0) + 1
    return progress


def failed_rows(directory: RunDir, shard_number: int, kinds: Collection[str]) -> set[int]:
    """Row numbers of a finished shard's failed items, of some kinds or (none given) of all.

    Raises:
        StorageError: the part can't be read.
    """
    found = read_part(directory.results(shard_number), ["row_number", "error_kind"]).to_pylist()
    return {
        row["row_number"]
        for row in found
        if row["error_kind"] is not None and (not kinds or row["error_kind"] in kinds)
    }


def reopen(directory: RunDir, shard_number: int, rows: Collection[int]) -> None:
    """Turn a finished shard back into a journal in which some items have attempts but no result.

    The journal is complete before the part of `results`, which takes precedence, is removed: every
    row is in one of the two at any time. The part of `attempts` stays until it is rewritten.

    Raises:
        StorageError: disk full, or not readable or writable.
    """
    journal = directory.journal(shard_number)
    draft = journal.with_name(f"{journal.name}.part")
    results = read_part(directory.results(shard_number)).to_pylist()
    attempts: dict[int, list[dict[str, Any]]] = {}
    for attempt in read_part(directory.attempts(shard_number)).to_pylist():
        attempts.setdefault(attempt["row_number"], []).append(attempt)
    try:
        draft.unlink(missing_ok=True)
        with Journal(draft) as file:
            for entry in _entries(results, attempts, rows):
                file.append(entry)
        # Rows that were safe in a part stay so, whatever `durability` says.
        Disk(durable=True).publish(draft, journal)
        directory.results(shard_number).unlink()
    except OSError as exc:
        raise StorageError(f"{journal} can't be written: {exc}") from exc


def _entries(
    results: list[dict[str, Any]],
    attempts: Mapping[int, list[dict[str, Any]]],
    reopened: Collection[int],
) -> Iterator[Entry]:
    for result in results:
        row = result["row_number"]
        if row not in reopened:
            yield Entry(result, attempts.get(row, []))
        elif row in attempts:
            yield Entry(None, attempts[row])
