"""How far a run has come, and where it is going. What run.json holds of a run under way."""

from collections import Counter
from typing import Any

import msgspec


class Counts(msgspec.Struct, frozen=True):
    """What was done. Two of them add up: an item, an attempt or a table counts like a run."""

    succeeded: int = 0
    failed: int = 0
    reused: int = 0
    """Of those that succeeded: answers that an earlier run has paid for."""
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    audio_s: float = 0.0
    cost: float = 0.0
    estimated_tokens: int = 0
    """Of attempts that were cut before their usage came."""
    estimated_cost: float = 0.0
    """The same as money; not in `cost`."""
    elapsed_s: float = 0.0
    """Working time of all processes that worked on the run."""
    currency: str | None = None
    failures: dict[str, int] = {}
    """Items that failed, by the kind of their error."""

    @property
    def done(self) -> int:
        """Items with a result."""
        return self.succeeded + self.failed

    @property
    def spent(self) -> float:
        """Money, with what cut attempts may have cost."""
        return self.cost + self.estimated_cost

    def __add__(self, more: "Counts") -> "Counts":
        failures = self.failures
        if more.failures:
            failures = dict(Counter(failures) + Counter(more.failures))
        sums: dict[str, Any] = {name: getattr(self, name) + getattr(more, name) for name in _SUMS}
        return Counts(**sums, currency=more.currency or self.currency, failures=failures)


_SUMS = tuple(name for name in Counts.__struct_fields__ if name not in ("currency", "failures"))


class Projection(msgspec.Struct, frozen=True):
    """How fast a run goes, and what it comes to. None: nothing is known yet."""

    items_per_minute: float | None = None
    """Over the last minute of this process."""
    mean_items_per_minute: float | None = None
    """Over all of this process."""
    left_s: float | None = None
    """Until the run ends."""
    cost: float | None = None
    """Of the whole run, with what cut attempts may cost."""
