"""How a job of a Batch API stands. What run.json holds of it."""

from datetime import datetime

import msgspec


class JobStatus(msgspec.Struct, frozen=True):
    """One job: a file of requests that the service works on when it has time."""

    number: int
    """Of the run, from 1."""
    endpoint: str
    status: str
    """The service's own word; before it has one: written, uploaded, creating."""
    lines: int
    """Requests in it."""
    id: str | None = None
    """The service's; None before it is made."""
    completed: int = 0
    failed: int = 0
    """Requests, as the service counts them."""
    since: datetime | None = None
    """When it was made."""
    until: datetime | None = None
    """When its window ends."""
    changed_at: datetime | None = None
    """When its state or its counts last changed."""
    settled: bool = False
    """All its answers are in the journals, or were given up."""
