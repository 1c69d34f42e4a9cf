"""The journal: one line for each finished item, written before the item counts as done.

Only whole lines count: what follows the last newline was cut by a crash and is removed before the
next line is written.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec

from omni_batch.errors import StorageError
from omni_batch.store.disk import PROCESS, Disk, in_thread, reason_of, storage_errors


class Entry(msgspec.Struct, frozen=True):
    """A finished item: its row of `results` and its rows of `attempts`.

    Without a result: attempts for an item that is still to be finished.
    """

    result: dict[str, Any] | None
    attempts: list[dict[str, Any]]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


class Journal:
    """The journal of one shard, open for appending."""

    def __init__(self, path: Path, disk: Disk = PROCESS) -> None:
        self._path = path
        self._disk = disk
        self._syncing = asyncio.Lock()
        self._synced_bytes = -1  # not even its name is on the disk
        with storage_errors(path, "opened"):
            self._file = path.open("ab", buffering=0)  # each line reaches the system at once
            self._whole_bytes = path.read_bytes().rfind(b"\n") + 1
            disk.cut(self._file.fileno(), self._whole_bytes)

    def append(self, entry: Entry) -> None:
        """Write one finished item; when this returns, a crash of ours can't lose it."""
        line = _encoder.encode(entry) + b"\n"
        try:
            self._disk.append(self._file.fileno(), line)
        except OSError as exc:
            with suppress(OSError):  # items in flight still append: never behind half a line
                self._disk.cut(self._file.fileno(), self._whole_bytes)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_journal(path: Path) -> Iterator[Entry]:
    """All whole entries, in the order they were finished; none when there is no journal.

    A whole line that is not an entry is a StorageError.
    """
    if not path.exists():
        return
    with storage_errors(path, "read", msgspec.DecodeError), path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield _decoder.decode(line)
