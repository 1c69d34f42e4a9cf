"""Media that were changed, kept under the hash of what they were made from and how.

Every entry is a folder with its files, made beside and renamed, so what is there is whole. The
oldest go when there are too many bytes; those that are in use stay.
"""

import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from omni_batch.errors import ConfigError
from omni_batch.fitting.made import Made
from omni_batch.package_files import cache_folder

_NOTE = "made.json"
_SPARED_S = 3600.0
"""What another process has used within this time stays: it may be about to send it."""
_CHECKED_EVERY = 0.02
"""Share of the bound that may be written before the folder is counted again."""
_ABANDONED_S = 24 * 3600.0


def fitted_folder() -> Path:
    """Where it is kept.

    Raises:
        ConfigError: the user has no home folder.
    """
    base = cache_folder()
    if base is None:
        raise ConfigError("media.fit needs a folder for what it makes: set XDG_CACHE_HOME")
    return base / "fitted"


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry."""

    folder: Path
    made: Made


class FitCache:
    """The folder of changed media. All methods block; one object for each process.

    Args:
        max_bytes: of all files together.

    Raises:
        ConfigError: nothing can be written there.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._ours: set[str] = set()
        self._in_use: Counter[str] = Counter()
        self._written = max_bytes  # counts at the first writing
        try:
            folder.mkdir(0o700, parents=True, exist_ok=True)
            self._drop_abandoned()
            (draft := self._draft("trial")).mkdir(0o700)
            draft.rmdir()
        except OSError as exc:
            raise ConfigError(
                f"media.fit keeps what it makes in {folder}, which can't be written "
                f"({exc.strerror}): set XDG_CACHE_HOME to another folder"
            ) from exc

    def find(self, key: str) -> Kept | None:
        """An entry that is whole; it counts as used now."""
        folder = self._place(key)
        try:
            note = (folder / _NOTE).read_bytes()
            made = msgspec.json.decode(note, type=Made)
            if any((folder / f.name).stat().st_size != f.size_bytes for f in made.files):
                return None
            os.utime(folder / _NOTE)
        except (OSError, msgspec.DecodeError):
            return None
        self._ours.add(key)
        return Kept(folder, made)

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """A new folder, which goes at the end of the block unless it was kept."""
        folder = self._draft("making")
        folder.mkdir(0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, key: str, draft: Path, made: Made) -> Kept:
        """Give a draft its name; another process may have made the same meanwhile.

        Raises:
            OSError: it can't be written.
        """
        (draft / _NOTE).write_bytes(msgspec.json.encode(made))
        place = self._place(key)
        place.parent.mkdir(0o700, exist_ok=True)
        with suppress(OSError):  # a damaged one, or that of another process
            if self.find(key) is None:
                shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
        found = self.find(key)
        if found is None:
            raise OSError(f"{place} can't be written")
        self._written += sum(file.size_bytes for file in made.files)
        if self._written >= self._max_bytes * _CHECKED_EVERY:
            self._written = 0
            self._make_room(key)
        return found

    @contextmanager
    def in_use(self, keys: tuple[str, ...]) -> Iterator[None]:
        """These entries stay until the block ends."""
        self._in_use.update(keys)
        try:
            yield
        finally:
            self._in_use.subtract(keys)

    def _place(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _draft(self, what: str) -> Path:
        return self._folder / f".{what}-{secrets.token_hex(8)}.part"

    def _drop_abandoned(self) -> None:
        """Drafts of processes that died."""
        for draft in self._folder.glob(".*.part"):
            with suppress(OSError):
                if time.time() - draft.stat().st_mtime > _ABANDONED_S:
                    shutil.rmtree(draft, ignore_errors=True)

    def _make_room(self, newest: str) -> None:
        """Remove what was used longest ago, until the rest is within the bound."""
        entries = sorted(self._entries())
        total, now_s = sum(size_bytes for _, size_bytes, _ in entries), time.time()
        for used_s, size_bytes, folder in entries:
            if total <= self._max_bytes:
                return
            key = folder.name
            spared = key not in self._ours and now_s - used_s < _SPARED_S
            if key == newest or spared or self._in_use[key] > 0:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            total -= size_bytes

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """When each was used, its bytes and its folder."""
        for folder in self._folder.glob("??/*"):
            with suppress(OSError):
                sizes = sum(file.stat().st_size for file in os.scandir(folder))
                yield (folder / _NOTE).stat().st_mtime, sizes, folder
