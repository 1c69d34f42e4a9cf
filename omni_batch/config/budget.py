"""`budget`: when to stop spending."""

import math
import re
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from omni_batch.config.frozen import Frozen, matching

_COST = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?: +([A-Za-z]{3}))?")
_AMOUNT = "an amount above 0, such as 5 USD"


@dataclass(frozen=True, slots=True)
class CostLimit:
    """An amount of money: `5 USD`, or `5` where the endpoints are paid in one currency."""

    amount: float
    currency: str | None = None
    """ISO 4217."""

    def __str__(self) -> str:
        return f"{self.amount:.12g} {self.currency}" if self.currency else f"{self.amount:.12g}"

    @classmethod
    def of(cls, value: Any) -> Any:
        """Read what a config holds; ValueError where it is no amount above 0."""
        if value is None or isinstance(value, cls):
            return value
        number = isinstance(value, int | float) and not isinstance(value, bool)
        found = _COST.fullmatch(value.strip()) if isinstance(value, str) else None
        amount = float(found[1]) if found else float(value) if number else math.nan
        if not 0 < amount < math.inf:
            raise ValueError(f"must be {_AMOUNT}")
        return cls(amount, found[2].upper() if found and found[2] else None)

    def kept(self) -> str | float:
        """As a config holds it."""
        return str(self) if self.currency else self.amount


Cost = Annotated[
    CostLimit | None,
    BeforeValidator(CostLimit.of),
    PlainSerializer(lambda limit: limit and limit.kept()),
    WithJsonSchema(
        {
            "anyOf": [
                matching(rf"^\s*(?=[^eE]*[1-9]){_COST.pattern}\s*$", f"anything but {_AMOUNT}"),
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "null"},
            ]
        }
    ),
]
"""An amount with its currency, such as 5 USD; without one it is the endpoint's."""


class MonthConfig(Frozen):
    """What all runs of a config may spend that begin in one calendar month. None: no limit."""

    max_cost: Cost = None
    max_tokens: int | None = Field(default=None, gt=0)
    max_answers: int | None = Field(default=None, gt=0)
    """Answers that are paid for, whatever becomes of them."""


class BudgetConfig(Frozen):
    """When to stop spending. None: no limit."""

    max_cost: Cost = None
    max_tokens: int | None = Field(default=None, gt=0)
    max_failure_rate: float | None = Field(default=None, gt=0, le=1)
    """Share of failed items, judged after the first 50."""
    unbilled_media: Literal["stop", "warn"] = "stop"
    """What to do where the service bills rows as if their media had not been there."""
    month: MonthConfig | None = None

    @property
    def costs(self) -> dict[str, CostLimit]:
        """Its limits of cost, by their keys."""
        limits = {
            "budget.max_cost": self.max_cost,
            "budget.month.max_cost": self.month and self.month.max_cost,
        }
        return {key: limit for key, limit in limits.items() if limit}

    def in_currency(self, currency: str) -> "BudgetConfig":
        """The same, with its limits of cost in a currency."""
        month = self.month and self.month.model_copy(
            update={"max_cost": _in(self.month.max_cost, currency)}
        )
        return self.model_copy(update={"max_cost": _in(self.max_cost, currency), "month": month})


def _in(limit: CostLimit | None, currency: str) -> CostLimit | None:
    return limit and replace(limit, currency=currency)
