"""What came in and how it ended; written by the server's thread, read by any other."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recorded:
    """One chat request as it arrived."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, object]
    """Empty when the body was no JSON object."""
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
    uploads: int = 0
    """Upload policies that were given out."""
    stored: int = 0
    """Files that were uploaded."""


class Outcome:
    """How one request ended; filled in while it is answered."""

    def __init__(self, books: Books, ordinal: int) -> None:
        self.ordinal = ordinal
        """1 for the first request."""
        self.succeeded = self.scripted = False
        self.refused: str | None = None
        self.fault: str | None = None
        self._books = books
        self._counted = self._left = False

    def count(self) -> None:
        """Enter the outcome into the books, once."""
        if not self._counted:
            self._counted = True
            self._books.count(self)

    def settle(self) -> None:
        """Enter the outcome and leave the flight, once.

        Called before the last byte goes out, so a client that has read its reply finds it counted.
        """
        self.count()
        if not self._left:
            self._left = True
            self._books.leave()


class Books:
    """Counts outcomes and keeps the latest requests."""

    def __init__(self, keep_requests: int) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Recorded] = deque(maxlen=keep_requests)
        self._requests = self._in_flight = self._peak = 0
        self._succeeded = self._scripted = self._abandoned = 0
        self._uploads = self._stored = 0
        self._refused: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()

    @contextmanager
    def open(
        self, path: str, headers: dict[str, str], body: dict[str, object]
    ) -> Iterator[Outcome]:
        """Count a request in, and settle it at the latest when the block is left."""
        with self._lock:
            self._requests += 1
            self._in_flight += 1
            self._peak = max(self._peak, self._in_flight)
            self._kept.append(Recorded(path, headers, body, time.monotonic()))
            outcome = Outcome(self, self._requests)
        try:
            yield outcome
        finally:
            outcome.settle()

    def count(self, outcome: Outcome) -> None:
        """Count an outcome; one that says nothing is a client that hung up."""
        with self._lock:
            if outcome.fault:
                self._faults[outcome.fault] += 1
            elif outcome.refused:
                self._refused[outcome.refused] += 1
            elif outcome.scripted:
                self._scripted += 1
            elif outcome.succeeded:
                self._succeeded += 1
            else:
                self._abandoned += 1

    def count_upload(self) -> None:
        """One upload policy more was given out."""
        with self._lock:
            self._uploads += 1

    def count_stored(self) -> None:
        """One file more was uploaded."""
        with self._lock:
            self._stored += 1

    def leave(self) -> None:
        """One request less is in flight."""
        with self._lock:
            self._in_flight -= 1

    @property
    def requests(self) -> list[Recorded]:
        """The latest requests, oldest first."""
        with self._lock:
            return list(self._kept)

    @property
    def counters(self) -> Counters:
        """The counts of this moment."""
        with self._lock:
            return Counters(
                requests=self._requests,
                succeeded=self._succeeded,
                refused=dict(self._refused),
                faults=dict(self._faults),
                scripted=self._scripted,
                abandoned=self._abandoned,
                in_flight=self._in_flight,
                peak_in_flight=self._peak,
                uploads=self._uploads,
                stored=self._stored,
            )
