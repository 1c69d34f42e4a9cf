"""Speech of a run that is at its store and not here: read when it is needed."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from omni_batch.errors import StorageError
from omni_batch.sources.fault import SourceFault
from omni_batch.sources.spool import Spool, Target
from omni_batch.store.disk import PROCESS, draft_path, open_new, storage_errors
from omni_batch.store.remote.copies import address_of, below
from omni_batch.store.remote.patience import opened, tried
from omni_batch.store.remote.published import size_at_store

_AT_ONCE = 8


@cache
def _spool() -> Spool:
    return Spool()


def speech_here(root: Path, name: str) -> tuple[Path, object]:
    """The file of speech that a row names, in the run directory or from its store.

    Returns:
        Its path, and what has to be held as long as it is read.

    Raises:
        StorageError: it can't be had from the store. What is simply not there is a path to nothing.
    """
    path = root / name
    if path.exists() or size_at_store(root, name) is None:
        return path, None
    try:
        held = tried(lambda: _spool().hold((root, name), lambda target: _read(root, name, target)))
    except SourceFault as exc:
        raise StorageError(str(exc)) from exc
    return held.path, held


def bring_speech(root: Path, names: Iterable[str]) -> None:
    """Put files of speech into the local copy, for a page that links to them.

    Raises:
        StorageError: one can't be had, or not be written.
    """
    wanted = [name for name in names if not (root / name).exists() and size_at_store(root, name)]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(lambda name: _bring(root, name), wanted))


def _bring(root: Path, name: str) -> None:
    path = root / name
    draft = draft_path(path)
    try:
        with storage_errors(path, "written"):
            path.parent.mkdir(exist_ok=True)
            with open_new(draft) as file:
                tried(lambda: _read(root, name, file))
            draft.replace(path)
    except SourceFault as exc:
        raise StorageError(str(exc)) from exc
    finally:
        PROCESS.remove(draft)


def _read(root: Path, name: str, target: Target) -> None:
    address = address_of(root)
    if address is None:
        raise StorageError(f"{root} is not the copy of a run at a store")
    opened(address).copy(below(address, name).key, target)
