"""A process that may have little memory says so, sends less at once, and ends in order."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from omni_batch.simulator import Simulator
from tests.conftest import KEY, KEY_ENV, read_table
from tests.support.limited import omni_batch_within, write_spoken_rows

ROWS, IN_FLIGHT, MB = 30, 200, 10**6
TOO_LITTLE, LITTLE = 400 * MB, 760 * MB
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is not kept elsewhere")


@pytest.fixture
def project(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows that are answered with speech, more at once than little memory has room for."""
    monkeypatch.setenv(KEY_ENV, KEY)
    return write_spoken_rows(tmp_path, simulator, ROWS, IN_FLIGHT)


def start(project: Path, limit_bytes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return omni_batch_within(project, resource.RLIMIT_AS, limit_bytes, limit_bytes, *arguments)


def test_with_little_memory_less_is_in_flight_and_the_limit_is_named(
    project: Path, simulator: Simulator
) -> None:
    done = start(project, LITTLE, "run", "config.yaml", "--no-prefect", "--run-id", "a")
    assert done.returncode == 0, done.stderr
    assert f"finished: {ROWS} succeeded" in done.stdout
    assert len(simulator.requests) == len(read_table(project / "runs" / "a")) == ROWS
    warnings = json.loads((project / "runs" / "a" / "run.json").read_text())["warnings"]
    (said,) = [text for text in warnings if text.startswith("memory-limit: ")]
    assert "this process may have 760 MB of memory" in said
    assert f"instead of {IN_FLIGHT}" in said


@pytest.mark.parametrize("command", ["run", "check"])
def test_where_not_even_the_libraries_fit_one_line_says_so(
    project: Path, simulator: Simulator, command: str
) -> None:
    done = start(project, TOO_LITTLE, command, "config.yaml")
    assert done.returncode == 3
    (said,) = done.stderr.splitlines()
    assert "this process may have 400 MB of memory" in said
    assert "ulimit -v" in said
    assert not simulator.requests
    assert not (project / "runs").exists()
