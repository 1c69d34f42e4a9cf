"""Times of schedules: what is refused, and what a change of the clocks does to them."""

from datetime import UTC, datetime
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.errors import ConfigError

AUTUMN = datetime(2026, 9, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def times() -> ModuleType:
    """The module; Prefect comes with it, which takes seconds."""
    from flows import cron

    return cron


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
        ("0 3 * * 8", "'8' is not a valid day of the week"),
    ],
)
def test_a_time_that_is_none_is_refused_with_an_example(
    times: ModuleType, cron: str, why: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        times.check_cron(cron)
    said = str(refused.value)
    assert said.startswith(f"--cron {cron!r} {why}")
    assert said.endswith('such as "0 3 * * *" for 03:00 every night')
    assert "\n" not in said


@pytest.mark.parametrize("cron", ["0 3 * * *", "0 3 * * MON-FRI", "*/30 * * * *", "0 2 29 2 *"])
def test_a_time_that_comes_is_taken(times: ModuleType, cron: str) -> None:
    times.check_cron(cron)


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
def test_a_zone_that_does_not_exist_is_refused_with_the_nearest(
    times: ModuleType, zone: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        times.check_zone(zone)
    said = str(refused.value)
    assert said.startswith(f"--timezone {zone!r} is not the name of a time zone; {hint}")
    assert "\n" not in said


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "CET", "Asia/Kolkata"])
def test_a_zone_that_exists_is_taken(times: ModuleType, zone: str) -> None:
    times.check_zone(zone)


def test_a_time_is_meant_in_its_zone(times: ModuleType) -> None:
    first, _ = times.next_times("15 3 * * 0", "Asia/Kolkata", AUTUMN, 2)
    assert f"{first.astimezone(UTC):%a %H:%M}" == "Sat 21:45"


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        (
            "30 2 * * *",
            ["on 2026-10-25 02:30 comes twice", "on 2027-03-28 the clock in Europe/Berlin skips"],
        ),
        (
            "0 2 * * *",
            ["on 2026-10-25 02:00 comes twice", "on 2027-03-28 the clock in Europe/Berlin skips"],
        ),
        ("0 3 * * *", []),
        ("30 2 * * 1", []),  # clocks are changed on Sundays
        ("0 1 * * *", []),
    ],
)
def test_changes_of_the_clocks_are_said(times: ModuleType, cron: str, said: list[str]) -> None:
    changes = [str(change) for change in times.clock_changes(cron, "Europe/Berlin", AUTUMN)]
    assert [change[: len(text)] for change, text in zip(changes, said, strict=True)] == said
    assert times.clock_changes(cron, "UTC", AUTUMN) == []


def test_a_time_among_many_is_left_out_where_the_clock_skips_it(times: ModuleType) -> None:
    _, spring = times.clock_changes("*/30 * * * *", "Europe/Berlin", AUTUMN)
    assert "skips 02:00, and the run is left out" in str(spring)


@settings(max_examples=30)
@given(
    hour=st.integers(0, 3),
    minute=st.integers(0, 59),
    zone=st.sampled_from(
        # half an hour in Lord Howe, midnight in Havana, back for a month in Casablanca
        (
            *("Europe/Berlin", "America/New_York", "America/Havana", "Africa/Casablanca"),
            *("Australia/Lord_Howe", "Asia/Kolkata"),
        )
    ),
)
def test_what_is_said_is_what_prefect_does(
    times: ModuleType, hour: int, minute: int, zone: str
) -> None:
    """Each night has one run; those at another time than is meant are the ones that are told."""
    cron = f"{minute} {hour} * * *"
    walls = [time.replace(tzinfo=None) for time in times.next_times(cron, zone, AUTUMN, 390)]
    assert (walls[-1] - walls[0]).days in (388, 389)
    changes = [each for each in times.clock_changes(cron, zone, AUTUMN) if each.given < walls[-1]]
    odd = [wall for wall in walls if (wall.hour, wall.minute) != (hour, minute)]
    assert odd == [each.starts for each in changes if not each.twice]
    assert [walls.count(each.given) for each in changes if each.twice] == [
        1 for each in changes if each.twice
    ]
