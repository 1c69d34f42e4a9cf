"""Lines of cron: what is refused before anybody is asked, and that Prefect takes the others."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule

from omni_batch.errors import ConfigError
from omni_batch.nights.cron import check_times


@pytest.mark.parametrize(
    ("cron", "why"),
    [
        ("0 25 * * *", "'25' is not a valid hour"),
        ("60 25 * * *", "'60' is not a valid minute; '25' is not a valid hour"),
        ("0 2 31 2 *", "names a date that never comes"),
        ("0 2 30 2 MON", "names a date that never comes"),
        ("0 0 2 * * *", "has 6 fields in place of five"),  # Prefect: each second of the 2nd
        ("0 3 * *", "has 4 fields"),
        ("", "has 0 fields"),
        ("nightly", "has 1 fields"),
        ("@daily", "has 1 fields"),
        ("H 2 * * *", "'H' is not a valid minute"),
        ("R(0-10) 2 * * *", "'R(0-10)' is not a valid minute"),  # Prefect: each time another one
        ("0 2,r * * *", "'2,r' is not a valid hour"),
        ("0 3 * * 8", "'8' is not a valid day of the week"),
    ],
)
def test_a_time_that_is_none_is_refused_with_an_example(cron: str, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_times(cron, "UTC")
    said = str(refused.value)
    assert said.startswith(f"--cron {cron!r} {why}")
    assert said.endswith('such as "0 3 * * *" for 03:00 every night')
    assert "\n" not in said


@pytest.mark.parametrize(
    "cron", ["0 3 * * *", "0 3 * * MON-FRI", "0 3 1 MAR thu", "*/30 * * * *", "0 2 29 2 *"]
)
def test_a_time_that_comes_is_taken(cron: str) -> None:
    check_times(cron, "UTC")


@pytest.mark.parametrize(
    ("zone", "hint"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("berlin", "did you mean Europe/Berlin?"),
        ("New York", "did you mean America/New_York?"),
        ("UTC+2", "did you mean UTC?"),
        ("", "Names are such as Europe/Berlin"),
        ("../etc/passwd", "Names are such as Europe/Berlin"),
    ],
)
def test_a_zone_that_does_not_exist_is_refused_with_the_nearest(zone: str, hint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_times("0 3 * * *", zone)
    said = str(refused.value)
    assert said.startswith(f"--timezone {zone!r} is not the name of a time zone; {hint}")
    assert "\n" not in said


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "CET", "Asia/Kolkata"])
def test_a_zone_that_exists_is_taken(zone: str) -> None:
    check_times("0 3 * * *", zone)


NUMBERS = st.integers(0, 61).map(str)
FIELD = st.one_of(
    st.sampled_from(("*", "?", "L", "*/2", "MON", "fri-mon", "5#2", "JAN", "R", "*/0")),
    NUMBERS,
    st.builds("{}-{}".format, NUMBERS, NUMBERS),
    st.builds("*/{}".format, NUMBERS),
    st.builds("{},{}".format, NUMBERS, NUMBERS),
)


@settings(max_examples=300)
@given(fields=st.tuples(FIELD, FIELD, FIELD, FIELD, FIELD))
def test_what_is_taken_has_a_next_time_for_prefect(fields: tuple[str, ...]) -> None:
    cron = " ".join(fields)
    try:
        check_times(cron, "UTC")
    except ConfigError:
        return
    schedule = CronSchedule(cron=cron, timezone="UTC")
    assert asyncio.run(schedule.get_dates(1, datetime(2026, 9, 1, tzinfo=UTC)))
