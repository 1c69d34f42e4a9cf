"""A run that is asked to stop under Prefect's temporary server, in a terminal and without one."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.store.record import read_record
from tests.conftest import KEY, KEY_ENV, ROOT, prompts, write_csv
from tests.support.terminal import CTRL_C, Terminal

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]
IN_FLIGHT = 4


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Prefect keeps its database, which the first start makes."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Simulator]:
    write_csv(tmp_path / "rows.csv", prompts(400))
    with Simulator(SimulatorOptions(first_chunk_s=0.2)) as simulator:
        (tmp_path / "config.yaml").write_text(
            "manifest: {path: rows.csv}\noutput: runs\n"
            f"quota: {{max_in_flight: {IN_FLIGHT}, requests_per_minute: 1e9}}\n"
            f"endpoint: {{name: custom, base_url: '{simulator.base_url}', "
            f"api_key_env: {KEY_ENV}}}\n"
        )
        yield simulator


def begin(folder: Path, home: Path, *module: str) -> Terminal:
    module = module or ("omni_batch", "run", "config.yaml", "--run-id", "r")
    environment = {"PREFECT_HOME": str(home), "PREFECT_API_URL": "", KEY_ENV: KEY}
    return Terminal(sys.executable, "-m", *module, cwd=folder, **environment)


def server_of(terminal: Terminal) -> int:
    """The process of the temporary server, as soon as there is one."""
    while True:
        assert terminal.process.poll() is None, terminal.shown
        for process in terminal.left():
            if b"lifeline.py" in Path(f"/proc/{process}/cmdline").read_bytes():
                return process
        time.sleep(0.02)


def wait_for_requests(simulator: Simulator, terminal: Terminal) -> None:
    while len(simulator.requests) < 2 * IN_FLIGHT:
        assert terminal.process.poll() is None, terminal.shown
        time.sleep(0.02)


def test_a_signal_to_the_whole_group_ends_a_run_in_order_and_prefect_learns_of_it(
    tmp_path: Path, home: Path, slow: Simulator
) -> None:
    """As systemd and container runtimes send it. The server has no key, and hears of no signal."""
    with begin(tmp_path, home) as terminal:
        server = server_of(terminal)
        wait_for_requests(slow, terminal)
        assert KEY.encode() not in Path(f"/proc/{server}/environ").read_bytes()
        os.killpg(terminal.process.pid, signal.SIGTERM)
        assert terminal.ended_within(30) == 130, terminal.shown
        assert terminal.all_ended_within(2)
    assert "Traceback" not in terminal.shown
    assert "omni-batch resume runs/r" in terminal.shown
    record = read_record(tmp_path / "runs" / "r" / "run.json")
    assert (record.state, record.counts.succeeded) == ("interrupted", len(slow.requests))
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        (state,) = database.execute("select state_name from flow_run where name = 'r'").fetchone()
    assert state == "Interrupted"


def test_ctrl_c_ends_a_run_whatever_prefects_server_does(
    tmp_path: Path, home: Path, slow: Simulator
) -> None:
    with begin(tmp_path, home) as terminal:
        server = server_of(terminal)
        wait_for_requests(slow, terminal)
        os.kill(server, signal.SIGSTOP)  # it answers nothing, and refuses nothing
        terminal.press(CTRL_C)
        assert terminal.ended_within(30) == 130, terminal.shown
        assert terminal.all_ended_within(2)
    said = terminal.shown.partition("^C")[2]
    assert "it was asked to stop (Ctrl-C)" in said
    assert "Starting" not in said
    assert "Traceback" not in said
    counts = read_record(tmp_path / "runs" / "r" / "run.json").counts
    assert counts.succeeded == len(slow.requests)  # what was in flight came to its end


@pytest.mark.parametrize("module", [(), ("flows.batch", "config.yaml")], ids=["command", "flow"])
def test_ctrl_c_while_the_server_starts_leaves_nothing(
    tmp_path: Path, home: Path, slow: Simulator, module: tuple[str, ...]
) -> None:
    with begin(tmp_path, home, *module) as terminal:
        server_of(terminal)
        terminal.press(CTRL_C)
        assert terminal.ended_within(15) == 130, terminal.shown
        assert terminal.all_ended_within(2)
    assert "Traceback" not in terminal.shown
    assert not list((tmp_path / "runs").iterdir())
    assert not slow.requests


def test_the_server_ends_with_a_process_that_is_killed(
    tmp_path: Path, home: Path, slow: Simulator
) -> None:
    with begin(tmp_path, home) as terminal:
        server_of(terminal)
        terminal.process.kill()
        assert terminal.all_ended_within(30)


def test_a_lifeline_ends_with_the_pipe_and_passes_on_what_its_module_says() -> None:
    command = [
        sys.executable,
        "-u",
        "-P",
        str(ROOT / "flows" / "temporary" / "lifeline.py"),
        "http.server",
    ]
    server = [*command, "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"Serving HTTP" in process.stdout.readline()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == -signal.SIGTERM
    with subprocess.Popen([*command, "-x"], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as wrong:
        assert wrong.stderr is not None
        assert b"usage" in wrong.stderr.read()
        assert wrong.wait(30) == 2


def test_no_line_of_prefects_log_comes_between_the_lines_of_the_display(
    prefect_server: str, tmp_path: Path, slow: Simulator
) -> None:
    arguments = ("run", "config.yaml", "--set", "limit=20", "--set", "name=seen")
    with Terminal(
        *(sys.executable, "-m", "omni_batch", *arguments),
        cwd=tmp_path,
        **{KEY_ENV: KEY, "PREFECT_API_URL": prefect_server},
        **{"PREFECT_LOGGING_LEVEL": "DEBUG", "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG"},
    ) as terminal:
        assert terminal.ended_within(60) == 0, terminal.shown
    assert "20 succeeded" in terminal.shown
    assert not re.search(r"\d\d:\d\d:\d\d\.\d{3}|INFO|DEBUG|shard", terminal.shown)
