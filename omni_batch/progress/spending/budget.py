"""When a run has spent enough. Pure."""

from omni_batch.config import BudgetConfig
from omni_batch.counts import Counts
from omni_batch.errors import BudgetReached
from omni_batch.format import amount, money
from omni_batch.progress.phrases import in_doubt

_JUDGED_AFTER = 50  # a failure rate of fewer items says little


def spent_cost(counts: Counts) -> float:
    """Money so far. A plan with a budget has one currency, or is refused."""
    return max(counts.spent.values(), default=0.0)


def spent_tokens(counts: Counts) -> int:
    """Tokens so far. Attempts that were cut count by estimate: they may be billed all the same."""
    return counts.prompt_tokens + counts.completion_tokens + counts.estimated_tokens


def check_budget(budget: BudgetConfig, counts: Counts) -> None:
    """Raise BudgetReached when the run must not start another item."""
    limit, tokens = budget.max_cost, spent_tokens(counts)
    if limit is not None and spent_cost(counts) >= limit.amount:
        raise BudgetReached(
            f"cost {money(counts.spent)}{_doubted(counts)} reached budget.max_cost {limit}; "
            f"{raise_it('max_cost')}"
        )
    if budget.max_tokens is not None and tokens >= budget.max_tokens:
        raise BudgetReached(
            f"{tokens:,} tokens{_doubted(counts)} reached budget.max_tokens {budget.max_tokens:,}; "
            f"{raise_it('max_tokens')}"
        )
    rate = budget.max_failure_rate
    if rate is not None and counts.done >= _JUDGED_AFTER and counts.failed > rate * counts.done:
        raise BudgetReached(
            f"{counts.failed} of {counts.done} items failed, more than budget.max_failure_rate "
            f"{rate:g} allows; look at error_message in the results"
        )


def would_pass(budget: BudgetConfig, counts: Counts, tokens: float, cost: float) -> str | None:
    """Which limit is passed when so much more is spent, in words; None where none is."""
    limit = budget.max_cost
    if limit is not None and spent_cost(counts) + cost > limit.amount:
        return (
            f"{amount(spent_cost(counts), limit.currency, like=cost)} spent{_doubted(counts)}, "
            f"and the next item, by estimate {amount(cost, limit.currency)}, would pass "
            f"budget.max_cost {limit}; {raise_it('max_cost')}"
        )
    if budget.max_tokens is not None and spent_tokens(counts) + tokens > budget.max_tokens:
        return (
            f"{spent_tokens(counts):,} tokens used{_doubted(counts)}, "
            f"and the next item, by estimate {tokens:,.0f}, would pass budget.max_tokens "
            f"{budget.max_tokens:,}; {raise_it('max_tokens')}"
        )
    return None


def _doubted(counts: Counts) -> str:
    """What of it may turn out not to be on the bill."""
    return f" ({in_doubt(counts)}, included)" if counts.in_doubt else ""


def raise_it(key: str) -> str:
    """What to do about a limit that was reached."""
    return f"raise it with: omni-batch resume … --set budget.{key}=…"
