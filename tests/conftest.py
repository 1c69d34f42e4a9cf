"""A real simulator on a free port, and runs over manifests that a test writes down."""

import csv
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from omni_batch.config import Config, parse_config
from omni_batch.simulator import Simulator, SimulatorOptions

if TYPE_CHECKING:
    from tests.support.object_store import ObjectServer

for name in ("COLUMNS", "LINES", "FORCE_COLOR"):  # of who runs the tests; Rich would obey them
    os.environ.pop(name, None)

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # As behind `&` or nohup. All processes that tests start would ignore it as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")

KEY_ENV = "OMNI_BATCH_TEST_KEY"
KEY = "sk-0123456789-test"
ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "data" / "sample"
os.environ["PYTHONPATH"] = str(
    ROOT
)  # processes that tests start run this checkout, from any folder

os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="omni-batch-tests-")
"""Whoever runs the tests keeps their own state; the processes that tests start share this one."""

os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="omni-batch-tests-")

MakeConfig = Callable[..., Config]


def pytest_xdist_auto_num_workers() -> int | None:
    """Two for each core: half of the time tests wait for processes, servers and clocks."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return 2 * (os.cpu_count() or 1)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Its thread is not measured, which costs a third of its time; tests/simulator measures it."""
    measuring = threading.gettrace()
    threading.settrace(None)
    with Simulator(SimulatorOptions(api_key=KEY)) as server:
        threading.settrace(measuring)
        yield server


@pytest.fixture
def make_config(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MakeConfig:
    """A config over the given rows against the simulator: no waits, no pacing."""
    monkeypatch.setenv(KEY_ENV, KEY)

    def make(rows: list[Mapping[str, str]], **changes: Any) -> Config:
        manifest = write_csv(tmp_path / "manifest.csv", rows)
        quota = {"requests_per_minute": 1e9, "tokens_per_minute": 1e12}
        endpoint = {"name": "custom", "base_url": simulator.base_url, "api_key_env": KEY_ENV}
        return parse_config(
            {
                "name": "test",
                "manifest": {"path": str(manifest)},
                "output": str(tmp_path / "runs"),
                "endpoint": endpoint,
                **changes,
                "quota": quota | changes.get("quota", {}),
                "retry": {"first_wait_s": 0, "max_wait_s": 0} | changes.get("retry", {}),
            }
        )

    return make


@pytest.fixture(scope="session")
def started_object_server() -> Iterator["ObjectServer"]:
    from tests.support.object_store import ObjectServer  # takes a second to import

    server = ObjectServer()
    with server.serving():
        yield server


@pytest.fixture
def object_server(
    started_object_server: "ObjectServer", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> "ObjectServer":
    """An S3 server with one empty bucket, and the environment of somebody who uses it."""
    monkeypatch.setenv("OMNI_BATCH_COPIES", str(tmp_path / "copies"))
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in started_object_server.environment().items():
        monkeypatch.setenv(name, value)
    started_object_server.reset()
    return started_object_server


def write_csv(path: Path, rows: list[Mapping[str, str]]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def prompts(count: int) -> list[Mapping[str, str]]:
    return [{"item_id": f"row-{number}", "prompt": f"Say {number}."} for number in range(count)]


def read_table(run_dir: Path, name: str = "results") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(run_dir / name).to_pylist()
    return rows
