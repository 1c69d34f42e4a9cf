"""Speech to a WAV file: written as it streams, renamed when it is whole."""

import asyncio
import hashlib
import threading
from collections.abc import Iterable
from dataclasses import replace
from io import BufferedWriter
from pathlib import Path

import soundfile

from omni_batch.store.disk import PROCESS, Disk, open_new, storage_errors, when_files_are_free
from omni_batch.store.run_dir import RunDir
from omni_batch.types import Answer, Item, Speech, WavFile

_SAMPLE_BYTES = 2
_BUFFER_BYTES = 256 * 1024  # some 5 s of speech: most answers take one trip to the disk


class SpeechFile:
    """The speech of one attempt. Memory stays below the buffer, however long the reply."""

    def __init__(self, temporary: Path, disk: Disk = PROCESS) -> None:
        self._temporary = temporary
        self._disk = disk
        self._buffer = bytearray()
        self._file: soundfile.SoundFile | None = None
        self._draft: BufferedWriter | None = None
        self._sha256: str | None = None
        self._started = False
        self._lock = threading.RLock()  # a cancelled item may discard while a thread still writes

    async def write(self, sound: bytes, sample_rate_hz: int) -> None:
        """Take whole 16-bit mono samples."""
        self._buffer += sound
        if len(self._buffer) >= _BUFFER_BYTES:
            await when_files_are_free(lambda: asyncio.to_thread(self._flush, sample_rate_hz))

    async def commit(self, final: Path, sample_rate_hz: int) -> str:
        """Give the whole file its name; return its SHA-256."""
        return await when_files_are_free(
            lambda: asyncio.to_thread(self._commit, final, sample_rate_hz)
        )

    def discard(self) -> None:
        """Forget what was written; harmless after `commit`."""
        with self._lock:
            self._buffer.clear()
            self._close()
            if self._started:
                self._disk.remove(self._temporary)

    def _flush(self, sample_rate_hz: int) -> None:
        # libsndfile reports a full disk as too few samples written, an AssertionError
        met = soundfile.LibsndfileError, AssertionError
        with self._lock, storage_errors(self._temporary, "written", *met):
            if self._file is None:
                self._file = self._open(sample_rate_hz)
            self._file.buffer_write(bytes(self._buffer), dtype="int16")
            self._buffer.clear()

    def _commit(self, final: Path, sample_rate_hz: int) -> str:
        with self._lock, storage_errors(final, "written", soundfile.LibsndfileError):
            if self._sha256 is None:
                self._flush(sample_rate_hz)
                self._sha256 = self._end()
            self._disk.publish(self._temporary, final)
            self._started = False  # nothing is left to be discarded
            return self._sha256

    def _open(self, sample_rate_hz: int) -> soundfile.SoundFile:
        # Opened here and not by libsndfile, which does not say what it lacks.
        self._draft = open_new(self._temporary)
        self._started = True
        return _Wav(
            *(self._draft.fileno(), "w", sample_rate_hz, 1),
            subtype="PCM_16",
            format="WAV",
            closefd=False,
        )

    def _end(self) -> str:
        file, draft = self._file, self._draft
        if file is None or draft is None:
            raise ValueError("nothing was flushed")
        file.close()  # which completes its header
        self._file = None
        draft.seek(0)
        with open(draft.fileno(), "rb", closefd=False) as written:
            sha256 = hashlib.file_digest(written, "sha256").hexdigest()
        self._close()
        return sha256

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._draft is not None:
            self._draft.close()
            self._draft = None


class _Wav(soundfile.SoundFile):  # type: ignore[misc]
    def flush(self) -> None:
        """Not with each close, where libsndfile waits for the disk: `Disk` knows whether to."""


class WindowSpeech:
    """The speech of an item that is answered in windows: each is set aside, then they are joined.

    Raises:
        StorageError: from both methods, where it can't be written.
    """

    def __init__(self, directory: RunDir, name: str) -> None:
        self._directory, self._name = directory, name
        self._aside: list[tuple[Path, WavFile]] = []

    async def set_aside(self, answer: Answer) -> Answer:
        """Take the speech of a window; the answer without it."""
        if answer.wav is None:
            return answer
        number = len(self._aside)
        target = self._directory.unfinished_speech(f"{self._name}.window-{number}")
        source = self._directory.root / answer.wav.path
        await asyncio.to_thread(self._directory.disk.publish, source, target)
        self._aside.append((target, answer.wav))
        return replace(answer, wav=None)

    async def joined(self) -> WavFile | None:
        """All of it in one file; None where nothing was said."""
        if not self._aside:
            return None
        rate_hz = self._aside[0][1].speech.sample_rate_hz
        speech = SpeechFile(self._directory.unfinished_speech(self._name), self._directory.disk)
        samples = 0
        for path, _ in self._aside:
            for sound in await asyncio.to_thread(_sound_in, path, rate_hz):
                await speech.write(sound, rate_hz)
                samples += len(sound) // _SAMPLE_BYTES
            self._directory.disk.remove(path)
        final = self._directory.speech(self._name)
        sha256 = await speech.commit(final, rate_hz)
        relative = final.relative_to(self._directory.root).as_posix()
        return WavFile(relative, Speech(samples, rate_hz), sha256)


def _sound_in(path: Path, rate_hz: int) -> list[bytes]:
    """The samples of a file of ours.

    Raises:
        StorageError: it can't be read, or has another sample rate than the one before.
    """
    with storage_errors(path, "read", soundfile.LibsndfileError), soundfile.SoundFile(path) as file:
        if file.samplerate != rate_hz:
            raise OSError(f"it has {file.samplerate} samples a second, others {rate_hz}")
        return [bytes(block) for block in file.blocks(_BUFFER_BYTES, dtype="int16")]


def drop_unclaimed(directory: RunDir, items: Iterable[Item]) -> None:
    """Remove speech of items that have no result: their process died between file and row."""
    for item in items:
        directory.disk.remove(directory.speech(item.name))
