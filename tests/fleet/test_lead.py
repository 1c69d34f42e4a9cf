"""One run, several processes: each works on its partition, and what dies goes to another one."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from omni_batch.config import parse_config
from omni_batch.engine.pipeline import execute
from omni_batch.errors import ConfigError
from omni_batch.fleet import Workers, lead, partitioned
from omni_batch.fleet.lead import Submission
from omni_batch.fleet.partitions import partition_of
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.progress.current import current_record
from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.store import RunDir
from omni_batch.store.record import read_record
from tests.conftest import KEY, KEY_ENV, prompts, read_table, write_csv

_WORK = """
import asyncio, sys
from pathlib import Path
from omni_batch.engine.pipeline import execute
from omni_batch.store import RunDir
asyncio.run(execute(RunDir(Path(sys.argv[1])).part(int(sys.argv[2]))))
"""


class Processes:
    """Workers on this machine, each a process."""

    def __init__(self, partitions: Sequence[RunDir]) -> None:
        self._partitions = partitions
        self.started: list[tuple[int, subprocess.Popen[bytes]]] = []

    async def submit(self, number: int) -> None:
        command = [sys.executable, "-c", _WORK, str(self._partitions[number].root), str(number)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
        self.started.append((number, process))

    def last(self, number: int) -> subprocess.Popen[bytes]:
        return [process for which, process in self.started if which == number][-1]

    async def look(self, number: int) -> Submission:
        code = self.last(number).poll()
        return Submission("open") if code is None else Submission("over", f"ended with {code}")

    async def cancel(self) -> None:
        """Nothing: the run directory tells them."""

    def end(self) -> None:
        for _, process in self.started:
            process.kill()
            process.wait()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    monkeypatch.setenv(KEY_ENV, KEY)
    with Simulator(SimulatorOptions(api_key=KEY, first_chunk_s=0.2)) as simulator:
        yield simulator


def prepared(folder: Path, service: Simulator, rows: int, workers: int, **changes: Any) -> RunDir:
    quota = {"requests_per_minute": 1e9, "tokens_per_minute": 1e12, "max_in_flight": 2 * workers}
    config = {
        "name": "fleet",
        "manifest": {"path": str(write_csv(folder / "rows.csv", prompts(rows)))},
        "output": str(folder / "runs"),
        "endpoint": {"name": "custom", "base_url": service.base_url, "api_key_env": KEY_ENV},
        "quota": quota,
        "retry": {"first_wait_s": 0, "max_wait_s": 0},
        **changes,
    }
    return prepare_run(make_plan(parse_config(config)), workers=workers)


@asynccontextmanager
async def led(directory: RunDir, workers: int) -> AsyncIterator[tuple[Processes, Any]]:
    """A run that is being led, and its leader's task."""
    with partitioned(directory, workers) as partitions:
        processes = Processes(partitions)
        typed: Workers = processes
        task = asyncio.ensure_future(lead(directory, partitions, typed))
        try:
            yield processes, task
        finally:
            task.cancel()
            await asyncio.wait([task])
            processes.end()


async def until(happened: Any) -> None:
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110 - another process tells nobody
            await asyncio.sleep(0.05)


def answered(service: Simulator) -> Counter[str]:
    """How often each row was asked for."""
    return Counter(str(request.body) for request in service.requests)


async def test_processes_share_a_run_and_each_row_is_asked_for_once(
    tmp_path: Path, service: Simulator
) -> None:
    directory = prepared(tmp_path, service, rows=30, workers=3)
    async with led(directory, 3) as (processes, task):
        assert await task
        assert len(processes.started) == 3
    record = await execute(directory)
    assert record.state == "finished"
    assert record.counts.succeeded == 30
    assert sorted(row["item_id"] for row in read_table(directory.root)) == sorted(
        row["item_id"] for row in prompts(30)
    )
    assert set(answered(service).values()) == {1}
    assert not directory.partitions.exists()


async def test_a_killed_process_loses_its_partition_to_another_one(
    tmp_path: Path, service: Simulator
) -> None:
    directory = prepared(tmp_path, service, rows=40, workers=2)
    async with led(directory, 2) as (processes, task):
        first = directory.part(0)
        await until(lambda: read_record(first.record).counts.done >= 4)
        processes.last(0).kill()
        assert await task
        assert [number for number, _ in processes.started] == [0, 1, 0]
    record = await execute(directory)
    assert record.counts.succeeded == 40
    # What was in flight at the kill was asked again, and nothing else.
    assert sum(answered(service).values()) <= 40 + 2


async def test_everybody_sees_one_run_while_many_work_on_it(
    tmp_path: Path, service: Simulator
) -> None:
    service.change(first_chunk_s=1.5)
    directory = prepared(tmp_path, service, rows=40, workers=2)
    async with led(directory, 2) as (_, task):
        await until(lambda: current_record(directory).counts.done >= 4)
        record = current_record(directory)
        assert (record.state, record.items) == ("running", 40)
        assert record.in_flight <= 4
        with pytest.raises(ConfigError, match=r"run .* is in use by process"):
            await execute(directory)
        in_use = r"partition 1 of run .* is in use by (another )?process"  # who, if it is written
        with pytest.raises(ConfigError, match=in_use):
            await execute(directory.part(0))
        service.change(first_chunk_s=0.0)
        assert await task


async def test_ctrl_c_stops_all_and_resume_asks_for_the_rest(
    tmp_path: Path, service: Simulator
) -> None:
    service.change(first_chunk_s=0.7)
    directory = prepared(tmp_path, service, rows=40, workers=2)
    async with led(directory, 2) as (processes, task):
        await until(lambda: current_record(directory).counts.done >= 4)
        os.kill(os.getpid(), signal.SIGINT)
        assert not await task
        assert all(process.wait(timeout=20) == 0 for _, process in processes.started)
    record = read_record(directory.record)
    assert (record.state, record.reason) == ("interrupted", "it was asked to stop (Ctrl-C)")
    assert 4 <= record.counts.done < 40
    assert (await execute(directory)).counts.succeeded == 40
    assert set(answered(service).values()) == {1}


async def test_a_partition_that_nobody_gets_to_work_is_given_up_with_its_reason(
    tmp_path: Path, service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = prepared(tmp_path, service, rows=10, workers=1)
    monkeypatch.delenv(KEY_ENV)  # of the workers' machines
    async with led(directory, 1) as (processes, task):
        assert not await task
        assert len(processes.started) == 3
    reason = read_record(directory.record).reason
    assert reason == "partition 1: ended with 1, 3 times"
    assert not service.requests


async def test_a_share_of_the_budget_ends_a_partition_and_the_reason_names_it(
    tmp_path: Path, service: Simulator
) -> None:
    directory = prepared(
        tmp_path, service, rows=40, workers=2, budget={"month": {"max_answers": 20}}
    )
    async with led(directory, 2) as (_, task):
        assert not await task
    record = read_record(directory.record)
    assert record.state == "stopped"
    assert record.counts.answers == 20
    assert "partition 1: 10 answers paid for" in (record.reason or "")


def test_a_partition_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"partition 8 of run .* is not there: the run has been"):
        partition_of(tmp_path, 7)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output": "s3://bucket/runs"}, "workers share a run by a folder that all of them see"),
        (
            {"endpoint": {"name": "dashscope-batch"}, "model": "qwen3.5-omni-plus"},
            "takes files of requests, and its jobs are one book",
        ),
    ],
)
def test_what_one_process_alone_keeps_in_order_is_not_shared(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    rows = str(write_csv(tmp_path / "rows.csv", prompts(4)))
    config = {"manifest": {"path": rows}, "output": str(tmp_path / "runs"), **changes}
    with pytest.raises(ConfigError, match=words):
        prepare_run(make_plan(parse_config(config), needs_key=False), workers=2)
    assert not list(tmp_path.glob("runs/*"))
