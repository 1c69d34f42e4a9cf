"""What is asked of the modelled service, by which terms, and what came of it."""

from dataclasses import dataclass, field

from omni_batch.errors import Limit


@dataclass(frozen=True, slots=True)
class Item:
    """One request to make, and what will come of it."""

    number: int
    prompt_tokens: int
    estimated_prompt_tokens: int
    completion_tokens: int
    latency_s: float

    @property
    def tokens(self) -> int:
        """All that is billed."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Terms:
    """How the service behaves; None is no limit."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    window: str = "bucket"
    """How limits are counted: a kind of the simulator's windows."""
    burst: float | None = None
    """What a bucket of requests holds; None is two seconds."""
    jitter_s: float = 0.010
    """How much longer one way to the service may take than another."""
    any_phase: bool = False
    """Its seconds and minutes began before the run."""
    burst_growth_per_s: int | None = None
    most_in_flight: int | None = None
    retry_after: bool = False
    refused_count: bool = False
    """Refused requests use up the limit too."""
    cut: float = 0.0
    stall: float = 0.0
    error_500: float = 0.0
    """Shares of requests that meet a fault."""
    outage_s: tuple[float, float] | None = None
    """First nobody answers, from the middle on a gateway says 503."""
    others_s: tuple[float, float] | None = None
    others_share: float = 0.0
    """What another client takes meanwhile."""


@dataclass(slots=True)
class Diary:
    """What happened when, in seconds."""

    sent_s: list[float] = field(default_factory=list)
    admitted_s: list[float] = field(default_factory=list)
    refused: list[tuple[float, Limit]] = field(default_factory=list)
    down_s: list[float] = field(default_factory=list)
    tokens: list[tuple[float, float]] = field(default_factory=list)
    in_flight: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, 0)])
    in_force: list[tuple[float, float | None, float | None]] = field(default_factory=list)
    """Requests and tokens a minute, as the limiter believes."""
    faults: int = 0
    failed: list[str] = field(default_factory=list)
    stalls: dict[int, int] = field(default_factory=dict)
    """Of an item."""
    ended_s: float = 0.0
