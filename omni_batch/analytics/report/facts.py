"""What a report says of a run. Made once by `collect`, frozen, and handed to page and terminal."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from omni_batch.counts import Counts
from omni_batch.doubts import DoubtGroup
from omni_batch.store import RunRecord


@dataclass(frozen=True, slots=True)
class Group:
    """What the items and attempts of one modality, model or endpoint came to."""

    name: str
    counts: Counts
    """Without `elapsed_s` and `failures`."""

    @property
    def tokens(self) -> int:
        """Billed in and out."""
        return self.counts.prompt_tokens + self.counts.completion_tokens


@dataclass(frozen=True, slots=True)
class TokenKind:
    """Billed tokens of one kind, as the service breaks them down."""

    name: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a histogram."""

    start: float
    end: float
    count: int


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How a quantity is spread; exact, between two values by their straight line."""

    count: int
    p10: float
    p50: float
    p90: float
    p99: float
    largest: float


@dataclass(frozen=True, slots=True)
class ResponseTime:
    """How long answered requests took at one endpoint."""

    what: str
    """`first event` or `whole exchange`."""
    endpoint: str
    seconds: Percentiles
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class TimeBucket:
    """One stretch of the run's time."""

    start: datetime
    end: datetime
    answered: int
    """At the first attempt."""
    retried: int
    """Answered at a later attempt."""
    rate_limited: int
    broken: int
    """Failed in another way."""
    requests_per_minute: float
    """Sent in the minute up to `end`; the mean of the stretch where it is longer than a minute."""
    tokens_per_minute: float


@dataclass(frozen=True, slots=True)
class LimitStep:
    """The limit of all endpoints together from a moment on; None: none was known."""

    since: datetime
    per_minute: float | None


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """One limit and how much of it was used."""

    what: str
    """`requests` or `tokens`."""
    limits: tuple[LimitStep, ...]
    """In force over time, the oldest first."""
    mean_per_minute: float | None
    """From the first start to the last; None for a single request."""
    used: float | None
    """Share (0 to 1) of what the limits allowed in that time; None where none is known."""
    peak_per_minute: float
    """Of the busiest minute."""
    peak_used: float | None
    """Share of what the limits allowed in that minute."""
    is_brief: bool = False
    """All requests started within less than a minute, so that no minute was the busiest."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Prompt tokens of one modality: estimated before sending, and billed."""

    modality: str
    estimated_tokens: int
    billed_tokens: int
    ratio: Percentiles
    """Billed over estimated, item by item."""


@dataclass(frozen=True, slots=True)
class Example:
    """One failed item."""

    item_id: str
    request_id: str | None
    message: str


@dataclass(frozen=True, slots=True)
class FailurePattern:
    """Failures that read the same but for names and numbers."""

    pattern: str
    items: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class FailureKind:
    """All failed items of one error kind."""

    kind: str
    items: int
    remedy: str
    patterns: tuple[FailurePattern, ...]
    """The most frequent first."""

    @property
    def other_items(self) -> int:
        """Failed with messages that are not listed."""
        return self.items - sum(pattern.items for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Requests that ended the same way at one endpoint."""

    endpoint: str
    outcome: str
    """`answered` or an error kind."""
    requests: int


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything but the single items. Totals are `record.counts`; all else breaks them down."""

    record: RunRecord
    modalities: tuple[Group, ...]
    models: tuple[Group, ...]
    endpoints: tuple[Group, ...]
    token_kinds: tuple[TokenKind, ...]
    quotas: tuple[QuotaUse, QuotaUse]
    """Of requests and of tokens."""
    timeline: tuple[TimeBucket, ...]
    response_times: tuple[ResponseTime, ...]
    waits: Percentiles | None
    """Seconds of an item that were not spent in its requests."""
    estimates: tuple[Estimate, ...]
    outcomes: tuple[Outcome, ...]
    failures: tuple[FailureKind, ...]
    doubts: tuple[DoubtGroup, ...]
    """What is doubted about the run, then about rows: the rule with most rows first."""
    settings: Mapping[str, str]
    """What was set in the config, by dotted key; never where requests went or with which key."""

    @property
    def nearer_quota(self) -> QuotaUse | None:
        """The limit that was used more; None where none is known."""
        known = [quota for quota in self.quotas if quota.used is not None]
        return max(known, key=lambda quota: quota.used or 0.0, default=None)
