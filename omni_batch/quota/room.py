"""How many requests may be under way by the system's limits of open files and memory.

A connection is an open file to the system. Where requests take all that a process may have, an
answer that has come can't be written any more; and where they take all memory, not even read.
"""

import ctypes
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from omni_batch.errors import OutOfMemory

if sys.platform != "win32":
    import resource

_OWN = 48
"""Of the libraries and Prefect (20 were seen), and those that all requests share: journals, parts,
log, names to be resolved, media that are probed."""
_SPARE = 24
_OF_A_REQUEST = 2
"""Its connection, and the file that it sends or the speech that it writes."""
_OF_A_MOVE = 2
"""An upload or a download: its connection and its file."""
_MOVES_WHERE_SHORT = 2
_THREADS_WHERE_SHORT = 4
_USUAL = 1024
"""Of most systems. Much more makes programs slow that close all files that could be open."""
_MB = 10**6
_OWN_BYTES = 700 * _MB
"""Addresses that the libraries and their threads take, without any request (620 MB seen)."""
_SPARE_BYTES = 40 * _MB
"""For what is loaded later, and for the end of the run."""
_OF_A_REQUEST_BYTES = 4 * _MB
"""Its buffers (each read of a socket has 256 KiB), text and speech not yet written."""
_ROOMY_BYTES = 4000 * _MB
"""Above it nothing is short: libraries may reserve as they like."""
_SPARING = {
    "ARROW_IO_THREADS": "1",
    "OMP_NUM_THREADS": "1",  # Arrow's others
}
_M_ARENA_MAX = -8  # malloc.h of glibc; each thread would reserve 64 MB


@dataclass(frozen=True, slots=True)
class Room:
    """What may be under way at once."""

    in_flight: int
    """Requests; 0 where not even one fits."""
    moves: int
    """Media that are uploaded, downloaded or asked for."""
    threads: int | None = None
    """Those that read and write files; None is Python's own number of them."""
    limit: int | None = None
    """The limit of open files, where it is in the way."""
    memory_bytes: int | None = None
    """The limit of memory, where that is in the way."""


def room_for(in_flight: int, *, served_here: bool = False) -> Room:
    """What of so many requests fits below the limit that this process may have.

    Args:
        served_here: this process is the server of some as well.
    """
    by_files = _by_files(in_flight, served_here)
    by_memory = _by_memory(in_flight, served_here)
    return by_memory if by_memory and by_memory.in_flight < by_files.in_flight else by_files


def _by_files(in_flight: int, served_here: bool) -> Room:
    limit, own = _hard_limit(), max(_OWN, _open_files() + _SPARE)
    if limit is None or limit >= files_of(in_flight):
        return Room(in_flight, in_flight)
    fits = (limit - own) // (_OF_A_REQUEST + served_here)
    return Room(
        in_flight=max(0, min(in_flight, fits)),
        moves=min(in_flight, _MOVES_WHERE_SHORT),
        threads=_THREADS_WHERE_SHORT,
        limit=limit,
    )


def _by_memory(in_flight: int, served_here: bool) -> Room | None:
    limit_bytes = memory_limit_bytes()
    if limit_bytes is None:
        return None
    own_bytes = max(_OWN_BYTES, _used_bytes() + _SPARE_BYTES)
    fits = (limit_bytes - own_bytes) // (_OF_A_REQUEST_BYTES * (1 + served_here))
    return Room(
        in_flight=max(0, min(in_flight, fits)),
        moves=min(in_flight, _MOVES_WHERE_SHORT),
        threads=_THREADS_WHERE_SHORT,
        memory_bytes=limit_bytes,
    )


def files_of(in_flight: int) -> int:
    """Files that a run may have open that has so many requests in flight."""
    return max(_OWN, _open_files() + _SPARE) + in_flight * (_OF_A_REQUEST + _OF_A_MOVE)


def raise_limit(in_flight: int = 0) -> None:
    """Let this process open what so many requests take, as far as the system lets it."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(_USUAL, files_of(in_flight))
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has another limit behind this one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _hard_limit() -> int | None:
    if sys.platform == "win32":
        return None
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else hard


def _open_files() -> int:
    try:
        return len(list(Path("/dev/fd").iterdir()))
    except OSError:
        return 0


def spare_memory() -> None:
    """Before the libraries are loaded: they keep little memory, and where it is limited less.

    Raises:
        OutOfMemory: they would not even load.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's, which has nothing to do here
    # Arrow's usual pool keeps what was read before, 20 to 40 MB, and reserves 1 GB of addresses.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    limit_bytes = memory_limit_bytes()
    if limit_bytes is None:
        return
    if limit_bytes < _OWN_BYTES:
        raise OutOfMemory(
            f"this process may have {limit_bytes // _MB} MB of memory and needs "
            f"{_OWN_BYTES // _MB} MB: raise it (ulimit -v)"
        )
    for name, value in _SPARING.items():
        os.environ.setdefault(name, value)
    with suppress(OSError, AttributeError):  # another system's library has no such option
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def memory_limit_bytes() -> int | None:
    """Of this process's addresses (`ulimit -v`); None where there is none, or plenty."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY or soft > _ROOMY_BYTES else soft


def _used_bytes() -> int:
    try:
        pages = Path("/proc/self/statm").read_text().split()[0]
        return int(pages) * resource.getpagesize()
    except OSError:
        return 0
