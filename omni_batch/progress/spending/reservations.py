"""What requests in flight will cost, reserved in the budget before they start. Pure."""

from collections.abc import Callable, Mapping

from omni_batch.catalogue.prices import Pricing
from omni_batch.config import BudgetConfig
from omni_batch.counts import Counts
from omni_batch.progress.spending.budget import Month, Need, would_pass
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
        month: what other runs have spent of the month's budget.
    """

    def __init__(
        self,
        budget: BudgetConfig,
        estimates: TokenEstimates,
        pricing: Callable[[str, bool], Pricing],
        month: Month | None = None,
    ) -> None:
        self._month = month
        self._budget, self._estimates, self._pricing = budget, estimates, pricing
        self._in_flight: dict[Group, Workload] = {}
        limits = (budget.max_cost, budget.max_tokens, budget.month)
        self._any_limit = any(limit is not None for limit in limits)

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
        needs = [self._need(group, work, beside=not self.none)]
        needs += [self._need(*others, beside=True) for others in self._in_flight.items()]
        whole = Need(
            sum(need.tokens for need in needs),
            sum(need.cost for need in needs),
            sum(need.answers for need in needs),
        )
        return would_pass(self._budget, counts, whole, self._month)

    def obstacle_of_job(self, counts: Counts, work: Mapping[Group, Workload]) -> str | None:
        """Which limit all lines of a job would pass together, beside those of others, in words.

        By what they will likely take: a job can't be stopped half way, and is too many answers for
        each of them to be as long as the longest.
        """
        if not self._any_limit:
            return None
        needs = [self._likely(*each) for each in work.items()]
        whole = Need(
            sum(need.tokens for need in needs),
            sum(need.cost for need in needs),
            sum(need.answers for need in needs),
            "the next job",
        )
        return would_pass(self._budget, counts, whole, self._month)

    def _likely(self, group: Group, work: Workload) -> Need:
        endpoint, spoken = group
        completion = self._estimates.answers(work, spoken=spoken).likely
        pricing = self._pricing(endpoint, spoken)
        return Need(*cost_of_work(self._estimates, work, completion, pricing), answers=work.items)

    def _need(self, group: Group, work: Workload, *, beside: bool) -> Need:
        endpoint, spoken = group
        answers = self._estimates.answers(work, spoken=spoken)
        alone = answers.likely if self._estimates.knows(spoken=spoken) else answers.low
        completion = answers.high if beside else alone
        pricing = self._pricing(endpoint, spoken)
        return Need(*cost_of_work(self._estimates, work, completion, pricing), answers=work.items)
