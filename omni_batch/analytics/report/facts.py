"""What a report says of a run. Made once by `collect`, frozen, and handed to page and terminal."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

Costs = Mapping[str, float]
"""Currency → amount; endpoints may bill in different ones."""


@dataclass(frozen=True, slots=True)
class Group:
    """What the items of one modality, model or endpoint came to."""

    name: str
    items: int
    succeeded: int
    prompt_tokens: int
    completion_tokens: int
    audio_s: float
    """Speech in the answers (seconds)."""
    costs: Costs

    @property
    def failed(self) -> int:
        """Items without an answer."""
        return self.items - self.succeeded

    @property
    def tokens(self) -> int:
        """Billed in and out."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class TokenKind:
    """Billed tokens of one kind, as the service breaks them down."""

    name: str
    side: str
    """`in` or `out`."""
    tokens: int


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a histogram."""

    start: float
    end: float
    count: int


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How a quantity is spread, within 2 % (it is read from a histogram)."""

    count: int
    p10: float
    p50: float
    p90: float
    p99: float
    largest: float
    bins: tuple[Bin, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Seconds that something took."""

    what: str
    endpoint: str
    spread: Percentiles


@dataclass(frozen=True, slots=True)
class TimeBucket:
    """One stretch of the run's time."""

    start: datetime
    end: datetime
    requests: int
    answered: int
    """At the first try."""
    retried: int
    """Answered at a later try."""
    rate_limited: int
    broken: int
    """Failed in another way."""
    requests_per_minute: float
    """Sent in the minute up to `end`; the mean of the stretch where it is longer than a minute."""
    tokens_per_minute: float


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """One limit and how much of it was used."""

    what: str
    """`requests` or `tokens`."""
    limit_per_minute: float | None
    mean_per_minute: float
    """Over the working time; of shorter runs, what fell into their one minute."""
    peak_per_minute: float

    @property
    def used(self) -> float | None:
        """Share of the limit, 0 to 1, in the mean."""
        return self.mean_per_minute / self.limit_per_minute if self.limit_per_minute else None


@dataclass(frozen=True, slots=True)
class Estimate:
    """Prompt tokens of one modality: estimated before sending, and billed."""

    modality: str
    items: int
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
class Trouble:
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
    troubles: tuple[Trouble, ...]
    """The most frequent first."""
    other_items: int
    """Failed with messages that are not listed."""


@dataclass(frozen=True, slots=True)
class ExchangeKind:
    """HTTP exchanges that ended the same way at one endpoint."""

    endpoint: str
    outcome: str
    """`answered` or an error kind."""
    exchanges: int


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything but the single items."""

    run_id: str
    state: str
    reason: str | None
    silent_for_s: float | None
    """Seconds since a run that says it is running last said so."""
    warnings: tuple[str, ...]
    model: str | None
    created_at: datetime
    finished_at: datetime | None
    elapsed_s: float
    items: int
    done: int
    succeeded: int
    requests: int
    retries: int
    rate_limited: int
    prompt_tokens: int
    completion_tokens: int
    audio_s: float
    costs: Costs
    cut_costs: Costs
    """Estimated, of replies that broke off after they had begun; not in `costs`."""
    modalities: tuple[Group, ...]
    models: tuple[Group, ...]
    endpoints: tuple[Group, ...]
    token_kinds: tuple[TokenKind, ...]
    quotas: tuple[QuotaUse, ...]
    timeline: tuple[TimeBucket, ...]
    waits: tuple[Wait, ...]
    estimates: tuple[Estimate, ...]
    exchanges: tuple[ExchangeKind, ...]
    failures: tuple[FailureKind, ...]
    settings: Mapping[str, str]
    """What was set in the config, by dotted key; never where requests went or with which key."""
    versions: Mapping[str, str]

    @property
    def failed(self) -> int:
        """Items without an answer."""
        return self.done - self.succeeded

    @property
    def waiting(self) -> int:
        """Items that have no result yet."""
        return self.items - self.done
