"""omni_batch from Python: what a notebook calls, where it calls it from."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import omni_batch as ob
from omni_batch.errors import ConfigError, ManifestError, QueryError
from omni_batch.simulator import Simulator, SimulatorOptions
from tests.conftest import KEY, KEY_ENV, SAMPLE, MakeConfig, prompts, write_csv


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_config_is_a_dict_a_file_or_a_config(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.csv", prompts(2))
    tree = {"manifest": {"path": "rows.csv"}}
    (tmp_path / "config.yaml").write_text("manifest: {path: rows.csv}")
    for config in (tree, "config.yaml", tmp_path / "config.yaml", ob.load_config("config.yaml")):
        run = ob.run(config, overrides={"limit": 1, "request.system": 'Say "yes": #1'})
        assert (run.counts.succeeded, run.record.items) == (1, 1)
        assert run.record.config["request"]["system"] == 'Say "yes": #1'
    assert tree == {"manifest": {"path": "rows.csv"}}


def test_rows_take_the_place_of_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("manifest: {path: not-there.csv, id_column: name}")
    rows: list[dict[str, Any]] = [
        {"name": "a", "prompt": "Say a.", "note": None},
        {"name": "b", "prompt": "Say b."},
    ]
    run = ob.run("config.yaml", rows, run_id="mine")
    assert run.path == Path("data/runs/mine")
    assert list(run.results()["item_id"]) == ["a", "b"]
    assert Path(run.record.config["manifest"]["path"]).parent == Path("data/runs/.rows")
    assert ob.list_runs() == [run]


def test_media_of_a_frame_are_found_from_the_current_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(SAMPLE)
    frame = pd.DataFrame(
        {
            "image": [["photos/brick.jpg", "photos/gravel.jpg"], None],
            "audio": [float("nan"), "audio/announcement.mp3"],
            "prompt": ["Compare.", "Transcribe."],
        }
    )
    report = ob.check({}, frame)
    assert (report.items, report.refused, report.cost is not None) == (2, [], True)
    assert not (SAMPLE / "data").exists()


async def test_run_works_where_a_loop_is_running_already() -> None:
    run = ob.run({}, prompts(3))
    assert run.counts.succeeded == 3
    assert ob.check({}, prompts(3)).items == 3
    again = await ob.run_batch({}, prompts(2))
    assert again.counts.succeeded == 2


def test_what_is_wrong_is_raised_and_leaves_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="did you mean max_in_flight"):
        ob.run({"quota": {"max_inflight": 3}}, prompts(1))
    with pytest.raises(ConfigError, match="DASHSCOPE_API_KEY"):
        ob.run({"endpoint": {"name": "dashscope-beijing"}}, prompts(1))
    assert not Path("data").exists()
    with pytest.raises(ManifestError, match="rows is empty"):
        ob.run({}, [])
    with pytest.raises(ManifestError, match="line 2: the row is empty"):
        ob.run({}, [{"prompt": "x"}, {"prompt": None}])
    with pytest.raises(ConfigError, match="manifest is missing"):
        ob.run({})
    assert ob.list_runs() == []
    with pytest.raises(ConfigError, match="not a run directory"):
        ob.read_run("data/runs")


def test_a_stopped_run_is_resumed_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[dict[str, Any]] = [
        {"image": "photos/coffee.jpg", "prompt": str(n)} for n in range(9)
    ]
    config = {"budget": {"max_tokens": 100}, "quota": {"max_in_flight": 1}, "output": str(tmp_path)}
    monkeypatch.chdir(SAMPLE)
    stopped = ob.run(config, rows, run_id="r")
    assert (stopped.record.state, stopped.counts.done < 9) == ("stopped", True)
    for left in (tmp_path / ".rows").iterdir():
        left.unlink()
    monkeypatch.chdir("/")
    resumed = ob.read_run(tmp_path / "r").resume({"budget.max_tokens": None})
    assert (resumed.record.state, resumed.counts.succeeded) == ("finished", 9)
    with pytest.raises(ConfigError, match="nothing to resume"):
        resumed.resume()


def test_failed_items_are_retried(simulator: Simulator, make_config: MakeConfig) -> None:
    from omni_batch.simulator import reply

    simulator.script(reply.status(400, code="InvalidParameter"))
    run = ob.run(make_config(prompts(2)))
    assert run.counts.failed == 1
    run.retry("media_error")
    assert run.counts.failed == 1
    run.retry("rejected", overrides={"quota.max_in_flight": 2})
    assert (run.counts.failed, run.counts.requests) == (0, 3)
    assert run.record.config["quota"]["max_in_flight"] == 2
    with pytest.raises(ConfigError, match="did you mean rejected"):
        run.retry("reject")


def test_figures_tables_exports_and_reports_of_a_run(tmp_path: Path) -> None:
    run = ob.read_run(str(ob.run({"name": "x"}, prompts(3)).path))
    frame = run.sql("select count(*) as requests, sum(total_tokens) as tokens from attempts")
    assert frame.to_dict("records") == [
        {"requests": 3, "tokens": run.counts.prompt_tokens + run.counts.completion_tokens}
    ]
    with pytest.raises(QueryError):
        run.sql("drop table results")
    assert run.export("jsonl", "out.jsonl").items == len(Path("out.jsonl").read_text().splitlines())
    with pytest.raises(ConfigError, match=r"out\.jsonl"):
        run.export("jsonl", tmp_path / "out.jsonl")
    halves = run.export("messages", tmp_path / "chats", split="train=0.5,test=0.5", seed=7)
    assert sum(halves.splits.values()) == halves.items
    assert run.report() == run.path / "report.html"


NOTEBOOK = """
import asyncio, sys
import omni_batch as ob

async def cell():
    endpoint = {"name": "custom", "base_url": sys.argv[1], "api_key_env": sys.argv[2]}
    quota = {"max_in_flight": 2, "requests_per_minute": 1e9, "tokens_per_minute": 1e12}
    rows = [{"prompt": str(number)} for number in range(400)]
    run = ob.run({"endpoint": endpoint, "quota": quota, "shutdown_grace_s": 60}, rows)
    print(run.record.state, run.counts.succeeded)

asyncio.new_event_loop().run_until_complete(cell())
"""


@pytest.mark.parametrize(
    ("slow", "presses"), [({"chunk_interval_s": 0.02}, 1), ({"first_chunk_s": 60}, 2)]
)
def test_a_notebook_s_stop_button_ends_the_run_in_order(
    tmp_path: Path, slow: dict[str, float], presses: int
) -> None:
    """The first press lets requests in flight end; a second one ends the run at once."""
    (tmp_path / "cell.py").write_text(NOTEBOOK)
    with Simulator(SimulatorOptions(**slow)) as server:  # type: ignore[arg-type]
        command = [sys.executable, "cell.py", server.base_url, KEY_ENV]
        environment = {**os.environ, KEY_ENV: KEY}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as cell:
            while len(server.requests) < 2:
                assert cell.poll() is None
                time.sleep(0.01)
            for _ in range(presses):
                with pytest.raises(subprocess.TimeoutExpired):
                    cell.wait(0.2)
                cell.send_signal(signal.SIGINT)
            output, _ = cell.communicate(timeout=45)
        succeeded = len(server.requests) if presses == 1 else 0
    assert (cell.returncode, output) == (0, f"interrupted {succeeded}\n")
