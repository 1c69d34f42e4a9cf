"""Rows → the files of jobs: as many lines as fit, of one model and one setting of thinking each."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

import msgspec

from omni_batch.engine.run import Run
from omni_batch.engine.sending.retry import with_retries
from omni_batch.errors import EndpointError, MediaError, OmniBatchError, StreamError
from omni_batch.jobs.files import InputFile, JobFiles, RowNote
from omni_batch.jobs.lines import Envelope, Fill
from omni_batch.jobs.story import JobEvent
from omni_batch.planning.fitting.made import made_item
from omni_batch.planning.prepared_item import PreparedItem, fingerprint_of, prepare_item
from omni_batch.planning.resolved_endpoint import ResolvedEndpoint
from omni_batch.planning.reuse import reuse
from omni_batch.progress.spending.workload import Group, Workload
from omni_batch.providers.body import Body
from omni_batch.providers.dialect import FileRoute
from omni_batch.types import Item

_AT_ONCE = 16  # rows that are prepared side by side: media are probed in threads
_WINDOWED = (
    "a recording in windows is asked in several requests, and a file has one for each row: cut it, "
    "or set fallback: live"
)
_Key = tuple[str, bool]
"""Endpoint and thinking: a file has one model and one setting of it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row that is in no job."""

    item: Item
    attempts: int = 0
    """So many were made for it before."""
    tries: int = 1
    """The how manieth job it goes into."""

    def note(self, lack: str | None = None) -> RowNote:
        """Without a line."""
        return RowNote(self.item.row_number, lack=lack, attempts=self.attempts, tries=self.tries)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of a row."""

    row: Waiting
    prepared: PreparedItem
    endpoint: ResolvedEndpoint
    fingerprint: str

    @property
    def key(self) -> _Key:
        """Which file it goes into."""
        return self.endpoint.name, bool(self.prepared.request.thinking)

    @property
    def group(self) -> Group:
        """Of the budget."""
        return self.endpoint.name, False

    @property
    def note(self) -> RowNote:
        """With a line."""
        return msgspec.structs.replace(self.row.note(), sent=True, fingerprint=self.fingerprint)


@dataclass(slots=True)
class _Draft:
    """A file that is being written."""

    file: InputFile
    endpoint: ResolvedEndpoint
    fill: Fill
    work: Workload = field(default_factory=Workload)

    def add(self, asked: _Question, line_bytes: int) -> None:
        """One more line is in it."""
        self.file.note(asked.note)
        self.fill = self.fill.plus(line_bytes)
        self.work += asked.prepared.work


class JobWriter:
    """Writes files until one of them is full, the budget is, or no row is left.

    Args:
        first_number: of the next job.
        outstanding: what jobs that have no answers yet will take, in the budget.
    """

    def __init__(
        self, run: Run, files: JobFiles, first_number: int, outstanding: dict[Group, Workload]
    ) -> None:
        self._run, self._files, self._next = run, files, first_number
        self._work = dict(outstanding)
        self._drafts: dict[_Key, _Draft] = {}
        self._handles = {handle.name: handle for handle in run.router.handles}
        self._routes = {
            endpoint.name: endpoint.dialect.files.of(endpoint.config.model)
            for endpoint in run.plan.by_file
            if endpoint.dialect.files
        }
        self._without: list[RowNote] = []
        self.is_full = False
        self.obstacle: str | None = None
        """Which limit of the budget one more line would pass."""

    async def write(self, rows: Sequence[Waiting]) -> None:
        """Write rows, in their order, as far as they fit."""
        waiting = iter(rows)
        while not self.is_over and (batch := list(islice(waiting, _AT_ONCE))):
            for ready in await asyncio.gather(*map(self._prepare, batch)):
                if not self.is_over:
                    await self._take(ready)

    @property
    def is_over(self) -> bool:
        """Whether no more rows are taken."""
        return self.is_full or self.obstacle is not None or self._run.stopping.is_on

    async def _prepare(self, row: Waiting) -> _Question | Waiting:
        """What is asked; the row alone where it can't be, or has an answer already.

        Its result is made as that of any other, when the job is taken in.
        """
        run, item = self._run, row.item
        try:
            prepared = await prepare_item(run.plan.asking(item), run.media_source, item)
        except OmniBatchError as exc:
            if exc.stops_run:
                raise
            return row
        except Exception:  # a bug of ours, which costs the row: said with its result
            return row
        fingerprint = fingerprint_of(run.plan, prepared)
        names = {endpoint.name for endpoint in run.plan.by_file} & set(prepared.endpoints)
        if not names or await self._is_answered(fingerprint, item):
            return row
        return _Question(row, prepared, run.plan.endpoint(names.pop()), fingerprint)

    async def _is_answered(self, fingerprint: str, item: Item) -> bool:
        run = self._run
        found = await reuse(run.reuse_index, fingerprint, run.directory, item.name)
        if found is None:
            return False
        return run.annotator is None or run.annotator.accepts(found.answer)

    async def _take(self, ready: _Question | Waiting) -> None:
        if isinstance(ready, Waiting):
            self._without.append(ready.note())
            return
        try:
            if ready.prepared.windows:
                raise MediaError(_WINDOWED)
            await with_retries(lambda _: self._deliver(ready), self._run.config.retry)
        except (MediaError, EndpointError, StreamError) as exc:
            self._without.append(ready.row.note(str(exc)))

    async def _deliver(self, asked: _Question) -> None:
        """Write a line with its media in it, which may have to be fetched."""
        plan, source = self._run.plan.asking(asked.row.item), self._run.media_source
        delivery = self._handles[asked.endpoint.name].delivery
        async with (
            made_item(plan, source, asked.prepared) as made,
            delivery.delivered(made.request) as body,
        ):
            await self._add(asked, body)

    async def _add(self, asked: _Question, body: Body) -> None:
        """Write a line where it fits.

        Raises:
            MediaError: it is too long, or a file changed while it was read.
        """
        route = self._routes[asked.endpoint.name]
        if (why := route.refuses(body.content_length)) is not None:
            raise MediaError(why)
        envelope = Envelope.of(asked.row.item.row_number, route.url)
        line_bytes = envelope.around(body.content_length)
        draft = self._drafts.get(asked.key)
        if draft is not None and not draft.fill.fits(line_bytes):
            self.is_full = True
        elif self._fits_budget(asked.group, asked.prepared.work):
            draft = draft or self._begin(asked, route)
            await _write_line(draft.file, envelope, body)
            draft.add(asked, line_bytes)
            self._work[asked.group] = self._work.get(asked.group, Workload()) + asked.prepared.work

    def _begin(self, asked: _Question, route: FileRoute) -> _Draft:
        draft = _Draft(self._new_file(), asked.endpoint, Fill(route))
        self._drafts[asked.key] = draft
        return draft

    def _fits_budget(self, group: Group, work: Workload) -> bool:
        more = {**self._work, group: self._work.get(group, Workload()) + work}
        self.obstacle = self._run.sender.budget.obstacle_of_job(more)
        return self.obstacle is None

    def _new_file(self) -> InputFile:
        number, self._next = self._next, self._next + 1
        return InputFile(self._files, number)

    def close(self, marks: Iterator[str]) -> Iterator[tuple[JobEvent, list[int]]]:
        """End the files; what the book has to say of each job, and its rows.

        Args:
            marks: names that no other job has.
        """
        if self._without:
            first = next(iter(self._drafts.values()), None)
            file = first.file if first else self._new_file()
            for note in self._without:
                file.note(note)
            if first is None:
                file.close()
                yield _written(file, next(marks)), file.rows
        for draft in self._drafts.values():
            draft.file.close()
            yield _written(draft.file, next(marks), draft), draft.file.rows

    def discard(self) -> None:
        """None of it is wanted."""
        for draft in self._drafts.values():
            draft.file.discard()


async def _write_line(file: InputFile, envelope: Envelope, body: Body) -> None:
    start = file.tell()
    try:
        file.write(envelope.head)
        async for piece in body.stream():
            file.write(piece)
        file.write(envelope.end)
    except OmniBatchError:
        file.cut(start)
        raise


def _written(file: InputFile, mark: str, draft: _Draft | None = None) -> JobEvent:
    return JobEvent(
        job=file.job,
        what="written",
        at=datetime.now(UTC),
        endpoint=draft.endpoint.name if draft else None,
        model=draft.endpoint.config.model if draft else None,
        lines=draft.fill.lines if draft else 0,
        size_bytes=draft.fill.size_bytes if draft else 0,
        work=draft.work if draft else None,
        mark=mark,
    )
