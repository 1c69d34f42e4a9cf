"""Lines of cron that mean something else than they seem to, or nothing: they are refused.

Prefect takes them without a word: six fields have seconds at their end, `@daily` is a time in
whatever zone, `R` is a new hour each time, and 31 February fails in the server's log alone.
"""

import re
from datetime import datetime
from zoneinfo import available_timezones

from croniter import croniter

from omni_batch.errors import ConfigError
from omni_batch.text import nearest_zone

EXAMPLE = 'such as "0 3 * * *" for 03:00 every night'
_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_BY_CHANCE = re.compile(r"(?:^|,)[hr](?:\W|$)", re.IGNORECASE)
"""Croniter's signs for a value that is drawn."""
_LEAP_YEAR = datetime(2024, 1, 1)


def check_times(cron: str, zone: str) -> None:
    """Refuse a schedule that would never fire, or at other times than are meant.

    Raises:
        ConfigError: one line, with the text that was given.
    """
    _check_zone(zone)
    _check_cron(cron)


def _check_cron(cron: str) -> None:
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        what = f"has {len(fields)} fields in place of five ({', '.join(_FIELDS)})"
    elif wrong := [name for name in zip(_FIELDS, fields, strict=True) if not _is_valid(*name)]:
        what = "; ".join(f"{field!r} is not a valid {name}" for name, field in wrong)
    elif not _comes(cron):
        what = "names a date that never comes"
    else:
        return
    raise ConfigError(f"--cron {cron!r} {what}; give five fields, {EXAMPLE}")


def _check_zone(zone: str) -> None:
    known = available_timezones()
    if zone in known:
        return
    close = nearest_zone(zone, known)
    hint = f"did you mean {close}? " if close else ""
    raise ConfigError(
        f"--timezone {zone!r} is not the name of a time zone; {hint}"
        "Names are such as Europe/Berlin and UTC"
    )


def _is_valid(name: str, field: str) -> bool:
    fields = [field if name == other else "*" for other in _FIELDS]
    return not _BY_CHANCE.search(field) and bool(croniter.is_valid(" ".join(fields)))


def _comes(cron: str) -> bool:
    try:
        croniter(cron, _LEAP_YEAR).get_next(datetime)
    except ValueError:
        return False
    return True
