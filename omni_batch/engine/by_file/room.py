"""What all steps of a run by files share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from omni_batch.config import EndpointConfig
from omni_batch.doubts import Doubt
from omni_batch.engine.by_file.calls import Calls
from omni_batch.engine.run import Run
from omni_batch.errors import JobRefused
from omni_batch.jobs.book import JobBook
from omni_batch.jobs.coverage import Coverage
from omni_batch.jobs.files import JobFiles
from omni_batch.jobs.reply import Replies
from omni_batch.jobs.service import BatchService
from omni_batch.jobs.story import Job
from omni_batch.providers.dialect import FileRoute


@dataclass(frozen=True, slots=True)
class JobRoom:
    """A run, its jobs on disk, and the service that works on them."""

    run: Run
    entry: EndpointConfig
    route: FileRoute
    files: JobFiles
    book: JobBook
    coverage: Coverage
    calls: Calls
    service: BatchService
    replies: Replies

    def warn(self, rule: str, message: str) -> None:
        """Put on the run's record what is worth knowing."""
        self.run.publisher.warn([Doubt(rule, message)])

    def refused(self, job: Job, said: str) -> JobRefused:
        """The error for a job that was refused as a whole."""
        named = f"job {job.id}" if job.id else f"job {job.number}"
        return JobRefused(f"the service refused {named} with its {job.lines:,} rows: {said}")

    def drop(self, job: Job) -> None:
        """Nothing is left to do for a job; its rows have results, or go into another one."""
        self.coverage.drop(job.number)
        self.files.remove(job.number)


@contextmanager
def opened(run: Run) -> Iterator[JobRoom]:
    """The room of a run, for as long as it is worked on.

    Raises:
        StorageError: the book of its jobs can't be read or written.
    """
    endpoint, route = next((e, e.dialect.files) for e in run.plan.by_file if e.dialect.files)
    client = next(h.client for h in run.router.handles if h.name == endpoint.name)
    transient = client.dialect.quota_is_transient
    files = JobFiles(run.directory.jobs, run.directory.disk, run.record.shard_size)
    files.disk.make_folders(files.root)
    with JobBook(files.book, files.disk) as book:
        files.begin(book.jobs)
        yield JobRoom(
            run,
            endpoint.entry,
            route,
            files,
            book,
            Coverage(run.record.shard_size),
            Calls(run.config.retry, run.stopping),
            BatchService(client.http, client.redactor, quota_is_transient=transient),
            Replies(client.redactor, quota_is_transient=transient),
        )
