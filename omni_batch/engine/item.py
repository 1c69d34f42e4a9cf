"""The way of an item through the system: row → prepared → answer → result."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from omni_batch.doubts import Doubt
from omni_batch.engine.run import Run
from omni_batch.engine.send import History
from omni_batch.errors import OmniBatchError, out_of_memory
from omni_batch.planning.prepared_item import PreparedItem, prepare_item
from omni_batch.planning.reuse import Reused, reuse
from omni_batch.progress.spending.media_bill import bill_doubts
from omni_batch.requests.fingerprint import fingerprint
from omni_batch.store.disk import when_files_are_free
from omni_batch.types import Answer, Cost, Item, Result

log = logging.getLogger("omni_batch")


async def process_item(run: Run, item: Item, history: History | None = None) -> Result:
    """One item, from its row to its result.

    Args:
        history: gets every attempt as it ends, so that none is lost where there is no result.

    Raises:
        OmniBatchError: only what stops the run; all else becomes the result.
    """
    draft = _Draft(item, history or History())
    try:
        await _answer(run, draft)
    except OmniBatchError as exc:
        if exc.stops_run:
            raise
        draft.error = exc
    except Exception as exc:  # a bug of ours costs a row, not the batch
        if (lack := out_of_memory(exc)) is not None:
            raise lack from exc
        log.exception("item %s", item.item_id)
        draft.error = exc
    return draft.result()


async def _answer(run: Run, draft: "_Draft") -> None:
    """Each step leaves what it made in the draft, so that a failed item says how far it came."""
    draft.prepared = await when_files_are_free(
        lambda: prepare_item(run.plan, run.media_source, draft.item)
    )
    draft.fingerprint = fingerprint(draft.prepared.request, run.plan.endpoint_names)
    draft.reused = await reuse(
        run.reuse_index, draft.fingerprint, run.directory, draft.item.item_id
    )
    if draft.reused:
        draft.answer = draft.reused.answer
    else:
        draft.answer = await run.sender.send(draft.prepared, draft.history)
    draft.cost = _cost(run, draft.prepared, draft.answer, draft)


def _cost(run: Run, prepared: PreparedItem, answer: Answer, draft: "_Draft") -> Cost | None:
    attempts = draft.history.attempts
    endpoint = attempts[-1].endpoint if attempts else None
    pricing = run.plan.pricing(endpoint, spoken=prepared.request.wants_audio)
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
    cost: Cost | None = None
    error: Exception | None = None

    def result(self) -> Result:
        prepared, answer = self.prepared, self.answer
        return Result(
            item=self.item,
            started_at=self.started_at,
            latency_s=time.monotonic() - self.started_s,
            attempts=tuple(self.history.attempts),
            attempts_before=self.history.before,
            request=prepared.request if prepared else None,
            answer=answer,
            error=self.error,
            estimated_prompt_tokens=prepared.estimate.total if prepared else None,
            estimated_text_tokens=prepared.estimate.text if prepared else None,
            cost=self.cost,
            reused_from=self.reused.run_id if self.reused else None,
            fingerprint=self.fingerprint,
            doubts=self._doubts(),
        )

    def _doubts(self) -> tuple[Doubt, ...]:
        attempts = self.history.attempts
        endpoint = attempts[-1].endpoint if attempts else None
        found = (
            *(self.prepared.doubts_at(endpoint) if self.prepared else ()),
            *(self.answer.response.doubts if self.answer else ()),
            *self._bill_doubts(),
        )
        return tuple(dict.fromkeys(found))  # a reused answer brings those of its request along

    def _bill_doubts(self) -> Iterable[Doubt]:
        if self.prepared is None or self.answer is None:
            return ()
        estimate, usage = self.prepared.estimate, self.answer.response.usage
        return bill_doubts(self.prepared.request, estimate.total, estimate.text, usage)
