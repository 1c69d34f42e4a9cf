"""A written file becomes a job at the service, once and not twice."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from omni_batch.engine.by_file.room import JobRoom
from omni_batch.errors import EndpointError, JobInDoubt, RateLimited, Rejected, StorageError
from omni_batch.jobs.service import AnswerLost
from omni_batch.jobs.story import Job, of_view
from omni_batch.jobs.view import JobView
from omni_batch.store.disk import in_thread

_log = logging.getLogger("omni_batch")
_WAITS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Between looks for a job whose creation was not answered: lists lag behind."""
_LOOKS_IF_REFUSED = 4
"""So many of them where the service itself said that it had failed."""
_NAME_CHARS = 100  # of `ds_name`


@dataclass(frozen=True, slots=True)
class Maker:
    """Uploads files and has jobs made. Each step is in the book before the next one."""

    room: JobRoom
    reloaded: set[int] = field(default_factory=set)
    """Jobs whose file the service had lost once."""

    async def upload(self, job: Job) -> None:
        """Its file to the service; one that is uploaded twice costs nothing.

        Raises:
            StorageError: the file is gone; the rows go into another job once the run is resumed.
        """
        room = self.room
        path, name = room.files.input(job.number), f"{job.mark}.jsonl"
        if not await in_thread(path.exists):
            room.book.note(job.number, "settled")
            room.drop(job)
            raise StorageError(f"{path} is gone, and was not uploaded yet; resume writes it again")
        file_id = await room.calls.patiently(lambda: room.service.upload(path, name))
        room.book.note(job.number, "uploaded", file_id=file_id)

    async def create(self, job: Job) -> None:
        """Ask for the job. What is not answered is looked for, never asked for again."""
        room = self.room
        room.book.note(job.number, "creating")
        url, window_h = room.route.of(job.model).url, room.entry.completion_window_h
        try:
            view = await room.service.create(job.file_id or "", url, window_h, self._metadata(job))
        except AnswerLost as exc:
            room.book.note(job.number, "lost", refused=str(exc) if exc.refused else None)
            _log.warning("the answer to the creation of job %d was lost: %s", job.number, exc)
        except EndpointError as exc:
            await self._not_created(job, exc)
        else:
            self._created(job, view)

    async def _not_created(self, job: Job, error: EndpointError) -> None:
        """The service said so, or was never asked."""
        room = self.room
        room.book.note(job.number, "not_created")
        if isinstance(error, RateLimited) or error.retryable:
            waits_s = error.retry_after_s or room.run.config.retry.first_wait_s
            await room.calls.sleep(waits_s)
        elif error.http_status == 404 and job.number not in self.reloaded:
            self.reloaded.add(job.number)  # it does not know the file
            room.book.note(job.number, "unloaded")
        else:
            raise room.refused(job, str(error)) if isinstance(error, Rejected) else error

    def _metadata(self, job: Job) -> dict[str, str]:
        """Texts by which a job is found again."""
        named = {"ds_name": job.mark[:_NAME_CHARS]} if self.room.route.names_jobs else {}
        return {**named, "mark": job.mark, "run": self.room.run.record.run_id}

    def _created(self, job: Job, view: JobView) -> None:
        window = timedelta(hours=self.room.entry.completion_window_h)
        self.room.book.add(of_view(job.number, "created", datetime.now(UTC), view, window))
        self.room.files.disk.remove(self.room.files.input(job.number))

    async def search(self, job: Job) -> None:
        """Look for a job that may have been made.

        Raises:
            JobInDoubt: it is not listed, and may have been made all the same.
        """
        looks = _LOOKS_IF_REFUSED if job.was_refused else len(_WAITS_S)
        for pause_s in _WAITS_S[:looks]:
            await self.room.calls.sleep(pause_s)
            if (view := await self._found(job)) is not None:
                self._created(job, view)
                return
        if not job.was_refused and self.room.entry.lost_jobs == "ask":
            raise _in_doubt(job)
        self.room.book.note(job.number, "not_created")

    async def _found(self, job: Job) -> JobView | None:
        service, since = self.room.service, job.creating_at or job.written_at
        return await self.room.calls.patiently(
            lambda: service.find(job.file_id, self._metadata(job), since)
        )


def _in_doubt(job: Job) -> JobInDoubt:
    asked_at = job.creating_at or job.written_at
    return JobInDoubt(
        f"job {job.number} ({job.lines:,} rows) was asked for at {asked_at:%Y-%m-%d %H:%M} UTC, "
        "the answer was lost, and the service does not list it: look in its console for a job "
        f"of the file {job.file_id} (mark {job.mark}). If there is one, resume until it is "
        "found; if there is none, resume with --set endpoint.lost_jobs=again"
    )
