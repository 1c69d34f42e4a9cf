"""The command line as a person meets it: real processes, exit codes, messages."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from omni_batch.simulator import Simulator, SimulatorOptions
from tests.conftest import KEY, KEY_ENV, prompts, write_csv


def omni_batch(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "omni_batch.cli.main", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_csv(tmp_path / "rows.csv", prompts(3))
    (tmp_path / "config.yaml").write_text("manifest: {path: rows.csv}\nendpoint: {name: simulator}")
    return tmp_path


def test_run_prints_the_run_directory_last_and_exits_0(project: Path) -> None:
    done = omni_batch("run", "config.yaml", "--no-prefect", "--run-id", "first", cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "data/runs/first"
    assert (project / "data/runs/first/results/part-00000.parquet").exists()


def test_run_exits_1_when_items_failed(project: Path) -> None:
    write_csv(project / "rows.csv", [{"image": "none.jpg"}, {"prompt": "Say hello."}])
    done = omni_batch("run", "config.yaml", "--no-prefect", cwd=project)
    assert done.returncode == 1
    assert "none.jpg does not exist" in done.stdout


def test_run_as_json_is_one_json_object(project: Path) -> None:
    done = omni_batch("run", "config.yaml", "--no-prefect", "--json", "--limit", "2", cwd=project)
    assert json.loads(done.stdout)["counts"]["succeeded"] == 2


REFUSALS = {
    "a wrong key": ("quota: {max_inflight: 3}", ["max_inflight", "did you mean max_in_flight"]),
    "a wrong value": ("quota: {max_in_flight: 0}", ["quota.max_in_flight = 0", "greater"]),
    "an unknown endpoint": ("endpoint: {name: dashscope-bejing}", ["dashscope-beijing"]),
    "a missing key": ("endpoint: {name: dashscope-beijing}", ["DASHSCOPE_API_KEY", "export"]),
    "a missing manifest": ("manifest: {path: gone.csv}", ["gone.csv", "does not exist"]),
    "an empty manifest": ("manifest: {path: empty.csv}", ["empty.csv", "empty"]),
    "duplicate ids": ("manifest: {path: twice.csv}", ["'a'", "rows 1 and 2"]),
    "an unknown variable": (
        'manifest: {path: subjects.csv}\nrequest: {prompt: "{{ subjct }}"}',
        ["subjct", "did you mean subject", "line 2"],
    ),
    "a template that is none": ('request: {prompt: "{{ oops"}', ["request.prompt"]),
    "a realtime model": ("model: qwen3-omni-flash-realtime", ["WebSocket"]),
}


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.replace(" ", "-"))
def test_bad_input_is_refused_with_2_and_leaves_nothing(project: Path, case: str) -> None:
    change, hints = REFUSALS[case]
    (project / "empty.csv").touch()
    write_csv(project / "subjects.csv", [{"subject": "the sea"}])
    write_csv(project / "twice.csv", [{"item_id": "a", "prompt": "x"}] * 2)
    (project / "config.yaml").write_text(
        "\n".join(line for line in (_default(change, "manifest"), change) if line)
    )
    done = omni_batch("run", "config.yaml", "--no-prefect", cwd=project, DASHSCOPE_API_KEY="")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert all(hint in done.stderr for hint in hints), done.stderr
    assert "Traceback" not in done.stderr
    runs = project / "data" / "runs"
    assert not runs.exists() or not list(runs.iterdir())


def _default(change: str, key: str) -> str:
    return "" if change.startswith(key) else "manifest: {path: rows.csv}"


def test_ctrl_c_ends_what_is_in_flight_and_exits_130(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    write_csv(project / "rows.csv", prompts(400))
    with Simulator(SimulatorOptions(chunk_interval_s=0.02)) as slow:
        (project / "config.yaml").write_text(
            "manifest: {path: rows.csv}\n"
            "quota: {max_in_flight: 4, requests_per_minute: 1e9, tokens_per_minute: 1e12}\n"
            f"endpoint: {{name: custom, base_url: '{slow.base_url}', api_key_env: {KEY_ENV}}}\n"
        )
        command = [
            sys.executable,
            "-m",
            "omni_batch.cli.main",
            "run",
            "config.yaml",
            "--no-prefect",
        ]
        process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
        while len(slow.requests) < 8:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 130
        run_dir = output.splitlines()[-1]
        assert f"omni-batch resume {run_dir}" in output
        status = omni_batch("status", run_dir, "--json", cwd=project)
        counts = json.loads(status.stdout)["counts"]
        assert counts["succeeded"] == len(slow.requests)  # what was in flight came to its end


def test_a_second_ctrl_c_stops_at_once_and_the_run_can_be_resumed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    with Simulator(SimulatorOptions(first_chunk_s=60)) as silent:
        (project / "config.yaml").write_text(
            "manifest: {path: rows.csv}\nshutdown_grace_s: 60\n"
            f"endpoint: {{name: custom, base_url: '{silent.base_url}', api_key_env: {KEY_ENV}}}\n"
            "quota: {requests_per_minute: 1e9, tokens_per_minute: 1e12}\n"
        )
        command = [
            sys.executable,
            "-m",
            "omni_batch.cli.main",
            "run",
            "config.yaml",
            "--no-prefect",
        ]
        process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
        while len(silent.requests) < 3:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):  # the answers under way get their time
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=10)
        assert process.returncode == 130
    run_dir = output.splitlines()[-1]
    assert "interrupted: 0 succeeded, 0 failed of 3 items" in output
    status = json.loads(omni_batch("status", run_dir, "--json", cwd=project).stdout)
    assert (status["state"], status["owner"]) == ("interrupted", None)


def test_status_and_list_show_a_run(project: Path) -> None:
    omni_batch("run", "config.yaml", "--no-prefect", "--run-id", "first", cwd=project)
    status = omni_batch("status", "data/runs/first", cwd=project)
    assert "finished: 3 succeeded, 0 failed of 3 items" in status.stdout
    listed = omni_batch("list", "--json", cwd=project)
    assert [run["run_id"] for run in json.loads(listed.stdout)] == ["first"]


def test_resume_of_a_finished_run_is_refused(project: Path) -> None:
    omni_batch("run", "config.yaml", "--no-prefect", "--run-id", "first", cwd=project)
    again = omni_batch("resume", "data/runs/first", "--no-prefect", cwd=project)
    assert again.returncode == 2
    assert "finished" in again.stderr


def test_check_sends_nothing_and_lists_what_would_fail(project: Path) -> None:
    write_csv(project / "rows.csv", [{"image": "none.jpg"}, {"prompt": "Say hello."}])
    (project / "config.yaml").write_text(
        "manifest: {path: rows.csv}\nendpoint: {name: dashscope-singapore}"
    )
    done = omni_batch("check", "config.yaml", "--json", cwd=project, DASHSCOPE_API_KEY="")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert [row["message"] for row in report["refused"]] == [
        "none.jpg does not exist; check the manifest"
    ]
    assert report["prompt"]["text"] > 0
    assert report["currency"] == "USD"
    assert report["shortest_time_s"] == 1.0  # one request at 60 a minute


def test_models_knows_limits_and_suggests_names(project: Path) -> None:
    page = omni_batch("models", "qwen3-omni-flash", "--json", cwd=project)
    assert json.loads(page.stdout)["max_input_tokens"] == 49_152
    typo = omni_batch("models", "qwen3-omni-flsh", cwd=project)
    assert typo.returncode == 2
    assert "did you mean qwen3-omni-flash" in typo.stderr


def test_a_wrong_option_is_refused_with_2(project: Path) -> None:
    assert omni_batch("run", "config.yaml", "--limits", "3", cwd=project).returncode == 2
    fault = omni_batch("simulate", "--fault", "cuts=0.1", cwd=project)
    assert fault.returncode == 2
    assert "cut" in fault.stderr
    option = omni_batch("simulate", "--set", "dialct=vllm", cwd=project)
    assert option.returncode == 2
    assert "did you mean dialect" in option.stderr


def test_simulate_says_where_it_listens(project: Path) -> None:
    command = [sys.executable, "-m", "omni_batch.cli.main", "simulate", "--port", "0"]
    command += ["--set", "dialect=dashscope", "--set", "framing=crlf"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        reply = httpx.get(f"{base_url}/models", headers={"Authorization": "Bearer sk-test"})
        assert "qwen3-omni-flash" in {model["id"] for model in reply.json()["data"]}
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_help_of_every_command_shows_an_example(project: Path) -> None:
    listed = omni_batch("--help", cwd=project).stdout
    commands = "demo run resume retry check status list models simulate"
    for command in commands.split():
        assert command in listed
        assert f"Example: omni-batch {command}" in omni_batch(command, "--help", cwd=project).stdout
