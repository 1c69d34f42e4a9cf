"""How far a run has come, what it took, and where it is going, as run.json holds it.

These are the figures of a run. Every surface (terminal, report, SQL, Prefect's pages, dataset
cards) renders them and computes none of them again.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

Money = dict[str, float]
"""Amount by currency (ISO 4217). Amounts of different currencies are never added."""


class Counts(msgspec.Struct, frozen=True):
    """What was done. Two of them add up: an item, an attempt or a table counts like a run.

    Items and speech are those of results. Requests, tokens and money are those of attempts: a
    failed attempt may be on the bill as well, and an answer that an earlier run has paid for, or
    another row of this one, is not.
    """

    succeeded: int = 0
    failed: int = 0
    reused: int = 0
    """Of those that succeeded: answers that an earlier run has paid for, or another row of this
    one."""
    requests: int = 0
    answers: int = 0
    """Requests that were answered in full: they are on the bill, whatever became of the item."""
    retries: int = 0
    rate_limited: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    audio_s: float = 0.0
    """Speech, without that of reused answers."""
    cost: Money = {}
    """By the bill; empty where no price is known."""
    estimated_tokens: int = 0
    """Of attempts without a bill: cut before their usage came, or in doubt."""
    estimated_cost: Money = {}
    """The same as money; not in `cost`."""
    in_doubt: int = 0
    """Requests that were sent and whose process died before they ended."""
    in_doubt_tokens: int = 0
    """At most for these; part of `estimated_tokens`."""
    in_doubt_cost: Money = {}
    """The same as money; part of `estimated_cost`."""
    elapsed_s: float = 0.0
    """Working time of all processes that worked on the run."""
    failures: dict[str, int] = {}
    """Items that failed, by the kind of their error."""

    @property
    def done(self) -> int:
        """Items with a result."""
        return self.succeeded + self.failed

    @property
    def spent(self) -> Money:
        """Money, with what attempts without a bill may have cost."""
        return add_money(self.cost, self.estimated_cost)

    @property
    def unbilled_tokens(self) -> int:
        """By estimate, of attempts that ended without a bill."""
        return self.estimated_tokens - self.in_doubt_tokens

    @property
    def unbilled_cost(self) -> Money:
        """The same as money."""
        less = {currency: -amount for currency, amount in self.in_doubt_cost.items()}
        rest = add_money(self.estimated_cost, less)
        return {currency: left for currency, left in rest.items() if left > _NOISE}

    def __add__(self, more: "Counts") -> "Counts":
        failures = self.failures
        if more.failures:
            failures = dict(Counter(failures) + Counter(more.failures))
        sums: dict[str, Any] = {name: getattr(self, name) + getattr(more, name) for name in _SUMS}
        return Counts(
            **sums,
            cost=add_money(self.cost, more.cost),
            estimated_cost=add_money(self.estimated_cost, more.estimated_cost),
            in_doubt_cost=add_money(self.in_doubt_cost, more.in_doubt_cost),
            failures=failures,
        )


_NOISE = 1e-9  # sums of fractions leave a rest
_APART = ("cost", "estimated_cost", "in_doubt_cost", "failures")
_SUMS = tuple(name for name in Counts.__struct_fields__ if name not in _APART)


def add_money(one: Money, other: Mapping[str, float]) -> Money:
    """The sum, currency by currency."""
    if not other:
        return one
    return one | {currency: one.get(currency, 0.0) + amount for currency, amount in other.items()}


class Projection(msgspec.Struct, frozen=True):
    """How fast a run goes, and what it comes to. None or empty: nothing is known yet."""

    items_per_minute: float | None = None
    """Over the last minute of this process."""
    mean_items_per_minute: float | None = None
    """Over all of this process."""
    left_s: float | None = None
    """Until the run ends."""
    cost: Money = {}
    """Of the whole run, with what attempts without a bill may cost."""
