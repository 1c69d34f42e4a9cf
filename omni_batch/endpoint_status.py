"""How an endpoint is used, what was learned of its limits, how its jobs stand. What run.json holds
of them.
"""

from datetime import datetime
from typing import Literal

import msgspec

Held = Literal["requests", "tokens", "pause", "ramp", "outage", "turn", "in_flight", "media"]
"""What the next request waits for: a limit; a pause after a refusal; the rate to rise; an endpoint
that is down; another run's turn; an answer under way to end; its own media."""


class Learned(msgspec.Struct, frozen=True):
    """What a run learned about an endpoint's limits; None where what is stated holds."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    burst_doubling_s: float | None = None
    """Seconds in which the rate of starts may double."""
    at: datetime | None = None
    """When it was last found to hold."""
    handed_on: bool = False
    """An earlier run learned it, and this one has not found out anything else."""


class LimitsInForce(msgspec.Struct, frozen=True):
    """The limits that held from a moment on; None: none was known."""

    since: datetime
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


class EndpointStatus(msgspec.Struct, frozen=True):
    """How an endpoint is used at a moment."""

    name: str
    requests_per_minute: float | None = None
    """The limit in force: stated or learned; None: none is known."""
    tokens_per_minute: float | None = None
    requests_last_minute: int = 0
    tokens_last_minute: float = 0.0
    in_flight: int = 0
    waiting: int = 0
    paused_s: float = 0.0
    """Until requests start again, as the service wants it."""
    paused_after_429: bool = False
    """It refused a request; False: it said that nothing is left of a limit."""
    down_s: float = 0.0
    """How long it has not answered."""
    rate_limited: dict[str, int] = {}
    """Answers of 429 by the limit they named."""
    closed: str | None = None
    """Why it is no longer used."""
    learned: Learned = Learned()
    stated_requests_per_minute: float | None = None
    stated_tokens_per_minute: float | None = None
    """By the configuration or the catalogue."""
    held_by: Held | None = None
    """What the next request waits for at this moment; None: it does not."""
    held_s: dict[str, float] = {}
    """How long requests have waited for what, by `Held`."""
    defaults: tuple[str, ...] = ()
    """Which of the stated numbers are the catalogue's, by their names in the configuration."""
    limits: tuple[LimitsInForce, ...] = ()
    """What was in force over time, the oldest first."""


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
