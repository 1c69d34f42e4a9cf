"""A process that looks at media and changes them, one task after the other.

It decodes what others made: whatever that does to it ends here, within limits of memory. It gives
way to everything else on the machine.
"""

import contextlib
import errno
import hashlib
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pybase64

from omni_batch.changes import FilmChange, ImageChange, SoundChange, StillsChange
from omni_batch.errors import MediaError
from omni_batch.fitting.codecs.film import look_at_film, make_film
from omni_batch.fitting.codecs.picture import look_at_image, make_image
from omni_batch.fitting.codecs.sound import look_at_sound, make_sound
from omni_batch.fitting.codecs.stills import make_stills
from omni_batch.fitting.tasks import Look, Make, Reply, Task

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MOST_MEMORY_BYTES = 3 * 2**30
"""All that a worker may use, where the system keeps to it. A picture of 100 megapixels with
transparency takes 0.4 GB, a video of 8K some more."""
_NICE = 10
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_DAMAGED = "it is cut off or damaged, or can't be decoded here: make or download it again"
_CHANGED = "it was changed while it was read: run it again"
_LOOKED_FOR_EVERY_S = 1.0
_MAKERS: Mapping[type, Callable[[Path, Path, Any], Any]] = {
    ImageChange: make_image,
    SoundChange: make_sound,
    FilmChange: make_film,
    StillsChange: make_stills,
}


def main() -> None:
    """Answer until the other side closes."""
    warnings.simplefilter("ignore")  # of odd files; nobody reads them here
    _give_way()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    decoder = msgspec.json.Decoder(Task)
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin.buffer:
            sys.stdout.buffer.write(msgspec.json.encode(_answer(decoder.decode(line))) + b"\n")
            sys.stdout.buffer.flush()


def _answer(task: Task) -> Reply:
    try:
        with _as_file(task.source) as path:
            return _looked(path, task.kind) if isinstance(task, Look) else _made(path, task)
    except MediaError as exc:
        return Reply(failed=str(exc))
    except FileNotFoundError:
        return Reply(failed="it is not there any more: check the manifest")
    except MemoryError:
        return Reply(failed="it takes too much memory to be decoded: make it smaller")
    except Exception:  # decoders raise whatever a broken file makes them stumble over
        return Reply(failed=_DAMAGED)


@contextlib.contextmanager
def _as_file(source: str) -> Iterator[Path]:
    if not source.startswith("data:"):
        yield Path(source)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(pybase64.b64decode(source.partition(",")[2]))
        file.flush()
        yield Path(file.name)


def _looked(path: Path, kind: str) -> Reply:
    match kind:
        case "image":
            return Reply(image=look_at_image(path))
        case "audio":
            return Reply(sound=look_at_sound(path))
    return Reply(film=look_at_film(path))


def _made(path: Path, task: Make) -> Reply:
    folder, before = Path(task.folder), _state(path)
    if task.sha256 is not None and _sha256(path) != task.sha256:
        raise MediaError(_CHANGED)
    try:
        made = _MAKERS[type(task.change)](path, folder, task.change)
        if _state(path) != before:
            raise MediaError(_CHANGED)
        return Reply(made=made)
    except OSError as exc:
        # Of FFmpeg's errors some are the system's: they name no file of ours.
        if exc.errno in _FULL:
            return Reply(no_disk=exc.strerror)
        raise


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _end_with(parent: int) -> None:
    """Leave when the process that asks is no more: it may be killed while we are at work."""
    while os.getppid() == parent:
        time.sleep(_LOOKED_FOR_EVERY_S)
    os._exit(1)


def _give_way() -> None:
    with contextlib.suppress(AttributeError, OSError):
        os.nice(_NICE)
    if resource is None:
        return
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = MOST_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, MOST_MEMORY_BYTES)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
