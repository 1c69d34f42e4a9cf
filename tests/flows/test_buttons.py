"""The buttons of Prefect's page, on a flow that is served: whatever is pressed, no row is paid for
twice, and what was in flight is kept.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.record import read_record
from tests.conftest import KEY, KEY_ENV, prompts, write_csv

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.skipif(sys.platform != "linux", reason="Prefect sends other signals elsewhere"),
]
ROWS = 120
IN_FLIGHT = 4
_SERVED = """
from flows.batch import batch

if __name__ == "__main__":
    batch.serve(name="buttons", pause_on_shutdown=False)
"""


@pytest.fixture(scope="module")
def deployment(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The flow, served by a process of its own."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "served.py").write_text(_SERVED)
    said = folder / "said"
    environment = {"PREFECT_API_URL": prefect_server, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    with said.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "served.py"],
            cwd=folder,
            env={**os.environ, **environment, KEY_ENV: KEY},
            stdout=file,
            stderr=file,
        )
    while "is being served" not in said.read_text():
        assert process.poll() is None, said.read_text()
        time.sleep(0.1)
    yield "omni-batch/buttons"
    process.terminate()
    assert process.wait(60) is not None


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Simulator]:
    """A service that takes 0.3 s for an answer."""
    write_csv(tmp_path / "rows.csv", prompts(ROWS))
    with Simulator(SimulatorOptions(first_chunk_s=0.3)) as simulator:
        (tmp_path / "config.yaml").write_text(
            f"name: Buttons\nmanifest: {{path: {tmp_path}/rows.csv}}\noutput: {tmp_path}/runs\n"
            f"reuse: {tmp_path}/runs/*\nshard_size: 10\n"
            f"quota: {{max_in_flight: {IN_FLIGHT}, requests_per_minute: 1e9}}\n"
            f"endpoint: {{name: custom, base_url: '{simulator.base_url}', "
            f"api_key_env: {KEY_ENV}}}\n"
        )
        yield simulator


class Page:
    """What Prefect's page does with one flow run of a config."""

    def __init__(self, deployment: str, folder: Path) -> None:
        self._folder = folder
        self.id: UUID = _in_loop(_start(deployment, str(folder / "config.yaml")))

    @property
    def flow_run(self) -> "FlowRun":
        found: FlowRun = _in_loop(_with_client(lambda client: client.read_flow_run(self.id)))
        return found

    @property
    def state(self) -> str:
        state = self.flow_run.state
        return state.type.value if state else ""

    @property
    def run_dir(self) -> RunDir:
        (found,) = (self._folder / "runs").glob("[!.]*")
        return RunDir(found)

    @property
    def record(self) -> RunRecord:
        return read_record(self.run_dir.record)

    def press(self, state: "State[None]") -> None:
        def send(client: Any) -> Any:
            return client.set_flow_run_state(self.id, state, force=True)

        _in_loop(_with_client(send))

    def cancel(self) -> None:
        from prefect.states import Cancelling

        self.press(Cancelling())

    def suspend(self) -> None:
        from prefect.states import Suspended

        self.press(Suspended(timeout_seconds=600))

    def resume(self) -> None:
        _in_loop(_with_client(lambda client: client.resume_flow_run(self.id)))

    def retry(self) -> None:
        from prefect.states import AwaitingRetry

        self.press(AwaitingRetry())


def _in_loop(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def _with_client(act: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    from prefect import get_client

    async with get_client() as client:
        return await act(client)


async def _start(deployment: str, config: str) -> UUID:
    from prefect.deployments import arun_deployment

    flow_run = await arun_deployment(deployment, parameters={"config": config}, timeout=0)
    return flow_run.id


def wait_for(what: Callable[[], bool], saying: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 90
    while not what():
        assert time.monotonic() < give_up_at, saying()
        time.sleep(0.2)


def test_cancel_suspend_resume_and_retry_ask_for_each_row_once(
    deployment: str, tmp_path: Path, slow: Simulator
) -> None:
    page = Page(deployment, tmp_path)

    def more_requests() -> None:
        before = len(slow.requests)
        wait_for(lambda: len(slow.requests) >= before + 2 * IN_FLIGHT, lambda: page.flow_run)

    more_requests()
    page.cancel()
    wait_for(lambda: page.state == "CANCELLED", lambda: page.flow_run)
    assert page.record.state == "interrupted"
    assert page.record.counts.succeeded == len(slow.requests) < ROWS
    assert page.flow_run.name == page.run_dir.run_id

    page.retry()
    more_requests()
    page.suspend()
    wait_for(lambda: page.record.state == "interrupted", lambda: page.record)
    assert "suspended" in str(page.record.reason)
    assert page.record.counts.succeeded == len(slow.requests) < ROWS
    assert page.state == "PAUSED"

    page.resume()
    wait_for(lambda: page.state == "COMPLETED", lambda: page.flow_run)
    assert page.record.counts.succeeded == len(slow.requests) == ROWS

    begun = page.flow_run.run_count
    page.retry()
    wait_for(lambda: page.flow_run.run_count > begun, lambda: page.flow_run)
    wait_for(lambda: page.state == "COMPLETED", lambda: page.flow_run)
    assert len(slow.requests) == ROWS


def test_a_resume_that_is_faster_than_the_pause_waits_for_the_process_at_work(
    deployment: str, tmp_path: Path, slow: Simulator
) -> None:
    page = Page(deployment, tmp_path)
    wait_for(lambda: len(slow.requests) >= IN_FLIGHT, lambda: page.flow_run)
    page.suspend()
    page.resume()
    wait_for(lambda: page.state == "COMPLETED", lambda: page.flow_run)
    assert page.record.counts.succeeded == len(slow.requests) == ROWS


def test_after_a_kill_retry_asks_for_the_rest_and_a_second_run_is_skipped_meanwhile(
    deployment: str, tmp_path: Path, slow: Simulator
) -> None:
    page = Page(deployment, tmp_path)
    wait_for(lambda: len(slow.requests) >= 2 * IN_FLIGHT, lambda: page.flow_run)
    owner = page.record.owner
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    wait_for(lambda: page.state == "CRASHED", lambda: page.flow_run)

    page.retry()
    wait_for(lambda: page.record.state == "running" and page.record.owner != owner, lambda: 0)
    second = Page(deployment, tmp_path)
    wait_for(lambda: second.state == "CANCELLED", lambda: second.flow_run)
    state = second.flow_run.state
    assert state is not None
    assert state.name == "Skipped"
    assert f"run {page.run_dir.root} of this config is at work since " in str(state.message)

    wait_for(lambda: page.state == "COMPLETED", lambda: page.flow_run)
    assert page.record.counts.succeeded == ROWS
    assert len(slow.requests) <= ROWS + IN_FLIGHT
