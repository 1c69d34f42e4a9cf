"""Writes to a run directory. All that must survive a crash goes through here, in order.

`durability: process` hands everything to the operating system, so that it survives a crash of our
process. `durability: disk` waits for the disk as well (fsync of a file, and of the folder that
contains it), so that it survives the loss of power.
"""

import asyncio
import errno
import logging
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import BinaryIO, TypeVar

from omni_batch.errors import StorageError

T = TypeVar("T")
log = logging.getLogger("omni_batch")


@dataclass(frozen=True, slots=True)
class Disk:
    """The operations that the writers of a run directory are made of.

    Raises:
        OSError: from every method; the writer says which file it was about.
    """

    durable: bool = False
    """Whether writes must survive a loss of power."""
    told: Callable[[Path], None] = lambda path: None
    """Hears of each file that has got its name."""

    def append(self, file: int, data: bytes) -> None:
        """Write all of it to an open file."""
        while data:
            data = data[os.write(file, data) :]

    def cut(self, file: int, size_bytes: int) -> None:
        """Truncate an open file."""
        os.ftruncate(file, size_bytes)

    def sync(self, file: int) -> None:
        """Wait until an open file is on the disk."""
        if self.durable:
            os.fsync(file)

    def sync_path(self, path: Path) -> None:
        """Wait until a closed file, or the names in a folder, are on the disk."""
        if not self.durable:
            return
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def publish(self, draft: Path, final: Path) -> None:
        """Rename a whole draft in one step, replacing the file that had the name."""
        self.sync_path(draft)  # else a name could survive whose content does not
        draft.replace(final)
        self.sync_path(final.parent)
        self.told(final)

    def replace(self, final: Path, data: bytes) -> None:
        """Write a small file whole; readers see the old one or the new one."""
        draft = draft_path(final)
        try:
            with open_new(draft) as file:
                self.append(file.fileno(), data)
            self.publish(draft, final)
        except OSError:
            self.remove(draft)  # on a full disk it would stay, and take room
            raise

    def remove(self, path: Path) -> None:
        """Remove a file that may be gone already, or may never have been."""
        with suppress(OSError):
            path.unlink()

    def make_folders(self, path: Path) -> None:
        """Make a folder and those above it that are missing."""
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self.sync_path(folder.parent)


PROCESS = Disk()
_IN_WORDS = {
    errno.ENOSPC: "the disk is full (no space left on device)",
    errno.EDQUOT: "the disk quota is used up (disk quota exceeded)",
    errno.EROFS: "the file system is read-only",
    errno.EFBIG: "the file may not become that large (file too large)",
    errno.ELOOP: "it is a link, and links are not followed here; remove it",
}
_PROBE_BYTES = 256 * 1024
_NO_FILE_IS_FREE = {errno.EMFILE, errno.ENFILE}
_LOOK_AGAIN_S = 0.2
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
"""Windows has no such flag, and hardly a link."""


def reason_of(exc: Exception) -> str:
    """Why the system refused, in plain words; what another library says as it says it."""
    if isinstance(exc, OSError) and exc.errno is not None:
        return _IN_WORDS.get(exc.errno) or os.strerror(exc.errno).lower()
    return str(exc) or type(exc).__name__


def refuse_special(path: Path) -> None:
    """Raise OSError for a pipe or a device in place of a file: reading it could wait for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a regular file")


def _hidden_reason(folder: Path) -> str | None:
    """What the system says to a write, for libraries that keep it to themselves."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as exc:
        return reason_of(exc)
    return None


@contextmanager
def storage_errors(path: Path, done: str, *others: type[Exception]) -> Iterator[None]:
    """Ends errors of the system, and others, as StorageError: "<path> can't be <done>: …"."""
    met: tuple[type[Exception], ...] = (OSError, *others)
    try:
        yield
    except met as exc:
        hidden = done == "written" and not isinstance(exc, OSError)
        reason = (_hidden_reason(path.parent) if hidden else None) or reason_of(exc)
        raise StorageError(f"{path} can't be {done}: {reason}") from exc


def draft_path(final: Path, folder: Path | None = None) -> Path:
    """A name that nobody can have put a link at: hidden, random, beside the file or in `folder`."""
    return (folder or final.parent) / f".{final.name}.{secrets.token_hex(8)}.part"


def open_new(path: Path, mode: int = 0o666) -> BufferedWriter:
    """A file that was not there, for writing. No link is followed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW
    return os.fdopen(os.open(path, flags, mode), "wb")  # buffered, as it writes all or raises


def open_to_append(path: Path) -> FileIO:
    """A file for appending and reading, without a buffer. At a link, an OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | _NO_FOLLOW
    return os.fdopen(os.open(path, flags, 0o666), "a+b", buffering=0)


@contextmanager
def draft_of(final: Path) -> Iterator[BinaryIO]:
    """A file that gets the name `final` when the block succeeds, and else is removed.

    For reports and exports, which can be made again. A run's own files go through a `Disk`.

    Raises:
        StorageError: disk full or not writable.
    """
    with _draft(final) as draft, open_new(draft) as file:
        yield file


@contextmanager
def draft_folder_of(final: Path) -> Iterator[Path]:
    """The same for a folder."""
    with _draft(final) as draft:
        draft.mkdir()
        yield draft


@contextmanager
def _draft(final: Path) -> Iterator[Path]:
    draft = draft_path(final)
    try:
        with storage_errors(final, "written"):
            yield draft
            draft.replace(final)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        PROCESS.remove(draft)


def lacks_files(exc: BaseException | None) -> bool:
    """Whether it failed because this process, or the machine, has too many files open."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno in _NO_FILE_IS_FREE:
            return True
        exc = exc.__cause__ or exc.__context__
    return False


async def when_files_are_free(work: Callable[[], Awaitable[T]]) -> T:
    """Do it, and again for as long as it fails because too many files are open.

    Others close theirs; what has been paid for waits until then.
    """
    waits = False
    while True:
        try:
            return await work()
        except Exception as exc:
            if not lacks_files(exc):
                raise
            if not waits:
                log.warning("it waits until other files are closed: %s", exc)
        waits = True
        await asyncio.sleep(_LOOK_AGAIN_S)


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """`asyncio.to_thread`, but a cancellation waits: no thread still writes afterwards."""
    future = asyncio.get_running_loop().run_in_executor(None, partial(work, *arguments))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise
