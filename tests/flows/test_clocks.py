"""Times of schedules, and what a change of the clocks does to them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.clocks import clock_changes, next_times

AUTUMN = datetime(2026, 9, 1, tzinfo=UTC)


def test_a_time_is_meant_in_its_zone() -> None:
    first, _ = next_times("15 3 * * 0", "Asia/Kolkata", AUTUMN, 2)
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
def test_changes_of_the_clocks_are_said(cron: str, said: list[str]) -> None:
    changes = [str(change) for change in clock_changes(cron, "Europe/Berlin", AUTUMN)]
    assert [change[: len(text)] for change, text in zip(changes, said, strict=True)] == said
    assert clock_changes(cron, "UTC", AUTUMN) == []


def test_a_time_among_many_is_left_out_where_the_clock_skips_it() -> None:
    _, spring = clock_changes("*/30 * * * *", "Europe/Berlin", AUTUMN)
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
def test_what_is_said_is_what_prefect_does(hour: int, minute: int, zone: str) -> None:
    """Each night has one run; those at another time than is meant are the ones that are told."""
    cron = f"{minute} {hour} * * *"
    walls = [time.replace(tzinfo=None) for time in next_times(cron, zone, AUTUMN, 390)]
    assert (walls[-1] - walls[0]).days in (388, 389)
    changes = [each for each in clock_changes(cron, zone, AUTUMN) if each.given < walls[-1]]
    odd = [wall for wall in walls if (wall.hour, wall.minute) != (hour, minute)]
    assert odd == [each.starts for each in changes if not each.twice]
    assert [walls.count(each.given) for each in changes if each.twice] == [
        1 for each in changes if each.twice
    ]
