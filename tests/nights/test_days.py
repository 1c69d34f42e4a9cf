"""Nights that never came are told, of configs that have one each day."""

import asyncio
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from omni_batch.nights.days import days_without, in_words
from omni_batch.store.record import read_record, write_record
from tests.conftest import MakeConfig, prompts
from tests.nights.test_seven_nights import night_of

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def nights(*days: int, hour: int = 3) -> list[datetime]:
    return [datetime(2026, 11, day, hour, tzinfo=UTC) for day in days]


@pytest.mark.parametrize(
    ("days", "without"),
    [
        ((23, 24, 25, 26, 27), []),
        ((23, 24, 25, 26), []),  # today's may still come
        ((23, 24, 26, 27), [25]),
        ((22, 23), [26, 25, 24]),  # the schedule has been off since
        ((13, 20, 27), []),  # each Friday
        ((20,), []),
        ((), []),
    ],
)
def test_days_without_a_night(days: tuple[int, ...], without: list[int]) -> None:
    assert [day.day for day in days_without(nights(*days), NOW, UTC)] == without


def test_days_are_those_of_the_zone() -> None:
    late = nights(23, 24, 25, hour=20)  # 01:30 of the next day in Kolkata
    assert days_without(late, NOW, ZoneInfo("Asia/Kolkata")) == []
    assert days_without(late, NOW, UTC) == [date(2026, 11, 26)]


def test_many_days_are_one_line() -> None:
    days = [date(2026, 11, 26) - timedelta(days=n) for n in range(7)]
    said = in_words("captions", days)
    assert said.startswith("no night of captions on 2026-11-26, 2026-11-25, ")
    assert said.endswith("2026-11-22 and 2 more days")


def test_list_tells_them(make_config: MakeConfig) -> None:
    config = make_config(prompts(1), timezone="UTC")
    for age in (4, 3, 1):
        found = Path(asyncio.run(night_of(config)).path) / "run.json"
        begun = datetime.now(UTC) - timedelta(days=age)
        write_record(found, replace(read_record(found), created_at=begun))
    line = [sys.executable, "-m", "omni_batch", "list", config.output]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    missed = datetime.now(UTC) - timedelta(days=2)
    assert done.stdout.splitlines()[-1] == f"no night of test on {missed:%Y-%m-%d}"
