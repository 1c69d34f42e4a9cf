"""When a run has spent enough. Pure."""

from omni_batch.config import BudgetConfig
from omni_batch.errors import BudgetReached
from omni_batch.tally import Tally

_JUDGED_AFTER = 50  # a failure rate of fewer items says little


def check_budget(budget: BudgetConfig, tally: Tally) -> None:
    """Raise BudgetReached when the run must not start another item.

    Attempts that were cut count by estimate: their bill may come all the same.
    """
    tokens = tally.prompt_tokens + tally.completion_tokens + tally.estimated_tokens
    cost = tally.cost + tally.estimated_cost
    if budget.max_cost is not None and cost >= budget.max_cost:
        raise BudgetReached(
            f"cost {cost:.4f} {tally.currency} reached budget.max_cost "
            f"{budget.max_cost:g}; go on with --set budget.max_cost=…"
        )
    if budget.max_tokens is not None and tokens >= budget.max_tokens:
        raise BudgetReached(
            f"{tokens} tokens reached budget.max_tokens {budget.max_tokens}; "
            "go on with --set budget.max_tokens=…"
        )
    rate = budget.max_failure_rate
    if rate is not None and tally.done >= _JUDGED_AFTER and tally.failed > rate * tally.done:
        raise BudgetReached(
            f"{tally.failed} of {tally.done} items failed, more than budget.max_failure_rate "
            f"{rate:g} allows; look at error_message in the results"
        )
