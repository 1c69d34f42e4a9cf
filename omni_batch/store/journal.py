"""The journal: one line for each finished item, written before the item counts as done.

Before each request goes out there is a line as well, by which it is in doubt until its end is
written: it stands in the table of attempts even where the process dies and the answer is lost.

Only whole lines count: what follows the last newline was cut by a crash and is removed before the
next line is written.
"""

import asyncio
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import msgspec

from omni_batch.errors import StorageError
from omni_batch.store.disk import (
    PROCESS,
    Disk,
    in_thread,
    open_to_append,
    reason_of,
    refuse_special,
    storage_errors,
)


class Entry(msgspec.Struct, frozen=True):
    """A finished item: its row of `results` and its rows of `attempts`.

    Without a result: attempts for an item that is still to be finished, or one that is in doubt.
    """

    result: dict[str, Any] | None
    attempts: list[dict[str, Any]]


class _Numbered(msgspec.Struct):
    row_number: int


class _Place(msgspec.Struct):
    """What an entry is read for when only its place is wanted."""

    result: _Numbered | None


class Salvage(NamedTuple):
    """What a journal holds after another program has had its hands on it."""

    entries: list[Entry]
    damaged: int
    """Lines that are no entry."""
    cut: int
    """Lines of which only the last entry is whole: the file was cut, then written on."""


_ENTRY_START = b'{"result":'
"""Within an entry these quotes would be escaped, and no row has such a column."""
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)
_place_decoder = msgspec.json.Decoder(_Place)


class Journal:
    """The journal of one shard, open for appending."""

    def __init__(self, path: Path, disk: Disk = PROCESS) -> None:
        self._path = path
        self._disk = disk
        self._syncing = asyncio.Lock()
        self._synced_bytes = -1  # not even its name is on the disk
        self._is_done = False
        with storage_errors(path, "opened"):
            if path.exists():
                refuse_special(path)
            self._file = open_to_append(path)  # each line reaches the system at once
            self._file.seek(0)
            self._whole_bytes = self._file.readall().rfind(b"\n") + 1
            disk.cut(self._file.fileno(), self._whole_bytes)

    def append(self, entry: Entry) -> None:
        """Write one finished item; when this returns, a crash of ours can't lose it."""
        line = _encoder.encode(entry) + b"\n"
        try:
            self._disk.append(self._file.fileno(), line)
        except OSError as exc:
            with suppress(OSError):  # items in flight still append: never behind half a line
                size_bytes = os.fstat(self._file.fileno()).st_size
                self._disk.cut(self._file.fileno(), min(self._whole_bytes, size_bytes))
            raise StorageError(f"{self._path} can't be written: {reason_of(exc)}") from exc
        self._whole_bytes += len(line)

    async def sync(self) -> None:
        """Wait until all that was appended so far is as safe as `durability` asks.

        Callers that come while the disk is busy share one more sync.
        """
        if not self._disk.durable:
            return
        mine_bytes = self._whole_bytes
        async with self._syncing:
            if mine_bytes <= self._synced_bytes:
                return
            covered_bytes = self._whole_bytes
            await in_thread(self._sync)
            self._synced_bytes = covered_bytes

    def _sync(self) -> None:
        with storage_errors(self._path, "written"):
            self._disk.sync(self._file.fileno())
            if self._synced_bytes < 0:
                self._disk.sync_path(self._path.parent)

    def entries(self) -> list[Entry]:
        """All that was appended and is still there, also where the file has lost its name."""
        return salvaged(BytesIO(self._content())).entries

    def remove(self) -> None:
        """Its entries have a better place."""
        self._is_done = True
        self._disk.remove(self._path)

    def _content(self) -> bytes:
        with storage_errors(self._path, "read"):
            self._file.seek(0)  # lines are appended at the end all the same
            return self._file.readall()

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except OSError:
            return False

    def _put_back(self) -> None:
        """A cleaner may have taken the name; what the file holds has been paid for."""
        with storage_errors(self._path, "written"):
            self._path.parent.mkdir(exist_ok=True)
            self._disk.replace(self._path, self._content())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if not self._is_done and not self._is_in_place():
                self._put_back()
        finally:
            self._file.close()


class ResultFinder:
    """Finds results in a journal while it is written. Each line is looked at once for its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen_bytes = 0
        self._places: dict[int, tuple[int, int]] = {}
        """By row number: where its line begins, and its length, in bytes."""

    def find(self, row_number: int) -> dict[str, Any] | None:
        """The row of `results`; None where none is written.

        Raises:
            StorageError: the journal is gone, or a line of it is damaged.
        """
        with storage_errors(self._path, "read", msgspec.DecodeError):
            refuse_special(self._path)
            with self._path.open("rb") as file:
                self._look_on(file)
                if row_number not in self._places:
                    return None
                begin, size_bytes = self._places[row_number]
                file.seek(begin)
                return _decoder.decode(file.read(size_bytes)).result

    def _look_on(self, file: BinaryIO) -> None:
        file.seek(self._seen_bytes)
        for line in file:
            if not line.endswith(b"\n"):
                return
            if (result := _place_decoder.decode(line).result) is not None:
                place = self._seen_bytes, len(line)
                self._places.setdefault(result.row_number, place)  # the first one counts
            self._seen_bytes += len(line)


def read_journal(path: Path) -> Iterator[Entry]:
    """All whole entries, in the order they were finished; none when there is no journal.

    A whole line that is not an entry is a StorageError.
    """
    if not path.exists():
        return
    with storage_errors(path, "read", msgspec.DecodeError):
        refuse_special(path)
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield _decoder.decode(line)


def salvage_journal(path: Path) -> Salvage:
    """The same, without what is damaged."""
    if not path.exists():
        return Salvage([], 0, 0)
    with storage_errors(path, "read"):
        refuse_special(path)
        with path.open("rb") as file:
            return salvaged(file)


def salvaged(lines: Iterable[bytes]) -> Salvage:
    """Every entry that is whole. One may stand behind the half of another: a cut went before it."""
    entries, damaged, cut = [], 0, 0
    for line in lines:
        if line.endswith(b"\n"):
            start = max(0, line.rfind(_ENTRY_START))
            entry = _entry(line[start:])
            if entry is None:
                damaged += 1
            else:
                cut += start > 0
                entries.append(entry)
    return Salvage(entries, damaged, cut)


def _entry(line: bytes) -> Entry | None:
    try:
        entry = _decoder.decode(line)
    except msgspec.DecodeError:
        return None
    rows = [*entry.attempts, *([] if entry.result is None else [entry.result])]
    numbered = all(isinstance(row.get("row_number"), int) for row in rows)
    counted = all(isinstance(attempt.get("number"), int) for attempt in entry.attempts)
    return entry if numbered and counted else None
