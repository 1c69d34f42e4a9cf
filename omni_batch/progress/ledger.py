"""What a run has taken so far, in one place: it counts, learns from bills, and knows the budget."""

import time
from collections.abc import Callable

import msgspec

from omni_batch.config import BudgetConfig
from omni_batch.counts import Counts, Money
from omni_batch.errors import BudgetReached
from omni_batch.progress.budget import check_budget
from omni_batch.progress.counters import of_attempt, of_result
from omni_batch.progress.estimates import TokenEstimates
from omni_batch.progress.observers import Observers
from omni_batch.types import Attempt, Item, Result


class Ledger:
    """Takes in every attempt and every result of a run, in the event loop.

    Args:
        before: what earlier processes did.
        observers: told of each attempt and item.
        stop: called with the reason when the budget is reached.
    """

    def __init__(
        self,
        before: Counts,
        budget: BudgetConfig,
        observers: Observers,
        stop: Callable[[BudgetReached], None],
    ) -> None:
        self.counts = before
        self.estimates = TokenEstimates()
        self.started_s = time.monotonic()
        self._budget, self._observers, self._stop = budget, observers, stop

    def attempt_ended(self, item: Item, attempt: Attempt) -> None:
        """One HTTP exchange has ended."""
        self.counts += of_attempt(attempt)
        self._observers.on_attempt_end(item, attempt)
        self.check_budget()

    def item_ended(self, result: Result) -> None:
        """An item has its result, and it is written."""
        self.counts += of_result(result)
        self._observers.on_item_end(result)
        self._learn(result)
        self.check_budget()

    def item_left(self, unfinished: Result) -> None:
        """An item is left without a result because the run stops."""
        self._observers.on_item_end(unfinished)

    def check_budget(self) -> None:
        """Stop the run where it has spent what it may."""
        try:
            check_budget(self._budget, self.counts)
        except BudgetReached as exc:
            self._stop(exc)

    def snapshot(self, now_s: float) -> Counts:
        """The counts with the time worked until now (monotonic seconds)."""
        counts = self.counts
        return msgspec.structs.replace(
            counts,
            audio_s=round(counts.audio_s, 3),
            cost=_rounded(counts.cost),
            estimated_cost=_rounded(counts.estimated_cost),
            elapsed_s=round(counts.elapsed_s + now_s - self.started_s, 3),
        )

    def _learn(self, result: Result) -> None:
        usage = result.answer.response.usage if result.answer else None
        if usage is not None and result.request is not None and result.reused_from is None:
            spoken = result.request.wants_audio
            self.estimates.learn(result.estimated_text_tokens, usage, spoken=spoken)


def _rounded(money: Money) -> Money:
    return {currency: round(amount, 9) for currency, amount in money.items()}
