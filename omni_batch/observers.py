"""Who is told what happens in a run: logs and telemetry. None of them can end it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from omni_batch.rundir.record import RunRecord
from omni_batch.types import Attempt, Item, Result

log = logging.getLogger("omni_batch")


class Observer(Protocol):
    """Wants to know. Called in the event loop, so it must be quick."""

    def attempted(self, item: Item, attempt: Attempt) -> None:
        """One HTTP exchange has ended."""

    def ended(self, result: Result) -> None:
        """An item has its result, or was left without one because the run stops."""

    def saw(self, before: RunRecord, now: RunRecord) -> None:
        """A second has passed, or the run has begun or ended."""


@dataclass(frozen=True, slots=True)
class Observers:
    """All of a run's observers as one."""

    observers: tuple[Observer, ...] = ()

    def attempted(self, item: Item, attempt: Attempt) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.attempted(item, attempt))

    def ended(self, result: Result) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.ended(result))

    def saw(self, before: RunRecord, now: RunRecord) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.saw(before, now))

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for observer in self.observers:
            try:
                tell(observer)
            except Exception:  # a bug of an observer costs neither a row nor the batch
                log.exception("%s failed; the run goes on", type(observer).__name__)
