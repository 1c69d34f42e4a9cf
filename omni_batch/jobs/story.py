"""The life of a job as lines of a book: what has happened says what is next. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from omni_batch.endpoint_status import JobStatus
from omni_batch.jobs.view import Complaint, JobView
from omni_batch.progress.spending.workload import Group, Workload

What = Literal[
    "written",
    "uploaded",
    "unloaded",
    "creating",
    "lost",
    "not_created",
    "created",
    "seen",
    "ended",
    "fetched",
    "settled",
]
Step = Literal["upload", "create", "search", "poll", "fetch", "merge", "none"]
_COMPLAINTS_SHOWN = 5
GONE = "gone"
"""Status of a job that the service does not know any more. Ours."""


class JobEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the book. `creating` is written before the service is asked to make the job."""

    job: int
    what: What
    at: datetime
    endpoint: str | None = None
    model: str | None = None
    lines: int = 0
    size_bytes: int = 0
    work: Workload | None = None
    mark: str | None = None
    """Its name at the service, which no other job has."""
    file_id: str | None = None
    id: str | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    completed: int = 0
    failed: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    refused: str | None = None
    """Of `lost`: the service itself said that it had failed."""
    complaints: tuple[Complaint, ...] = ()
    """Of `ended`: why it refused the file."""
    unavailable: bool = False
    """Of `fetched`: a file that it named is not there any more."""
    again: dict[int, int] = {}
    """Of `settled`: rows that go into another job, and the how manieth that will be."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as far as its book tells."""

    number: int
    endpoint: str
    model: str
    lines: int
    size_bytes: int
    work: Workload
    mark: str
    written_at: datetime
    file_id: str | None = None
    creating_at: datetime | None = None
    """The service was asked to make it, and has not said that it did, or did not."""
    was_refused: bool = False
    """It said that something had failed."""
    id: str | None = None
    status: str = "written"
    since: datetime | None = None
    until: datetime | None = None
    completed: int = 0
    failed: int = 0
    changed_at: datetime | None = None
    ended_at: datetime | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    complaints: tuple[Complaint, ...] = ()
    is_fetched: bool = False
    unavailable: bool = False
    is_settled: bool = False
    again: dict[int, int] = field(default_factory=dict)

    @property
    def next_step(self) -> Step:
        """What has to be done for it."""
        if self.is_settled:
            return "none"
        if self.is_fetched:
            return "merge"
        if self.ended_at or not self.lines:
            return "fetch"
        if self.id:
            return "poll"
        if self.creating_at:
            return "search"
        return "create" if self.file_id else "upload"

    @property
    def refused(self) -> str:
        """Why the service refused its file, in its words; empty where it did not."""
        return "; ".join(map(str, self.complaints[:_COMPLAINTS_SHOWN]))

    @property
    def group(self) -> Group:
        """Of its requests, in the budget."""
        return self.endpoint, False

    @property
    def is_at_work(self) -> bool:
        """Whether the service has it, or may have it, and has not ended it."""
        return self.next_step in ("search", "poll")

    def after(self, event: JobEvent) -> "Job":
        """The job once that has happened."""
        if event.what in ("created", "seen", "ended"):
            return self._shown(event)
        return replace(self, **_CHANGES[event.what](event))

    def _shown(self, event: JobEvent) -> "Job":
        return replace(
            self,
            id=event.id or self.id,
            status=event.status or self.status,
            since=event.since or self.since or event.at,
            until=event.until or self.until,
            completed=event.completed,
            failed=event.failed,
            changed_at=event.at,
            ended_at=event.at if event.what == "ended" else None,
            output_file_id=event.output_file_id or self.output_file_id,
            error_file_id=event.error_file_id or self.error_file_id,
            complaints=event.complaints,
        )

    def differs(self, view: JobView) -> bool:
        """Whether the service says something new."""
        now = view.status, view.completed, view.failed
        return now != (self.status, self.completed, self.failed)

    def shown(self) -> JobStatus:
        """For run.json."""
        return JobStatus(
            number=self.number,
            endpoint=self.endpoint,
            status=self.status,
            lines=self.lines,
            id=self.id,
            completed=self.completed,
            failed=self.failed,
            since=self.since,
            until=self.until,
            changed_at=self.changed_at,
            settled=self.is_settled,
        )


_CHANGES: Mapping[What, Callable[[JobEvent], dict[str, Any]]] = {
    "uploaded": lambda event: {"file_id": event.file_id, "status": "uploaded"},
    "unloaded": lambda _: {"creating_at": None, "file_id": None, "status": "written"},
    "creating": lambda event: {
        "creating_at": event.at,
        "was_refused": False,
        "status": "creating",
    },
    "lost": lambda event: {"was_refused": event.refused is not None},
    "not_created": lambda _: {"creating_at": None, "status": "uploaded"},
    "fetched": lambda event: {"is_fetched": True, "unavailable": event.unavailable},
    "settled": lambda event: {"is_settled": True, "again": event.again},
}
"""What becomes of a job, but for what the service shows of it."""


def jobs_of(events: Iterable[JobEvent]) -> dict[int, Job]:
    """All jobs of a book, by number. Lines of a job that was never written are left out."""
    jobs: dict[int, Job] = {}
    for event in events:
        if event.what == "written":
            jobs[event.job] = first(event)
        elif event.job in jobs:
            jobs[event.job] = jobs[event.job].after(event)
    return jobs


def first(event: JobEvent) -> Job:
    """A job of which a file was written."""
    return Job(
        number=event.job,
        endpoint=event.endpoint or "",
        model=event.model or "",
        lines=event.lines,
        size_bytes=event.size_bytes,
        work=event.work or Workload(),
        mark=event.mark or "",
        written_at=event.at,
    )


def of_view(
    number: int, what: What, at: datetime, view: JobView, window: timedelta | None = None
) -> JobEvent:
    """What the service shows of a job, as a line of the book.

    Args:
        window: how long it may take, where the service does not say when it ends.
    """
    since = view.created_at if what == "created" else None
    ends = (since or at) + window if window else None
    return JobEvent(
        job=number,
        what=what,
        at=at,
        id=view.id,
        status=view.status,
        since=since,
        until=view.expires_at or ends,
        completed=view.completed,
        failed=view.failed,
        output_file_id=view.output_file_id,
        error_file_id=view.error_file_id,
        complaints=view.complaints,
    )


def wait_s(job: Job, now: datetime) -> float:
    """How long to leave a job alone before the service is asked for it again.

    A twentieth of its age: a minute for one that takes hours (the API takes 1,000 such requests a
    minute), a second for one that has just been made.
    """
    age_s = (now - (job.since or now)).total_seconds()
    return min(max(age_s / 20, _LEAST_WAIT_S), _LONGEST_WAIT_S)


_LEAST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
