"""What a report says of a run. Made once by `collect`, frozen, and handed to page and terminal."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
class ValueCount:
    """One value of a field, or one element of its lists."""

    value: str
    """By its name: `true`, `3`, `cat`."""
    rows: int
    share: float | None
    """Of the rows in which the field has a value, 0 to 1; None without any."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How the numbers of a field are spread; None where it is not defined."""

    mean: float | None
    deviation: float | None
    """Standard deviation of a sample; None for less than two numbers."""
    least: float | None
    p10: float | None
    p25: float | None
    median: float | None
    p75: float | None
    p90: float | None
    largest: float | None


@dataclass(frozen=True, slots=True)
class FieldFigures:
    """What the answers of a run hold in one field."""

    field: str
    """Its members joined by dots; `annotation` where the answer is not an object."""
    kind: str
    """What the schema makes of it: label, boolean, integer, number, text, list, …"""
    rows: int
    """With a value."""
    missing: int
    """With a typed answer, and no value for the field."""
    different: int | None
    """Different values that were said; None where they are not counted."""
    values: tuple[ValueCount, ...]
    """All that the schema lists, also those that nobody said; else the most frequent 20."""
    spread: Spread | None
    """Of numbers that the schema does not list."""
    items: int | None = None
    """With two values or more; None without samples."""
    alpha: float | None = None
    """Krippendorff's, over samples; None where it is not defined."""

    @property
    def is_label(self) -> bool:
        """One of few values, which agrees with another one or does not."""
        return bool(self.values) and self.kind != "list"

    @property
    def is_compared(self) -> bool:
        """Two answers that differ in it say something: it is not free text."""
        return bool(self.values) or self.spread is not None

    @property
    def other_values(self) -> int:
        """Different values that are not among `values`."""
        listed = sum(value.rows > 0 for value in self.values)
        return (self.different or 0) - listed if self.values else 0

    def agreed(self, items: int, alpha: float | None) -> "FieldFigures":
        """The same with the agreement of samples."""
        return replace(self, items=items, alpha=alpha)


@dataclass(frozen=True, slots=True)
class PathViolations:
    """Failed rows whose last answer broke the schema first at one place."""

    path: str
    """Members of the answer, `objects[].box.w`; empty: the answer as a whole."""
    rows: int
    item_id: str
    """The first such row, and its message."""
    message: str


@dataclass(frozen=True, slots=True)
class TypedAnswers:
    """What `annotation` came to."""

    rows: int
    """With a typed answer."""
    failed: int
    """With an answer that the schema does not accept."""
    asked_again: int
    """With more than one answer: all but the last one broke the schema."""
    mended: int
    """Of these: with a typed answer in the end."""
    has_samples: bool
    fields: tuple[FieldFigures, ...]
    """In the order of the schema."""
    violations: tuple[PathViolations, ...]
    """The most frequent 20 places first."""


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
    annotation: TypedAnswers | None
    """None where the run asks for no typed answers."""
    settings: Mapping[str, str]
    """What was set in the config, by dotted key; never where requests went or with which key."""

    @property
    def nearer_quota(self) -> QuotaUse | None:
        """The limit that was used more; None where none is known."""
        known = [quota for quota in self.quotas if quota.used is not None]
        return max(known, key=lambda quota: quota.used or 0.0, default=None)
