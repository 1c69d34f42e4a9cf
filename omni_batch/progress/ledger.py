"""What a run has taken so far, in one place: it counts, learns from bills, knows when to stop."""

import time
from collections.abc import Callable

import msgspec

from omni_batch.config import BudgetConfig
from omni_batch.counts import Counts, Money
from omni_batch.errors import OmniBatchError
from omni_batch.progress.counters import of_attempt, of_result
from omni_batch.progress.observers import Observers, tell
from omni_batch.progress.spending.budget import check_budget
from omni_batch.progress.spending.buys_nothing import FirstAnswers
from omni_batch.progress.spending.estimates import TokenEstimates
from omni_batch.progress.spending.media_bill import MediaBills
from omni_batch.types import Attempt, Item, Result


class Ledger:
    """Takes in every attempt and every result of a run, in the event loop.

    Args:
        before: what earlier processes did.
        observers: told of each attempt and item.
        stop: called with the reason when the run must not go on.
        items: of the run; with the last one done nothing is left to stop.
        in_flight: requests that may be in flight.
        estimates: with what earlier runs have taught.
        failed_before: so many items come first that failed in earlier nights. That they fail again
            says nothing of the service.
        unjudged: endpoints whose answers come many at a time, when they have been paid for: a run
            that buys nothing can't be stopped by the first of them.
    """

    def __init__(
        self,
        before: Counts,
        budget: BudgetConfig,
        observers: Observers,
        stop: Callable[[OmniBatchError], None],
        *,
        items: int,
        in_flight: int,
        estimates: TokenEstimates,
        failed_before: int = 0,
        unjudged: frozenset[str] = frozenset(),
    ) -> None:
        self._unjudged = unjudged
        self.counts = before
        self.estimates = estimates
        self.started_s = time.monotonic()
        self.observers = observers
        self._budget, self._stop, self._items = budget, stop, items
        self._failed_before = failed_before
        self._expected = _first_of(before, failed_before)
        self._answers = FirstAnswers(in_flight, failed_before)
        self._cleared: Callable[[], None] = lambda: None
        self._media = MediaBills() if budget.unbilled_media == "stop" else None

    @property
    def on_trial(self) -> bool:
        """Whether no request should start until those under way have shown what they are worth."""
        return self._answers.on_trial

    def call_when_cleared(self, serve: Callable[[], None]) -> None:
        """Have it called when requests may start again after a trial."""
        self._cleared = serve

    def attempt_started(self) -> None:
        """One request is sent."""
        self._answers.attempt_started()

    def attempt_ended(self, item: Item, attempt: Attempt) -> None:
        """One HTTP exchange has ended."""
        self.counts += of_attempt(attempt)
        tell(self.observers, lambda observer: observer.on_attempt_end(item, attempt))
        if attempt.endpoint not in self._unjudged:
            self._answers.attempt_ended(item, attempt)
            self._stop_for(self._answers.verdict)
        self.check_budget()

    def item_ended(self, result: Result) -> None:
        """An item has its result, and it is written."""
        counts = of_result(result)
        self.counts += counts
        if result.item.row_number < self._failed_before:
            self._expected += counts
        tell(self.observers, lambda observer: observer.on_item_end(result))
        self._learn(result)
        if self._is_judged(result):
            self._judge_answer(result)
        if (media := self._media) is not None:
            self._judge(lambda: media.item_ended(result))
        self.check_budget()

    def _is_judged(self, result: Result) -> bool:
        return not result.attempts or result.attempts[-1].endpoint not in self._unjudged

    def _judge_answer(self, result: Result) -> None:
        was_on_trial = self.on_trial
        self._answers.item_ended(result)
        self._stop_for(self._answers.verdict)
        if was_on_trial and not self.on_trial:
            self._cleared()

    def item_left(self, unfinished: Result) -> None:
        """An item is left without a result: the run stops, or it is asked again later."""
        if self._is_judged(unfinished):
            self._answers.item_left(unfinished)
        tell(self.observers, lambda observer: observer.on_item_end(unfinished))

    def check_budget(self) -> None:
        """Stop the run where it has spent what it may."""
        self._judge(lambda: check_budget(self._budget, self.counts, self._expected))

    def _judge(self, check: Callable[[], None]) -> None:
        try:
            check()
        except OmniBatchError as exc:
            self._stop_for(exc)

    def _stop_for(self, reason: OmniBatchError | None) -> None:
        if reason is not None and self.counts.done < self._items:
            self._stop(reason)

    def snapshot(self, now_s: float) -> Counts:
        """The counts with the time worked until now (monotonic seconds)."""
        counts = self.counts
        return msgspec.structs.replace(
            counts,
            audio_s=round(counts.audio_s, 3),
            cost=_rounded(counts.cost),
            estimated_cost=_rounded(counts.estimated_cost),
            in_doubt_cost=_rounded(counts.in_doubt_cost),
            elapsed_s=round(counts.elapsed_s + now_s - self.started_s, 3),
        )

    def _learn(self, result: Result) -> None:
        usage = result.answer.response.usage if result.answer else None
        if usage is not None and result.request is not None and result.reused_from is None:
            spoken = result.request.wants_audio
            self.estimates.learn(result.estimated_text_tokens, usage, spoken=spoken)


def _first_of(before: Counts, items: int) -> Counts:
    """What an earlier process did of the first items. It kept no account of them: they failed."""
    failed = min(before.failed, items)
    return Counts(failed=failed, succeeded=min(before.succeeded, items - failed))


def _rounded(money: Money) -> Money:
    return {currency: round(amount, 9) for currency, amount in money.items()}
