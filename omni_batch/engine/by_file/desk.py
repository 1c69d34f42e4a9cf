"""Sees to the jobs of a run: one step after the other, whatever is next.

A step is pure to choose (`_next`) and written down before the next one is chosen, so that another
process goes on where this one has ended. Nothing waits for a single row: while jobs are at work,
there is one timer.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from omni_batch.doubts import Doubt
from omni_batch.engine.by_file.calls import Calls
from omni_batch.engine.by_file.take_in import FromJob, take_in
from omni_batch.engine.by_file.write import JobWriter, Waiting
from omni_batch.engine.run import Run
from omni_batch.engine.sending.send import History
from omni_batch.errors import (
    BudgetReached,
    EndpointError,
    JobInDoubt,
    JobRefused,
    OmniBatchError,
    RateLimited,
    Rejected,
)
from omni_batch.format import duration
from omni_batch.jobs.book import JobBook
from omni_batch.jobs.coverage import Coverage
from omni_batch.jobs.files import Arrived, JobFiles
from omni_batch.jobs.lines import id_of
from omni_batch.jobs.reply import Replies, refusal_line
from omni_batch.jobs.service import AnswerLost, BatchService
from omni_batch.jobs.story import GONE, Job, of_view, wait_s
from omni_batch.jobs.view import JobView
from omni_batch.progress.spending.workload import Group, Workload
from omni_batch.store.disk import in_thread
from omni_batch.store.items import read_items
from omni_batch.store.reopen import read_progress
from omni_batch.types import Item, Result

_log = logging.getLogger("omni_batch")
_SEARCH_WAITS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Between looks for a job whose creation was not answered: lists lag behind."""
_REFUSED_LOOKS = 4
"""So many of them where the service itself said that it had failed."""
_FORGOTTEN_S = 30.0
"""So long a job may be unknown: the service's parts do not all hear of it at once."""
_FILES_LATE_S = 30.0
"""So long a job that has ended may name no file."""
_OVERDUE = timedelta(hours=2)
"""So long behind its window a job may still be at work."""
_MOST_JOBS = 900
"""At work at once; Model Studio takes 1,000 of an account."""
_WHOLE_FILE = frozenset({"model_not_found", "mismatched_model", "model_not_supported"})
"""What is said of one line and holds for all of them (Model Studio's Batch pages, 2026)."""


class Desk:
    """The jobs of one run. Enter it for as long as the run is worked on."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._shard_size = run.record.shard_size
        self._files = JobFiles(run.directory.jobs, run.directory.disk, self._shard_size)
        self._coverage = Coverage(self._shard_size)
        self._calls = Calls(run.config.retry, run.stopping)
        self._entry = run.plan.by_file[0].entry
        handles = [handle for handle in run.router.handles if handle.client.dialect.files]
        client = handles[0].client
        quota = {"quota_is_transient": client.dialect.quota_is_transient}
        self._route = client.dialect.files
        self._service = BatchService(client.http, client.redactor, **quota)
        self._replies = Replies(client.redactor, **quota)
        self._unwritten: list[int] = []
        """Shards with rows that are in no job."""
        self._tries: dict[int, int] = {}
        """Of rows that go into another job: the how manieth it will be."""
        self._postponed: dict[int, int] = {}
        """Of the job that is taken in."""
        self._here: dict[int, FromJob] = {}
        """What has come for the rows of the shard that is taken in."""
        self._due: dict[int, datetime] = {}
        self._missing_since: dict[int, datetime] = {}
        self._obstacle: str | None = None
        self._mark = f"{run.record.run_id}-{secrets.token_hex(4)}"

    def __enter__(self) -> Self:
        self._files.disk.make_folders(self._files.root)
        self._book = JobBook(self._files.book, self._files.disk)
        self._files.begin(self._book.jobs)
        return self

    def __exit__(self, *_: object) -> None:
        self._book.__exit__()

    # --- the run ---

    async def work(self, shards: list[int], merge: Callable[[int], Awaitable[None]]) -> None:
        """See to all jobs until every shard is finished, or the run stops.

        Args:
            shards: those that are unfinished.
            merge: takes the answers that are here into a shard's journal, by `answered`.

        Raises:
            OmniBatchError: why the run can't go on.
        """
        await in_thread(self._remember, shards)
        self._show()
        while not self._run.stopping.is_on and (step := self._next()) is not None:
            try:
                await step(merge)
            except OmniBatchError as exc:
                self._run.stop(exc)
            self._show()

    def _remember(self, shards: list[int]) -> None:
        """What earlier processes have left."""
        for job in self._book.jobs.values():
            self._tries.update(job.again)
            if not job.is_settled:
                rows = [note.row for note in self._files.notes(job.number)]
                self._coverage.add(job.number, rows, shards)
        for shard in shards:
            done = read_progress(self._run.directory.journal(shard)).done
            if set(self._rows(shard)) - done - self._coverage.rows_in(shard):
                self._unwritten.append(shard)

    def _rows(self, shard: int) -> range:
        return self._run.record.shard_rows(shard)

    def _show(self) -> None:
        self._run.publisher.jobs = tuple(
            job.shown() for job in self._book.jobs.values() if job.lines
        )

    # --- what is next ---

    def _next(self) -> Callable[[Callable[[int], Awaitable[None]]], Awaitable[None]] | None:
        """The next step; None where nothing is left."""
        jobs, now = list(self._book.unsettled()), datetime.now(UTC)
        fetched = {job.number for job in jobs if job.next_step == "merge"}
        for job in jobs:
            if job.next_step == "fetch":
                return lambda _: self._fetch(job)
            if job.next_step == "merge" and self._coverage.is_merged(job.number):
                return lambda _: self._settle(job)
        if (shard := self._coverage.ready(fetched, self._unwritten)) is not None:
            return lambda merge: self._merge(shard, merge)
        acts = {"upload": self._upload, "create": self._create, "search": self._search}
        for job in jobs:
            if act := acts.get(job.next_step):
                return lambda _: act(job)
        for job in jobs:
            if job.next_step == "poll" and self._due.get(job.number, now) <= now:
                return lambda _: self._poll(job)
        at_work = [job for job in jobs if job.is_at_work]
        if self._unwritten and self._obstacle is None and len(at_work) < _MOST_JOBS:
            return lambda _: self._write()
        if at_work:
            first = min(self._due.get(job.number, now) for job in at_work)
            return lambda _: self._wait((first - now).total_seconds())
        return self._out_of_budget if self._unwritten else None

    async def _wait(self, seconds: float) -> None:
        with suppress(OmniBatchError):
            await self._calls.sleep(max(seconds, 0.05))

    async def _out_of_budget(self, _: object) -> None:
        raise BudgetReached(self._obstacle or "no row could be written into a job")

    # --- out ---

    async def _write(self) -> None:
        """Write the files of the next jobs: as many rows as fit into one file."""
        if self._run.stopping.stop_if_due():
            return
        outstanding: dict[Group, Workload] = {}
        for job in self._book.unsettled():
            if job.lines:
                outstanding[job.group] = outstanding.get(job.group, Workload()) + job.work
        writer = JobWriter(self._run, self._files, self._book.next_number, outstanding)
        try:
            while self._unwritten and not writer.is_full and writer.obstacle is None:
                shard = self._unwritten[0]
                await writer.write(await in_thread(self._waiting, shard))
                if writer.is_full or writer.obstacle or self._run.stopping.is_on:
                    break
                self._unwritten.pop(0)
        except BaseException:
            writer.discard()
            raise
        if self._run.stopping.is_on:
            writer.discard()  # nothing of it has been sent
            return
        self._obstacle = writer.obstacle
        unfinished = self._unfinished()
        for event, rows in writer.close(self._marks()):
            self._book.add(event)
            self._coverage.add(event.job, rows, unfinished)

    def _unfinished(self) -> list[int]:
        directory = self._run.directory
        return [n for n in self._run.record.shards if not directory.results(n).exists()]

    def _waiting(self, shard: int) -> list[Waiting]:
        """Rows of a shard that have no result and are in no job."""
        run = self._run
        progress = read_progress(run.directory.journal(shard))
        covered = progress.done | self._coverage.rows_in(shard)
        return [
            Waiting(item, progress.attempts[row], self._tries.get(row, 1))
            for item in read_items(run.directory.items, shard, self._shard_size)
            if (row := item.row_number) not in covered
        ]

    def _marks(self) -> Iterator[str]:
        while True:
            yield f"{self._run.record.run_id}-{secrets.token_hex(6)}"

    async def _upload(self, job: Job) -> None:
        if self._run.stopping.stop_if_due():
            return
        path, name = self._files.input(job.number), f"{job.mark}.jsonl"
        file_id = await self._calls.patiently(lambda: self._service.upload(path, name))
        self._book.note(job.number, "uploaded", file_id=file_id)

    async def _create(self, job: Job) -> None:
        """Have a job made. What is not answered is looked for, never asked for a second time."""
        if self._run.stopping.stop_if_due():
            return
        assert job.file_id is not None
        self._book.note(job.number, "creating")
        url = self._route.of(job.model).url if self._route else ""
        try:
            view = await self._service.create(
                job.file_id, url, self._entry.completion_window_h, self._metadata(job)
            )
        except AnswerLost as exc:
            self._book.note(job.number, "lost", refused=str(exc) if exc.refused else None)
            _log.warning("the answer to the creation of a job was lost: %s", exc)
        except EndpointError as exc:
            await self._not_created(job, exc)
        else:
            self._created(job, view)

    async def _not_created(self, job: Job, error: EndpointError) -> None:
        self._book.note(job.number, "not_created")
        if isinstance(error, RateLimited) or error.retryable:
            await self._calls.sleep(error.retry_after_s or self._run.config.retry.first_wait_s)
        elif error.http_status == 404 and self._files.input(job.number).exists():
            if job.was_refused:
                raise error
            self._book.note(job.number, "lost", refused=str(error))
            self._book.note(job.number, "unloaded")
        else:
            raise self._refused(job, str(error)) if isinstance(error, Rejected) else error

    def _metadata(self, job: Job) -> dict[str, str]:
        """Texts by which a job is found again."""
        named = {"ds_name": job.mark[:100]} if self._route and self._route.names_jobs else {}
        return {**named, "mark": job.mark, "run": self._run.record.run_id[:500]}

    def _created(self, job: Job, view: JobView) -> None:
        window = timedelta(hours=self._entry.completion_window_h)
        at = datetime.now(UTC)
        made = self._book.add(of_view(job.number, "created", at, view, window))
        self._due[job.number] = at + timedelta(seconds=wait_s(made, at))
        self._files.disk.remove(self._files.input(job.number))

    async def _search(self, job: Job) -> None:
        """Look for a job that may have been made.

        Raises:
            JobInDoubt: it is not listed, and may have been made all the same.
        """
        asked_at = job.creating_at or datetime.now(UTC)
        looks = _REFUSED_LOOKS if job.was_refused else len(_SEARCH_WAITS_S)
        for pause_s in _SEARCH_WAITS_S[:looks]:
            await self._calls.sleep(pause_s)
            view = await self._calls.patiently(
                lambda: self._service.find(job.file_id, self._metadata(job), asked_at)
            )
            if view is not None:
                self._created(job, view)
                return
        if job.was_refused or self._entry.lost_jobs == "again":
            self._book.note(job.number, "not_created")
            return
        raise JobInDoubt(
            f"job {job.number} ({job.lines:,} rows) was asked for at {asked_at:%Y-%m-%d %H:%M} UTC, "
            f"the answer was lost, and the service does not list it: look there for one of the "
            f"file {job.file_id} (mark {job.mark}). If it shows up, resume finds it; if there is "
            "none, resume with --set endpoint.lost_jobs=again"
        )

    # --- waiting ---

    async def _poll(self, job: Job) -> None:
        assert job.id is not None
        job_id = job.id
        try:
            view = await self._calls.patiently(lambda: self._service.job(job_id))
        except EndpointError as exc:
            if exc.http_status != 404:
                raise
            self._not_known(job, str(exc))
            return
        self._missing_since.pop(job.number, None)
        at = datetime.now(UTC)
        if view.has_ended and (view.has_files or self._is_without_files(job, view, at)):
            self._ended(job, view, at)
            return
        if job.differs(view):
            job = self._book.add(of_view(job.number, "seen", at, view))
        self._due[job.number] = at + timedelta(seconds=wait_s(job, at))
        if job.until is not None and at > job.until + _OVERDUE:
            raise JobInDoubt(
                f"job {job.id} is still {job.status}, {duration(_OVERDUE.total_seconds())} after "
                "its window ended: cancel it in the console, or resume later"
            )

    def _is_without_files(self, job: Job, view: JobView, at: datetime) -> bool:
        """Whether it is certain that no file will come."""
        if view.status == "failed":
            return True
        since = self._missing_since.setdefault(-job.number, at)
        return (at - since).total_seconds() >= _FILES_LATE_S

    def _not_known(self, job: Job, said: str) -> None:
        at = datetime.now(UTC)
        since = self._missing_since.setdefault(job.number, at)
        self._due[job.number] = at + timedelta(seconds=2)
        if (at - since).total_seconds() >= _FORGOTTEN_S:
            self._book.note(job.number, "ended", status=GONE, id=job.id)
            self._warn("job-forgotten", f"job {job.id} is not known to the service: {said}")

    def _ended(self, job: Job, view: JobView, at: datetime) -> None:
        self._book.add(of_view(job.number, "ended", at, view))
        done = f"{view.completed:,} of {job.lines:,} rows answered"
        if view.status in ("cancelled", "canceled", "expired"):
            how = "was cancelled" if view.status.startswith("cancel") else "expired"
            self._warn(f"job-{view.status}", f"job {job.id} {how} at the service with {done}")

    def _warn(self, rule: str, message: str) -> None:
        self._run.publisher.warn([Doubt(rule, message)])

    # --- in ---

    async def _fetch(self, job: Job) -> None:
        """Get what a job has left, and sort it by shards.

        Raises:
            JobRefused: the service refused the whole file.
        """
        refused = self._refused_rows(job) if job.status == "failed" else {}
        unavailable = False
        for kind, file_id in (("output", job.output_file_id), ("error", job.error_file_id)):
            if file_id is not None:
                path = self._files.output(job.number, kind)
                unavailable |= not await self._download(job, file_id, path)
        extra = [refusal_line(id_of(row), "", said) for row, said in refused.items()]
        rows = set(self._coverage.rows(job.number))
        odd = await in_thread(self._files.sort, job.number, rows, extra)
        if odd:
            self._warn("odd-job-output", f"job {job.id} brought {odd}")
        self._book.note(job.number, "fetched", unavailable=unavailable)
        self._files.drop_downloads(job.number)
        await self._give_back(job)

    async def _download(self, job: Job, file_id: str, path: Path) -> bool:
        """Whether a file is here now."""
        if path.exists():
            return True
        try:
            await self._calls.patiently(lambda: self._service.download(file_id, path))
        except EndpointError as exc:
            if exc.http_status != 404:
                raise
            self._warn(
                "job-output-gone", f"file {file_id} of job {job.id} is not there any more: {exc}"
            )
            return False
        return True

    async def _give_back(self, job: Job) -> None:
        """What was uploaded takes room in the account's storage, and is of no use any more."""
        if job.file_id is not None:
            with suppress(OmniBatchError):
                await self._calls.unless_stopped(self._service.delete(job.file_id))

    def _refused_rows(self, job: Job) -> dict[int, str]:
        """The rows for which a file was refused.

        Raises:
            JobRefused: it was not for single rows.
        """
        sent = [note.row for note in self._files.notes(job.number) if note.sent]
        found: dict[int, str] = {}
        for complaint in job.complaints:
            line = complaint.line
            if line is None or line > len(sent) or complaint.code in _WHOLE_FILE:
                found = {}
                break
            found.setdefault(sent[line - 1], str(complaint))
        if not found or len(found) == len(sent):
            self._drop(job)
            raise self._refused(job, job.refused or "no reason given")
        return found

    def _refused(self, job: Job, said: str) -> JobRefused:
        named = f"job {job.id}" if job.id else f"job {job.number}"
        return JobRefused(f"the service refused {named} with its {job.lines:,} rows: {said}")

    def _drop(self, job: Job) -> None:
        """Its rows go into another job, once the run is resumed."""
        self._coverage.drop(job.number)
        self._book.note(job.number, "settled")
        self._files.remove(job.number)

    async def _merge(self, shard: int, merge: Callable[[int], Awaitable[None]]) -> None:
        """Take in all that is here for a shard."""
        self._here = await in_thread(self._arrived, shard)
        self._postponed = {}
        await merge(shard)
        if self._run.stopping.is_on:
            return
        for row in self._here:
            self._tries.pop(row, None)
        self._tries.update(self._postponed)
        self._here = {}
        self._coverage.merged(shard)
        if not self._run.directory.results(shard).exists():
            self._unwritten.append(shard)
        self._obstacle = None  # what has been paid for is known better now

    def _arrived(self, shard: int) -> dict[int, FromJob]:
        found: dict[int, Arrived] = {}
        for number in self._coverage.jobs_of(shard):
            found.update(self._files.arrived(number, shard))
        return {
            row: FromJob(each, self._book.jobs[each.job], self._replies)
            for row, each in found.items()
        }

    async def answered(self, run: Run, item: Item, history: History) -> Result | None:
        """What becomes of an item whose shard is taken in; None: it goes into another job."""
        row = item.row_number
        if (found := self._here.get(row)) is None:
            return None

        def postponed() -> None:
            self._postponed[row] = found.arrived.note.tries + 1

        return await take_in(run, item, history, found, postponed)

    async def _settle(self, job: Job) -> None:
        again = {row: n for row in self._coverage.rows(job.number) if (n := self._tries.get(row))}
        self._book.note(job.number, "settled", again=again)
        self._coverage.drop(job.number)
        self._files.remove(job.number)
