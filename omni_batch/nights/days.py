"""Days without a night, for configs that have one each day. Pure."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta, tzinfo
from itertools import pairwise

_DAY = timedelta(days=1)
_LOOKED_BACK = 31
"""Days; what lies further back was told often enough."""
_NAMED = 5


def days_without(
    begun: Iterable[datetime], now: datetime, zone: tzinfo | None = None
) -> list[date]:
    """Days between the first night and today on which none began, the newest first.

    None where nights are further apart as a rule, as of a schedule for Sundays.

    Args:
        begun: when nights were begun.
        zone: in which days are meant; None: where this machine is.
    """
    days = sorted({moment.astimezone(zone).date() for moment in begun})
    gaps = [later - earlier for earlier, later in pairwise(days)]
    if not gaps or 2 * gaps.count(_DAY) < len(gaps):
        return []
    today = now.astimezone(zone).date()  # whose night may still come
    first = max(days[0], today - _LOOKED_BACK * _DAY)
    every = [today - n * _DAY for n in range(1, (today - first).days + 1)]
    return [day for day in every if day not in days]


def in_words(name: str, days: list[date]) -> str:
    """Such as: no night of captions on 2026-11-25."""
    named = ", ".join(map(str, days[:_NAMED]))
    more = f" and {len(days) - _NAMED} more days" if len(days) > _NAMED else ""
    return f"no night of {name} on {named}{more}"
