"""What each partition may spend, so that all of them stay within what the run may. Pure.

What is left of a limit is shared by the rows that are left. A partition whose rows cost more than
others' may come to its share before the run has come to its limit; `resume` shares out what is left
anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

from omni_batch.config import BudgetConfig, Config, MonthConfig, QuotaConfig
from omni_batch.config.budget import CostLimit
from omni_batch.counts import Counts
from omni_batch.errors import ConfigError
from omni_batch.fleet.split import PartWork
from omni_batch.progress.spending.budget import spent_answers, spent_cost, spent_tokens

_LEAST = 1e-9


def configs_of(config: Config, parts: Sequence[PartWork], elsewhere: Counts) -> list[Config]:
    """The configuration of each partition.

    Args:
        elsewhere: what other runs have spent of the month's budget.

    Raises:
        ConfigError: a limit has nothing to give to one of them.
    """
    if len(parts) == 1:
        return [config]
    return [
        config.model_copy(
            update={
                "budget": _budget(config.budget, parts, number, elsewhere),
                "quota": _quota(config.quota, number, len(parts)),
                "endpoints": config.endpoints
                and tuple(
                    one.model_copy(
                        update={"quota": one.quota and _quota(one.quota, number, len(parts))}
                    )
                    for one in config.endpoints
                ),
            }
        )
        for number in range(len(parts))
    ]


def _quota(quota: QuotaConfig, number: int, of: int) -> QuotaConfig:
    """Rates are those of the account, which partitions share by turns."""
    most = quota.max_in_flight
    if most is None:
        return quota
    if most < of:
        raise ConfigError(
            f"quota.max_in_flight = {most} is fewer than {of} workers; use fewer of them"
        )
    own = (number + 1) * most // of - number * most // of
    return quota.model_copy(update={"max_in_flight": own})


def _budget(
    budget: BudgetConfig, parts: Sequence[PartWork], number: int, elsewhere: Counts
) -> BudgetConfig:
    shared = _Shared(parts, number)
    return budget.model_copy(
        update={
            "max_cost": shared.cost(budget.max_cost, Counts()),
            "max_tokens": shared.whole("max_tokens", budget.max_tokens, spent_tokens, Counts()),
            "month": budget.month and _month(budget.month, shared, elsewhere),
        }
    )


def _month(month: MonthConfig, shared: "_Shared", elsewhere: Counts) -> MonthConfig:
    updates: dict[str, Any] = {
        "max_cost": shared.cost(month.max_cost, elsewhere),
        "max_tokens": shared.whole("month.max_tokens", month.max_tokens, spent_tokens, elsewhere),
        "max_answers": shared.whole(
            "month.max_answers", month.max_answers, spent_answers, elsewhere
        ),
    }
    return month.model_copy(update=updates)


class _Shared:
    """The share of one partition."""

    def __init__(self, parts: Sequence[PartWork], number: int) -> None:
        self._run = sum((part.counts for part in parts), Counts())
        self._own, self._parts, self._number = parts[number].counts, len(parts), number
        rows = [part.open_rows for part in parts]
        self._has_work = rows[number] > 0
        whole = sum(rows) or 1
        self._marks = list(pairwise([0.0, *(passed / whole for passed in accumulate(rows))]))

    def cost(self, limit: CostLimit | None, elsewhere: Counts) -> CostLimit | None:
        if limit is None:
            return None
        left = max(0.0, limit.amount - spent_cost(elsewhere) - spent_cost(self._run))
        begin, end = self._marks[self._number]
        own = spent_cost(elsewhere) + spent_cost(self._own) + left * (end - begin)
        return replace(limit, amount=max(_LEAST, own))

    def whole(
        self, key: str, limit: int | None, spent: Callable[[Counts], int], elsewhere: Counts
    ) -> int | None:
        if limit is None:
            return None
        left = max(0, limit - spent(elsewhere) - spent(self._run))
        begin, end = self._marks[self._number]
        own = spent(elsewhere) + spent(self._own) + int(left * end) - int(left * begin)
        if own < 1 and self._has_work:
            raise ConfigError(
                f"budget.{key} = {limit:,} leaves {left:,} for {self._parts} workers; raise it, or "
                "use fewer of them"
            )
        return max(1, own)  # a limit is above 0
