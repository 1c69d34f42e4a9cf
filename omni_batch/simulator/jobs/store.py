"""Files and jobs of the Batch API, and how far each job is at a moment."""

import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import msgspec

from omni_batch.simulator.jobs.script import CALLS, CallScript, JobScript

_STATES = (("validating", 0.2), ("in_progress", 0.7), ("finalizing", 0.1))
"""Shares of a job's time."""
_CANCELLING_S = 0.05
DAY_S = 86_400
HOUR_S = 3_600


@dataclass(slots=True)
class StoredFile:
    """A file that was uploaded, or made by a job."""

    id: str
    content: IO[bytes]
    size_bytes: int
    purpose: str
    created_s: int = field(default_factory=lambda: int(time.time()))

    def lines(self) -> Iterator[bytes]:
        """Each line, as it is."""
        self.content.seek(0)
        yield from self.content

    def described(self) -> dict[str, Any]:
        """As the service shows it."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size_bytes,
            "created_at": self.created_s,
            "filename": f"{self.id}.jsonl",
            "purpose": self.purpose,
            "status": "processed",
        }


@dataclass(slots=True)
class MadeJob:
    """A job and what it was asked."""

    id: str
    file: StoredFile
    wish: dict[str, Any]
    script: JobScript
    takes_s: float
    line_count: int
    complaints: list[dict[str, Any]]
    """Why its file is refused."""
    ids: list[str] = field(default_factory=list)
    """Of its lines."""
    made_s: float = field(default_factory=time.monotonic)
    created_s: int = field(default_factory=lambda: int(time.time()))
    cancelled_s: float | None = None
    output: StoredFile | None = None
    errors: StoredFile | None = None
    answered: int = 0
    is_written: bool = False

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was asked, line by line."""
        return [msgspec.json.decode(line) for line in self.file.lines()]

    @property
    def state(self) -> str:
        """Now."""
        age_s = time.monotonic() - self.made_s
        if self.cancelled_s is not None:
            over = time.monotonic() - self.cancelled_s >= _CANCELLING_S
            return "cancelled" if over else "cancelling"
        if self.complaints and age_s >= _STATES[0][1] * self.takes_s:
            return "failed"
        for name, share in _STATES:
            age_s -= share * self.takes_s
            if age_s < 0:
                return name
        return "in_progress" if self.script.ends == "never" else self.script.ends

    @property
    def has_ended(self) -> bool:
        """Whether its files are there."""
        return self.state in ("completed", "expired", "cancelled", "failed")

    @property
    def is_listed(self) -> bool:
        """Whether the list has it already."""
        return time.monotonic() - self.made_s >= self.script.unlisted_s

    def forgets(self, what: str) -> bool:
        """Whether the service does not know it any more."""
        return self.has_ended and what in self.script.forgets

    @property
    def metadata(self) -> dict[str, Any]:
        """As it was asked."""
        return self.wish.get("metadata") or {}

    def cancel(self) -> None:
        """Somebody does not want it any more."""
        if not self.has_ended and self.cancelled_s is None:
            self.cancelled_s = time.monotonic()

    def described(self) -> dict[str, Any]:
        """As the service shows it."""
        state, absent = self.state, "" if self.script.empty_ids else None
        hours = str(self.wish.get("completion_window", "24h")).removesuffix("h")
        complaints = {"object": "list", "data": self.complaints}
        counts = {"total": self.line_count, "completed": 0, "failed": 0}
        if self.is_written:
            counts |= {"completed": self.answered, "failed": self.line_count - self.answered}
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.wish.get("endpoint"),
            "errors": complaints if state == "failed" else None,
            "input_file_id": self.file.id,
            "completion_window": self.wish.get("completion_window"),
            "status": state.upper() if self.script.capitals else state,
            "output_file_id": self.output.id if self.output else absent,
            "error_file_id": self.errors.id if self.errors else absent,
            "created_at": self.created_s,
            "expires_at": self.created_s + int(hours) * HOUR_S,
            "request_counts": counts,
            "metadata": self.metadata,
        }


class JobStore:
    """All files and jobs of one simulator, and the scripts that are still to be played."""

    def __init__(self) -> None:
        self.files: dict[str, StoredFile] = {}
        self.jobs: dict[str, MadeJob] = {}
        self.scripts: deque[JobScript] = deque()
        self.calls: dict[str, deque[CallScript]] = {kind: deque() for kind in CALLS}

    def keep(self, content: IO[bytes], size_bytes: int, purpose: str) -> StoredFile:
        """Another file."""
        file = StoredFile(f"file-{purpose}-{uuid.uuid4().hex[:12]}", content, size_bytes, purpose)
        self.files[file.id] = file
        return file

    def add(self, job: MadeJob) -> None:
        """Another job."""
        self.jobs[job.id] = job

    def next_script(self) -> JobScript:
        """For the job that is made now."""
        return self.scripts.popleft() if self.scripts else JobScript()

    def next_call(self, kind: str) -> CallScript | None:
        """What the call meets that is made now."""
        waiting = self.calls[kind]
        return waiting.popleft() if waiting else None

    def job_of(self, file_id: str) -> MadeJob | None:
        """Whose output a file is."""
        made = (job for job in self.jobs.values() if file_id in _ids_of(job))
        return next(made, None)


def _ids_of(job: MadeJob) -> list[str]:
    return [file.id for file in (job.output, job.errors) if file is not None]
