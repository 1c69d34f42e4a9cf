"""A collection that is run every night: what is answered is paid for once, whatever happens."""

import shutil
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from omni_batch.engine.pipeline import execute
from omni_batch.nights import Night, begin_night, end_night, plan_night
from omni_batch.simulator import Simulator, reply
from omni_batch.store import RunDir
from tests.conftest import KEY, KEY_ENV, SAMPLE, MakeConfig, prompts, read_table
from tests.support.crash_layer import begin, work_on

REFUSED = reply.status(400, code="invalid_parameter_error")
ONE_BY_ONE = {"quota": {"max_in_flight": 1}}
IN_FLIGHT = 4


async def night_of(config: Any) -> Night:
    directory = begin_night(plan_night(config))
    await execute(directory)
    return end_night(directory)


def figures(night: Night) -> dict[str, int]:
    names = ("new", "changed", "retried", "reused", "failed_new", "failed_known", "left")
    return {name: value for name in names if (value := getattr(night, name))}


def questions(simulator: Simulator, since: int = 0) -> list[str]:
    """The last text of each request, in the order they came."""
    found = []
    for request in simulator.requests[since:]:
        content = request.body["messages"][-1]["content"]  # type: ignore[index]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found.append([part["text"] for part in parts if part["type"] == "text"][-1])
    return found


async def test_seven_nights(simulator: Simulator, make_config: MakeConfig, tmp_path: Path) -> None:
    shutil.copy(SAMPLE / "photos" / "coffee.jpg", tmp_path / "cup.jpg")
    rows: list[Mapping[str, str]] = prompts(9)
    rows.append({"item_id": "cup", "prompt": "Say what it is.", "image": "cup.jpg"})

    # 1: three of ten fail
    simulator.script(REFUSED, REFUSED, REFUSED)
    first = await night_of(make_config(rows, **ONE_BY_ONE))
    assert figures(first) == {"new": 10, "failed_new": 3}
    assert (first.state, first.exit_code) == ("finished", 0)

    # 2: four more; one failure is mended. What failed is asked first.
    rows += prompts(13)[9:]
    since = len(simulator.requests)
    simulator.script(reply.normal(), REFUSED, REFUSED)
    second = await night_of(make_config(rows, **ONE_BY_ONE))
    asked = [f"Say {number}." for number in (0, 1, 2, 9, 10, 11, 12)]
    assert questions(simulator, since) == asked
    assert figures(second) == {"new": 4, "retried": 3, "reused": 7, "failed_known": 2}

    # 3: a picture changes its bytes
    shutil.copy(SAMPLE / "photos" / "cat.webp", tmp_path / "cup.jpg")
    third = await night_of(make_config(rows))
    assert figures(third) == {"changed": 1, "retried": 2, "reused": 11}

    # 4: nothing
    since = len(simulator.requests)
    fourth = await night_of(make_config(rows))
    assert len(simulator.requests) == since
    assert fourth.words == "nothing new: all 14 rows were answered before, nothing was sent"
    assert (fourth.state, fourth.exit_code, fourth.to_do) == ("finished", 0, ())

    # 5: the service is away
    rows += prompts(43)[13:]
    away = {"name": "custom", "base_url": "http://127.0.0.1:9", "api_key_env": KEY_ENV}
    fifth = await night_of(
        make_config(rows, endpoint={**away, "label": "custom"}, retry={"outage_timeout_s": 0})
    )
    assert (fifth.state, fifth.exit_code, fifth.left) == ("stopped", 3, 30)
    assert "127.0.0.1:9" in (fifth.reason or "")
    assert any("omni-batch resume" in text for text in fifth.to_do)

    # 6: kill -9 after a third
    since = len(simulator.requests)
    sixth = begin_night(plan_night(make_config(rows, quota={"max_in_flight": IN_FLIGHT})))
    kill_after(10, simulator, sixth)

    # 7: the rest
    seventh = await night_of(make_config(rows, quota={"max_in_flight": IN_FLIGHT}))
    assert (seventh.state, seventh.left, seventh.failed_new, seventh.failed_known) == (
        *("finished", 0),
        *(0, 0),
    )
    last = read_table(Path(seventh.path))
    assert {row["status"] for row in last} == {"succeeded"}
    assert len(last) == len(rows) == 44
    twice = sum(Counter(questions(simulator, since)).values()) - 30
    assert 0 <= twice <= IN_FLIGHT


def kill_after(answers: int, simulator: Simulator, night: RunDir) -> None:
    """Work on a night in a process that is killed; its last requests are not answered."""
    before = simulator.counters
    process = begin(work_on, night.root, {KEY_ENV: KEY})
    while simulator.counters.succeeded < before.succeeded + answers:
        assert process.is_alive()
        time.sleep(0.001)
    simulator.change(first_chunk_s=600)
    process.kill()
    process.join()
    simulator.change(first_chunk_s=0)


async def test_a_service_that_refuses_what_it_refused_before_ends_no_night(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    """Failed rows come first: however many they are, the others are asked all the same."""
    refusals = [reply.status(400, code="invalid_parameter_error", message="bad")] * 60
    simulator.script(reply.normal(), *refusals[:19])
    await night_of(make_config(prompts(20), **ONE_BY_ONE))
    simulator.script(*refusals[:19], reply.normal(), *refusals[:40])
    second = await night_of(make_config(prompts(61), **ONE_BY_ONE))
    assert figures(second) == {
        "new": 41,
        "retried": 19,
        "reused": 1,
        "failed_new": 40,
        "failed_known": 19,
    }
    simulator.script(*refusals[:59])
    rate = {"budget": {"max_failure_rate": 0.1}}
    third = await night_of(make_config(prompts(70), **ONE_BY_ONE, **rate))
    assert (third.state, third.new, third.failed_new, third.failed_known) == ("finished", 9, 0, 59)


async def test_failures_that_were_mended_leave_the_rate_to_the_others(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(reply.normal(), *[REFUSED] * 39)
    await night_of(make_config(prompts(40), **ONE_BY_ONE))
    simulator.script(*[reply.normal()] * (39 + 24), *[REFUSED] * 40)
    rate = {"budget": {"max_failure_rate": 0.5}}
    second = await night_of(make_config(prompts(110), **ONE_BY_ONE, **rate))
    assert second.state == "stopped"
    assert "26 of 51 items failed" in (second.reason or "")  # 50 are new, one is reused


async def test_rows_of_samples_come_first_together(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(*[reply.normal()] * 3, REFUSED)
    await night_of(make_config(prompts(3), samples=2, **ONE_BY_ONE))
    directory = begin_night(plan_night(make_config(prompts(3), samples=2, **ONE_BY_ONE)))
    await execute(directory)
    found = [(row["item_id"], row["sample"]) for row in read_table(directory.root)]
    assert found == [(f"row-{row}", sample) for row in (1, 0, 2) for sample in (1, 2)]
    assert figures(end_night(directory)) == {"retried": 1, "reused": 5}


async def test_a_rehearsal_hides_no_failures(simulator: Simulator, make_config: MakeConfig) -> None:
    simulator.script(*[reply.normal()] * 3, REFUSED)
    await night_of(make_config(prompts(4), **ONE_BY_ONE))
    await night_of(make_config(prompts(4), limit=1))
    assert figures(await night_of(make_config(prompts(4)))) == {"retried": 1, "reused": 3}


async def test_a_config_with_a_longer_name_is_another_one(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(REFUSED)
    await night_of(make_config(prompts(1), name="test-b"))
    simulator.script(REFUSED)
    assert figures(await night_of(make_config(prompts(1)))) == {"new": 1, "failed_new": 1}


@pytest.mark.parametrize("reuse", [None, ("elsewhere/*",)])
async def test_patterns_of_the_user_are_added(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path, reuse: tuple[str, ...] | None
) -> None:
    elsewhere = str(tmp_path / "elsewhere")
    await night_of(make_config(prompts(2), output=elsewhere))
    patterns = [f"{tmp_path}/{pattern}" for pattern in reuse or ()] or None
    night = await night_of(make_config(prompts(2), reuse=patterns))
    assert night.reused == (2 if reuse else 0)
