"""Published: which files of a run are at its store, in which version, beside its local copy.

A file that is there in its present form need not be sent; one that is there and not here counts as
there. It can be made anew from a listing.
"""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from omni_batch.errors import StorageError
from omni_batch.store.remote.copies import address_of

FILE = "published.sqlite"
_TABLE = """
CREATE TABLE IF NOT EXISTS files (
    name TEXT PRIMARY KEY, size INTEGER NOT NULL, version TEXT NOT NULL,
    local TEXT, seen INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID
"""


class There(NamedTuple):
    """A file at the store."""

    size_bytes: int
    version: str
    local: str | None
    """What the file here was known by when both were the same; None: it was never here."""


class Published:
    """The list of one run. Used by any number of threads.

    Raises:
        StorageError: from every method, where the list can't be read or written.
    """

    def __init__(self, root: Path) -> None:
        self._path, self._lock = root / FILE, threading.Lock()
        with self._errors():
            self._database = sqlite3.connect(
                self._path, timeout=10, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(_TABLE)

    def get(self, name: str) -> There | None:
        """What is at the store under a name within the run."""
        asked = "SELECT size, version, local FROM files WHERE name = ?"
        with self._errors():
            row = self._database.execute(asked, (name,)).fetchone()
        return row and There(*row)

    def put(self, name: str, there: There) -> None:
        """Take note of a file."""
        self.put_all({name: there})

    def put_all(self, found: Mapping[str, There]) -> None:
        """Take note of many."""
        with self._errors():
            self._database.execute("BEGIN")
            self._database.executemany(
                "INSERT OR REPLACE INTO files (name, size, version, local) VALUES (?, ?, ?, ?)",
                ((name, *there) for name, there in found.items()),
            )
            self._database.execute("COMMIT")

    def holds(self, name: str, path: Path) -> bool:
        """Whether the file here, as it is now, is at the store."""
        there = self.get(name)
        return there is not None and there.local is not None and there.local == identity(path)

    def listed(self, folder: str, found: Iterable[tuple[str, int, str]]) -> None:
        """Take over what the store lists in a folder: name, size, version. All else is gone."""
        with self._errors():
            self._database.execute("BEGIN")
            self._database.execute("UPDATE files SET seen = 0 WHERE name GLOB ?", (f"{folder}/*",))
            self._database.executemany(_SEEN, found)
            self._database.execute(
                "DELETE FROM files WHERE name GLOB ? AND seen = 0", (f"{folder}/*",)
            )
            self._database.execute("COMMIT")

    def close(self) -> None:
        """Nobody asks any more."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as exc:
                raise StorageError(
                    f"{self._path} can't be used: {exc}; where it is damaged, remove it"
                ) from exc


_SEEN = """
INSERT INTO files (name, size, version, seen) VALUES (?, ?, ?, 1)
ON CONFLICT (name) DO UPDATE SET
    seen = 1,
    local = CASE WHEN version = excluded.version THEN local END,
    size = excluded.size, version = excluded.version
"""


def identity(path: Path) -> str | None:
    """What a file is known by, as long as nobody writes it anew; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"


def published_of(root: Path) -> Published | None:
    """The list of a run directory; None where it is no local copy, or has none yet."""
    if address_of(root) is None:
        return None
    try:
        number = os.stat(root / FILE).st_ino  # noqa: PTH116
    except OSError:
        return None
    return _opened(root, number)


@lru_cache(8)
def _opened(root: Path, number: int) -> Published:
    return Published(root)


def size_at_store(root: Path, name: str) -> int | None:
    """Bytes of a file that is at the store of a run; None where nobody knows of one."""
    published = published_of(root)
    there = published.get(name) if published else None
    return there.size_bytes if there else None
