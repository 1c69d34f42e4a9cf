"""The way of an item through the system: row → prepared → answer → result."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from omni_batch.annotation.read import Annotation
from omni_batch.changes import Window
from omni_batch.doubts import Doubt
from omni_batch.engine.annotator import Annotator
from omni_batch.engine.run import Run
from omni_batch.engine.same_questions import Turn
from omni_batch.engine.sending.send import History
from omni_batch.engine.windows import WindowedAnswer
from omni_batch.errors import AnnotationError, OmniBatchError, out_of_memory
from omni_batch.planning.fitting.made import made_item
from omni_batch.planning.prepared_item import PreparedItem, fingerprint_of, prepare_item
from omni_batch.planning.reuse import Answers, Reused, reuse, same_question_doubts
from omni_batch.progress.spending.media_bill import bill_doubts
from omni_batch.store.disk import when_files_are_free
from omni_batch.types import Answer, Cost, Item, Result

log = logging.getLogger("omni_batch")


async def process_item(run: Run, item: Item, history: History, turn: Turn) -> Result:
    """One item, from its row to its result.

    Args:
        history: gets every attempt as it ends, so that none is lost where there is no result.
        turn: waits while another row asks the same; whoever writes the result ends it.

    Raises:
        OmniBatchError: only what stops the run; all else becomes the result.
    """
    draft = _Draft(item, history)
    try:
        await _answer(run, draft, turn)
    except OmniBatchError as exc:
        if exc.stops_run:
            raise
        draft.error = exc
    except Exception as exc:  # a bug of ours costs a row, not the batch
        if (lack := out_of_memory(exc)) is not None:
            raise lack from exc
        log.exception("item %s", item.name)
        draft.error = exc
    return draft.result()


async def _answer(run: Run, draft: "_Draft", turn: Turn) -> None:
    """Each step leaves what it made in the draft, so that a failed item says how far it came."""
    draft.prepared = prepared = await when_files_are_free(
        lambda: prepare_item(run.plan.asking(draft.item), run.media_source, draft.item)
    )
    draft.fingerprint = fingerprint_of(run.plan, prepared)
    draft.reused = await _reused(run, draft.fingerprint, draft.item.name, turn)
    if draft.reused:
        draft.windows = draft.reused.windows
        await _annotate(run, draft, prepared, draft.take(run, draft.reused.answer, prepared))
        return
    async with made_item(run.plan.asking(draft.item), run.media_source, prepared) as made:
        draft.prepared = made
        await _annotate(run, draft, made, await _send(run, draft, made))


async def _annotate(run: Run, draft: "_Draft", prepared: PreparedItem, answer: Answer) -> None:
    if run.annotator is not None:
        draft.annotation = await _annotated(run, run.annotator, draft, prepared, answer)


async def _reused(run: Run, fingerprint: str, name: str, turn: Turn) -> Reused | None:
    """The answer of an earlier run, or of another row of this one; that one may be under way."""
    if found := await _acceptable(run, run.reuse_index, fingerprint, name):
        return found
    await turn.wait(fingerprint)
    if found := await _acceptable(run, run.questions.answers, fingerprint, name):
        turn.leave_to_others()
        run.publisher.warn(same_question_doubts(run.plan))
        return found
    run.stopping.raise_if_on()
    return None


async def _acceptable(
    run: Run, answers: Answers | None, fingerprint: str, name: str
) -> Reused | None:
    """An answer that is still one: what is asked of it may have changed since."""
    found = await reuse(answers, fingerprint, run.directory, name)
    if found and run.annotator and not run.annotator.accepts(found.answer):
        return None
    return found


async def _send(run: Run, draft: "_Draft", prepared: PreparedItem) -> Answer:
    if prepared.windows:
        return await _send_windows(run, draft, prepared)
    draft.history.keep_last()
    return draft.take(run, await run.sender.send(prepared, draft.history), prepared)


async def _send_windows(run: Run, draft: "_Draft", prepared: PreparedItem) -> Answer:
    asked, windowed = run.plan.asking(draft.item), WindowedAnswer()
    try:
        answer = await windowed.ask(run.sender, asked, prepared, draft.history)
        return draft.take(run, answer, prepared)
    except OmniBatchError as exc:
        if windowed.answers and not exc.stops_run:  # what was paid for is kept
            draft.take(run, windowed.joined(), prepared)
        raise
    finally:
        draft.windows = tuple(windowed.windows)


async def _annotated(
    run: Run, annotator: Annotator, draft: "_Draft", prepared: PreparedItem, answer: Answer
) -> Annotation:
    """The typed answer; one that breaks the schema is asked for again, so often as may be."""
    for _ in range(annotator.max_reasks):
        try:
            return annotator.read(answer)
        except AnnotationError as exc:
            question = annotator.asked_again(prepared, answer, exc)
        answer = await _send(run, draft, question)
    return annotator.read(answer)


def _cost(run: Run, prepared: PreparedItem, answer: Answer, draft: "_Draft") -> Cost | None:
    attempts = draft.history.attempts
    endpoint = attempts[-1].endpoint if attempts else None
    pricing = run.plan.asking(draft.item).pricing(endpoint, spoken=prepared.request.wants_audio)
    cost = pricing.cost(answer.response.usage)
    return replace(cost, amount=0.0) if cost and draft.reused else cost


@dataclass(slots=True)
class _Draft:
    """A result while it is made."""

    item: Item
    history: History
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started_s: float = field(default_factory=time.monotonic)
    prepared: PreparedItem | None = None
    fingerprint: str | None = None
    reused: Reused | None = None
    answer: Answer | None = None
    asked: PreparedItem | None = None
    """What the answer answers: the item, or the item asked again."""
    annotation: Annotation | None = None
    windows: tuple[Window, ...] = ()
    cost: Cost | None = None
    error: Exception | None = None

    def take(self, run: Run, answer: Answer, asked: PreparedItem) -> Answer:
        """An answer has come."""
        self.answer, self.asked = answer, asked
        self.cost = _cost(run, asked, answer, self)
        return answer

    def result(self) -> Result:
        prepared, answer = self.prepared, self.answer
        asked = self.asked or prepared
        return Result(
            item=self.item,
            started_at=self.started_at,
            latency_s=time.monotonic() - self.started_s,
            attempts=tuple(self.history.attempts),
            attempts_before=self.history.before,
            request=prepared.request if prepared else None,
            answer=answer,
            error=self.error,
            estimated_prompt_tokens=asked.estimate.total if asked else None,
            estimated_text_tokens=asked.estimate.text if asked else None,
            cost=self.cost,
            reused_from=self.reused.run_id if self.reused else None,
            reused_row=self.reused.row_number if self.reused else None,
            fingerprint=self.fingerprint,
            annotation=self.annotation.value if self.annotation else None,
            doubts=self._doubts(),
            windows=self.windows,
        )

    def _doubts(self) -> tuple[Doubt, ...]:
        attempts = self.history.attempts
        endpoint = attempts[-1].endpoint if attempts else None
        found = (
            *(self.prepared.doubts_at(endpoint) if self.prepared else ()),
            *(self.answer.response.doubts if self.answer else ()),
            *(self.annotation.doubts if self.annotation else ()),
            *self._bill_doubts(),
        )
        return tuple(dict.fromkeys(found))  # a reused answer brings those of its request along

    def _bill_doubts(self) -> Iterable[Doubt]:
        if self.asked is None or self.answer is None:
            return ()
        estimate, usage = self.asked.estimate, self.answer.response.usage
        return bill_doubts(self.asked.request, estimate.total, estimate.text, usage)
