"""What was found out about files, kept between runs: a file that is the same is not read again."""

import hashlib
import sqlite3
import threading
import weakref
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from omni_batch.doubts import Doubt
from omni_batch.package_files import cache_folder
from omni_batch.types import Media

_MOST = 200_000
"""Media that are kept, some 100 MB; the oldest go first."""
_FIELDS = (
    *("kind", "reference", "mime_type", "format", "size_bytes", "sha256", "width_px", "height_px"),
    *("duration_s", "duration_guessed", "sound_s", "frames_per_s", "frame_count", "has_sound"),
    *("probed", "doubts"),
)
"""What does not depend on where a file lies."""
_BUSY_S = 0.2


class KnownMedia:
    """A cache in the user's home. Where it can't be read or written, nothing is known.

    Args:
        file: of the cache, in a folder of its own.
    """

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._cache: sqlite3.Connection | None = None
        with suppress(OSError, sqlite3.Error):
            self._cache = _opened(file)
            weakref.finalize(self, self._cache.close)

    def get(self, key: tuple[object, ...]) -> Media | None:
        """What is known of a key; None where nothing is."""
        rows = self._asked("SELECT media FROM media WHERE key = ?", _digest(key))
        if not rows:
            return None
        tree = msgspec.json.decode(rows[0][0])
        return Media(**{**tree, "doubts": tuple(Doubt(**doubt) for doubt in tree["doubts"])})

    def put(self, key: tuple[object, ...], media: Media) -> None:
        """Keep what was found out."""
        tree = {name: getattr(media, name) for name in _FIELDS}
        query = "INSERT OR REPLACE INTO media (key, media) VALUES (?, ?)"
        self._asked(query, _digest(key), msgspec.json.encode(tree))

    def _asked(self, query: str, *values: Any) -> list[Any]:
        with self._lock, suppress(sqlite3.Error):
            return self._cache.execute(query, values).fetchall() if self._cache else []
        return []


def known_media() -> KnownMedia | None:
    """The user's cache; None where they have no folder for it."""
    folder = cache_folder()
    return _known_in(folder) if folder else None


@cache
def _known_in(folder: Path) -> KnownMedia:
    """Opened once in a process."""
    return KnownMedia(folder / "media.sqlite")


def _opened(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = sqlite3.connect(
        file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")  # what a crash of the system loses is a cache
    connection.execute("CREATE TABLE IF NOT EXISTS media (key BLOB UNIQUE, media BLOB)")
    connection.execute(
        "DELETE FROM media WHERE rowid <= (SELECT max(rowid) FROM media) - ?", (_MOST,)
    )
    return connection


def _digest(key: tuple[object, ...]) -> bytes:
    content = msgspec.json.encode((_read_by(), *key), enc_hook=str)
    return hashlib.blake2b(content, digest_size=16).digest()


@cache
def _read_by() -> tuple[object, ...]:
    """What reads media: another version may find out something else."""
    code = (entry.stat().st_mtime_ns for entry in Path(__file__).parent.glob("*.py"))
    return version("av"), version("pillow"), max(code)
