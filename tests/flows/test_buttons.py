"""The buttons of Prefect's page, on a flow that is served: whatever is pressed, no row is paid for
twice, and what was in flight is kept.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.record import read_record
from tests.conftest import KEY, KEY_ENV, prompts, write_csv

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
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
        with _client() as client:
            deployed = client.read_deployment_by_name(deployment)
            self.id = client.create_flow_run_from_deployment(
                deployed.id, parameters={"config": str(folder / "config.yaml")}
            ).id

    @property
    def flow_run(self) -> "FlowRun":
        with _client() as client:
            return client.read_flow_run(self.id)

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
        with _client() as client:
            client.set_flow_run_state(self.id, state, force=True)

    def cancel(self) -> None:
        from prefect.states import Cancelling

        self.press(Cancelling())

    def suspend(self) -> None:
        from prefect.states import Suspended

        self.press(Suspended(timeout_seconds=600))

    def resume(self) -> None:
        with _client() as client:
            client.resume_flow_run(self.id)

    def retry(self) -> None:
        from prefect.states import AwaitingRetry

        self.press(AwaitingRetry())


def _client() -> "SyncPrefectClient":
    from prefect import get_client

    return get_client(sync_client=True)


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

    before = len(slow.requests)

    def goes_on() -> bool:
        # The process that serves says Cancelled once more, after the run has: then it is retried
        # again.
        if page.state == "CANCELLED":
            page.retry()
        return len(slow.requests) >= before + 2 * IN_FLIGHT

    wait_for(goes_on, lambda: page.flow_run)
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


def test_a_process_that_resume_starts_waits_for_the_one_that_ends(
    deployment: str, tmp_path: Path, slow: Simulator
) -> None:
    slow.change(first_chunk_s=10.0)  # longer than a process takes to begin
    page = Page(deployment, tmp_path)
    wait_for(lambda: len(slow.requests) == IN_FLIGHT, lambda: page.flow_run)
    page.suspend()
    page.resume()
    slow.change(first_chunk_s=0.05)
    wait_for(lambda: page.state == "COMPLETED", lambda: page.flow_run)
    assert page.record.counts.succeeded == len(slow.requests) == ROWS


def test_a_second_run_is_skipped_and_retry_after_a_kill_asks_for_the_rest(
    deployment: str, tmp_path: Path, slow: Simulator
) -> None:
    slow.change(first_chunk_s=5.0)
    page = Page(deployment, tmp_path)
    wait_for(lambda: len(slow.requests) > IN_FLIGHT, lambda: page.flow_run)
    second = Page(deployment, tmp_path)
    wait_for(lambda: second.state == "CANCELLED", lambda: second.flow_run)
    state, owner = second.flow_run.state, page.record.owner
    assert state is not None
    assert owner is not None
    assert state.name == "Skipped"
    assert f"run {page.run_dir.root} of this config is at work since " in str(state.message)

    os.kill(owner.pid, signal.SIGKILL)
    wait_for(lambda: page.state == "CRASHED", lambda: page.flow_run)
    slow.change(first_chunk_s=0.05)
    page.retry()
    wait_for(lambda: page.state == "COMPLETED", lambda: page.flow_run)
    assert page.record.counts.succeeded == ROWS
    assert len(slow.requests) <= ROWS + IN_FLIGHT
