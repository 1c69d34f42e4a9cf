"""A run that somebody else made sends and embeds nothing before its user has said so."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import omni_batch as ob
from omni_batch.cli.main import app
from omni_batch.engine.pipeline import execute
from omni_batch.engine.retry_run import reopen_failed
from omni_batch.errors import ConfigError, UntrustedRun
from omni_batch.planning.consent import accept, check_run
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import change_run, prepare_run
from omni_batch.simulator import Simulator
from omni_batch.store import RunDir
from omni_batch.store.record import read_record
from tests.conftest import KEY_ENV, MakeConfig, prompts
from tests.support.written_runs import Written, write_run

ELSEWHERE = "https://elsewhere.example/v1"


def change(directory: RunDir, **changes: Any) -> None:
    """As another program does it: keys of run.json such as `config.media.roots`."""
    tree = json.loads(directory.record.read_text())
    for key, value in changes.items():
        *parents, leaf = key.split("__")
        branch = tree
        for parent in parents:
            branch = branch[parent]
        branch[leaf] = value
    directory.record.write_text(json.dumps(tree))


@pytest.fixture
def prepared(make_config: MakeConfig) -> RunDir:
    return prepare_run(make_plan(make_config(prompts(2))), "night")


@pytest.fixture
def theirs(tmp_path: Path) -> RunDir:
    """Finished, and made to ask for all files of this machine."""
    directory = write_run(tmp_path / "theirs", [Written("a"), Written("b")], items=2)
    change(directory, config__media__roots=["/"], base_folder="/")
    return directory


async def test_a_changed_address_gets_no_request_and_no_key(
    prepared: RunDir, simulator: Simulator
) -> None:
    change(prepared, config__endpoint__base_url=ELSEWHERE, config__endpoint__api_key_env="HOME")
    with pytest.raises(UntrustedRun) as refused:
        await execute(prepared)
    for named in ("elsewhere.example", "HOME", str(prepared.root.parent.parent), "--trust"):
        assert named in str(refused.value)
    for work in (change_run, lambda run, pairs: reopen_failed(run, (), pairs)):
        with pytest.raises(UntrustedRun):
            work(prepared, [])
    assert simulator.counters.requests == 0


async def test_consent_is_remembered_with_what_it_was_given_to(
    prepared: RunDir, simulator: Simulator
) -> None:
    change(prepared, config__shutdown_grace_s=1)
    change_run(prepared, ["budget.max_tokens=100000"], trust=True)
    assert (await execute(prepared)).state == "finished"
    assert simulator.counters.requests == 2
    change(prepared, config__endpoint__base_url=ELSEWHERE)
    with pytest.raises(UntrustedRun):
        check_run(prepared)


async def test_set_keeps_an_own_run_own(prepared: RunDir) -> None:
    change_run(prepared, ["quota.max_in_flight=2"])
    assert read_record(prepared.record).config["quota"]["max_in_flight"] == 2
    assert (await execute(prepared)).state == "finished"


def test_an_own_run_of_another_machine_needs_nothing(prepared: RunDir) -> None:
    since = "2026-01-01T00:00:00Z"
    change(prepared, owner={"pid": 4_000_000, "host": "elsewhere", "since": since})
    check_run(prepared)


def test_what_it_asks_for_is_named(theirs: RunDir, tmp_path: Path) -> None:
    (theirs.root / "audio").rmdir()
    (theirs.root / "audio").symlink_to(tmp_path)
    change(
        theirs,
        config={
            "manifest": {"path": "rows.csv"},
            "endpoints": [
                {"name": "custom", "label": "one", "base_url": ELSEWHERE, "api_key_env": KEY_ENV},
                {"name": "vllm", "label": "two", "base_url": "http://10.0.0.7:8000/v1"},
                {"name": "dashscope-beijing"},
            ],
            "media": {"roots": ["a\x1b[31mb", "/etc"], "allow_private_downloads": True},
            "reuse": ["/home/me/runs/*"],
        },
    )
    with pytest.raises(UntrustedRun) as refused:
        check_run(theirs)
    message = str(refused.value)
    for named in (
        f"the key in {KEY_ENV} for https://elsewhere.example",
        "requests without a key for http://10.0.0.7:8000",
        "the key in DASHSCOPE_API_KEY for https://dashscope.aliyuncs.com",
        "/etc",
        "downloads from private addresses",
        "answers of the runs at '/home/me/runs/*'",
        f"audio at {tmp_path}",
    ):
        assert named in message
    assert "\x1b" not in message


def test_a_directory_of_others_is_neither_shown_nor_exported(
    theirs: RunDir, tmp_path: Path
) -> None:
    handle = ob.read_run(theirs.root)
    works: list[Callable[..., Any]] = [
        handle.report,
        lambda **how: handle.export("hf", tmp_path / "out", **how),
    ]
    for work in works:
        with pytest.raises(UntrustedRun, match="files below /"):
            work()
        assert sorted(path.name for path in theirs.root.glob("report*")) == []
    assert not (tmp_path / "out").exists()
    for work in works:
        work(trust=True)
        with pytest.raises(UntrustedRun):
            work()  # consent to look is for one time


@pytest.mark.parametrize("command", ["resume", "retry", "report", "export"])
def test_the_commands_ask_for_the_option(theirs: RunDir, tmp_path: Path, command: str) -> None:
    more = [str(tmp_path / "out"), "--to", "hf"] if command == "export" else []
    done = CliRunner().invoke(app, [command, str(theirs.root), *more])
    assert isinstance(done.exception, UntrustedRun)
    if command in ("report", "export"):
        done = CliRunner().invoke(app, [command, str(theirs.root), *more, "--trust"])
        assert done.exit_code == 0, (done.output, done.exception)


@pytest.mark.parametrize("command", ["status", "sql", "verify"])
def test_what_neither_sends_nor_embeds_needs_no_consent(theirs: RunDir, command: str) -> None:
    more = ["select 1"] if command == "sql" else []
    assert CliRunner().invoke(app, [command, str(theirs.root), *more]).exit_code == 0


@pytest.mark.parametrize(("said", "code"), [("y\n", 0), ("n\n", 2), ("\n", 2)])
def test_on_a_terminal_it_is_a_question(theirs: RunDir, said: str, code: int) -> None:
    ours, their_end = pty.openpty()
    command = [sys.executable, "-m", "omni_batch", "report", str(theirs.root)]
    process = subprocess.Popen(command, stdin=their_end, stdout=their_end, stderr=their_end)
    os.close(their_end)
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(ours, 4096)
    assert b"files below /" in seen
    os.write(ours, said.encode())
    try:
        while os.read(ours, 4096):
            pass
    except OSError:  # the terminal's other end is closed
        pass
    assert process.wait() == code
    os.close(ours)
    assert (theirs.root / "report.html").exists() is (code == 0)


def test_a_repair_goes_through_no_link(theirs: RunDir, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (theirs.root / "journal").rmdir()
    (theirs.root / "journal").symlink_to(tmp_path / "elsewhere")
    done = CliRunner().invoke(app, ["verify", str(theirs.root), "--repair"])
    assert isinstance(done.exception, ConfigError)
    assert "is a link to" in str(done.exception)


def test_consent_for_good(theirs: RunDir) -> None:
    accept(theirs)
    check_run(theirs)
