"""One process at a time on a run directory. The lock ends with the process, however that ends.

The directory itself is locked, so that no file of it has to stay. NFS locks only files that are
open for writing, so there it is a file; where a file system has no locks at all (some of Lustre,
FUSE and network mounts), a marker names the owner, and that of a dead process of this machine is
taken over.
"""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

if sys.platform != "win32":
    import fcntl

_POLL_S = 0.05
_TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.EBADF}


class Taken(Exception):
    """Another process has the lock."""

    def __init__(self, marker: Path | None = None) -> None:
        super().__init__(marker)
        self.marker = marker
        """The file that says so, where the file system has no locks."""


@contextmanager
def locked(folder: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of a folder. A marker does not survive a rename: end the block before it.

    Raises:
        Taken: another process, or another block of this one, has it after `wait_s`.
        OSError: the folder can't be opened, or no marker can be written.
    """
    with ExitStack() as stack:
        if not _lock(folder, wait_s, stack):
            marker = folder / "run.owner"
            try:
                stack.enter_context(SoftFileLock(marker, timeout=wait_s, poll_interval=_POLL_S))
            except Timeout:
                raise Taken(marker) from None
        yield


def _lock(folder: Path, wait_s: float, stack: ExitStack) -> bool:
    """Lock the folder or a file in it until the stack ends; False where nothing can be locked."""
    file = folder / "run.lock"
    if sys.platform == "win32":
        try:
            stack.enter_context(FileLock(file, timeout=wait_s))
        except Timeout:
            raise Taken from None
        return True
    for path, flags in (
        (folder, os.O_RDONLY | os.O_DIRECTORY),
        (file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW),
    ):
        descriptor = os.open(path, flags, 0o644)
        stack.callback(os.close, descriptor)
        if _flock(descriptor, wait_s):
            return True
    file.unlink(missing_ok=True)  # it locks nobody out
    return False


def _flock(descriptor: int, wait_s: float) -> bool:
    give_up_at = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno in _NO_LOCKS:
                return False
            if exc.errno not in _TAKEN:
                raise
            if time.monotonic() >= give_up_at:
                raise Taken from None
            time.sleep(_POLL_S)
        else:
            return True
