"""When a run has spent enough. Pure."""

from omni_batch.config import BudgetConfig
from omni_batch.counts import Counts
from omni_batch.errors import BudgetReached
from omni_batch.format import money

_JUDGED_AFTER = 50  # a failure rate of fewer items says little


def check_budget(budget: BudgetConfig, counts: Counts) -> None:
    """Raise BudgetReached when the run must not start another item.

    Attempts that were cut count by estimate: their bill may come all the same.
    """
    tokens = counts.prompt_tokens + counts.completion_tokens + counts.estimated_tokens
    spent = counts.spent
    # A plan with a budget has one currency, or is refused.
    if budget.max_cost is not None and max(spent.values(), default=0.0) >= budget.max_cost:
        raise BudgetReached(
            f"cost {money(spent)} reached budget.max_cost "
            f"{budget.max_cost:g}; raise it with: omni-batch resume … --set budget.max_cost=…"
        )
    if budget.max_tokens is not None and tokens >= budget.max_tokens:
        raise BudgetReached(
            f"{tokens} tokens reached budget.max_tokens {budget.max_tokens}; "
            "raise it with: omni-batch resume … --set budget.max_tokens=…"
        )
    rate = budget.max_failure_rate
    if rate is not None and counts.done >= _JUDGED_AFTER and counts.failed > rate * counts.done:
        raise BudgetReached(
            f"{counts.failed} of {counts.done} items failed, more than budget.max_failure_rate "
            f"{rate:g} allows; look at error_message in the results"
        )
