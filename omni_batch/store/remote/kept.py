"""Local copies that are of no more use than to be read again: the oldest go."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from omni_batch.errors import OmniBatchError
from omni_batch.store.record import read_record
from omni_batch.store.remote.copies import copies_folder
from omni_batch.store.remote.published import FILE, Published
from omni_batch.store.run_dir import RunDir

KEPT_BYTES = 5 * 2**30
"""Of copies of finished runs, all of which is at their stores."""


def drop_old_copies(used: Path, kept_bytes: int = KEPT_BYTES) -> None:
    """Remove copies of finished runs, those that were used longest ago first.

    Args:
        used: the one that is being read.
    """
    os.utime(used)
    found = [(root.stat().st_mtime, root, _bytes_of(root)) for root in _copies()]
    left_bytes = sum(size for _, _, size in found)
    for _, root, size in sorted(found):
        if left_bytes <= kept_bytes:
            return
        if root != used and _dropped(root):
            left_bytes -= size


def _copies() -> Iterator[Path]:
    with suppress(OSError):
        yield from (path.parent for path in copies_folder().glob(f"*/*/{FILE}"))


def _dropped(root: Path) -> bool:
    copy = RunDir(root)
    with suppress(OmniBatchError, OSError), copy.owned():
        if _is_all_published(copy):
            shutil.rmtree(root, ignore_errors=True)
            return True
    return False


def _is_all_published(copy: RunDir) -> bool:
    record = read_record(copy.record)
    if record.state != "finished":
        return False
    published = Published(copy.root)
    try:
        parts = (path for n in record.shards for path in (copy.attempts(n), copy.results(n)))
        return published.get("run.json") is not None and all(
            published.holds(path.relative_to(copy.root).as_posix(), path)
            for path in parts
            if path.exists()
        )
    finally:
        published.close()


def _bytes_of(root: Path) -> int:
    return sum(
        entry.stat(follow_symlinks=False).st_size
        for folder in (root, *(root / name for name in ("results", "attempts", "audio")))
        if folder.is_dir()
        for entry in os.scandir(folder)
        if entry.is_file(follow_symlinks=False)
    )
