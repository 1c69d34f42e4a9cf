"""Whatever step a process dies at: what was journaled stands, the rest is sent once more."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from omni_batch.config import Config
from omni_batch.engine.pipeline import execute
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.simulator import Simulator, reply
from omni_batch.store import RunDir
from omni_batch.store.items import read_items
from omni_batch.store.record import read_record
from tests.conftest import KEY, KEY_ENV, MakeConfig, prompts
from tests.support.crash_layer import Death, Point, ends, prepare_until, run_until
from tests.support.laws import check_finished, hidden, rows_so_far

ITEMS = 3
BEGUN = 2  # items that may be under way at once: twice quota.max_in_flight
ENVIRONMENT = {KEY_ENV: KEY}
NAMES_CHANGE = ("replace", "unlink", "mkdir")


@pytest.fixture
def config(make_config: MakeConfig) -> Config:
    """Two spoken items and one that is refused, in two shards."""
    rows = prompts(ITEMS - 1)
    rows.insert(1, {"item_id": "refused", "prompt": "forbidden-input"})
    return make_config(
        rows,
        request={"modalities": ["text", "audio"], "voice": "Cherry"},
        shard_size=2,
        quota={"max_in_flight": BEGUN // 2},
    )


class Runs:
    """Copies of one prepared run, each to die in its own way."""

    def __init__(self, simulator: Simulator, config: Config, durability: str) -> None:
        config = config.model_copy(update={"durability": durability})
        self.simulator = simulator
        self.prepared = prepare_run(make_plan(config), "prepared").root
        self.witness = self.prepared.with_name("witness")

    def survives(self, at: int, death: Death) -> str | None:
        """Die at a step, resume, check the laws; what the step was, None when there is none."""
        directory = RunDir(self.prepared.with_name(f"run-{at}"))
        shutil.copytree(self.prepared, directory.root)
        sent_before = self.simulator.counters.requests
        point = Point(directory.root, at, death, self.witness)
        if ends(run_until, point, directory.root, ENVIRONMENT):
            return None
        kept = rows_so_far(directory)
        sent = self.simulator.counters.requests - sent_before
        step, counted = self.witness.read_text().split()
        assert int(counted) <= len(kept)
        assert sent - BEGUN <= len(kept) <= sent

        if read_record(directory.record).state != "finished":
            asyncio.run(execute(directory))
        check_finished(directory, kept)
        sent_in_all = self.simulator.counters.requests - sent_before
        assert sent_in_all == sent + ITEMS - len(kept)
        if not death.startswith("power lost"):
            written = pq.read_table(directory.root / "attempts").num_rows
            assert sent_in_all <= written <= sent_in_all + BEGUN
        shutil.rmtree(directory.root)
        return step


def test_a_run_survives_its_death_at_every_step(simulator: Simulator, config: Config) -> None:
    runs, steps = Runs(simulator, config, "process"), list[str]()
    while step := runs.survives(len(steps) + 1, "killed"):
        steps.append(step)
        if step in ("write", "replace"):
            assert runs.survives(len(steps), "torn")
    # Two shards work side by side, in another order each time: a rare step may be passed over.
    assert set(steps) >= {"write", "replace", "unlink", "rmdir"}
    assert len(steps) > 15


def test_a_run_survives_the_loss_of_power_at_every_step(
    simulator: Simulator, config: Config
) -> None:
    runs, steps = Runs(simulator, config, "disk"), list[str]()
    while step := runs.survives(len(steps) + 1, "power lost"):
        if steps and steps[-1] in NAMES_CHANGE:
            assert runs.survives(len(steps) + 1, "power lost, its names written")
        steps.append(step)
        if len(steps) % 4 == 0:
            runs.survives(len(steps), "power lost, some of it written")
    assert steps.count("fsync") > 12


def test_speech_that_lost_its_row_is_gone_when_the_item_is_refused_at_last(
    simulator: Simulator, config: Config
) -> None:
    directory = prepare_run(make_plan(config))
    directory.speech("row-0").write_bytes(b"RIFF")  # its process died before the row was written
    simulator.script(reply.status(400, code="invalid_parameter_error"))
    asyncio.run(execute(directory))
    check_finished(directory, {})


# --- before it begins ---


def deaths(config: Config, folder: Path, death: Death) -> Iterator[Path]:
    """Prepare a run and die at each step in turn; yields the output folder as it was left."""
    at = 0
    while True:
        at += 1
        output = folder / f"{death}-{at}"
        output.mkdir()
        changed = config.model_copy(update={"output": str(output / "runs")})
        point = Point(output, at, death, folder / "witness")
        tree = changed.model_dump(mode="json")
        if ends(prepare_until, point, tree, "run-1", ENVIRONMENT):
            assert at > 5
            return
        yield output / "runs"


@pytest.mark.parametrize(
    ("durability", "death"), [("process", "killed"), ("process", "torn"), ("disk", "power lost")]
)
def test_a_run_whose_preparation_dies_is_whole_or_not_there(
    config: Config, tmp_path: Path, durability: str, death: Death
) -> None:
    config = config.model_copy(update={"durability": durability})
    for output in deaths(config, tmp_path, death):
        whole = RunDir(output / "run-1")
        ended = (tmp_path / "witness").read_text().startswith("end")
        if ended or whole.root.exists():
            record = read_record(whole.record)
            assert (record.state, record.items) == ("prepared", ITEMS)
            items = [read_items(whole.items, n, record.shard_size) for n in record.shards]
            assert sum(map(len, items)) == ITEMS
        for draft in output.glob(".*"):
            os.utime(draft, (0, 0))
        prepare_run(make_plan(config.model_copy(update={"output": str(output)})), "run-2")
        assert hidden(output) == []


def test_the_draft_of_a_living_process_is_left_alone(config: Config) -> None:
    plan = make_plan(config)
    output = Path(config.output)

    def meanwhile(rows: int) -> None:
        (draft,) = hidden(output)
        os.utime(output / draft, (0, 0))
        prepare_run(plan, "faster")
        assert hidden(output) == [draft]

    prepare_run(plan, "slower", meanwhile)
    assert sorted(path.name for path in output.iterdir()) == ["faster", "slower"]
