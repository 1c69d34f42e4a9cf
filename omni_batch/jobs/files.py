"""Files of jobs in the run directory: what goes out, what comes back, sorted by shards.

    jobs/book.jsonl               what has happened to which job
    jobs/0001/input.jsonl         the file that is uploaded; gone once the job exists
    jobs/0001/rows.jsonl          a note of each row, whether or not it has a line
    jobs/0001/output.jsonl        as downloaded; gone once it is sorted, as is error.jsonl
    jobs/0001/shard-00012.notes   the notes of a shard's rows
    jobs/0001/shard-00012.jsonl   the lines for a shard's rows

A file of 50,000 answers is read once, line by line, so that memory does not grow with it.
"""

import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import msgspec

from omni_batch.jobs.output import OutputLine, Sorter, better, read_line
from omni_batch.store.disk import Disk, open_new, storage_errors

_HELD_BYTES = 8 * 2**20
"""So much is sorted in memory before it is appended to the files of shards."""
_LONGEST_LINE_BYTES = 64 * 2**20
"""Far above any answer of 131,072 tokens: what is longer is no line."""


class RowNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a row of a job."""

    row: int
    sent: bool = False
    """Whether it has a line in the file."""
    fingerprint: str | None = None
    """Of what was asked."""
    lack: str | None = None
    """Why it has none, where that was found out when its line was made."""
    attempts: int = 0
    """So many were made for it before."""
    tries: int = 1
    """The how manieth job it is in."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a job has brought for one row."""

    job: int
    note: RowNote
    line: OutputLine | None = None
    """None: neither file has one."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RowNote)


@dataclass(frozen=True, slots=True)
class JobFiles:
    """The files of all jobs of a run.

    Raises:
        StorageError: from every method, where one can't be read or written.
    """

    root: Path
    disk: Disk
    shard_size: int

    @property
    def book(self) -> Path:
        """What has happened to which job."""
        return self.root / "book.jsonl"

    def folder(self, job: int) -> Path:
        """All that belongs to a job."""
        return self.root / f"{job:04d}"

    def input(self, job: int) -> Path:
        """What is uploaded."""
        return self.folder(job) / "input.jsonl"

    def output(self, job: int, kind: str) -> Path:
        """What was downloaded: `output` or `error`."""
        return self.folder(job) / f"{kind}.jsonl"

    def begin(self, known: Collection[int]) -> None:
        """Make the folder, and remove what a crash has left of jobs that were never written."""
        self.disk.make_folders(self.root)
        kept = {self.folder(job).name for job in known}
        for folder in self.root.iterdir():
            if folder.is_dir() and folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def notes(self, job: int) -> Iterator[RowNote]:
        """Of a job's rows, in the order of its lines."""
        yield from _notes(self.folder(job) / "rows.jsonl")

    def sort(self, job: int, rows: Collection[int], extra: Collection[bytes] = ()) -> str:
        """Give each shard the notes and lines of its rows.

        Args:
            rows: those that were sent.
            extra: lines that stand in no file.

        Returns:
            What was odd about the lines, in words.
        """
        folder, sorter = self.folder(job), Sorter(rows)
        for stale in folder.glob("shard-*"):
            self.disk.remove(stale)
        with storage_errors(folder, "written"), _Buckets(folder, self.shard_size) as buckets:
            for note in self.notes(job):
                buckets.add(note.row, "notes", _encoder.encode(note) + b"\n")
            for raw in chain(self._lines(job, "output"), extra, self._lines(job, "error")):
                if (row := sorter.row_of(raw)) is not None:
                    buckets.add(row, "jsonl", raw.rstrip(b"\r\n") + b"\n")
        return sorter.oddities

    def _lines(self, job: int, kind: str) -> Iterator[bytes]:
        path = self.output(job, kind)
        if path.exists():
            with storage_errors(path, "read"), path.open("rb") as file:
                while line := file.readline(_LONGEST_LINE_BYTES):
                    yield line

    def drop_downloads(self, job: int) -> None:
        """What was downloaded is sorted."""
        for kind in ("output", "error"):
            self.disk.remove(self.output(job, kind))

    def arrived(self, job: int, shard: int) -> dict[int, Arrived]:
        """What a job has brought for the rows of a shard."""
        stem = self.folder(job) / f"shard-{shard:05d}"
        notes = {note.row: note for note in _notes(stem.with_suffix(".notes"))}
        lines: dict[int, OutputLine] = {}
        path = stem.with_suffix(".jsonl")
        if path.exists():
            with storage_errors(path, "read"), path.open("rb") as file:
                for line in filter(None, map(read_line, file)):
                    if line.row_number is not None:
                        lines[line.row_number] = better(lines.get(line.row_number), line)
        return {row: Arrived(job, note, lines.get(row)) for row, note in notes.items()}

    def remove(self, job: int) -> None:
        """Nothing of it is needed any more."""
        shutil.rmtree(self.folder(job), ignore_errors=True)


def _notes(path: Path) -> Iterator[RowNote]:
    if not path.exists():
        return
    with storage_errors(path, "read", msgspec.DecodeError), path.open("rb") as file:
        for line in file:
            yield _decoder.decode(line)


class _Buckets:
    """Appends lines to files of shards, some megabytes at a time."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        self._folder, self._shard_size = folder, shard_size
        self._held: dict[str, list[bytes]] = {}
        self._held_bytes = 0

    def add(self, row: int, ending: str, line: bytes) -> None:
        name = f"shard-{row // self._shard_size:05d}.{ending}"
        self._held.setdefault(name, []).append(line)
        self._held_bytes += len(line)
        if self._held_bytes > _HELD_BYTES:
            self._flush()

    def _flush(self) -> None:
        for name, lines in self._held.items():
            with (self._folder / name).open("ab") as file:
                file.writelines(lines)
        self._held, self._held_bytes = {}, 0

    def __enter__(self) -> "_Buckets":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()


class InputFile:
    """The file of a job while it is written, with a note of each row.

    Nothing of it counts before the book says that it was written.
    """

    def __init__(self, files: JobFiles, job: int) -> None:
        self.job, self._files = job, files
        folder = files.folder(job)
        with storage_errors(folder, "written"):
            shutil.rmtree(folder, ignore_errors=True)
            files.disk.make_folders(folder)
            self._lines: BinaryIO = open_new(files.input(job))
            self._notes: BinaryIO = open_new(folder / "rows.jsonl")
        self.rows: list[int] = []

    def write(self, piece: bytes) -> None:
        """A piece of a line."""
        with storage_errors(self._files.input(self.job), "written"):
            self._lines.write(piece)

    def tell(self) -> int:
        """Where the next line begins."""
        return self._lines.tell()

    def cut(self, at: int) -> None:
        """Take back a line that could not be finished."""
        with storage_errors(self._files.input(self.job), "written"):
            self._lines.flush()
            self._lines.seek(at)
            self._lines.truncate()

    def note(self, note: RowNote) -> None:
        """A row, after its line if it has one."""
        self.rows.append(note.row)
        with storage_errors(self._files.folder(self.job), "written"):
            self._notes.write(_encoder.encode(note) + b"\n")

    def close(self) -> None:
        """All of it is handed to the disk."""
        folder = self._files.folder(self.job)
        with storage_errors(folder, "written"):
            for file, name in ((self._lines, "input.jsonl"), (self._notes, "rows.jsonl")):
                file.close()
                self._files.disk.sync_path(folder / name)
            self._files.disk.sync_path(folder)

    def discard(self) -> None:
        """It comes to nothing."""
        for file in (self._lines, self._notes):
            with suppress(OSError):
                file.close()
        self._files.remove(self.job)
