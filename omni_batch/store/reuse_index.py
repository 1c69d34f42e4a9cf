"""Answers that earlier runs have paid for: found by fingerprint, read when they are needed.

Memory takes 24 bytes for each different request. Rows stay in their parts and journals; the
last parts read are kept, because a manifest seldom changes its order.
"""

import asyncio
import hashlib
import shutil
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.doubts import Doubt
from omni_batch.errors import OmniBatchError, StorageError
from omni_batch.sources import is_store
from omni_batch.store.disk import PROCESS, Disk, open_new, storage_errors
from omni_batch.store.read import read_results
from omni_batch.store.record import RunRecord, read_record
from omni_batch.store.remote.fetch import runs_below
from omni_batch.store.remote.speech import speech_here
from omni_batch.store.run_dir import RunDir
from omni_batch.types import Usage

_KEY = ["status", "fingerprint", "row_number"]
_ANSWER = (
    *_KEY,
    *("text", "reasoning", "finish_reason", "warnings", "run_id", "reused_from", "voice"),
    *("audio_path", "audio_s", "audio_sample_rate_hz", "audio_sha256"),
    *("window_begins_s", "window_ends_s", "window_texts"),
    *Usage.__dataclass_fields__,
)
_HEX_DIGITS = 64
_RECORD = np.dtype("S24")
"""16 bytes of a fingerprint, 8 of a place: as big-endian numbers, so that bytes sort as these."""
_KEY_BYTES = 16
_ROW_BITS = 48  # of a place; the rest is the run
KEPT_SHARDS = 8  # two lanes of shards, each across the border of two parts, and room

Records = npt.NDArray[np.bytes_]
Columns = dict[str, list[Any]]
"""Rows in plain values, in manifest order: one by one, Arrow gives them slowly."""


def is_answer(row: Mapping[str, Any], fingerprint: str, row_number: int) -> bool:
    """Whether it is the row that was looked for, and answers the request.

    An index has only a part of the fingerprint, and a retry may have changed the row.
    """
    return [row.get(name) for name in _KEY] == ["succeeded", fingerprint, row_number]


class KeptParts:
    """Rows of shards, by their parts and journals: the last ones read are kept."""

    def __init__(self) -> None:
        self._parts: dict[tuple[Path, int], Columns] = {}
        self._reading = asyncio.Lock()

    async def row(self, directory: RunDir, record: RunRecord, row_number: int) -> dict[str, Any]:
        """What a row answers; empty where it is gone by now."""
        part = await self._part(directory, record, row_number // record.shard_size)
        position = bisect_left(part["row_number"], row_number)
        return {name: values[position] for name, values in part.items() if position < len(values)}

    async def _part(self, directory: RunDir, record: RunRecord, shard_number: int) -> Columns:
        key = (directory.root, shard_number)
        async with self._reading:
            if key not in self._parts:
                found = await asyncio.to_thread(_read, directory, record, shard_number)
                self._parts[key] = found
                if len(self._parts) > KEPT_SHARDS:
                    del self._parts[next(iter(self._parts))]
            return self._parts[key]


def _read(directory: RunDir, record: RunRecord, shard_number: int) -> Columns:
    """Empty where it is gone by now."""
    found: Columns = {"row_number": []}
    with suppress(StorageError, pa.ArrowException):
        found = read_results(directory, record, shard_number, _ANSWER).to_pydict()
    return found


class Places:
    """The places of answers by the fingerprints of their requests: 24 bytes for each."""

    def __init__(self) -> None:
        self._sorted: Records = np.empty(0, _RECORD)

    def __len__(self) -> int:
        return len(self._sorted)

    def find(self, fingerprint: str) -> int | None:
        """The place of the answer to a request."""
        key = bytes.fromhex(fingerprint)[:_KEY_BYTES]
        (at,) = np.searchsorted(
            self._sorted, np.frombuffer(key.ljust(_RECORD.itemsize, b"\0"), _RECORD)
        )
        record = self._sorted[at : at + 1].tobytes()
        return int.from_bytes(record[_KEY_BYTES:]) if record.startswith(key) else None

    def unknown(self, records: Records) -> Records:
        """Those of requests whose answers have no place yet."""
        if not len(self._sorted):
            return records
        keys = _words(records.copy())
        keys[:, 2] = 0
        at = np.searchsorted(self._sorted, keys.view(_RECORD).reshape(-1))
        nearest = _words(self._sorted)[np.minimum(at, len(self._sorted) - 1)]
        found: Records = records[(nearest[:, :2] != keys[:, :2]).any(axis=1)]
        return found

    def take_in(self, records: Records) -> None:
        """Add some that are unknown, of equal requests the lowest place; they are put in order."""
        records.sort()
        keys = _words(records)[:, :2]
        new = np.ones(len(records), bool)
        new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        records = records if new.all() else records[new]
        if len(self._sorted):
            records = np.insert(self._sorted, np.searchsorted(self._sorted, records), records)
        self._sorted = records


class ReuseIndex:
    """An index of the succeeded rows of earlier runs; of equal requests the newest counts.

    Args:
        globs: of run directories; other folders are skipped.
        models: runs of none of them are not read.
        own: the present run, which is skipped.
    """

    def __init__(
        self, globs: Iterable[str], models: Iterable[str], own: RunDir | None = None
    ) -> None:
        self.doubts: list[Doubt] = []
        """Runs that could not be read."""
        self._runs: list[tuple[RunDir, RunRecord]] = []
        self._places = Places()
        self._parts = KeptParts()
        wanted = frozenset(models)
        for directory in reused_directories(globs, own):
            try:
                self._add_run(directory, wanted)
            except (OmniBatchError, OSError, ValueError, pa.ArrowException) as exc:
                message = f"run {directory.root} can't be read: {exc}"
                self.doubts.append(Doubt("reuse-run-unreadable", message))

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, fingerprint: str) -> bool:
        return self._places.find(fingerprint) is not None

    async def row(self, fingerprint: str) -> tuple[RunDir, dict[str, Any]] | None:
        """The run and its row of `results` that answer a request; None where there is none."""
        place = self._places.find(fingerprint)
        if place is None:
            return None
        number, row_number = place >> _ROW_BITS, place & (1 << _ROW_BITS) - 1
        directory, record = self._runs[number]
        row = await self._parts.row(directory, record, row_number)
        return (directory, row) if is_answer(row, fingerprint, row_number) else None

    def _add_run(self, directory: RunDir, models: frozenset[str]) -> None:
        record = read_record(directory.record)
        if models.isdisjoint(record.models):
            return
        new = np.empty(record.items, _RECORD)  # in one piece: a million rows add up
        count = 0
        for shard_number in record.shards:
            results = read_results(directory, record, shard_number, _KEY)
            found = self._places.unknown(_records(results, len(self._runs)))
            new[count : count + len(found)] = found
            count += len(found)
        self._runs.append((directory, record))
        self._places.take_in(new[:count])


def link_speech(
    run: RunDir, row: dict[str, Any], target: Path, draft: Path, disk: Disk = PROCESS
) -> bool:
    """Link an earlier run's speech into this run, or copy it where links don't work.

    Returns:
        False when the file is gone or was changed.
    """
    root = run.root.resolve()
    if not (root / row["audio_path"]).resolve().is_relative_to(root):
        return False
    source, held = _found(root, row["audio_path"])
    if source is None or not _is_whole(source, row["audio_sha256"]):
        return False
    with storage_errors(target, "written"):
        try:
            if held is not None:  # another content may have its name tomorrow
                raise OSError("it is borrowed")
            draft.hardlink_to(source)
        except OSError:  # another file system, or one without hard links
            with source.open("rb") as file, open_new(draft) as copy:
                shutil.copyfileobj(file, copy)
        disk.publish(draft, target)
        draft.unlink(missing_ok=True)  # renaming one name of a file to another leaves both
    return True


def _found(root: Path, name: str) -> tuple[Path | None, object]:
    with suppress(StorageError):
        return speech_here(root, name)
    return None, None


def _is_whole(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def reused_directories(globs: Iterable[str], own: RunDir | None = None) -> list[RunDir]:
    """The run directories that globs name, the newest first, without the present run."""
    paths = {Path(path).resolve() for pattern in globs for path in _matching(pattern)}
    paths.discard(own.root.resolve() if own else Path())
    runs = [RunDir(path) for path in paths if (path / "run.json").exists()]
    return sorted(runs, key=lambda run: (_created_at(run), run.run_id), reverse=True)


def _matching(pattern: str) -> list[str]:
    if is_store(pattern):
        return [str(run.root) for run in runs_below(pattern, "all")]
    return glob(pattern, recursive=True)  # noqa: PTH207 - pathlib refuses absolute patterns


def _created_at(run: RunDir) -> float:
    with suppress(OmniBatchError):
        return read_record(run.record).created_at.timestamp()
    return 0.0


def _records(table: pa.Table, run: int) -> Records:
    """Of the succeeded rows of a run, by its number."""
    known = pc.and_(pc.equal(table["status"], "succeeded"), pc.is_valid(table["fingerprint"]))
    table = table.filter(known)
    rows = table["row_number"].to_numpy().astype(np.uint64)  # mixed signs would become floats
    return records_of(table["fingerprint"].to_pylist(), rows | np.uint64(run << _ROW_BITS))


def records_of(fingerprints: list[str], places: npt.NDArray[np.uint64]) -> Records:
    """What an index holds of them.

    Raises:
        ValueError: a fingerprint is none.
    """
    digits = "".join(fingerprints)
    if len(digits) != _HEX_DIGITS * len(fingerprints):
        raise ValueError("its fingerprints have an unknown format")
    words = np.empty((len(fingerprints), 3), ">u8")
    words[:, :2] = np.frombuffer(bytes.fromhex(digits), ">u8").reshape(-1, _HEX_DIGITS // 16)[:, :2]
    words[:, 2] = places
    return words.view(_RECORD).reshape(-1)


def _words(records: Records) -> npt.NDArray[np.uint64]:
    """The same as numbers: two of a fingerprint, and a place."""
    return records.view(">u8").reshape(-1, 3)
