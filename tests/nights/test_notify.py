"""A night is told to a URL once, and what comes of it changes nothing."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from omni_batch.config import NotifyConfig
from omni_batch.errors import ConfigError, RunAtWork
from omni_batch.nights import NoNight, notify
from omni_batch.simulator import Simulator
from tests.conftest import KEY, KEY_ENV, MakeConfig, prompts
from tests.nights.test_limits import night
from tests.nights.test_seven_nights import night_of

SECRETS = ("s3cret", "hook-token")


class Hook(ThreadingHTTPServer):
    """Keeps what it is told."""

    daemon_threads = True

    def __init__(self, status: int, hurry: threading.Event | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.hurry = status, hurry
        self.told: list[Any] = []
        self.logins: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://user:s3cret@127.0.0.1:{self.server_address[1]}/hook-token"


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append(json.loads(body))
        self.server.logins.append(self.headers["Authorization"])
        if self.server.hurry is not None:
            self.server.hurry.wait(60)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hook(status: int = 200, hurry: threading.Event | None = None) -> Iterator[Hook]:
    with Hook(status, hurry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            if hurry is not None:
                hurry.set()
            server.shutdown()
            thread.join()


def to(url: str) -> NotifyConfig:
    return NotifyConfig(url=url)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert not any(secret in text for text in found for secret in SECRETS)
    return found


async def test_it_is_told_once_with_its_numbers(caplog: pytest.LogCaptureFixture) -> None:
    reason = "stopped at http://user:s3cret@host/ with key sk-0123456789-test"
    with hook() as server:
        await notify(to(server.url), night(failed_new=6, fail_above=5, new=7, reason=reason))
    (told,) = server.told
    assert (told["run_id"], told["state"], told["new"], told["failed_new"]) == (
        *("n", "finished"),
        *(7, 6),
    )
    assert told["failed"] is True
    assert "fail_above" in told["to_do"][0]
    assert not any(secret in json.dumps(told) for secret in (*SECRETS, "sk-0123456789"))
    assert server.logins[0] is not None  # the login is for the hook, and for nobody else
    assert warnings_of(caplog) == []


async def test_a_hook_that_answers_500(caplog: pytest.LogCaptureFixture) -> None:
    with hook(500) as server:
        await notify(to(server.url), night())
    assert len(server.told) == 1
    (said,) = warnings_of(caplog)
    assert "HTTP 500" in said
    assert "127.0.0.1" in said


async def test_a_hook_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    with hook() as server:
        url = server.url
    await notify(to(url), night())
    (said,) = warnings_of(caplog)
    assert "refused" in said


async def test_a_hook_that_is_slow(caplog: pytest.LogCaptureFixture) -> None:
    with hook(hurry=threading.Event()) as server:
        await notify(to(server.url), night(), wait_s=0.2)
    (said,) = warnings_of(caplog)
    assert "no answer within" in said


async def test_without_a_url_nobody_is_told() -> None:
    await notify(None, night())


async def test_a_block_is_told_by_prefect_only(caplog: pytest.LogCaptureFixture) -> None:
    await notify(NotifyConfig(block="slack-webhook/operators"), night())
    (said,) = warnings_of(caplog)
    assert said.startswith("notify: block slack-webhook/operators was not told")
    assert "give a URL" in said


@pytest.mark.parametrize(
    ("exc", "state", "code", "to_do"),
    [
        (ConfigError("modell is unknown"), "rejected", 2, "mend what the reason says"),
        (RunAtWork("run n is at work"), "skipped", 2, "nothing, if it happens once"),
        (ValueError("odd"), "broken", 3, "the next night tries again"),
    ],
)
async def test_a_night_that_does_not_take_place_is_told_as_well(
    exc: Exception, state: str, code: int, to_do: str
) -> None:
    with hook() as server:
        await notify(to(server.url), NoNight.of(exc, "night.yaml"))
    (told,) = server.told
    assert (told["state"], told["exit_code"], told["failed"]) == (state, code, True)
    assert told["words"].startswith(f"the night of night.yaml was {state}: ")
    assert str(exc) in told["reason"]
    assert told["to_do"][0].startswith(to_do)


async def test_the_url_is_kept_without_what_may_be_a_secret(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    url = "https://user:s3cret@hooks.example.org/hook-token?sig=s3cret"
    found = await night_of(make_config(prompts(1), notify=url))
    kept = (Path(found.path) / "run.json").read_text()
    assert "https://hooks.example.org/…" in kept
    assert not any(secret in kept for secret in SECRETS)


def test_the_command(simulator: Simulator, make_config: MakeConfig, tmp_path: Path) -> None:
    with hook() as server:
        config = make_config(prompts(2), notify=server.url, fail_above=0)
        path = tmp_path / "night.yaml"
        path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True)))
        line = [sys.executable, "-m", "omni_batch", "nightly", str(path)]
        first = subprocess.run(line, capture_output=True, text=True, check=False)
        second = subprocess.run([*line, "--json"], capture_output=True, text=True, check=False)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "night: 2 new, 0 changed, 0 retried, 0 reused of 2 rows; none failed" in first.stdout
    told = json.loads(second.stdout)
    assert told["words"] == "nothing new: all 2 rows were answered before, nothing was sent"
    assert [entry["run_id"] for entry in server.told] == [
        Path(first.stdout.split()[-1]).name,
        told["run_id"],
    ]
    everything = first.stdout + first.stderr + second.stdout + second.stderr
    assert not any(secret in everything for secret in (*SECRETS, KEY))
    assert len(simulator.requests) == 2
    assert KEY_ENV in path.read_text()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [("", "rows.csv does not exist"), ("modell: qwen\n", "unknown key modell")],
    ids=["manifest", "config"],
)
def test_the_command_tells_of_a_night_that_is_rejected(
    tmp_path: Path, wrong: str, reason: str
) -> None:
    path = tmp_path / "night.yaml"
    with hook() as server:
        path.write_text(f"manifest: {{path: {tmp_path}/rows.csv}}\nnotify: {server.url}\n{wrong}")
        line = [sys.executable, "-m", "omni_batch", "nightly", str(path)]
        line += ["--set", "endpoint.name=simulator"]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    (told,) = server.told
    assert told["state"] == "rejected"
    assert reason in told["reason"]
    assert reason in done.stderr


def test_the_command_refuses_bad_input_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "night.yaml"
    path.write_text("manifest: {path: rows.csv}\nnotify: 'ftp://user:s3cret@host/hook-token'")
    line = [sys.executable, "-m", "omni_batch", "nightly", str(path)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "notify" in done.stderr
    assert not any(secret in done.stderr for secret in SECRETS)
