"""What a comparison comes to. Pure."""

from dataclasses import dataclass
from typing import Literal

from omni_batch.analytics.agreement import Agreement
from omni_batch.counts import Counts


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text."""

    kind: Literal["same", "left", "right"]
    """In both texts, or in one of them only."""
    text: str


@dataclass(frozen=True, slots=True)
class Side:
    """One run as a whole, or one variant of it. None where nothing is known."""

    path: str
    run_id: str
    variant: str | None
    """None: all of the run."""
    state: str
    model: str | None
    endpoint: str
    counts: Counts
    """As `status` shows them."""
    cost_median: float | None
    """Of an item, in the currency of `counts.cost`; None with several."""
    tokens_median: float | None
    """Of an item."""
    request_s_median: float | None
    """Of answered requests, from sending to the end."""
    request_s_p95: float | None
    wait_s_median: float | None
    """Of items, for quota, media and retries."""
    wait_s_p95: float | None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.run_id}, {self.variant}" if self.variant else self.run_id


@dataclass(frozen=True, slots=True)
class TextChange:
    """An item that was answered in two ways."""

    item_id: str
    """Its name, as `Item.name`; that of the variant is out where variants are compared."""
    change: float
    """Share of distinct words that one text only has, 0 to 1."""
    left_text: str
    right_text: str
    segments: list[Segment]


@dataclass(frozen=True, slots=True)
class StatusChange:
    """An item that succeeded in one run only."""

    item_id: str
    left_status: str
    right_status: str
    error_message: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from the left run to the right one; lists hold the first or the greatest."""

    left: Side
    right: Side
    both: int
    """Items in both runs."""
    only_left: int
    only_right: int
    text_changed: int
    status_changed: int
    only_left_items: list[str]
    only_right_items: list[str]
    status_changes: list[StatusChange]
    text_changes: list[TextChange]
    """The most changed first."""
    agreement: list[Agreement]
    """Of the fields of `annotation`."""


@dataclass(frozen=True, slots=True)
class VariantComparison:
    """The variants of one run, and each two of them."""

    variants: list[Side]
    pairs: list[Comparison]
    """In the order of the config: the first with all others, the second with those after it …"""
