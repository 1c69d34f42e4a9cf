"""The disk that a round's runs are on: one of its own where the system lets us have one.

It is mounted where only this program and its processes see it, so that it goes with them: by root,
or by anybody in a user namespace. Where neither is permitted there is no full disk, and a limit on
the size of files (RLIMIT_FSIZE) stands for it.
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

SIZE_MB = 48
_ENTERED = "OMNI_BATCH_SOAK_NAMESPACE"


def enter_namespace() -> None:
    """Begin this program again with mounts of its own, where the system permits that."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    inside = ["unshare", *as_root, "--mount"]
    if _ENTERED in os.environ or not _succeeds([*inside, "true"]):
        return
    os.environ[_ENTERED] = "1"
    os.execvp(inside[0], [*inside, *sys.orig_argv])


class OwnDisk:
    """A small file system in memory, or a mere folder.

    Args:
        mount: False leaves it a folder.
    """

    def __init__(self, folder: Path, *, mount: bool = True) -> None:
        self.folder = folder
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "soak", str(folder)]
        self.is_own = mount and _succeeds(command)
        self._filler = folder / ".filler"

    def fill(self) -> None:
        """Not one byte is left."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1))

    def free(self) -> None:
        """There is room again."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """All that is on it goes."""
        if self.is_own:
            _succeeds(["umount", "--lazy", str(self.folder)])


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
