"""What the rows of a run will take: tokens, money, time. Pure."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from omni_batch import format as fmt
from omni_batch.config import BudgetConfig, MonthConfig
from omni_batch.counts import Counts
from omni_batch.doubts import Doubt
from omni_batch.planning.earlier_answers import EarlierAnswers
from omni_batch.planning.plan import Plan
from omni_batch.progress.spending.budget import Month, spent_answers, spent_cost, spent_tokens
from omni_batch.progress.spending.estimates import TokenEstimates, answers_like, cost_of_work
from omni_batch.progress.spending.workload import Group, Range, Workload

Groups = dict[Group, Workload]
_GUESS = "a guess: no earlier run of this config"


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of all rows that would be sent."""

    items: int
    tokens: Range
    """Prompts and answers together."""
    completion_tokens: Range
    cost: Range | None
    """None without a price, or with several currencies."""
    currency: str | None
    estimated_by: str
    """What the lengths of answers are estimated by."""
    shortest_time_s: float | None
    """Under the quota; None where none is known."""


def forecast(
    plan: Plan, work_of: Mapping[str | None, Groups], earlier: EarlierAnswers | None
) -> Forecast:
    """What some variants take together, or a run without any.

    Args:
        work_of: by variant.
        earlier: answers of runs with the same config.
    """
    estimates = TokenEstimates(earlier.bills if earlier else ())
    items, guessed = 0, 0
    tokens, completion, cost = Range(), Range(), Range()
    of_model: dict[str, _Load] = {}
    for variant, group, work in _flat(work_of):
        bills = earlier.of(variant) if earlier else ()
        known = answers_like(bills, work.items, spoken=group[1])
        answers = known or work.answers
        group_tokens, group_cost = _bill(plan, estimates, group, work, answers)
        tokens, cost, completion = tokens + group_tokens, cost + group_cost, completion + answers
        items, guessed = items + work.items, guessed + (0 if known else work.items)
        model = plan.endpoint(group[0]).config.model
        of_model[model] = of_model.get(model, _Load()).plus(work.items, group_tokens.likely)
    priced = bool(items) and len(plan.currencies) == 1 and _all_priced(plan, work_of)
    return Forecast(
        items=items,
        tokens=tokens,
        completion_tokens=completion,
        cost=cost if priced else None,
        currency=plan.currencies[0] if priced else None,
        estimated_by=_basis(earlier, items, guessed),
        shortest_time_s=_shortest_time_s(plan, of_model),
    )


def _bill(
    plan: Plan, estimates: TokenEstimates, group: Group, work: Workload, answers: Range
) -> tuple[Range, Range]:
    """Tokens and money of one group, for short, likely and long answers."""
    endpoint, spoken = group
    pricing = plan.pricing(endpoint, spoken=spoken)
    lengths = (answers.low, answers.likely, answers.high)
    bills = [cost_of_work(estimates, work, length, pricing) for length in lengths]
    return Range(*(tokens for tokens, _ in bills)), Range(*(cost for _, cost in bills))


def budget_doubts(
    budget: BudgetConfig, expected: Forecast, month: Month | None = None
) -> Iterator[Doubt]:
    """Where the budget will not do.

    Args:
        month: what was spent in this one so far.
    """
    yield from _limit_doubts(budget, expected, "budget", Counts())
    if budget.month is None or month is None:
        return
    yield from _limit_doubts(budget.month, expected, "budget.month", month.spent)
    if (most := budget.month.max_answers) is not None:
        left = max(0, most - spent_answers(month.spent))
        name = f"what is left of budget.month.max_answers {most:,}, {left:,},"
        items = Range(*(3 * [float(expected.items)]))
        yield from _passes(name, left, items, lambda rows: f"{rows:,.0f} rows", expected.items)


def _limit_doubts(
    limits: BudgetConfig | MonthConfig, expected: Forecast, group: str, spent: Counts
) -> Iterator[Doubt]:
    rest = "what is left of " if isinstance(limits, MonthConfig) else ""
    limit = limits.max_cost
    if limit is not None and expected.cost is not None:
        currency = expected.currency or ""
        yield from _passes(
            f"{rest}{group}.max_cost {limit}",
            max(0.0, limit.amount - spent_cost(spent)),
            expected.cost,
            lambda cost: fmt.estimate(cost, cost, currency),
            expected.items,
        )
    if limits.max_tokens is not None:
        yield from _passes(
            f"{rest}{group}.max_tokens {limits.max_tokens:,}",
            max(0, limits.max_tokens - spent_tokens(spent)),
            expected.tokens,
            lambda tokens: fmt.estimate(tokens, tokens, "tokens"),
            expected.items,
        )


def _passes(
    name: str, limit: float, expected: Range, shown: Callable[[float], str], items: int
) -> Iterator[Doubt]:
    stops = "then the run stops, and resume continues it with a higher limit"
    if expected.likely > limit:
        rows = math.floor(items * limit / expected.likely)
        message = (
            f"the estimate, {shown(expected.likely)}, passes {name}: about "
            f"{fmt.estimate(rows, rows).removeprefix('about ')} of {items:,} rows will be sent; "
            f"{stops}"
        )
        yield Doubt("estimate-passes-budget", message)
    elif expected.high > limit:
        message = f"the estimate, up to {shown(expected.high)}, may pass {name}; {stops}"
        yield Doubt("estimate-may-pass-budget", message)


def _flat(work_of: Mapping[str | None, Groups]) -> Iterator[tuple[str | None, Group, Workload]]:
    for variant, groups in work_of.items():
        for group, work in groups.items():
            yield variant, group, work


def _all_priced(plan: Plan, work_of: Mapping[str | None, Groups]) -> bool:
    return all(
        plan.pricing(endpoint, spoken=spoken).price is not None
        for _, (endpoint, spoken), _ in _flat(work_of)
    )


def _basis(earlier: EarlierAnswers | None, items: int, guessed: int) -> str:
    if earlier is None or guessed == items:
        return _GUESS
    known = f"by {len(earlier.bills):,} answers up to run {earlier.run_id}"
    return f"{known}; {guessed:,} rows are a guess" if guessed else known


@dataclass(frozen=True, slots=True)
class _Load:
    """What one model has to answer."""

    items: int = 0
    tokens: float = 0.0

    def plus(self, items: int, tokens: float) -> "_Load":
        return _Load(self.items + items, self.tokens + tokens)


def _shortest_time_s(plan: Plan, loads: Mapping[str, _Load]) -> float | None:
    """Until the last model has answered; each has limits of its own."""
    bounds_s: list[float] = []
    for model, load in loads.items():
        quotas = [each.quota for each in plan.endpoints if each.config.model == model]
        bounds_s += _shortest_times_s(load.items, [each.requests_per_minute for each in quotas])
        bounds_s += _shortest_times_s(load.tokens, [each.tokens_per_minute for each in quotas])
    return max(bounds_s, default=None)


def _shortest_times_s(used: float, limits: Sequence[float | None]) -> Iterator[float]:
    """With all endpoints used to the full; nothing where no limit is known, 0 where one is not."""
    if known := [limit for limit in limits if limit]:
        yield 60 * used / sum(known) if len(known) == len(limits) else 0.0
