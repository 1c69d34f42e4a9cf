"""What the requests of one simulator have in common."""

from collections import Counter, deque
from collections.abc import Mapping

from omni_batch.simulator.api.upload_store import UploadStore
from omni_batch.simulator.checks.quota import BurstLimit, Quota
from omni_batch.simulator.dialects import BY_NAME
from omni_batch.simulator.metrics import Metrics
from omni_batch.simulator.options import SimulatorOptions
from omni_batch.simulator.reply import Reply


class Service:
    """Options in force, what they were made into, and what has happened so far."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.dialect = BY_NAME[options.dialect](options)
        self.metrics = Metrics(options.keep_requests)
        self.upload_store = UploadStore()
        self.script: deque[Reply] = deque()
        """Thread safe by itself: replies are appended at one end and popped at the other."""
        self.waiting: Counter[str] = Counter()
        """Requests that wait in Batch Chat, by model."""
        self._set_limits()

    def change(self, changes: Mapping[str, object]) -> None:
        """Take other options from the next request on; limits begin anew if they change.

        Raises:
            ValueError: as `SimulatorOptions.changed`.
        """
        before, self.options = self.options, self.options.changed(changes)
        if _limits(before) != _limits(self.options):
            self._set_limits()
        self.dialect = BY_NAME[self.options.dialect](self.options)

    def _set_limits(self) -> None:
        requests, tokens, window, burst, growth_per_s = _limits(self.options)
        self.quota = Quota(requests, tokens, window, burst)
        self.burst_limit = BurstLimit(growth_per_s)


_Limits = tuple[float | None, float | None, str, float | None, float | None]


def _limits(options: SimulatorOptions) -> _Limits:
    counted = options.requests_per_minute, options.tokens_per_minute, options.window, options.burst
    return *counted, options.burst_growth_per_s
