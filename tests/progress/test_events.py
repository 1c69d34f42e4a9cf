"""Log lines: one for each event of a run and each failed item, without keys and texts."""

import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from omni_batch import run_batch
from omni_batch.config import Config
from omni_batch.counts import Counts
from omni_batch.endpoint_status import EndpointStatus, Learned
from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import Run
from omni_batch.errors import Rejected
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.progress.events import RunLog
from omni_batch.progress.log_files import JsonLines, logging_to
from omni_batch.simulator import Simulator, reply
from omni_batch.store import RunRecord
from omni_batch.types import Attempt, Item, Result
from tests.conftest import KEY, KEY_ENV, MakeConfig, prompts, write_csv

RECORD = RunRecord(
    run_id="run-1",
    state="running",
    items=10,
    shard_size=500,
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
    config={"model": "m", "endpoint": {"name": "e"}},
)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def logged(config: Config, folder: Path, *, debug: bool = False) -> list[dict[str, Any]]:
    with logging_to(folder / "run.log", debug=debug):
        await run_batch(config)
    return lines_of(folder / "run.log")


async def test_a_run_is_told_in_a_few_lines_that_hold_no_text_and_no_key(
    make_config: MakeConfig, simulator: Simulator, tmp_path: Path
) -> None:
    echo = f"You said: Say 1. With key {KEY}"
    simulator.script(
        reply.text("A secret answer."), reply.status(400, code="invalid", message=echo)
    )
    lines = await logged(make_config(prompts(2), quota={"max_in_flight": 1}), tmp_path)
    assert [(line["level"], line["event"], line["item_id"]) for line in lines] == [
        ("INFO", "run_started", None),
        ("WARNING", "item_failed", "row-1"),
        ("INFO", "run_finished", None),
    ]
    failed = lines[1]["fields"]
    assert (failed["error_kind"], failed["http_status"], failed["attempts"]) == ("rejected", 400, 1)
    assert lines[2]["fields"]["succeeded"] == 1
    assert {line["run_id"] for line in lines} == {lines[0]["run_id"]}
    written = (tmp_path / "run.log").read_text()
    for text in ("Say 0", "Say 1", "secret answer", KEY):
        assert text not in written


async def test_debug_logs_every_attempt(
    make_config: MakeConfig, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.script(
        reply.fault("cut"), reply.status(400, code="invalid", message=f"bad key {KEY}")
    )
    config = make_config(prompts(1), retry={"max_attempts": 3})
    lines = await logged(config, tmp_path, debug=True)
    tries = [line["fields"] for line in lines if line["event"] == "attempt"]
    assert [(found["number"], found["error_kind"]) for found in tries] == [
        (1, "stream_error"),
        (2, "rejected"),
    ]
    assert "bad key" in tries[1]["error_message"]
    assert KEY not in (tmp_path / "run.log").read_text()


async def test_a_run_that_stops_says_why(
    make_config: MakeConfig, simulator: Simulator, tmp_path: Path
) -> None:
    config = make_config(prompts(30), budget={"max_tokens": 50}, quota={"max_in_flight": 1})
    last = (await logged(config, tmp_path))[-1]
    assert (last["event"], last["level"]) == ("run_stopped", "INFO")
    assert "budget.max_tokens 50" in last["fields"]["reason"]


def events(before: RunRecord, *records: RunRecord) -> list[str]:
    found: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(f"{record.__dict__['event']}: {record.getMessage()}")

    logger, listener = logging.getLogger("omni_batch"), Listener()
    level = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        run_log = RunLog("run-1")
        for record in records:
            run_log.on_snapshot(before, record)
            before = record
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
    return found


def paced(**known: Any) -> RunRecord:
    return replace(RECORD, endpoints=(EndpointStatus("e", **known),))


def test_an_endpoint_goes_down_and_comes_back() -> None:
    assert events(paced(), paced(down_s=3.0), paced(down_s=4.0), paced(), paced()) == [
        "endpoint_down: run-1: e is down",
        "endpoint_up: run-1: e is up again",
    ]
    assert events(paced(), paced(closed="no\nsuch key"), paced(closed="no\nsuch key")) == [
        "endpoint_closed: run-1: e is closed: no such key"
    ]


def test_a_limit_is_told_when_it_is_learned_and_when_it_moves() -> None:
    limits = [None, 100.0, 101.0, 105.0, 112.0, 112.0]
    endpoints = [
        paced(learned=Learned(limit), stated_requests_per_minute=120.0 if limit else None)
        for limit in limits
    ]
    assert events(paced(), *endpoints) == [
        "limit_learned: run-1: e learned: 100 requests a minute (stated 120)",
        "limit_learned: run-1: e learned: 112 requests a minute (stated 120)",
    ]


def test_a_run_that_begins_to_stop_says_so_once() -> None:
    stopping = replace(RECORD, reason="it was asked to stop")
    ended = replace(stopping, state="interrupted", counts=Counts(succeeded=3))
    assert events(replace(RECORD, state="prepared"), RECORD, stopping, stopping, ended) == [
        "run_started: run-1: started: 0 of 10 items are done",
        "run_stopping: run-1: stops: it was asked to stop",
        "run_interrupted: run-1: interrupted: 3 succeeded, 0 failed of 10; it was asked to stop",
    ]


def test_a_line_is_json_whatever_the_message_holds(caplog: pytest.LogCaptureFixture) -> None:
    item = Item('a\n"b\x1b', 0)
    attempt = Attempt(1, RECORD.created_at, 0.1, error=Rejected("no", code="c\n" * 200))
    RunLog("run-1").on_item_end(
        Result(item, RECORD.created_at, 1.0, attempts=(attempt,), error=attempt.error)
    )
    line = json.loads(JsonLines().format(caplog.records[-1]))
    assert (line["item_id"], line["level"]) == (item.item_id, "WARNING")
    assert "\x1b" not in line["message"]
    assert len(line["fields"]["error_code"]) == 100


async def test_a_bug_beside_the_items_ends_no_run_and_is_seen(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(run: Run) -> None:
        raise ZeroDivisionError("oops")

    directory = prepare_run(make_plan(make_config(prompts(5))))
    record = await execute(directory, background=broken)
    assert (record.state, record.counts.succeeded) == ("finished", 5)
    assert "broken ended early" in caplog.text
    assert "ZeroDivisionError: oops" in caplog.text


def test_the_command_line_writes_a_log_and_shows_no_line_of_it(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.csv", [*prompts(2), {"item_id": "gone", "image": "gone.jpg"}])
    (tmp_path / "config.yaml").write_text("manifest: {path: rows.csv}")
    command = [sys.executable, "-m", "omni_batch.cli.main", "run", "config.yaml", "--no-prefect"]
    environment = {**os.environ, KEY_ENV: KEY, "COLUMNS": "80"}

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    done = run("--log", "run.log")
    assert (done.returncode, done.stderr) == (1, "")
    lines = lines_of(tmp_path / "run.log")
    assert [line["event"] for line in lines] == ["run_started", "item_failed", "run_finished"]
    refused = run("--log", "no/such/folder/run.log")
    assert refused.returncode == 2
    assert "--log no/such/folder/run.log can't be written" in refused.stderr
