"""`omni-batch schedule` on a real Prefect server, whose scheduler begins the runs."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from omni_batch.cli.main import app
from omni_batch.errors import ConfigError
from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.store.read import list_runs
from tests.conftest import KEY, KEY_ENV, prompts, write_csv
from tests.flows.conftest import MEASURING

pytestmark = pytest.mark.prefect

_PATIENCE_S = 120.0
"""Until a test is given up; nothing is asserted of how long things take."""
SERVED = """
import sys
from datetime import timedelta
from pathlib import Path
from prefect.schedules import Interval
from omni_batch.config import load_config
from omni_batch.package_files import import_flows
from omni_batch.planning.plan import make_plan

config = Path(sys.argv[1])
flow = import_flows("schedule")
nights = flow.Nights(config, (), make_plan(load_config(config)), "0 3 * * *", "UTC")
flow.serve_nights(nights, lambda text: print(text, flush=True), Interval(timedelta(seconds=5)))
"""
"""The command with an interval in place of a cron line, whose runs are a minute apart at least."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, as `prefect server start` starts it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    environment = surroundings(url) | {"PREFECT_HOME": str(tmp_path_factory.mktemp("prefect"))}
    for name in MEASURING:
        environment.pop(name, None)
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: process.poll() is not None or answers(port))
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def surroundings(url: str) -> dict[str, str]:
    return {
        **os.environ,
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "DO_NOT_TRACK": "1",
        KEY_ENV: KEY,
    }


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.2)


def write_config(folder: Path, simulator: Simulator, rows: int, more: str = "") -> Path:
    write_csv(folder / "rows.csv", prompts(rows))
    config = folder / "night.yaml"
    config.write_text(
        f"name: night\nmanifest: {{path: rows.csv}}\noutput: runs\n"
        f"endpoint: {{name: custom, base_url: '{simulator.base_url}', api_key_env: {KEY_ENV}}}\n"
        "quota: {max_in_flight: 2, requests_per_minute: 1e9, tokens_per_minute: 1e12}\n"
        f"{more}"
    )
    return config


def begin(folder: Path, url: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that serves, as soon as it has registered its schedule."""
    with (folder / "said.txt").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=surroundings(url),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    until(lambda: process.poll() is not None or "Ctrl-C ends" in said(folder))
    assert process.poll() is None, said(folder)
    return process


def said(folder: Path) -> str:
    return (folder / "said.txt").read_text()


def end(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(_PATIENCE_S)


def ask(url: str, question: Callable[[Any], Any]) -> Any:
    """What the server says to a question to its client."""
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    async def answer() -> Any:
        async with get_client() as client:
            return await question(client)

    with temporary_settings({PREFECT_API_URL: url}):
        return asyncio.run(answer())


def test_runs_begin_by_themselves_and_the_schedule_outlives_its_process(
    server: str, simulator: Simulator, tmp_path: Path
) -> None:
    config = write_config(tmp_path, simulator, 3)
    process = begin(tmp_path, server, "-c", SERVED, str(config))
    until(lambda: len(completed(server)) >= 2)
    assert end(process) == 0, said(tmp_path)
    assert len(simulator.requests) == 3  # the second night has nothing new
    (first,) = ask(server, lambda client: client.read_deployments())
    assert [schedule.active for schedule in first.schedules] == [True]
    assert not first.paused
    assert f"    {config}\n" in first.description  # as code: a path may hold any sign
    assert f"    {tmp_path}\n" in first.description

    command = ("schedule", str(config), "--cron", "15 3 * * 0", "--timezone", "Asia/Kolkata")
    assert end(begin(tmp_path, server, "-m", "omni_batch", *command)) == 0, said(tmp_path)
    (again,) = ask(server, lambda client: client.read_deployments())
    (schedule,) = again.schedules
    assert again.id == first.id
    assert schedule.active
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("15 3 * * 0", "Asia/Kolkata")
    assert again.global_concurrency_limit.limit == 1
    assert again.concurrency_options.collision_strategy.value == "CANCEL_NEW"
    for run in completed(server):
        assert run.name.endswith(f" due {run.expected_start_time:%Y-%m-%d %H:%M} UTC")


def completed(url: str) -> list[Any]:
    runs = ask(url, lambda client: client.read_flow_runs())
    return [run for run in runs if run.state.type.value == "COMPLETED"]


def test_a_run_at_work_ends_in_order_with_the_process_that_serves_it(
    server: str, tmp_path: Path
) -> None:
    with Simulator(SimulatorOptions(api_key=KEY, first_chunk_s=0.3)) as slow:
        config = write_config(tmp_path, slow, 400)
        command = ("schedule", str(config), "--cron", "0 3 1 1 *")
        process = begin(tmp_path, server, "-m", "omni_batch", *command)
        started = start(server, tmp_path)
        until(lambda: len(slow.requests) >= 5)
        assert end(process) == 0, said(tmp_path)
        asked = len(slow.requests)
    ((_, record),) = list_runs(tmp_path / "runs")
    assert (record.state, record.reason) == ("interrupted", "it was asked to stop (SIGTERM)")
    assert record.counts.succeeded == asked < 400
    assert record.counts.in_doubt == 0
    run = ask(server, lambda client: client.read_flow_run(started.id))
    assert run.state.type.value == "CANCELLED"


def start(url: str, folder: Path) -> Any:
    """A flow run, begun by hand."""
    by_path = next(line for line in said(folder).splitlines() if "Deployment" in line)

    async def begun(client: Any) -> Any:
        deployment = await client.read_deployment_by_name(by_path.split()[1])
        return await client.create_flow_run_from_deployment(deployment.id)

    return ask(url, begun)


def test_kill_9_costs_no_row_and_leaves_no_run_as_running(server: str, tmp_path: Path) -> None:
    """Of the process that serves, whose run goes on alone; then of the run as well."""
    with Simulator(SimulatorOptions(api_key=KEY, first_chunk_s=0.3)) as slow:
        config = write_config(tmp_path, slow, 40, "shard_size: 5\n")
        command = ("-m", "omni_batch", "schedule", str(config), "--cron", "0 3 1 1 *")
        process = begin(tmp_path, server, *command)
        alone = start(server, tmp_path)
        until(lambda: len(slow.requests) >= 5)
        process.kill()
        process.wait()
        until(lambda: state_of(server, alone) == "COMPLETED")
        assert len(slow.requests) == 40

        write_csv(tmp_path / "rows.csv", prompts(80))
        process = begin(tmp_path, server, *command)
        killed = start(server, tmp_path)
        until(lambda: len(slow.requests) >= 45)
        process.kill()
        process.wait()
        (at_work,) = (tmp_path / "runs").glob(".*.flow-run")
        os.kill(int(at_work.name.split(".")[2]), signal.SIGKILL)

        process = begin(tmp_path, server, *command)
        until(lambda: state_of(server, killed) == "CRASHED")
        following = start(server, tmp_path)
        until(lambda: state_of(server, following) == "COMPLETED")
        assert end(process) == 0, said(tmp_path)
        assert 80 <= len(slow.requests) <= 82
    assert state_of(server, alone) == "COMPLETED"


def state_of(url: str, run: Any) -> str:
    return str(ask(url, lambda client: client.read_flow_run(run.id)).state.type.value)


# --- refused before anything is registered ---

CLOSED = "http://127.0.0.1:9/api"


def refused(config: Path, url: str, *arguments: str) -> str:
    """What the command is refused for, in this process: Prefect takes seconds to load."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    before = sorted(config.parent.iterdir())
    with temporary_settings({PREFECT_API_URL: url or None}):
        done = CliRunner().invoke(app, ["schedule", str(config), *arguments])
    assert isinstance(done.exception, ConfigError)
    assert sorted(config.parent.iterdir()) == before
    assert "\n" not in str(done.exception)
    return str(done.exception)


@pytest.fixture
def config(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(KEY_ENV, KEY)
    return write_config(tmp_path, simulator, 3)


@pytest.mark.parametrize("kind", ["unset", "of somebody else"])
def test_without_a_prefect_server_nothing_begins(
    simulator: Simulator, config: Path, kind: str
) -> None:
    url = {"unset": "", "of somebody else": simulator.base_url}[kind]
    why = refused(config, url, "--cron", "0 3 * * *")
    assert "PREFECT_API_URL" in why
    assert url in why
    assert "`prefect server start`" in why


def test_a_refusal_is_one_line_and_exit_code_2(config: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "omni_batch", "schedule", str(config), "--cron", "0 3 * * *"],
        cwd=config.parent,
        env=surroundings(CLOSED),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"no Prefect API answers at PREFECT_API_URL = {CLOSED}" in done.stderr
    assert "`prefect server start`" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "key", "what"),
    [
        (["--cron", "0 25 * * *"], KEY, "--cron '0 25 * * *' '25' is not a valid hour"),
        (
            ["--cron", "0 3 * * *", "--timezone", "berlin"],
            KEY,
            "--timezone 'berlin' is not the name of a time zone; did you mean Europe/Berlin?",
        ),
        (["--cron", "0 3 * * *"], "", f"needs an API key in the environment variable {KEY_ENV}"),
        (["--cron", "0 3 * * *", "--set", "modell=qwen3"], KEY, "modell"),
        (
            ["--cron", "0 3 * * *", "--set", "notify=https://hooks.example.org/T0/B0"],
            KEY,
            "--set notify: the URL may be a secret, and Prefect keeps parameters in clear text",
        ),
    ],
)
def test_a_wrong_schedule_is_refused_before_a_server_is_asked(
    config: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], key: str, what: str
) -> None:
    monkeypatch.setenv(KEY_ENV, key)
    assert what in refused(config, CLOSED, *arguments)
