"""When a run has spent enough. Pure."""

from dataclasses import dataclass, field

from omni_batch.config import BudgetConfig, MonthConfig
from omni_batch.counts import Counts
from omni_batch.errors import BudgetReached
from omni_batch.format import amount, money
from omni_batch.progress.phrases import in_doubt

_JUDGED_AFTER = 50  # a failure rate of fewer items says little


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month, and what the other runs that were begun in it have spent."""

    name: str
    """Such as November 2026."""
    following: str
    spent: Counts = field(default_factory=Counts)


def spent_cost(counts: Counts) -> float:
    """Money so far. A plan with a budget has one currency, or is refused."""
    return max(counts.spent.values(), default=0.0)


def spent_answers(counts: Counts) -> int:
    """Answers so far, with those that may have been lost on the way."""
    return counts.answers + counts.in_doubt


def spent_tokens(counts: Counts) -> int:
    """Tokens so far. Attempts that were cut count by estimate: they may be billed all the same."""
    return counts.prompt_tokens + counts.completion_tokens + counts.estimated_tokens


_NONE = Counts()


def check_budget(budget: BudgetConfig, counts: Counts, expected: Counts = _NONE) -> None:
    """Raise BudgetReached when the run must not start another item.

    Args:
        expected: of them, those of items that are expected to fail; the failure rate is that of
            the others.
    """
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
    done, failed = counts.done - expected.done, counts.failed - expected.failed
    if rate is not None and done >= _JUDGED_AFTER and failed > rate * done:
        raise BudgetReached(
            f"{failed} of {done} items failed, more than budget.max_failure_rate "
            f"{rate:g} allows; look at error_message in the results"
        )


@dataclass(frozen=True, slots=True)
class Need:
    """What would be spent next, by estimate."""

    tokens: float
    cost: float
    answers: int = 1
    what: str = "the next item"


def would_pass(
    budget: BudgetConfig, counts: Counts, need: Need, month: Month | None = None
) -> str | None:
    """Which limit is passed when so much more is spent, in words; None where none is."""
    if found := _passed(budget, counts, need):
        return found.told("budget", counts, "", need.what, raise_it(found.key))
    if budget.month is None or month is None:
        return None
    together = counts + month.spent
    if found := _passed(budget.month, together, need):
        return found.told(
            "budget.month", together, f" in {month.name}", need.what, _wait_or_raise(found, month)
        )
    return None


@dataclass(frozen=True, slots=True)
class _Passed:
    """A limit that has no room for what comes next."""

    key: str
    limit: object
    spent: str
    by_estimate: str = ""

    def told(self, group: str, counts: Counts, when: str, what: str, remedy: str) -> str:
        return (
            f"{self.spent}{when}{_doubted(counts)}, and {what}{self.by_estimate} would "
            f"pass {group}.{self.key} {self.limit}; {remedy}"
        )


def _passed(limits: BudgetConfig | MonthConfig, counts: Counts, need: Need) -> _Passed | None:
    cost, tokens = limits.max_cost, limits.max_tokens
    if cost is not None and spent_cost(counts) + need.cost > cost.amount:
        spent = amount(spent_cost(counts), cost.currency, like=need.cost)
        estimate = f", by estimate {amount(need.cost, cost.currency)},"
        return _Passed("max_cost", cost, f"{spent} spent", estimate)
    if tokens is not None and spent_tokens(counts) + need.tokens > tokens:
        estimate = f", by estimate {need.tokens:,.0f},"
        return _Passed(
            "max_tokens", f"{tokens:,}", f"{spent_tokens(counts):,} tokens used", estimate
        )
    answers = limits.max_answers if isinstance(limits, MonthConfig) else None
    if answers is not None and spent_answers(counts) + need.answers > answers:
        return _Passed("max_answers", f"{answers:,}", f"{spent_answers(counts):,} answers paid for")
    return None


def _wait_or_raise(found: _Passed, month: Month) -> str:
    return (
        f"the first night of {month.following} asks for what is left; or "
        f"{raise_it(f'month.{found.key}')}"
    )


def _doubted(counts: Counts) -> str:
    """What of it may turn out not to be on the bill."""
    return f" ({in_doubt(counts)}, included)" if counts.in_doubt else ""


def raise_it(key: str) -> str:
    """What to do about a limit that was reached."""
    return f"raise it with: omni-batch resume … --set budget.{key}=…"
