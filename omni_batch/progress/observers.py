"""Hooks of a run, for logs and telemetry. A failing observer never ends the run."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from omni_batch.store.record import RunRecord
from omni_batch.types import Attempt, Item, Result

log = logging.getLogger("omni_batch")


class Observer(Protocol):
    """Wants to know. Called in the event loop, so it must be quick."""

    def on_attempt_end(self, item: Item, attempt: Attempt) -> None:
        """One HTTP exchange has ended."""

    def on_item_end(self, result: Result) -> None:
        """An item has its result, or was left without one because the run stops."""

    def on_snapshot(self, before: RunRecord, now: RunRecord) -> None:
        """A second has passed, or the run has begun or ended."""


@dataclass(frozen=True, slots=True)
class Observers:
    """All of a run's observers as one."""

    observers: tuple[Observer, ...] = ()

    def on_attempt_end(self, item: Item, attempt: Attempt) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.on_attempt_end(item, attempt))

    def on_item_end(self, result: Result) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.on_item_end(result))

    def on_snapshot(self, before: RunRecord, now: RunRecord) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.on_snapshot(before, now))

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for observer in self.observers:
            try:
                tell(observer)
            except Exception:  # a bug of an observer costs neither a row nor the batch
                log.exception("%s failed; the run goes on", type(observer).__name__)
