"""How much of the limits was used, by the limits that were in force at each moment. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from omni_batch import format as fmt
from omni_batch.analytics.report.facts import LimitStep, QuotaUse
from omni_batch.endpoint_status import EndpointStatus

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Starts:
    """Requests of a stretch of time, by when they were sent."""

    requests: int
    units: int
    """The requests themselves, or their tokens."""
    first: datetime
    last: datetime

    @property
    def between(self) -> float:
        """Units from the first start to the last one: of n requests, n - 1 lie in between."""
        return self.units * (self.requests - 1) / self.requests


@dataclass(frozen=True, slots=True)
class Peak:
    """The busiest minute."""

    units: float
    end: datetime


def combined(endpoints: Sequence[EndpointStatus], what: str) -> tuple[LimitStep, ...]:
    """The limits of all endpoints together; None while one of them has none.

    Args:
        what: `requests` or `tokens`.
    """
    histories = [
        [LimitStep(limits.since, getattr(limits, f"{what}_per_minute")) for limits in status.limits]
        for status in endpoints
    ]
    if not histories or not all(histories):
        return ()
    moments = sorted({step.since for history in histories for step in history})
    return tuple(
        LimitStep(at, _sum([at_limit(history, at) for history in histories])) for at in moments
    )


def known_since(steps: Sequence[LimitStep]) -> datetime | None:
    """From when on a limit has been known without a gap; None where it is so all the time."""
    known = (now.since for before, now in pairwise(steps) if before.per_minute is None)
    return max(known, default=None)


def allowed(steps: Sequence[LimitStep], start: datetime, end: datetime) -> float | None:
    """Units that the limits allow from `start` to `end`; None where a part has no limit.

    The first limit holds before its own moment too: nothing was known that could have differed.
    """
    bounds = [start, *(step.since for step in steps[1:] if start < step.since < end), end]
    pieces = [(at_limit(steps, a), (b - a) / _MINUTE) for a, b in pairwise(bounds)]
    if any(limit is None for limit, _ in pieces):
        return None
    return sum(limit * minutes for limit, minutes in pieces if limit is not None)


def at_limit(steps: Sequence[LimitStep], at: datetime) -> float | None:
    """The limit in force at a moment."""
    place = bisect_right(steps, at, key=lambda step: step.since)
    return steps[max(0, place - 1)].per_minute if steps else None


def quota_use(
    what: str,
    limits: tuple[LimitStep, ...],
    run: Starts | None,
    limited: Starts | None,
    peak: Peak | None,
    elapsed_s: float,
) -> QuotaUse:
    """How much of one limit was used.

    Args:
        run: all requests of the run.
        limited: those since the limit has been known.
        elapsed_s: the run's working time. It is shorter than the time from the first start to the
            last where the run has rested between two processes, and no rest is held against it.
    """
    worked = min(1.0, elapsed_s / span_s) if (span_s := _span_s(run)) and elapsed_s else 1.0
    return QuotaUse(
        what,
        limits,
        mean_per_minute=run.between / (span_s / 60 * worked) if run and span_s else None,
        used=_used(limits, limited, worked),
        peak_per_minute=peak.units if peak else 0.0,
        peak_used=_peak_used(limits, peak),
        is_brief=span_s < _MINUTE.total_seconds(),
    )


def rates_in_words(use: QuotaUse) -> str:
    """`55 in the mean, 60 at most`; of a run that is shorter than a minute, the mean alone."""
    mean = "" if use.mean_per_minute is None else f"{fmt.rate(use.mean_per_minute)} in the mean"
    if use.is_brief and mean:
        return f"{mean} of less than a minute"
    return ", ".join(filter(None, (mean, f"{fmt.rate(use.peak_per_minute)} at most")))


def used_in_words(use: QuotaUse) -> str:
    """`96.6 % used in the mean, 100 % in the busiest minute`; nothing where it is not known."""
    if use.used is None:
        return ""
    if use.is_brief or use.peak_used is None:
        return f"{fmt.share(use.used)} used"
    peak = fmt.share(use.peak_used)
    return f"{fmt.share(use.used)} used in the mean, {peak} in the busiest minute"


def limits_in_words(use: QuotaUse) -> str:
    """`limit 600`, `limit 300 to 1,200` or `no limit known`."""
    known = [step.per_minute for step in use.limits if step.per_minute is not None]
    if not known:
        return "no limit known"
    low, high = fmt.rate(min(known)), fmt.rate(max(known))
    return f"limit {low}" if low == high else f"limit {low} to {high}"


def _used(limits: Sequence[LimitStep], starts: Starts | None, worked: float) -> float | None:
    if starts is None or not limits:
        return None
    might = allowed(limits, starts.first, starts.last)
    return starts.between / (might * worked) if might else None


def _peak_used(limits: Sequence[LimitStep], peak: Peak | None) -> float | None:
    might = allowed(limits, peak.end - _MINUTE, peak.end) if peak and limits else None
    return peak.units / might if peak and might else None


def _span_s(starts: Starts | None) -> float:
    return (starts.last - starts.first).total_seconds() if starts else 0.0


def _sum(limits: Sequence[float | None]) -> float | None:
    known = [limit for limit in limits if limit is not None]
    return sum(known) if len(known) == len(limits) else None
