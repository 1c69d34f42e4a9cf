"""How many requests may be under way by the system's limit of open files, and that limit raised.

A connection is an open file to the system. Where requests take all that a process may have, an
answer that has come can't be written any more.
"""

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

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


def room_for(in_flight: int, *, served_here: bool = False) -> Room:
    """What of so many requests fits below the limit that this process may have.

    Args:
        served_here: this process is the server of some as well.
    """
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
