"""The book of jobs: a line for whatever happens to one, written before anything relies on it.

Who reads it later, in another process, knows which jobs to look for at the service.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec

from omni_batch.jobs.story import Job, JobEvent, What, first, jobs_of
from omni_batch.store.disk import Disk, open_to_append, refuse_special, storage_errors

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(JobEvent)


class JobBook:
    """All jobs of a run, or of a partition of it. Open for writing.

    Raises:
        StorageError: it can't be read or written, from the constructor and from `note`.
    """

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path, self._disk = path, disk
        with storage_errors(path, "read", msgspec.DecodeError):
            content = b""
            if path.exists():
                refuse_special(path)
                content = path.read_bytes()
            whole = content.rfind(b"\n") + 1  # the rest was cut by a crash
            self.jobs = jobs_of(map(_decoder.decode, content[:whole].splitlines()))
            self._file = open_to_append(path)
            disk.cut(self._file.fileno(), whole)

    def note(self, number: int, what: What, **facts: Any) -> Job:
        """Write down what has happened to a job; returns the job as it is now."""
        return self.add(JobEvent(job=number, what=what, at=datetime.now(UTC), **facts))

    def add(self, event: JobEvent) -> Job:
        """The same for an event that is made already."""
        with storage_errors(self._path, "written"):
            self._disk.append(self._file.fileno(), _encoder.encode(event) + b"\n")
            self._disk.sync(self._file.fileno())
        before = self.jobs.get(event.job)
        self.jobs[event.job] = first(event) if before is None else before.after(event)
        return self.jobs[event.job]

    def unsettled(self) -> list[Job]:
        """Jobs with something left to do, the first one first."""
        return [job for job in self.jobs.values() if not job.is_settled]

    @property
    def next_number(self) -> int:
        """For a new job."""
        return max(self.jobs, default=0) + 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
