"""What a job has brought for a row → its result, by the way of every other item.

`process_item` does as always; only its sender sends nothing, and gives the answer that is here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from omni_batch.doubts import Doubt
from omni_batch.engine.annotator import Annotator
from omni_batch.engine.item import process_item
from omni_batch.engine.run import Run
from omni_batch.engine.same_questions import alone
from omni_batch.engine.sending.send import History, Sender
from omni_batch.errors import (
    AnnotationError,
    AnswerGone,
    MediaError,
    OmniBatchError,
    Rejected,
    Unanswered,
)
from omni_batch.jobs.files import Arrived
from omni_batch.jobs.reply import Replies
from omni_batch.jobs.story import GONE, Job
from omni_batch.planning.prepared_item import PreparedItem
from omni_batch.types import Answer, Attempt, Item, Response, Result

JOBS_A_ROW = 3
"""A row that so many jobs have left without an answer has failed."""


class Postponed(OmniBatchError):
    """The row goes into another job."""


@dataclass(frozen=True, slots=True)
class FromJob:
    """What has come for a row, and from where."""

    arrived: Arrived
    job: Job
    replies: Replies

    def is_known(self, history: History) -> bool:
        """Whether an earlier process has put it on the books, and died before it got further."""
        return history.before > self.arrived.note.attempts

    def response(self, *, thinking: bool | None) -> Response:
        """The answer.

        Raises:
            OmniBatchError: there is none.
        """
        if self.arrived.line is None:
            raise self._absence()
        return self.replies.response(self.arrived.line, thinking=thinking)

    def _absence(self) -> OmniBatchError:
        job, named = self.job, f"job {self.job.id}"
        if job.status == "failed":
            return Unanswered(f"{named} was refused because of other lines: {job.refused}")
        if job.status == GONE:
            return AnswerGone(f"{named} is not known to the service any more: HTTP 404")
        if job.unavailable:
            return AnswerGone(
                f"a result file of {named} ({job.output_file_id or job.error_file_id}) is not "
                "there any more: HTTP 404"
            )
        how = {"expired": "its completion window ended", "completed": "it is completed"}
        why = how.get(job.status, f"it was {job.status}")
        return Unanswered(f"{named} has no line for this row in either of its files ({why})")

    def attempt(self, number: int, outcome: Response | Exception) -> Attempt:
        """As a row of `attempts`.

        Args:
            number: of this process, from 1.
        """
        line, job = self.arrived.line, self.job
        answer = outcome if isinstance(outcome, Response) else None
        began = job.since or job.written_at
        return Attempt(
            number=number,
            started_at=began,
            latency_s=((job.ended_at or datetime.now(UTC)) - began).total_seconds(),
            http_status=line.http_status if line else None,
            request_id=(line and line.request_id) or (answer.response_id if answer else None),
            usage=answer.usage if answer else None,
            text_chars=len(answer.text) if answer else 0,
            error=None if answer else outcome,  # type: ignore[arg-type]
            endpoint=job.endpoint,
        )


@dataclass(frozen=True, slots=True)
class JobSender(Sender):
    """Gives the answer that a job has brought; sends one by one only what may be.

    Its `send` is asked once for the row's question, then for what an answer is asked again.
    """

    found: FromJob
    live: frozenset[str] = frozenset()
    """Endpoints for what a job has left without an answer; empty where it is not sent elsewhere."""
    goes_again: bool = False
    """Whether another job may be made for the row."""

    async def send(self, prepared: PreparedItem, history: History) -> Answer:
        """The answer to a prepared item.

        Raises:
            Postponed: it goes into another job.
            OmniBatchError: there is none, and will be none.
        """
        note = self.found.arrived.note
        if note.lack is not None:
            return await self._alone(prepared, history, MediaError(note.lack))
        if not note.sent or history.attempts:
            none = "the row has no line in a job"
            again = Postponed(none) if self.goes_again else Unanswered(none)
            return await self._alone(prepared, history, again)
        try:
            response = self.found.response(thinking=prepared.request.thinking)
        except OmniBatchError as exc:
            self._keep(prepared, history, exc)
            return await self._after(prepared, history, exc)
        self._keep(prepared, history, response)
        return Answer(response, None)

    def _keep(
        self, prepared: PreparedItem, history: History, outcome: Response | Exception
    ) -> None:
        """Put it on the books, unless a process that died later has done so."""
        if not self.found.is_known(history):
            self.record(prepared, history, self.found.attempt(1, outcome))

    async def _after(
        self, prepared: PreparedItem, history: History, error: OmniBatchError
    ) -> Answer:
        """What becomes of a row that has no answer."""
        if error.stops_run:
            self.stopping.stop_later(error)
        elif not error.retryable:
            raise error
        again = Postponed(str(error)) if self.goes_again else None
        if error.stops_run and again is None:
            raise Rejected(str(error), http_status=getattr(error, "http_status", None)) from error
        return await self._alone(prepared, history, again or error)

    async def _alone(
        self, prepared: PreparedItem, history: History, otherwise: OmniBatchError
    ) -> Answer:
        """Send it by itself where that is wanted."""
        names = tuple(name for name in prepared.endpoints if name in self.live)
        if not names:
            raise otherwise
        history.keep_last()
        return await Sender.send(self, replace(prepared, endpoints=names), history)


async def take_in(
    run: Run, item: Item, history: History, found: FromJob, postponed: Callable[[], None]
) -> Result | None:
    """A row's result; None where it goes into another job.

    Args:
        postponed: called where it does.
    """
    line, note = found.arrived.line, found.arrived.note
    fallback = run.plan.by_file[0].entry.fallback
    live = frozenset(e.name for e in run.plan.endpoints if e.dialect.files is None)
    goes_again = fallback == "job" and note.tries < min(JOBS_A_ROW, run.config.retry.max_attempts)
    parts = run.sender.router, run.directory, run.plan, run.ledger, run.sender.budget, run.stopping
    own = replace(
        run,
        sender=JobSender(*parts, found, live, goes_again),
        reuse_index=None if line else run.reuse_index,  # what has been paid for is used
        annotator=run.annotator if live or not run.annotator else _asks_once(run),
    )
    result = await process_item(own, item, history, alone())
    if isinstance(result.error, Postponed):
        postponed()
        return None
    if note.sent and result.request is None:
        return _of_lost_question(run, item, history, found, result.error)
    return _as_it_was_asked(result, note.fingerprint) if note.sent else result


def _asks_once(run: Run) -> Annotator | None:
    return replace(run.annotator, max_reasks=0) if run.annotator else None


def _as_it_was_asked(result: Result, fingerprint: str | None) -> Result:
    """A medium or the configuration may be another one by now than when the job was written."""
    if result.fingerprint == fingerprint:
        return result
    doubt = Doubt(_CHANGED, f"{_THEN}; its media or the configuration have changed since")
    return replace(result, fingerprint=fingerprint, request=None, doubts=(*result.doubts, doubt))


_CHANGED = "asked-before-a-change"
_THEN = "the answer is to the row as it was when its job was written"


def _of_lost_question(
    run: Run, item: Item, history: History, found: FromJob, why: Exception | None
) -> Result:
    """The result of a row that can't be prepared any more, but was, and has been paid for."""
    outcome: Response | Exception
    try:
        outcome = found.response(thinking=None)
    except OmniBatchError as exc:
        outcome = exc
    pricing = run.plan.pricing(found.job.endpoint, spoken=False)
    response = outcome if isinstance(outcome, Response) else None
    cost = pricing.cost(response.usage) if response else None
    attempt = replace(found.attempt(history.before + 1, outcome), cost=cost)
    if not found.is_known(history):
        run.ledger.attempt_ended(item, attempt)
        history.attempts.append(attempt)
    doubt = Doubt(_CHANGED, f"{_THEN}; now it can't be: {why}")
    result = Result(
        item,
        attempt.started_at,
        attempt.latency_s,
        tuple(history.attempts),
        attempts_before=history.before,
        answer=Answer(response, None) if response else None,
        error=None if response else attempt.error,
        cost=cost,
        fingerprint=found.arrived.note.fingerprint,
        doubts=(*(response.doubts if response else ()), doubt),
    )
    return _typed(run, result)


def _typed(run: Run, result: Result) -> Result:
    if run.annotator is None or result.answer is None:
        return result
    try:
        found = run.annotator.read(result.answer)
    except AnnotationError as exc:
        return replace(result, error=exc)
    return replace(result, annotation=found.value, doubts=(*result.doubts, *found.doubts))
