"""From a diary to figures, against what nobody could do better."""

import bisect
import math
from collections.abc import Sequence
from itertools import accumulate

from tests.benchmarks.quota_terms import Diary, Item, Terms

RATE_WINDOW_S = 10.0
_WARM = 0.95
_BACK = 0.9
_LONGEST_LATENCY_S = 20.0

Figures = dict[str, float]


def ideal_starts_s(items: Sequence[Item], terms: Terms, block: int | None) -> list[float]:
    """When each item would start if the limit that binds were used evenly and to the last unit.

    Args:
        block: items of one kind in a row, for each of which another limit may bind.
    """
    block = block or len(items)
    starts_s, begin_s = [], 0.0
    for first in range(0, len(items), block):
        part = items[first : first + block]
        whole_s, by_tokens = _least_s(part, terms)
        weights = [item.tokens if by_tokens else 1 for item in part]
        unit_s = whole_s / sum(weights)
        starts_s += [begin_s + unit_s * before for before in accumulate(weights[:-1], initial=0)]
        begin_s += whole_s
    return starts_s


def bound_s(items: Sequence[Item], starts_s: Sequence[float]) -> float:
    """When the last answer of an ideal client ends."""
    return max(start + item.latency_s for start, item in zip(starts_s, items, strict=True))


def figures(
    items: Sequence[Item], terms: Terms, diary: Diary, *, block: int | None, lost_s: float
) -> Figures:
    """What a run came to.

    Args:
        lost_s: seconds of the whole limit that were not to be had.
    """
    starts_s = ideal_starts_s(items, terms, block)
    mean_latency_s = sum(item.latency_s for item in items) / len(items)
    best_s = bound_s(items, starts_s) + lost_s
    simple_s = starts_s[-1] + mean_latency_s + lost_s
    warm_s = warm_up_s(items, terms, diary)
    found = {
        "makespan_s": diary.ended_s,
        "bound_s": best_s,
        "ratio": diary.ended_s / best_s,
        "ratio_to_mean_latency": diary.ended_s / simple_s,
        "sent": len(diary.sent_s),
        "refused": len(diary.refused),
        "refused_share": len(diary.refused) / len(diary.sent_s),
        "failed": len(diary.failed),
        "warm_up_s": warm_s,
    }
    ideal = _in_flight_steps(starts_s, items)
    settled_s = (_LONGEST_LATENCY_S, starts_s[-1])
    found |= {f"ideal_{name}": n for name, n in _spread(ideal, *settled_s).items()}
    if math.isfinite(warm_s):
        begin_s = warm_s + _LONGEST_LATENCY_S
        found |= _spread(diary.in_flight, begin_s, diary.admitted_s[-1])
    return found


def warm_up_s(items: Sequence[Item], terms: Terms, diary: Diary) -> float:
    """When 95 % of the limit that binds had been used over ten seconds for the first time."""
    _, by_tokens = _least_s(items, terms)
    limit = terms.tokens_per_minute if by_tokens else terms.requests_per_minute
    events = diary.tokens if by_tokens else [(at_s, 1.0) for at_s in diary.admitted_s]
    wanted = _WARM * (limit or 0) / 60 * RATE_WINDOW_S
    level, oldest = 0.0, 0
    for at_s, amount in events:
        level += amount
        while events[oldest][0] <= at_s - RATE_WINDOW_S:
            level -= events[oldest][1]
            oldest += 1
        if level >= wanted:
            return at_s
    return math.inf


def most_within(width_s: float, times_s: Sequence[float]) -> int:
    """The most events in any stretch of time."""
    return max(
        bisect.bisect_left(times_s, at_s + width_s) - number for number, at_s in enumerate(times_s)
    )


def outage_figures(diary: Diary, outage_s: tuple[float, float], per_s: float) -> Figures:
    """How the client behaved while nobody answered, and after."""
    begin_s, end_s = outage_s
    after_s = [at_s for at_s in diary.admitted_s if at_s >= end_s]
    back_s = next(
        (
            second / 2
            for second in range(400)
            if _between(after_s, end_s + second / 2, end_s + second / 2 + 5) >= 5 * _BACK * per_s
        ),
        math.inf,
    )
    sent_s = [at_s for at_s in diary.sent_s if end_s <= at_s]
    in_a_second = [_between(sent_s, at_s, at_s + 1) for at_s in sent_s if at_s < end_s + 15]
    return {
        "sent_in_outage": _between(diary.sent_s, begin_s, end_s),
        "back_after_s": back_s,
        "first_second": _between(diary.sent_s, end_s, end_s + 1) / per_s,
        "busiest_second_after": max(in_a_second, default=0) / per_s,
    }


def per_second(events: Sequence[tuple[float, float]], until_s: float) -> list[float]:
    """Sums over whole seconds."""
    sums = [0.0] * (math.ceil(until_s) + 1)
    for at_s, amount in events:
        if at_s <= until_s:
            sums[int(at_s)] += amount
    return sums


def sampled(steps: Sequence[tuple[float, int]], begin_s: float, end_s: float) -> list[int]:
    """A number that changes in steps, each second."""
    times_s = [at_s for at_s, _ in steps]
    seconds = range(math.ceil(begin_s), math.floor(end_s) + 1)
    return [steps[bisect.bisect_right(times_s, second) - 1][1] for second in seconds]


def _least_s(items: Sequence[Item], terms: Terms) -> tuple[float, bool]:
    """The least time for the items, and whether it is the tokens that make it."""
    requests, tokens = terms.requests_per_minute, terms.tokens_per_minute
    by_requests_s = 60 * len(items) / requests if requests else 0.0
    by_tokens_s = 60 * sum(item.tokens for item in items) / tokens if tokens else 0.0
    return max(by_requests_s, by_tokens_s), by_tokens_s > by_requests_s


def _in_flight_steps(starts_s: Sequence[float], items: Sequence[Item]) -> list[tuple[float, int]]:
    changes = [(at_s, 1) for at_s in starts_s]
    changes += [(at_s + item.latency_s, -1) for at_s, item in zip(starts_s, items, strict=True)]
    changes.sort()
    levels = accumulate(change for _, change in changes)
    return [(0.0, 0), *((at_s, level) for (at_s, _), level in zip(changes, levels, strict=True))]


def _spread(steps: Sequence[tuple[float, int]], begin_s: float, end_s: float) -> Figures:
    samples = sorted(sampled(steps, begin_s, end_s))
    if len(samples) < 10:
        return {}
    mean = sum(samples) / len(samples)
    low, high = samples[0] / mean, samples[-1] / mean
    p5, p95 = samples[len(samples) // 20] / mean, samples[-1 - len(samples) // 20] / mean
    return {
        "in_flight": mean,
        "in_flight_low": low,
        "in_flight_high": high,
        "in_flight_off": max(1 - low, high - 1),
        "in_flight_spread": max(1 - p5, p95 - 1),
        "in_flight_p5": p5,
        "in_flight_p95": p95,
    }


def _between(sorted_s: Sequence[float], begin_s: float, end_s: float) -> int:
    return bisect.bisect_left(sorted_s, end_s) - bisect.bisect_left(sorted_s, begin_s)
