"""When a schedule fires, as Prefect's server reckons it, and which times the clock moves."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from prefect.server.schemas.schedules import CronSchedule

_LOOKED_AT = timedelta(days=400)
"""Every zone that changes its clocks does so twice within this time."""
_HOUR = timedelta(hours=1)
_STEP = timedelta(minutes=15)
"""Clocks are changed at whole quarters of an hour of UTC."""


def next_times(cron: str, zone: str, after: datetime, count: int) -> list[datetime]:
    """The next times of a schedule, in its zone."""
    return _dates(cron, zone, after, count=count)


@dataclass(frozen=True, slots=True)
class ClockChange:
    """What a change of the clocks does to one time of a schedule. Times are those of the wall."""

    zone: str
    given: datetime
    """As the cron line has it: skipped by the clock, or there twice."""
    starts: datetime | None
    """When Prefect begins instead; None where it leaves the time out."""
    twice: bool

    def __str__(self) -> str:
        day, time = f"{self.given:%Y-%m-%d}", f"{self.given:%H:%M}"
        if self.twice:
            return f"on {day} {time} comes twice in {self.zone}; the run starts at the first one"
        begun = f"starts at {self.starts:%H:%M}" if self.starts else "is left out"
        return (
            f"on {day} the clock in {self.zone} skips {time}, and the run {begun}; take an hour "
            "that no change touches (in Europe 03:00 or later), or --timezone UTC"
        )


def clock_changes(cron: str, zone: str, after: datetime) -> list[ClockChange]:
    """The first time of each change of the clocks, in some 400 days, that a schedule meets."""
    found = (_change(cron, zone, moment) for moment in _changes_of(zone, after))
    return [change for change in found if change]


def _change(cron: str, zone: str, moment: datetime) -> ClockChange | None:
    """What happens to a schedule's times around one change of the clocks.

    Args:
        moment: the first one of the new time, in UTC.
    """
    before, now = (time.astimezone(ZoneInfo(zone)) for time in (moment - _STEP, moment))
    walls = sorted((_wall(before) + _STEP, _wall(now)))
    start, end = (wall.replace(tzinfo=UTC) for wall in walls)
    given = _dates(cron, "UTC", start, end=end - timedelta(seconds=1))
    if start == end or not given:
        return None
    first = _wall(given[0])
    if _wall(now) < walls[1]:
        return ClockChange(zone, first, first, twice=True)
    near = _dates(cron, zone, before - _HOUR, end=now + _HOUR)
    regular = {_wall(date) for date in _dates(cron, "UTC", start - 2 * _HOUR, end=end + 2 * _HOUR)}
    moved = (_wall(date) for date in near if _wall(date) not in regular)
    return ClockChange(zone, first, next(moved, None), twice=False)


def _changes_of(zone: str, after: datetime) -> Iterator[datetime]:
    moment = after.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    end, place = moment + _LOOKED_AT, ZoneInfo(zone)
    offset = moment.astimezone(place).utcoffset()
    while moment < end:
        moment += _STEP
        if (new := moment.astimezone(place).utcoffset()) != offset:
            offset = new
            yield moment


def _dates(
    cron: str,
    zone: str,
    start: datetime,
    *,
    count: int | None = None,
    end: datetime | None = None,
) -> list[datetime]:
    schedule = CronSchedule(cron=cron, timezone=zone)
    dates = asyncio.run(schedule.get_dates(count, start, end))
    # Prefect's own kind of date is on its way out.
    return [datetime.fromtimestamp(date.timestamp(), ZoneInfo(zone)) for date in dates]


def _wall(moment: datetime) -> datetime:
    """What a clock on the wall shows."""
    return moment.replace(tzinfo=None)
