"""Speech to a WAV file: written as it streams, renamed when it is whole."""

import asyncio
import hashlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import soundfile

from omni_batch.store.disk import PROCESS, Disk, open_new, storage_errors
from omni_batch.store.run_dir import RunDir
from omni_batch.types import Item

_BUFFER_BYTES = 256 * 1024  # some 5 s of speech: most answers take one trip to the disk


class SpeechFile:
    """The speech of one attempt. Memory stays below the buffer, however long the reply."""

    def __init__(self, temporary: Path, disk: Disk = PROCESS) -> None:
        self._temporary = temporary
        self._disk = disk
        self._buffer = bytearray()
        self._file: soundfile.SoundFile | None = None
        self._started = False
        self._lock = threading.RLock()  # a cancelled item may discard while a thread still writes

    async def write(self, sound: bytes, sample_rate_hz: int) -> None:
        """Take whole 16-bit mono samples."""
        self._buffer += sound
        if len(self._buffer) >= _BUFFER_BYTES:
            await asyncio.to_thread(self._flush, sample_rate_hz)

    async def commit(self, final: Path, sample_rate_hz: int) -> str:
        """Give the whole file its name; return its SHA-256."""
        return await asyncio.to_thread(self._commit, final, sample_rate_hz)

    def discard(self) -> None:
        """Forget what was written; harmless after `commit`."""
        with self._lock:
            self._buffer.clear()
            if self._file is not None:
                self._file.close()
                self._file = None
            if self._started:
                self._disk.remove(self._temporary)

    def _flush(self, sample_rate_hz: int) -> None:
        # libsndfile reports a full disk as too few samples written, an AssertionError
        met = soundfile.LibsndfileError, AssertionError
        with self._lock, storage_errors(self._temporary, "written", *met):
            if self._file is None:
                self._started = True
                with open_new(self._temporary) as file:
                    self._file = soundfile.SoundFile(
                        os.dup(file.fileno()),  # it closes its own
                        *("w", sample_rate_hz, 1),
                        subtype="PCM_16",
                        format="WAV",
                    )
            self._file.buffer_write(bytes(self._buffer), dtype="int16")
            self._buffer.clear()

    def _commit(self, final: Path, sample_rate_hz: int) -> str:
        with self._lock, storage_errors(final, "written", soundfile.LibsndfileError):
            self._flush(sample_rate_hz)
            if self._file is not None:
                self._file.close()
                self._file = None
            with self._temporary.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self._disk.publish(self._temporary, final)
            self._started = False  # nothing is left to be discarded
        return sha256


def drop_unclaimed(directory: RunDir, items: Iterable[Item]) -> None:
    """Remove speech of items that have no result: their process died between file and row."""
    for item in items:
        directory.disk.remove(directory.speech(item.item_id))
