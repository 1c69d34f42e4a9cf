"""Which limits were in force when, so that the use of a quota can be drawn later. Pure."""

from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from omni_batch.endpoint_status import EndpointStatus, LimitsInForce

_WORTH_KEEPING = 0.02
"""Share by which a limit has to change for a new entry; while it grows, it does so all the time."""
_MOST_ENTRIES = 200


def with_history(
    before: Iterable[EndpointStatus], now: Iterable[EndpointStatus], at: datetime
) -> tuple[EndpointStatus, ...]:
    """The present statuses with the limits that were in force so far, and those of now.

    Args:
        before: statuses of a moment ago, with their history; also those of an earlier process.
        at: the present moment, in UTC.
    """
    known = {status.name: status.limits for status in before}
    return tuple(
        replace(status, limits=_continued(known.get(status.name, ()), status, at)) for status in now
    )


def _continued(
    history: tuple[LimitsInForce, ...], status: EndpointStatus, at: datetime
) -> tuple[LimitsInForce, ...]:
    now = LimitsInForce(at, status.requests_per_minute, status.tokens_per_minute)
    if history and not _differs(history[-1], now):
        return history
    return (*_thinned(history), now)


def _differs(last: LimitsInForce, now: LimitsInForce) -> bool:
    pairs = (
        (last.requests_per_minute, now.requests_per_minute),
        (last.tokens_per_minute, now.tokens_per_minute),
    )
    return any(_changed(*pair) for pair in pairs)


def _changed(last: float | None, now: float | None) -> bool:
    if last is None or now is None:
        return last is not now
    return abs(now - last) > _WORTH_KEEPING * last


def _thinned(history: tuple[LimitsInForce, ...]) -> tuple[LimitsInForce, ...]:
    """Of an old past every other entry is enough."""
    if len(history) < _MOST_ENTRIES:
        return history
    half = _MOST_ENTRIES // 2
    return (*history[:half:2], *history[half:])
