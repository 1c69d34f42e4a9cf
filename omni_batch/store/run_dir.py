"""Paths of a run's files."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from omni_batch.errors import ConfigError, RunAtWork, StorageError
from omni_batch.store.disk import PROCESS, Disk, draft_path, reason_of, storage_errors
from omni_batch.store.locks.lock import Taken, locked
from omni_batch.store.record import RunRecord, read_record
from omni_batch.store.remote.copies import shown

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
    partition: int | None = None
    """A view for one of several processes: its own shards, lock, record and drafts; tables and
    speech are those of the run."""

    @property
    def run_id(self) -> str:
        """The directory's name."""
        return self.root.name

    @property
    def home(self) -> Path:
        """What is locked by who works on it."""
        if self.partition is None:
            return self.root
        return self.partitions / f"{self.partition:03d}"

    @property
    def record(self) -> Path:
        """Config, state and counts."""
        return self.home / "run.json"

    @property
    def partitions(self) -> Path:
        """A folder for each partition of a run that several processes work on."""
        return self.root / "partitions"

    @property
    def stop_sign(self) -> Path:
        """A file that tells all partitions to stop."""
        return self.partitions / "stop"

    def line(self, endpoint: str) -> Path:
        """Where partitions take turns at an endpoint."""
        return self.partitions / f"turns-{file_name(endpoint)}"

    def part(self, number: int) -> "RunDir":
        """The view of a partition."""
        return replace(self, partition=number)

    @property
    def items(self) -> Path:
        """The manifest as it was read."""
        return self.root / "items.parquet"

    @property
    def journals(self) -> Path:
        """Finished items whose part is not written yet."""
        return self.root / "journal"

    @property
    def drafts(self) -> Path:
        """What is not whole yet, and of no use once its process has died."""
        return self.journals if self.partition is None else self.home / "drafts"

    @property
    def downloads(self) -> Path:
        """Media that were fetched for requests in progress."""
        return self.drafts / "downloads"

    @property
    def jobs(self) -> Path:
        """Files of requests for jobs of a Batch API, what came of them, and the book of jobs."""
        return self.home / "jobs"

    @property
    def scaffolds(self) -> tuple[Path, ...]:
        """Folders that it has no need of once it is finished."""
        own = (self.journals, self.partitions) if self.partition is None else (self.drafts,)
        return (*own, self.jobs)

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
        return draft_path(self.speech(name), self.drafts)

    def make_folders(self) -> None:
        """Create the folders of a run that are missing."""
        with storage_errors(self.root, "written"):
            for name in ("results", "attempts", "audio", "journal"):
                self.disk.make_folders(self.root / name)
            self.disk.make_folders(self.drafts)

    @contextmanager
    def owned(self, *, leading: bool = False) -> Iterator[None]:
        """Lock the run for this process, with all its partitions. The lock ends with the process.

        Args:
            leading: leave its partitions to other processes.

        Raises:
            RunAtWork: another process owns it, or a partition of it.
        """
        with ExitStack() as stack:
            stack.enter_context(self._locked())
            if not leading and self.partition is None:
                stack.enter_context(self.owned_partitions())
            yield

    @contextmanager
    def owned_partitions(self) -> Iterator[None]:
        """Lock all partitions, for who owns the run already.

        Raises:
            RunAtWork: another process works on one of them.
        """
        with ExitStack() as stack:
            for partition in self.all_partitions():
                stack.enter_context(partition._locked())
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.home, _LOCK_WAIT_S))
            except Taken as exc:
                gone = f"; if that process is gone, remove {exc.marker}" if exc.marker else ""
                raise RunAtWork(
                    f"{self.words} is in use by {self._owner()}; wait for it to end or stop it"
                    f"{gone}"
                ) from None
            except OSError as exc:
                raise StorageError(f"{self.home} can't be locked: {reason_of(exc)}") from exc
            yield

    @property
    def title(self) -> str:
        """Its name where many runs are listed."""
        place = "" if self.partition is None else f" partition {self.partition + 1}"
        return self.run_id + place

    @property
    def words(self) -> str:
        """What it is, for people."""
        run = f"run {shown(self.root)}"
        return run if self.partition is None else f"partition {self.partition + 1} of {run}"

    def all_partitions(self) -> list["RunDir"]:
        """The views of its partitions, where it has been split."""
        found = sorted(self.partitions.glob("[0-9][0-9][0-9]"))
        return [self.part(int(path.name)) for path in found]

    @contextmanager
    def owned_record(self, *, leading: bool = False) -> Iterator[RunRecord]:
        """Lock the run, and read its record as whoever had the lock before has left it.

        Args:
            leading: as for `owned`.

        Raises:
            ConfigError: not a run directory.
            RunAtWork: another process owns it.
        """
        read_record(self.record)  # no lock is taken in a folder that is not a run
        with self.owned(leading=leading):
            yield read_record(self.record)

    def is_owned(self, wait_s: float = 0.0) -> bool | None:
        """Whether a process works on this run; None where the lock can't be asked.

        The lock is held for an instant to find out. With some patience, who does the same at this
        moment is not taken for an owner.
        """
        parts = self.all_partitions() if self.partition is None else []
        asked = [_is_locked(one.home, wait_s) for one in (self, *parts)]
        return True if True in asked else asked[0]

    def is_led(self) -> bool:
        """Whether a process owns it or leads its partitions; True where that can't be asked."""
        return _is_locked(self.home, 0.0) is not False

    def _owner(self) -> str:
        with suppress(ConfigError):
            if owner := read_record(self.record).owner:
                return f"process {owner.pid} on {owner.host} since {owner.since:%Y-%m-%d %H:%M} UTC"
        return "another process"


def _is_locked(folder: Path, wait_s: float) -> bool | None:
    try:
        with locked(folder, wait_s):
            return False
    except Taken:
        return True
    except OSError:  # of a folder that may only be read, on a file system that locks no folders
        return None


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
