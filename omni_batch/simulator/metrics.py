"""Which requests arrived and how they ended; written by the server's thread, read by any other."""

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Literal


@dataclass(frozen=True, slots=True)
class Recorded:
    """One chat request as it arrived."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, object]
    """Empty when the body was not a JSON object."""
    arrived_at_s: float
    """On the clock of time.monotonic."""


@dataclass(frozen=True, slots=True)
class Counters:
    """How many chat requests there were, by outcome; a snapshot."""

    requests: int
    succeeded: int
    """Sent to the last byte without a fault."""
    refused: Mapping[str, int]
    """By error code, quota and scripted statuses included."""
    faults: Mapping[str, int]
    """By kind."""
    scripted: int
    """Answered with scripted raw frames."""
    abandoned: int
    """The client hung up first."""
    in_flight: int
    peak_in_flight: int
    uploads: int
    """Upload policies that were given out."""
    stored: int
    """Files that were uploaded."""


_COUNTS = [counter.name for counter in fields(Counters) if counter.type is int]


@dataclass(slots=True)
class Outcome:
    """How one request ended; filled in while it is answered. One without a result was abandoned."""

    ordinal: int
    """1 for the first request."""
    succeeded: bool = False
    scripted: bool = False
    refused: str | None = None
    fault: str | None = None
    is_counted: bool = False
    is_finished: bool = False


class Metrics:
    """Counts outcomes and keeps the latest requests."""

    def __init__(self, keep_requests: int) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Recorded] = deque(maxlen=keep_requests)
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._refused: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()

    @contextmanager
    def track(
        self, path: str, headers: dict[str, str], body: dict[str, object]
    ) -> Iterator[Outcome]:
        """Count a request in, and finish it at the latest when the block is left."""
        with self._lock:
            counts = self._counts
            counts["requests"] += 1
            counts["in_flight"] += 1
            counts["peak_in_flight"] = max(counts["peak_in_flight"], counts["in_flight"])
            self._kept.append(Recorded(path, headers, body, time.monotonic()))
            outcome = Outcome(counts["requests"])
        try:
            yield outcome
        finally:
            self.finish(outcome)

    def count(self, outcome: Outcome) -> None:
        """Count an outcome, once."""
        with self._lock:
            if outcome.is_counted:
                return
            outcome.is_counted = True
            if outcome.fault:
                self._faults[outcome.fault] += 1
            elif outcome.refused:
                self._refused[outcome.refused] += 1
            else:
                ended = "succeeded" if outcome.succeeded else "abandoned"
                self._counts["scripted" if outcome.scripted else ended] += 1

    def finish(self, outcome: Outcome) -> None:
        """Count an outcome, and its request as no longer in flight, once.

        Called before the last byte goes out, so a client that has read its reply finds it counted.
        """
        self.count(outcome)
        with self._lock:
            self._counts["in_flight"] -= not outcome.is_finished
            outcome.is_finished = True

    def count_upload(self, event: Literal["uploads", "stored"]) -> None:
        """One upload policy more was given out, or one file more was stored."""
        with self._lock:
            self._counts[event] += 1

    @property
    def requests(self) -> list[Recorded]:
        """The latest requests, oldest first."""
        with self._lock:
            return list(self._kept)

    @property
    def counters(self) -> Counters:
        """The counts of this moment."""
        with self._lock:
            refused, faults = dict(self._refused), dict(self._faults)
            return Counters(**self._counts, refused=refused, faults=faults)
