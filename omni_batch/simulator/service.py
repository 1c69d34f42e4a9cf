"""What the requests of one simulator have in common."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from omni_batch.simulator.dialects import BY_NAME, Dialect
from omni_batch.simulator.options import SimulatorOptions
from omni_batch.simulator.quota import Growth, Quota
from omni_batch.simulator.uploads import Uploads


@dataclass(slots=True)
class Service:
    """Options in force, and all that they were made into."""

    options: SimulatorOptions
    dialect: Dialect = field(init=False)
    quota: Quota = field(init=False)
    growth: Growth = field(init=False)
    uploads: Uploads = field(default_factory=Uploads)
    waiting: Counter[str] = field(default_factory=Counter)
    """Requests that wait in Batch Chat, by model."""

    def __post_init__(self) -> None:
        self._limit()
        self.dialect = BY_NAME[self.options.dialect](self.options)

    def change(self, options: SimulatorOptions) -> None:
        """Take other options from the next request on; limits begin anew if they change."""
        before, self.options = self.options, options
        if _limits(before) != _limits(options):
            self._limit()
        self.dialect = BY_NAME[options.dialect](options)

    def _limit(self) -> None:
        options = self.options
        self.quota = Quota(options.requests_per_minute, options.tokens_per_minute)
        self.growth = Growth(options.burst_growth_per_s)


def _limits(options: SimulatorOptions) -> tuple[float | None, ...]:
    return options.requests_per_minute, options.tokens_per_minute, options.burst_growth_per_s
