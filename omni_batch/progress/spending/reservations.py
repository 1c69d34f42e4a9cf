"""What requests in flight will cost, reserved in the budget before they start. Pure."""

from collections.abc import Callable

from omni_batch.catalogue.prices import Pricing
from omni_batch.config import BudgetConfig
from omni_batch.counts import Counts
from omni_batch.progress.spending.budget import would_pass
from omni_batch.progress.spending.estimates import TokenEstimates, cost_of_work
from omni_batch.progress.spending.workload import Group, Workload


class Reservations:
    """Requests in flight, and whether one more fits.

    Beside others a request counts with the longest answer that has to be expected: they may all be
    long. Alone it counts with a likely one, so that a budget is used up; what it can pass it by is
    the error of a single estimate. Before any answer is known, one request goes alone and finds out
    how long they are.

    Args:
        estimates: asked anew each time, so that all in flight count by what is known by now.
        pricing: of an endpoint, with or without speech.
    """

    def __init__(
        self,
        budget: BudgetConfig,
        estimates: TokenEstimates,
        pricing: Callable[[str, bool], Pricing],
    ) -> None:
        self._budget, self._estimates, self._pricing = budget, estimates, pricing
        self._in_flight: dict[Group, Workload] = {}
        self._any_limit = budget.max_cost is not None or budget.max_tokens is not None

    @property
    def none(self) -> bool:
        """Whether nothing is in flight."""
        return not any(work.items for work in self._in_flight.values())

    def add(self, group: Group, work: Workload) -> None:
        """It starts."""
        if not self._any_limit:
            return
        self._in_flight[group] = self._in_flight.get(group, Workload()) + work

    def remove(self, group: Group, work: Workload) -> None:
        """It has ended, and what it cost is in the counts."""
        if not self._any_limit:
            return
        self._in_flight[group] -= work
        if not self._in_flight[group].items:
            del self._in_flight[group]  # sums of floats leave a rest

    def obstacle(self, counts: Counts, group: Group, work: Workload) -> str | None:
        """Which limit one more would pass, in words; None where it fits."""
        if not self._any_limit:
            return None
        if self.none:
            return would_pass(self._budget, counts, *self._need(group, work, beside=False))
        needs = [self._need(group, work, beside=True)]
        needs += [self._need(*others, beside=True) for others in self._in_flight.items()]
        tokens, cost = (sum(kind) for kind in zip(*needs, strict=True))
        return would_pass(self._budget, counts, tokens, cost)

    def _need(self, group: Group, work: Workload, *, beside: bool) -> tuple[float, float]:
        endpoint, spoken = group
        answers = self._estimates.answers(work, spoken=spoken)
        alone = answers.likely if self._estimates.knows(spoken=spoken) else answers.low
        completion = answers.high if beside else alone
        return cost_of_work(self._estimates, work, completion, self._pricing(endpoint, spoken))
