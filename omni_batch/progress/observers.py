"""Hooks of a run, for logs and telemetry. A failing observer never ends the run."""

import logging
from collections.abc import Callable
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


Observers = tuple[Observer, ...]


def tell(observers: Observers, news: Callable[[Observer], None]) -> None:
    """Call a hook of each, such as `lambda observer: observer.on_item_end(result)`."""
    for observer in observers:
        try:
            news(observer)
        except Exception:  # a bug of an observer costs neither a row nor the batch
            log.exception("%s failed; the run goes on", type(observer).__name__)
