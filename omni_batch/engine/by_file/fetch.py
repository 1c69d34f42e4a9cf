"""A job at the service is looked at until it has ended; then what it has left is fetched."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from omni_batch.engine.by_file.room import JobRoom
from omni_batch.errors import EndpointError, JobInDoubt, OmniBatchError
from omni_batch.format import duration
from omni_batch.jobs.lines import id_of
from omni_batch.jobs.reply import refusal_line
from omni_batch.jobs.story import GONE, Job, of_view, wait_s
from omni_batch.jobs.view import JobView
from omni_batch.store.disk import in_thread

_FORGOTTEN = timedelta(seconds=30)
"""So long a job may be unknown: the service's parts do not all hear of it at once."""
_LOOK_AGAIN = timedelta(seconds=2)
_FILES_LATE = timedelta(seconds=15)
"""So long a job that has ended may name no file."""
_OVERDUE = timedelta(hours=2)
"""So long behind its window a job may still be at work."""
_WHOLE_FILE = frozenset({"model_not_found", "mismatched_model", "model_not_supported"})
"""What is said of one line and holds for all of them (Model Studio's Batch pages, 2026)."""
_CUT_SHORT = {"expired": "expired", "cancelled": "was cancelled", "canceled": "was cancelled"}


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Asks the service about jobs, no more often than they change."""

    room: JobRoom
    due: dict[int, datetime] = field(default_factory=dict)
    """When to ask for a job again."""
    odd_since: dict[int, datetime] = field(default_factory=dict)
    """Since when a job is unknown, or has ended without naming a file."""

    async def poll(self, job: Job) -> None:
        """Look at it.

        Raises:
            JobInDoubt: it is long overdue.
        """
        room, job_id = self.room, job.id or ""
        try:
            view = await room.calls.patiently(lambda: room.service.job(job_id))
        except EndpointError as exc:
            if exc.http_status != 404:
                raise
            self._not_known(job, str(exc))
            return
        if view.has_ended and (view.has_files or self._has_none(job, view)):
            self._ended(job, view)
        else:
            self._goes_on(job, view)

    def _goes_on(self, job: Job, view: JobView) -> None:
        at = datetime.now(UTC)
        if not view.has_ended:
            self.odd_since.pop(job.number, None)
            if job.differs(view):
                job = self.room.book.add(of_view(job.number, "seen", at, view))
        self.due[job.number] = at + timedelta(seconds=wait_s(job, at))
        if job.until is not None and at > job.until + _OVERDUE:
            raise JobInDoubt(
                f"job {job.id} is still {job.status}, {duration(_OVERDUE.total_seconds())} after "
                "its window ended: cancel it in the console, or resume later"
            )

    def _has_none(self, job: Job, view: JobView) -> bool:
        """Whether it is certain that no file will be named."""
        return view.status == "failed" or self._lasts(job, _FILES_LATE)

    def _lasts(self, job: Job, so_long: timedelta) -> bool:
        at = datetime.now(UTC)
        return at - self.odd_since.setdefault(job.number, at) >= so_long

    def _not_known(self, job: Job, said: str) -> None:
        self.due[job.number] = datetime.now(UTC) + _LOOK_AGAIN
        if self._lasts(job, _FORGOTTEN):
            self.room.book.note(job.number, "ended", status=GONE, id=job.id)
            self.room.warn("job-forgotten", f"job {job.id} is not known to the service: {said}")

    def _ended(self, job: Job, view: JobView) -> None:
        self.room.book.add(of_view(job.number, "ended", datetime.now(UTC), view))
        if how := _CUT_SHORT.get(view.status):
            done = f"{view.completed:,} of {job.lines:,} rows answered"
            self.room.warn("job-cut-short", f"job {job.id} {how} at the service with {done}")

    async def fetch(self, job: Job) -> None:
        """Get what it has left, and sort it by shards.

        Raises:
            JobRefused: the service refused the whole file.
        """
        refused = self._refused_rows(job) if job.status == "failed" else {}
        unavailable = False
        for kind, file_id in (("output", job.output_file_id), ("error", job.error_file_id)):
            if file_id is not None:
                path = self.room.files.output(job.number, kind)
                unavailable |= not await self._download(job, file_id, path)
        await self._sort(job, refused)
        self.room.book.note(job.number, "fetched", unavailable=unavailable)
        self.room.files.drop_downloads(job.number)
        await self._give_back(job)

    async def _sort(self, job: Job, refused: dict[int, str]) -> None:
        extra = [refusal_line(id_of(row), "", said) for row, said in refused.items()]
        rows = set(self.room.coverage.rows(job.number))
        if odd := await in_thread(self.room.files.sort, job.number, rows, extra):
            self.room.warn("odd-job-output", f"job {job.id} brought {odd}")

    async def _download(self, job: Job, file_id: str, path: Path) -> bool:
        """Whether it is still there."""
        room = self.room
        try:
            await room.calls.patiently(lambda: room.service.download(file_id, path))
        except EndpointError as exc:
            if exc.http_status != 404:
                raise
            lost = f"file {file_id} of job {job.id} is not there any more: {exc}"
            room.warn("job-output-gone", lost)
            return False
        return True

    async def _give_back(self, job: Job) -> None:
        """What was uploaded takes room in the account's storage, and is of no use any more."""
        if job.file_id is not None:
            with suppress(OmniBatchError):
                await self.room.calls.unless_stopped(self.room.service.delete(job.file_id))

    def _refused_rows(self, job: Job) -> dict[int, str]:
        """The rows for which the service refused a file, each with its words.

        Raises:
            JobRefused: it was not for single rows.
        """
        sent = [note.row for note in self.room.files.notes(job.number) if note.sent]
        found: dict[int, str] = {}
        for complaint in job.complaints:
            line = complaint.line or 0
            if not 0 < line <= len(sent) or complaint.code in _WHOLE_FILE:
                found = {}
                break
            found.setdefault(sent[line - 1], str(complaint))
        if found and len(found) < len(sent):
            return found
        self.room.book.note(job.number, "settled")
        self.room.drop(job)
        raise self.room.refused(job, job.refused or "no reason given")
