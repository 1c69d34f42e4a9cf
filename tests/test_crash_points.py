"""Whatever step of a run a process dies at: what was journaled stands, the rest is sent once more."""

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from omni_batch.config import Config
from omni_batch.pipeline import execute
from omni_batch.plan import make_plan
from omni_batch.prepare import prepare_run
from omni_batch.rundir import RunDir
from omni_batch.rundir.record import read_record
from omni_batch.simulator import Simulator
from tests.conftest import KEY, KEY_ENV, MakeConfig, prompts
from tests.crash_layer import Death, Point, ends, prepare_until, run_until
from tests.laws import check_finished, hidden, rows_so_far

ITEMS = 5
BEGUN = 2  # items that may be under way at once: twice quota.max_in_flight


@pytest.fixture
def config(make_config: MakeConfig) -> Config:
    """Four spoken items and one that is refused, in two shards."""
    rows = prompts(ITEMS - 1)
    rows.insert(2, {"item_id": "refused", "prompt": "forbidden-input"})
    return make_config(
        rows,
        request={"modalities": ["text", "audio"], "voice": "Cherry"},
        shard_size=3,
        quota={"max_in_flight": BEGUN // 2},
    )


CASES: list[tuple[str, Death]] = [
    ("process", "killed"),
    ("process", "torn"),
    ("disk", "power lost"),
    ("disk", "power lost, some of it written"),
]


@pytest.mark.parametrize(("durability", "death"), CASES)
def test_a_run_survives_its_death_at_every_step(
    simulator: Simulator, config: Config, tmp_path: Path, durability: str, death: Death
) -> None:
    config = config.model_copy(update={"durability": durability})
    prepared = prepare_run(make_plan(config), "prepared")
    at = 0
    while True:
        at += 1
        directory = RunDir(prepared.root.with_name(f"run-{at}"))
        shutil.copytree(prepared.root, directory.root)
        sent_before = simulator.counters.requests
        point = Point(directory.root, at, death, tmp_path / "counted")
        if ends(run_until, point, directory.root, {KEY_ENV: KEY}):
            break
        kept = rows_so_far(directory)
        sent = simulator.counters.requests - sent_before
        assert int((tmp_path / "counted").read_text()) <= len(kept)
        assert sent - BEGUN <= len(kept) <= sent

        if read_record(directory.record).state != "finished":
            asyncio.run(execute(directory))
        check_finished(directory, kept)
        assert simulator.counters.requests - sent_before == sent + ITEMS - len(kept)
        shutil.rmtree(directory.root)
    assert at > 20
