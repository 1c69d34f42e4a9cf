"""One run among the workers of a work pool, on a real Prefect server."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun

from omni_batch.config import load_config
from omni_batch.fleet import partitioned
from omni_batch.package_files import import_flows
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.store import RunDir
from omni_batch.store.record import read_record
from omni_batch.store.trust.marks import claims_digest
from tests.conftest import KEY, KEY_ENV, prompts, read_table, write_csv

pytestmark = pytest.mark.prefect

ROWS = 24
POOL = "omni-batch-workers"
PREFECT = (sys.executable, "-m", "prefect")


@pytest.fixture
def service() -> Iterator[Simulator]:
    with Simulator(SimulatorOptions(api_key=KEY)) as simulator:
        yield simulator


@pytest.fixture
def config(tmp_path: Path, service: Simulator) -> Path:
    write_csv(tmp_path / "rows.csv", prompts(ROWS))
    path = tmp_path / "config.yaml"
    path.write_text(
        "name: shared\nmanifest: {path: rows.csv}\noutput: runs\n"
        "quota: {max_in_flight: 4, requests_per_minute: 1e9}\n"
        f"endpoint: {{name: custom, base_url: '{service.base_url}', api_key_env: {KEY_ENV}}}\n"
    )
    return path


@contextmanager
def worker(folder: Path, prefect_server: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a folder of its own, which knows nothing of the run."""
    folder.mkdir()
    process = subprocess.Popen(
        [*PREFECT, "worker", "start", "--pool", POOL, "--limit", "2"],
        cwd=folder,
        env=environment(prefect_server),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def environment(prefect_server: str) -> dict[str, str]:
    return {
        **os.environ,
        KEY_ENV: KEY,
        "PREFECT_API_URL": prefect_server,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }


def run(config: Path, prefect_server: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "omni_batch", "run", config.name, *options]
    return subprocess.run(
        command,
        cwd=config.parent,
        env=environment(prefect_server),
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_workers_share_a_run_and_each_row_is_asked_for_once(
    prefect_server: str, tmp_path: Path, config: Path, service: Simulator
) -> None:
    pool = (*PREFECT, "work-pool", "create", POOL, "--type", "process")
    subprocess.run(pool, env=environment(prefect_server), check=True, capture_output=True)
    with worker(tmp_path / "elsewhere", prefect_server):
        options = ("--workers", "2", "--work-pool", POOL, "--run-id", "one")
        ended = run(config, prefect_server, *options)
    assert ended.returncode == 0, ended.stderr
    directory = RunDir(tmp_path / "runs" / "one")
    assert read_record(directory.record).counts.succeeded == ROWS
    assert len(read_table(directory.root)) == ROWS
    assert set(Counter(str(request.body) for request in service.requests).values()) == {1}
    found = asyncio.run(_flow_runs("one"))
    assert {each.name: each.state_name for each in found} == {
        "one partition 1": "Completed",
        "one partition 2": "Completed",
    }


async def _flow_runs(tag: str) -> list[FlowRun]:
    async with get_client() as client:
        wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=[tag]))
        return await client.read_flow_runs(flow_run_filter=wanted)


def test_a_pool_that_does_not_exist_is_one_line_and_leaves_nothing_behind(
    prefect_server: str, config: Path
) -> None:
    ended = run(config, prefect_server, "--workers", "2", "--work-pool", "nobodys")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"Error: there is no work pool 'nobodys' at {prefect_server} (there: ")
    assert line.endswith("make it with: prefect work-pool create nobodys --type process")
    assert not (config.parent / "runs").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--workers", "2"), "--workers N and --work-pool NAME go together"),
        (("--work-pool", "pool"), "--workers N and --work-pool NAME go together"),
        (("--workers", "2", "--work-pool", "x", "--no-prefect"), "leave --no-prefect"),
    ],
)
def test_options_that_say_half_are_refused(
    config: Path, options: tuple[str, ...], words: str
) -> None:
    ended = run(config, "http://127.0.0.1:1/api", *options)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert words in ended.stderr


def test_a_partition_in_use_is_skipped(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.chdir(config.parent)
    flow = import_flows("partitions").partition
    directory = prepare_run(make_plan(load_config(config)), "held", workers=2)
    with partitioned(directory, 2) as (first, _):
        digest = claims_digest(first, read_record(first.record))
        with first.owned():
            state = asyncio.run(flow.fn(str(directory.root), 0, digest))
    assert (state.name, state.type.value) == ("Skipped", "CANCELLED")
    assert state.message.startswith(f"partition 1 of run {directory.root} is in use by")
