"""When a night has failed: more new failures than fail_above. And the budget of a month."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from omni_batch.config import load_config, parse_config
from omni_batch.engine.pipeline import execute
from omni_batch.errors import ConfigError
from omni_batch.nights import Night
from omni_batch.planning.check import check_manifest
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import change_run
from omni_batch.progress.month import month_of
from omni_batch.simulator import Simulator, reply
from omni_batch.store import RunDir
from omni_batch.store.record import read_record, write_record
from omni_batch.store.trust.marks import vouched
from tests.conftest import ROOT, MakeConfig, prompts
from tests.nights.test_seven_nights import ONE_BY_ONE, REFUSED, figures, night_of


def night(**changes: Any) -> Night:
    known: dict[str, Any] = {
        **dict.fromkeys(("new", "changed", "retried", "reused", "failed_known", "left"), 0),
        **{"run_id": "n", "path": "runs/n", "state": "finished", "reason": None, "cost": {}},
        **{"rows": 100, "failed_new": 0, "fail_above": None},
    }
    return Night(**{**known, **changes})


async def test_by_share(simulator: Simulator, make_config: MakeConfig) -> None:
    simulator.script(reply.normal(), REFUSED, REFUSED)
    first = await night_of(make_config(prompts(30), fail_above=0.1, **ONE_BY_ONE))
    assert (first.failed_new, first.exit_code) == (2, 0)
    simulator.script(reply.normal(), reply.normal(), *[REFUSED] * 4)
    second = await night_of(make_config(prompts(36), fail_above=0.1, **ONE_BY_ONE))
    assert (second.failed_new, second.failed, second.exit_code) == (4, True, 1)
    assert "4 new failures are more than fail_above: 0.1" in second.to_do[0]


async def test_the_same_failures_again_fail_no_second_night(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    rows, limit = prompts(8), {"fail_above": 5, **ONE_BY_ONE}
    simulator.script(reply.normal(), *[REFUSED] * 6)
    first = await night_of(make_config(rows, **limit))
    assert (first.failed_new, first.exit_code) == (6, 1)
    simulator.script(*[REFUSED] * 6)
    second = await night_of(make_config(rows, **limit))
    assert (second.failed_new, second.failed_known, second.exit_code) == (0, 6, 0)
    assert "6 failed (0 new, 6 known)" in second.words
    simulator.script(*[REFUSED] * 6)
    rows[1] = {**rows[1], "prompt": "Say something else."}
    third = await night_of(make_config(rows, **limit))
    assert (third.failed_new, third.failed_known) == (1, 5)  # another question


async def test_a_picture_that_stays_away_is_a_known_failure(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    rows = [*prompts(1), {"item_id": "gone", "image": "gone.jpg", "prompt": "What?"}]
    assert figures(await night_of(make_config(rows))) == {"new": 2, "failed_new": 1}
    found = figures(await night_of(make_config(rows)))
    assert found == {"retried": 1, "reused": 1, "failed_known": 1}


@given(rows=st.integers(1, 10_000), cents=st.integers(1, 99))
def test_the_limit_itself_does_not_fail(rows: int, cents: int) -> None:
    allowed = rows * cents // 100
    share = cents / 100
    assert not night(rows=rows, fail_above=share, failed_new=allowed).failed
    assert night(rows=rows, fail_above=share, failed_new=allowed + 1).failed
    assert not night(rows=rows, fail_above=cents, failed_new=cents).failed
    assert night(rows=rows, fail_above=cents, failed_new=cents + 1).failed


@pytest.mark.parametrize(
    ("state", "failed_new", "code"),
    [("finished", 1, 1), ("finished", 0, 0), ("stopped", 1, 3), ("interrupted", 1, 130)],
)
def test_exit_codes(state: str, failed_new: int, code: int) -> None:
    assert night(state=state, failed_new=failed_new, fail_above=0).exit_code == code


@pytest.mark.parametrize(
    "keys",
    [
        *({"fail_above": value} for value in (1.0, 1.5, -1, True, "many", 0.0)),
        *({"timezone": zone} for zone in ("Europe/Berln", "UTC+2", "berlin")),
        *({"notify": url} for url in ("hooks.example.org", "ftp://a/b", "http://", "https://a b")),
        {"notify": {"block": "operators"}},
        {"notify": {"block": "slack-webhook/a", "url": "https://a/b"}},
        {"notify": {}},
        {"budget": {"month": {"max_answers": 0}}},
    ],
)
def test_values_that_mean_nothing_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(keys))):
        parse_config({"manifest": {"path": "rows.csv"}, **keys})


@pytest.mark.parametrize("zone", ["Europe/Berln", "berlin"])
def test_the_nearest_zone_is_named(zone: str) -> None:
    with pytest.raises(ConfigError, match=f"timezone = '{zone}'.*did you mean Europe/Berlin"):
        parse_config({"manifest": {"path": "rows.csv"}, "timezone": zone})


# --- the month ---

MONTH = {"budget": {"month": {"max_answers": 40}}, "timezone": "Asia/Kolkata"}


def begun(run: RunDir, at: datetime) -> None:
    record = read_record(run.record)
    write_record(run.record, vouched(run, replace(record, created_at=at)))


async def test_a_month_has_its_budget(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    first = await night_of(make_config(prompts(25), **MONTH))
    second = await night_of(make_config(prompts(50), **MONTH))
    assert len(simulator.requests) == simulator.counters.succeeded == 40
    assert (second.state, second.exit_code, second.left) == ("stopped", 3, 10)
    month = datetime.now(UTC).astimezone(make_config(prompts(50), **MONTH).zone)
    assert f"40 answers paid for in {month:%B %Y}" in (second.reason or "")
    assert "budget.month.max_answers 40" in (second.reason or "")
    assert "10 left undone" in second.words

    # a night with nothing to pay for is a good one, also then
    third = await night_of(make_config(prompts(40), **MONTH))
    assert (third.state, third.reused) == ("finished", 40)

    # on the first of the next month it goes on
    for night_before in (first, second, third):
        begun(RunDir(Path(night_before.path)), datetime.now(UTC) - timedelta(days=32))
    fourth = await night_of(make_config(prompts(50), **MONTH))
    assert (fourth.state, fourth.new, fourth.reused) == ("finished", 10, 40)
    assert len(simulator.requests) == 50


async def test_a_month_that_is_used_up_can_be_given_more(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    tokens = {"budget": {"month": {"max_tokens": 60}}, **ONE_BY_ONE}
    first = await night_of(make_config(prompts(20), **tokens))
    assert (first.state, first.exit_code) == ("stopped", 3)
    assert "budget.month.max_tokens 60" in (first.reason or "")
    directory = RunDir(Path(first.path))
    change_run(directory, ["budget.month.max_tokens=1000000"])
    assert (await execute(directory)).state == "finished"
    assert len(simulator.requests) == 20


async def test_a_month_begins_at_midnight_of_its_zone(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    config = make_config(prompts(2), **MONTH)
    earlier, later = [await night_of(config) for _ in range(2)]
    before, after = RunDir(Path(earlier.path)), RunDir(Path(later.path))
    midnight = datetime(2026, 11, 30, 18, 30, tzinfo=UTC)  # of 1 December in Kolkata
    begun(after, midnight)
    for moment, answers in ((midnight, 2), (midnight - timedelta(seconds=1), 0)):
        begun(before, moment)
        month = month_of(after.root.parent, config, midnight, after.run_id)
        assert month is not None
        assert (month.name, month.following) == ("December 2026", "January 2027")
        assert month.spent.answers == answers


async def test_check_knows_what_is_left_of_the_month(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    await night_of(make_config(prompts(25), **MONTH))
    report = await check_manifest(make_plan(make_config(prompts(50), **MONTH)))
    (said,) = [text for text in map(str, report.warnings) if "budget.month" in text]
    assert "50 rows, passes what is left of budget.month.max_answers 40, 15," in said
    assert "about 15 of 50 rows will be sent" in said


async def test_check_of_a_night_knows_what_it_would_reuse(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    await night_of(make_config(prompts(2)))
    config = make_config(prompts(5))
    path = tmp_path / "night.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True)))
    line = [sys.executable, "-m", "omni_batch", "check", str(path), "--nightly", "--json"]
    done = await asyncio.to_thread(subprocess.run, line, capture_output=True, check=True)
    assert json.loads(done.stdout)["reused_items"] == 2


async def test_other_configs_have_months_of_their_own(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    await night_of(make_config(prompts(25), name="other"))
    night = await night_of(make_config(prompts(40), **MONTH))
    assert (night.state, night.new) == ("finished", 40)


def test_the_shipped_config_of_a_night_has_all_of_it() -> None:
    config = load_config(ROOT / "configs" / "nightly.yaml")
    assert None not in (config.fail_above, config.budget.month, config.timezone)
