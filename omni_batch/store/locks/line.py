"""A line of turns in a folder that several processes share, on whatever machines they are.

One number: the moment up to which all turns have been given away, in seconds since 1970 as the
machines' clocks have it. It is replaced whole, under the folder's lock, which ends with the process
that holds it.
"""

import time
from pathlib import Path

from omni_batch.errors import StorageError
from omni_batch.store.disk import PROCESS, reason_of
from omni_batch.store.locks.lock import Taken, locked

_FILE = "free-from"
_WAIT_S = 10.0
_FAR_S = 120.0
"""Further ahead nothing is given away: such a moment is of a clock that was wrong."""


def take_turn(folder: Path, seconds: float) -> float:
    """Take the next stretch of so many seconds.

    Returns:
        When it begins, in seconds since 1970.

    Raises:
        StorageError: the folder can't be used.
    """
    try:
        PROCESS.make_folders(folder)
        with locked(folder, _WAIT_S):
            now_s = time.time()
            begin_s = max(now_s, _free_from(folder / _FILE, now_s, seconds))
            PROCESS.replace(folder / _FILE, repr(begin_s + seconds).encode())
            return begin_s
    except Taken:
        raise StorageError(f"{folder} is locked by somebody who does not give it up") from None
    except OSError as exc:
        raise StorageError(f"{folder} can't be used: {reason_of(exc)}") from exc


def _free_from(path: Path, now_s: float, seconds: float) -> float:
    try:
        free_s = float(path.read_text())
    except (FileNotFoundError, ValueError):
        return now_s
    return free_s if free_s < now_s + max(_FAR_S, 50 * seconds) else now_s
