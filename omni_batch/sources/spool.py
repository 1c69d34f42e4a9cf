"""Spool: what has no path of its own becomes a file on the local disk, as long as it is used."""

import contextlib
import hashlib
import os
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import BinaryIO, Protocol

from filelock import FileLock, Timeout

from omni_batch.errors import StorageError
from omni_batch.sources.kept import Kept

_PREFIX = "omni-batch-"
_LOCK = "in-use.lock"
_BLOCK_BYTES = 4096
KEPT_BYTES = 2**30
"""What stays of files that nobody uses just now, so that the next row need not read them again."""


class Target(Protocol):
    """What a content is written to."""

    def write(self, data: bytes, /) -> int:
        """Append."""


class Spooled:
    """A whole file on the local disk. It stays there while this object is held."""

    def __init__(self, path: Path, size_bytes: int, sha256: str, spool: "Spool") -> None:
        self.path, self.size_bytes, self.sha256 = path, size_bytes, sha256
        self._spool = spool  # whose folder goes with it


class Spool:
    """Files of one process, in a folder of their own that goes with it.

    Args:
        parent: where the folder is made, when it is needed; the system's by default (TMPDIR).
        kept_bytes: what may stay of files that nobody holds.
    """

    def __init__(self, parent: Path | None = None, kept_bytes: int = KEPT_BYTES) -> None:
        self._parent = parent or Path(tempfile.gettempdir())
        self._kept_bytes = kept_bytes
        self._making: Kept[Hashable, Spooled] = Kept(0)  # only while one is made
        self._lock = threading.Lock()
        self._files: OrderedDict[Hashable, tuple[Path, int, str]] = OrderedDict()
        self._held: weakref.WeakValueDictionary[Hashable, Spooled] = weakref.WeakValueDictionary()
        self._bytes = self._number = 0
        self._folder: Path | None = None

    def hold(self, key: Hashable, write: Callable[[Target], object]) -> Spooled:
        """The file of a key.

        Args:
            write: puts the content into a file, where there is none of that key any more.

        Raises:
            StorageError: the local disk is full or can't be written.
        """
        return self._known(key) or self._making.get(key, lambda: self._make(key, write))

    def _known(self, key: Hashable) -> Spooled | None:
        with self._lock:
            if (found := self._held.get(key)) is None and (file := self._files.get(key)):
                found = self._held[key] = Spooled(*file, self)
            if found is not None:
                self._files.move_to_end(key)
            return found

    def _make(self, key: Hashable, write: Callable[[Target], object]) -> Spooled:
        if (known := self._known(key)) is not None:  # made since it was asked for
            return known
        path = self._new_path()
        try:
            with path.open("xb") as file:
                target = _Hashed(file, path)
                write(target)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        with self._lock:
            made = Spooled(path, target.size_bytes, target.sha256, self)
            self._files[key], self._held[key] = (path, made.size_bytes, made.sha256), made
            self._bytes += _taken(made.size_bytes)
            self._drop_old()
        return made

    def _drop_old(self) -> None:
        for _ in range(len(self._files)):
            if self._bytes <= self._kept_bytes:
                return
            key, file = self._files.popitem(last=False)
            if key in self._held:
                self._files[key] = file  # as the latest
            else:
                self._bytes -= _taken(file[1])
                file[0].unlink(missing_ok=True)

    def _new_path(self) -> Path:
        with self._lock:
            if self._folder is None:
                self._folder = self._made_folder()
            self._number += 1
            return self._folder / f"{self._number}"

    def _made_folder(self) -> Path:
        try:
            _drop_abandoned(self._parent)
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._parent))
        except OSError as exc:
            raise _unwritable(self._parent, exc) from exc
        lock = FileLock(folder / _LOCK)
        lock.acquire()
        weakref.finalize(self, _remove, folder, lock)
        return folder


class _Hashed:
    """A file that is written once, and hashed meanwhile."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._hash.hexdigest()

    def write(self, data: bytes, /) -> int:
        """Append, and count.

        Raises:
            StorageError: the disk is full.
        """
        try:
            self._file.write(data)
        except OSError as exc:
            raise _unwritable(self._path.parent, exc) from exc
        self._hash.update(data)
        self.size_bytes += len(data)
        return len(data)


def _taken(size_bytes: int) -> int:
    """What a file takes of a disk, at least: a block."""
    return max(size_bytes, _BLOCK_BYTES)


def _unwritable(folder: Path, exc: OSError) -> StorageError:
    return StorageError(
        f"{folder} can't be written: {exc.strerror}; it takes what is read from archives and "
        "stores: free space, or set TMPDIR to another folder"
    )


def _remove(folder: Path, lock: FileLock) -> None:
    lock.release()
    shutil.rmtree(folder, ignore_errors=True)


def _drop_abandoned(parent: Path) -> None:
    """Remove folders of ours whose process died: nobody has their lock."""
    for folder in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError, Timeout):
            if os.name == "nt" or folder.stat().st_uid == os.getuid():
                with FileLock(folder, timeout=0):
                    shutil.rmtree(folder.parent, ignore_errors=True)
