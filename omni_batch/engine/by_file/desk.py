"""Sees to the jobs of a run: one task after the other, whatever `next_task` says is next.

Each is in the book of jobs before the next one is chosen, so that another process goes on where
this one has ended. Nothing waits for a single row: while jobs are at work, there is one timer.
"""

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import repeat

from omni_batch.engine.by_file.fetch import Fetcher
from omni_batch.engine.by_file.make import Maker
from omni_batch.engine.by_file.room import JobRoom, opened
from omni_batch.engine.by_file.take_in import FromJob, take_in
from omni_batch.engine.by_file.write import JobWriter, Waiting
from omni_batch.engine.run import Run
from omni_batch.engine.sending.send import History
from omni_batch.errors import BudgetReached, OmniBatchError
from omni_batch.jobs.agenda import Task, next_task
from omni_batch.jobs.files import Arrived
from omni_batch.jobs.story import Job
from omni_batch.progress.spending.workload import Group, Workload
from omni_batch.store.disk import in_thread
from omni_batch.store.items import read_items
from omni_batch.store.reopen import read_progress
from omni_batch.types import Item, Result

Merge = Callable[[int], Awaitable[None]]
_LEAST_WAIT_S = 0.05


class Arrivals:
    """What has come for the rows of the shard that is taken in, and which go into another job."""

    def __init__(self) -> None:
        self._here: dict[int, FromJob] = {}
        self._postponed: dict[int, int] = {}

    def open(self, here: dict[int, FromJob]) -> None:
        """Another shard is taken in."""
        self._here, self._postponed = here, {}

    def close(self, tries: dict[int, int]) -> None:
        """All of it has been taken in.

        Args:
            tries: of rows that go into another job: the how manieth it will be.
        """
        for row in self._here:
            tries.pop(row, None)
        tries.update(self._postponed)
        self.open({})

    async def answered(self, run: Run, item: Item, history: History) -> Result | None:
        """What becomes of an item whose shard is taken in; None: it goes into another job."""
        row = item.row_number
        if (found := self._here.get(row)) is None:
            return None

        def postponed() -> None:
            self._postponed[row] = found.arrived.note.tries + 1

        return await take_in(run, item, history, found, postponed)


async def work_by_file(run: Run, arrivals: Arrivals, shards: list[int], merge: Merge) -> None:
    """See to all jobs until every shard is finished, or the run stops.

    Args:
        shards: those that are unfinished.
        merge: takes the answers that are here into a shard's journal and its part.

    Raises:
        StorageError: the book of jobs can't be read or written.
    """
    with opened(run) as room:
        await _Desk(room, arrivals, merge).work(shards)


class _Desk:
    def __init__(self, room: JobRoom, arrivals: Arrivals, merge: Merge) -> None:
        self._room, self._arrivals, self._merge_shard = room, arrivals, merge
        self._maker, self._fetcher = Maker(room), Fetcher(room)
        self._unwritten: list[int] = []
        """Shards with rows that are in no job."""
        self._tries: dict[int, int] = {}
        self._obstacle: str | None = None
        """Why no more rows are written: a limit of the budget."""

    async def work(self, shards: list[int]) -> None:
        stopping = self._room.run.stopping
        await in_thread(self._remember, shards)
        self._show()
        while not stopping.is_on and (task := self._next()) is not None:
            try:
                await self._do(task)
            except OmniBatchError as exc:
                stopping.stop(exc)
            self._show()

    def _remember(self, shards: list[int]) -> None:
        """What earlier processes have left."""
        room = self._room
        for job in room.book.jobs.values():
            self._tries.update(job.again)
            if not job.is_settled:
                rows = [note.row for note in room.files.notes(job.number)]
                room.coverage.add(job.number, rows, shards)
        for shard in shards:
            done = read_progress(room.run.directory.journal(shard)).done
            rest = set(room.run.record.shard_rows(shard)) - done
            if rest - room.coverage.rows_in(shard):
                self._unwritten.append(shard)

    def _show(self) -> None:
        jobs = self._room.book.jobs.values()
        self._room.run.publisher.jobs = tuple(job.shown() for job in jobs if job.lines)

    def _next(self) -> Task | None:
        return next_task(
            *(self._room.book.unsettled(), self._room.coverage, self._unwritten),
            *(self._fetcher.due, datetime.now(UTC)),
            may_write=self._obstacle is None,
        )

    async def _do(self, task: Task) -> None:
        if task.kind in ("write", "upload", "create") and self._room.run.stopping.stop_if_due():
            return
        match task.kind:
            case "merge":
                await self._merge(task.number)
            case "write":
                await self._write()
            case "wait":
                with suppress(OmniBatchError):
                    await self._room.calls.sleep(max(task.wait_s, _LEAST_WAIT_S))
            case "stuck":
                raise BudgetReached(self._obstacle or "rows are left that fit into no job")
            case _:
                await self._do_for(self._room.book.jobs[task.number], task)

    async def _do_for(self, job: Job, task: Task) -> None:
        match task.kind:
            case "settle":
                self._settle(job)
            case "upload":
                await self._maker.upload(job)
            case "create":
                await self._maker.create(job)
            case "search":
                await self._maker.search(job)
            case "poll":
                await self._fetcher.poll(job)
            case "fetch":
                await self._fetcher.fetch(job)

    async def _write(self) -> None:
        """Write the files of the next jobs: as many rows as fit into one file."""
        writer = JobWriter(
            self._room.run, self._room.files, self._room.book.next_number, self._outstanding()
        )
        try:
            await self._fill(writer)
        except BaseException:
            writer.discard()
            raise
        if self._room.run.stopping.is_on:
            writer.discard()  # nothing of it has been sent
        else:
            self._keep(writer)

    async def _fill(self, writer: JobWriter) -> None:
        while self._unwritten:
            await writer.write(await in_thread(self._waiting, self._unwritten[0]))
            if writer.is_over:
                return  # the rest of the shard goes into the next job
            self._unwritten.pop(0)

    def _keep(self, writer: JobWriter) -> None:
        room, directory = self._room, self._room.run.directory
        self._obstacle = writer.obstacle
        shards = room.run.record.shards
        unfinished = [shard for shard in shards if not directory.results(shard).exists()]
        for event, rows in writer.close(self._mark() for _ in repeat(None)):
            room.book.add(event)
            room.coverage.add(event.job, rows, unfinished)

    def _mark(self) -> str:
        return f"{self._room.run.record.run_id}-{secrets.token_hex(6)}"

    def _outstanding(self) -> dict[Group, Workload]:
        """What jobs will take whose answers are not on the books."""
        found: dict[Group, Workload] = {}
        for job in self._room.book.unsettled():
            if job.lines:
                found[job.group] = found.get(job.group, Workload()) + job.work
        return found

    def _waiting(self, shard: int) -> list[Waiting]:
        """Rows of a shard that have no result and are in no job."""
        run = self._room.run
        progress = read_progress(run.directory.journal(shard))
        covered = progress.done | self._room.coverage.rows_in(shard)
        return [
            Waiting(item, progress.attempts[row], self._tries.get(row, 1))
            for item in read_items(run.directory.items, shard, run.record.shard_size)
            if (row := item.row_number) not in covered
        ]

    async def _merge(self, shard: int) -> None:
        """Take in all that is here for a shard."""
        self._arrivals.open(await in_thread(self._arrived, shard))
        await self._merge_shard(shard)
        if self._room.run.stopping.is_on:
            return
        self._arrivals.close(self._tries)
        self._room.coverage.merged(shard)
        is_done = self._room.run.directory.results(shard).exists()
        if not is_done and shard not in self._unwritten:
            self._unwritten.append(shard)
        self._obstacle = None  # what has been paid for is known better now

    def _arrived(self, shard: int) -> dict[int, FromJob]:
        room = self._room
        found: dict[int, Arrived] = {}
        for number in room.coverage.jobs_of(shard):
            found.update(room.files.arrived(number, shard))
        jobs = room.book.jobs
        return {row: FromJob(each, jobs[each.job], room.replies) for row, each in found.items()}

    def _settle(self, job: Job) -> None:
        rows = self._room.coverage.rows(job.number)
        again = {row: n for row in rows if (n := self._tries.get(row))}
        self._room.book.note(job.number, "settled", again=again)
        self._room.drop(job)
