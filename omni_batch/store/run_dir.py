"""Paths of a run's files."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from omni_batch.errors import ConfigError, StorageError
from omni_batch.store.disk import PROCESS, Disk, draft_path, reason_of, storage_errors
from omni_batch.store.lock import Taken, locked
from omni_batch.store.record import RunRecord, read_record

_PLAIN_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,78}[a-z0-9])?")
_LOCK_WAIT_S = 0.5  # whoever only asks whether the run is owned holds the lock for an instant
_HASH_DIGITS = 16  # 64 bits: a million ids do not collide
_LOOKS_HASHED = re.compile(rf".*-[0-9a-f]{{{_HASH_DIGITS}}}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


@dataclass(frozen=True, slots=True)
class RunDir:
    """The paths of one run.

    Shard k is rows [k * shard_size, (k + 1) * shard_size) of items.parquet, journal/shard-k, part k
    of results and of attempts, and Prefect task k.
    """

    root: Path
    disk: Disk = PROCESS
    """How durable its writes must be."""

    @property
    def run_id(self) -> str:
        """The directory's name."""
        return self.root.name

    @property
    def record(self) -> Path:
        """Config, state and counts."""
        return self.root / "run.json"

    @property
    def items(self) -> Path:
        """The manifest as it was read."""
        return self.root / "items.parquet"

    @property
    def journals(self) -> Path:
        """Finished items whose part is not written yet, and speech that is not whole yet."""
        return self.root / "journal"

    @property
    def downloads(self) -> Path:
        """Media that were fetched for requests in progress."""
        return self.journals / "downloads"

    def journal(self, shard_number: int) -> Path:
        """One line for each finished item of a shard."""
        return self.journals / f"shard-{shard_number:05d}.jsonl"

    def results(self, shard_number: int) -> Path:
        """The finished shard: one row for each item."""
        return self.root / "results" / f"part-{shard_number:05d}.parquet"

    def attempts(self, shard_number: int) -> Path:
        """The finished shard: one row for each HTTP exchange."""
        return self.root / "attempts" / f"part-{shard_number:05d}.parquet"

    def speech(self, name: str) -> Path:
        """The WAV file of an item, by the item's name."""
        return self.root / "audio" / f"{file_name(name)}.wav"

    def unfinished_speech(self, name: str) -> Path:
        """The speech of an attempt until it is whole; another name each time."""
        return draft_path(self.speech(name), self.journals)

    def make_folders(self) -> None:
        """Create the folders of a run that are missing."""
        with storage_errors(self.root, "written"):
            for name in ("results", "attempts", "audio", "journal"):
                self.disk.make_folders(self.root / name)

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Lock the run for this process. The lock ends with the process.

        Raises:
            ConfigError: another process owns it.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.root, _LOCK_WAIT_S))
            except Taken as exc:
                gone = f"; if that process is gone, remove {exc.marker}" if exc.marker else ""
                raise ConfigError(
                    f"run {self.root} is in use by {self._owner()}; wait for it to end or stop it"
                    f"{gone}"
                ) from None
            except OSError as exc:
                raise StorageError(f"{self.root} can't be locked: {reason_of(exc)}") from exc
            yield

    @contextmanager
    def owned_record(self) -> Iterator[RunRecord]:
        """Lock the run, and read its record as whoever had the lock before has left it.

        Raises:
            ConfigError: not a run directory, or another process owns it.
        """
        read_record(self.record)  # no lock is taken in a folder that is not a run
        with self.owned():
            yield read_record(self.record)

    def is_owned(self, wait_s: float = 0.0) -> bool | None:
        """Whether a process works on this run; None where the lock can't be asked.

        The lock is held for an instant to find out. With some patience, who does the same at this
        moment is not taken for an owner.
        """
        try:
            with locked(self.root, wait_s):
                return False
        except Taken:
            return True
        except OSError:  # of a folder that may only be read, on a file system that locks no folders
            return None

    def _owner(self) -> str:
        with suppress(ConfigError):
            if owner := read_record(self.record).owner:
                return f"process {owner.pid} on {owner.host} since {owner.since:%Y-%m-%d %H:%M} UTC"
        return "another process"


def file_name(name: str) -> str:
    """A file name for any name of an item: safe everywhere and different for different names.

    Plain lower-case names stay as they are. All others are reduced to safe characters and get a
    hash of the whole name, so that such as differ by case only do not meet on any file system.
    """
    hashed = _LOOKS_HASHED.fullmatch(name) or _RESERVED.fullmatch(name)
    if _PLAIN_NAME.fullmatch(name) and not hashed:
        return name
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:60].strip("-") or "item"
    return f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS]}"
