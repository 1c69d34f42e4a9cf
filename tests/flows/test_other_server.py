"""Servers that are not what is meant: another version, another program, another database."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from omni_batch.simulator import Simulator
from tests.conftest import KEY, KEY_ENV, prompts, write_csv

pytestmark = pytest.mark.prefect
OLD = "3.7.0"


class _Old(BaseHTTPRequestHandler):
    """A server of an older version, which knows none of the fields that it is sent."""

    def do_GET(self) -> None:
        if self.path.endswith("/version"):
            self._answer(200, OLD)
        else:
            self._refuse()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._refuse()

    def _refuse(self) -> None:
        self._answer(422, {"detail": [{"type": "extra_forbidden", "msg": "Extra inputs"}]})

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def old() -> Iterator[str]:
    """The URL of its API."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Old) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/api"
        server.shutdown()
        thread.join()


@pytest.fixture
def config(tmp_path: Path, simulator: Simulator) -> Path:
    write_csv(tmp_path / "rows.csv", prompts(3))
    path = tmp_path / "config.yaml"
    path.write_text(
        f"manifest: {{path: {tmp_path}/rows.csv}}\noutput: {tmp_path}/runs\n"
        f"endpoint: {{name: custom, base_url: '{simulator.base_url}', api_key_env: {KEY_ENV}}}\n"
    )
    return path


def ran(line: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *line],
        env={**os.environ, KEY_ENV: KEY, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_run_goes_on_where_an_older_server_refuses_it(
    old: str, config: Path, simulator: Simulator
) -> None:
    from prefect import __version__

    done = ran(["omni_batch", "run", str(config)], PREFECT_API_URL=old)
    assert done.returncode == 0, done.stderr
    assert len(simulator.requests) == 3
    versions, refused = [line for line in done.stderr.splitlines() if "warning: " in line]
    assert f"has version {OLD}, and this is Prefect {__version__}" in versions
    assert "Prefect refuses the flow run" in refused
    assert "Extra inputs" in refused


def test_a_schedule_that_an_older_server_refuses_names_both_versions(
    old: str, config: Path
) -> None:
    from prefect import __version__

    done = ran(["omni_batch", "schedule", str(config), "--cron", "0 3 * * *"], PREFECT_API_URL=old)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"has version {OLD}, and this is Prefect {__version__}; it refuses" in done.stderr
    assert "Extra inputs" in done.stderr


@pytest.mark.parametrize("module", ["omni_batch run", "flows.batch"])
def test_a_server_that_is_not_prefect_is_an_error_and_leaves_nothing(
    config: Path, simulator: Simulator, module: str
) -> None:
    done = ran([*module.split(), str(config)], PREFECT_API_URL=simulator.base_url)
    assert done.returncode == 2
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert f"Prefect's API at {simulator.base_url} can't be reached (" in said
    assert list((config.parent / "runs").iterdir()) == []


def test_a_database_that_can_not_be_used_is_named_soon(config: Path, tmp_path: Path) -> None:
    database = f"sqlite+aiosqlite:///{tmp_path}/gone/prefect.db"
    done = ran(
        ["omni_batch", "run", str(config)],
        PREFECT_API_URL="",
        PREFECT_HOME=str(tmp_path / "home"),
        PREFECT_API_DATABASE_CONNECTION_URL=database,
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="100000",
    )
    assert done.returncode == 2, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert "no temporary Prefect server could be started" in said
    assert f"look at PREFECT_API_DATABASE_CONNECTION_URL = {database}" in said
    assert list((tmp_path / "runs").iterdir()) == []
