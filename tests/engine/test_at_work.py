"""Two runs of one config at once, in real processes: no row is paid for twice through `reuse`."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

import omni_batch
from omni_batch.errors import RunAtWork
from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.store.record import Owner, read_record, write_record
from tests.conftest import KEY, KEY_ENV, MakeConfig, prompts, write_csv

ROWS = 20
IN_FLIGHT = 2


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Simulator]:
    """A service that takes its time until a test hurries it, and a config that reuses its runs."""
    write_csv(tmp_path / "rows.csv", prompts(ROWS))
    with Simulator(SimulatorOptions(first_chunk_s=5.0)) as simulator:
        (tmp_path / "config.yaml").write_text(
            "name: captions\nmanifest: {path: rows.csv}\noutput: runs\nreuse: runs/*\n"
            f"quota: {{max_in_flight: {IN_FLIGHT}, requests_per_minute: 1e9}}\n"
            f"endpoint: {{name: custom, base_url: '{simulator.base_url}', "
            f"api_key_env: {KEY_ENV}}}\n"
        )
        yield simulator


def start(folder: Path, run_id: str, *options: str) -> subprocess.Popen[str]:
    command = ["run", "config.yaml", "--run-id", run_id, "--no-prefect", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "omni_batch", *command],
        cwd=folder,
        env={**os.environ, KEY_ENV: KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def begin(folder: Path, run_id: str, slow: Simulator) -> subprocess.Popen[str]:
    """A run that is at work."""
    process = start(folder, run_id)
    while len(slow.requests) < IN_FLIGHT:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def test_a_second_run_is_refused_while_the_first_one_works_and_then_has_all_its_answers(
    tmp_path: Path, slow: Simulator
) -> None:
    first = begin(tmp_path, "first", slow)
    code, said = ended(start(tmp_path, "second"))
    assert code == 2
    (line,) = filter(None, said.splitlines())
    assert "/runs/first of this config is at work since " in line
    assert f"pid {first.pid} on {socket.gethostname()}" in line
    assert "wait for it, or give the config another name or output" in line
    slow.change(first_chunk_s=0.0)
    assert ended(first)[0] == 0
    assert [path.name for path in (tmp_path / "runs").glob("[!.]*")] == ["first"]
    assert ended(start(tmp_path, "second"))[0] == 0
    assert len(slow.requests) == ROWS


def test_of_two_that_begin_at_once_one_works(tmp_path: Path, slow: Simulator) -> None:
    both = [start(tmp_path, "first"), start(tmp_path, "second")]
    while all(process.poll() is None for process in both):
        time.sleep(0.02)
    slow.change(first_chunk_s=0.0)
    assert sorted(ended(process)[0] for process in both) == [0, 2]
    assert len(slow.requests) == ROWS


def test_runs_that_share_nothing_work_side_by_side(tmp_path: Path, slow: Simulator) -> None:
    first = begin(tmp_path, "first", slow)
    slow.change(first_chunk_s=0.0)  # for those that begin from now on
    others = (
        start(tmp_path, "without-reuse", "--set", "reuse=null"),
        start(tmp_path, "other-name", "--set", "name=labels"),
    )
    assert [ended(process)[0] for process in others] == [0, 0]
    assert ended(first)[0] == 0


def test_a_run_that_is_killed_holds_up_nobody(tmp_path: Path, slow: Simulator) -> None:
    first = begin(tmp_path, "first", slow)
    first.kill()
    first.communicate()
    slow.change(first_chunk_s=0.0)
    assert ended(start(tmp_path, "second"))[0] == 0
    assert len(slow.requests) <= ROWS + IN_FLIGHT


def test_an_interrupted_run_is_not_resumed_or_retried_beside_another_one(
    tmp_path: Path, slow: Simulator
) -> None:
    killed = begin(tmp_path, "killed", slow)
    killed.kill()
    killed.communicate()
    at_work = start(tmp_path, "at-work")
    while len(slow.requests) < 2 * IN_FLIGHT:
        assert at_work.poll() is None, at_work.communicate()
        time.sleep(0.02)
    before = (tmp_path / "runs" / "killed" / "run.json").read_bytes()
    with pytest.raises(RunAtWork, match="at-work of this config is at work"):
        omni_batch.read_run(tmp_path / "runs" / "killed").resume()
    assert (tmp_path / "runs" / "killed" / "run.json").read_bytes() == before
    slow.change(first_chunk_s=0.0)
    assert ended(at_work)[0] == 0


def test_of_another_machine_run_json_is_the_heartbeat(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    """A lock may not reach across machines; a run at work rewrites the file every second."""
    config = make_config(prompts(3))
    theirs = omni_batch.run(config).path / "run.json"
    owner = Owner(pid=1, host="elsewhere", since=datetime.now(UTC))
    record = msgspec.structs.replace(read_record(theirs), state="running", owner=owner)
    write_record(theirs, record)
    again = config.model_copy(update={"reuse": (f"{config.output}/*",)})
    with pytest.raises(RunAtWork, match="pid 1 on elsewhere"):
        omni_batch.run(again)
    os.utime(theirs, (time.time() - 61,) * 2)
    assert omni_batch.run(again).counts.reused == 3
    assert len(simulator.requests) == 3
