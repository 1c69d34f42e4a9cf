"""The command line as a person meets it: real processes, exit codes, messages."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from omni_batch.cli.main import app
from omni_batch.errors import OmniBatchError
from omni_batch.simulator import Simulator, SimulatorOptions
from tests.conftest import KEY, KEY_ENV, prompts, write_csv


def omni_batch(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "omni_batch", *arguments],
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


@pytest.fixture
def refused(project: Path) -> Callable[[str], Path]:
    """Writes the config of a case; returns its folder."""

    def write(case: str) -> Path:
        change, _ = REFUSALS[case]
        (project / "empty.csv").touch()
        write_csv(project / "subjects.csv", [{"subject": "the sea"}])
        write_csv(project / "twice.csv", [{"item_id": "a", "prompt": "x"}] * 2)
        (project / "config.yaml").write_text(
            "\n".join(line for line in (_default(change, "manifest"), change) if line)
        )
        return project

    return write


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.replace(" ", "-"))
def test_bad_input_is_refused_and_leaves_nothing(
    refused: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """In this process: a start takes a second."""
    folder = refused(case)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DASHSCOPE_API_KEY", "")
    error = CliRunner().invoke(app, ["run", "config.yaml", "--no-prefect"]).exception
    assert isinstance(error, OmniBatchError)
    assert not error.stops_run
    assert len(str(error).splitlines()) == 1
    assert all(hint in str(error) for hint in REFUSALS[case][1]), str(error)
    runs = folder / "data" / "runs"
    assert not runs.exists() or not list(runs.iterdir())


@pytest.mark.parametrize("case", ["a wrong key", "duplicate ids"])
def test_a_refusal_is_one_line_and_exit_code_2(refused: Callable[[str], Path], case: str) -> None:
    """Before and after the manifest is read."""
    done = omni_batch("run", "config.yaml", "--no-prefect", cwd=refused(case))
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


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
            "omni_batch",
            "run",
            "config.yaml",
            "--no-prefect",
        ]
        process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
        while len(slow.requests) < 8:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=45)
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
            "omni_batch",
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
        output, _ = process.communicate(timeout=45)
        assert process.returncode == 130
    run_dir = output.splitlines()[-1]
    assert "interrupted: 0 succeeded, 0 failed of 3 items" in output
    status = json.loads(omni_batch("status", run_dir, "--json", cwd=project).stdout)
    assert (status["state"], status["owner"]) == ("interrupted", None)


_ON_A_TERMINAL = """
import os, signal, sys
survives = sys.argv.pop(1) == "True"  # as nohup has it
signal.signal(signal.SIGHUP, signal.SIG_IGN if survives else signal.SIG_DFL)
os.open(os.ttyname(0), os.O_RDWR)  # now it is the terminal of this session
os.execv(sys.executable, [sys.executable, "-m", "omni_batch", *sys.argv[1:]])
"""


@pytest.mark.parametrize("nohup", [False, True])
def test_a_terminal_that_is_closed_ends_a_run_in_order_unless_it_is_to_survive(
    project: Path, monkeypatch: pytest.MonkeyPatch, nohup: bool
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    count = 40 if nohup else 400
    write_csv(project / "rows.csv", prompts(count))
    with Simulator(SimulatorOptions(chunk_interval_s=0.02)) as slow:
        (project / "config.yaml").write_text(
            "manifest: {path: rows.csv}\n"
            "quota: {max_in_flight: 4, requests_per_minute: 1e9, tokens_per_minute: 1e12}\n"
            f"endpoint: {{name: custom, base_url: '{slow.base_url}', api_key_env: {KEY_ENV}}}\n"
        )
        terminal, its_end = os.openpty()
        command = [sys.executable, "-c", _ON_A_TERMINAL, str(nohup), "run", "config.yaml"]
        process = subprocess.Popen(
            [*command, "--no-prefect", "--run-id", "r"],
            cwd=project,
            stdin=its_end,
            stdout=its_end,
            stderr=its_end,
            start_new_session=True,
        )
        os.close(its_end)
        while len(slow.requests) < 8:
            assert process.poll() is None
            time.sleep(0.01)
        os.close(terminal)
        assert process.wait(45) == (0 if nohup else 130)
    status = json.loads(omni_batch("status", "data/runs/r", "--json", cwd=project).stdout)
    assert status["counts"]["succeeded"] == len(slow.requests)  # what was in flight came to its end
    assert status["reason"] == (
        None if nohup else "it was asked to stop (SIGHUP: its terminal was closed)"
    )


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
    command = [sys.executable, "-m", "omni_batch", "simulate", "--port", "0"]
    command += ["--set", "dialect=dashscope", "--set", "framing=crlf"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        reply = httpx.get(f"{base_url}/models", headers={"Authorization": "Bearer sk-test"})
        assert "qwen3-omni-flash" in {model["id"] for model in reply.json()["data"]}
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


COMMANDS = tuple(
    str(command.name or getattr(command.callback, "__name__", ""))
    for command in app.registered_commands
)


def test_help_lists_the_commands_and_how_to_get_completion(project: Path) -> None:
    shown = omni_batch("-h", cwd=project)
    assert shown.returncode == 0
    assert shown.stdout == omni_batch("--help", cwd=project).stdout
    assert [name for name in (*COMMANDS, "--install-completion") if name not in shown.stdout] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_shows_an_example(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "-h"], terminal_width=200)
    assert f"Example: omni-batch {command}" in shown.output
    lists_keys = "configs/reference.yaml" in shown.output
    assert lists_keys == (command in ("run", "check", "init", "nightly"))


WRONG_LINES = {
    "run": "Missing argument 'CONFIG'",
    "run a.yaml b.yaml": "unexpected extra argument",
    "run a.yaml --limits 3": "No such option: --limits (Possible options: --limit)",
    "run a.yaml --limit x": "Invalid value for '--limit'",
    "rum a.yaml": "No such command 'rum'. Did you mean 'run'",
    "export a --to tar b": "Invalid value for '--to'",
}


@pytest.mark.parametrize("line", WRONG_LINES)
def test_a_line_that_is_wrong_is_explained_in_one(line: str, project: Path) -> None:
    done = omni_batch(*line.split(), cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert WRONG_LINES[line] in done.stderr
    assert done.stderr.endswith(" (see --help)\n")
    assert len(done.stderr.splitlines()) == 1


def test_without_a_command_the_help_is_shown(project: Path) -> None:
    done = omni_batch(cwd=project)
    assert (done.returncode, "Usage:" in done.stdout, done.stderr) == (2, True, "")


@pytest.mark.parametrize("line", ["--debug run gone", "run --debug gone", "run gone --debug"])
def test_debug_shows_the_traceback_wherever_it_is_put(line: str, project: Path) -> None:
    done = omni_batch(*line.split(), cwd=project)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "ConfigError: config gone does not exist" in done.stderr


def test_an_error_that_nobody_expected_says_how_to_report_it(project: Path) -> None:
    """Something takes a file's place that no code of ours looks for."""
    (project / "omni_batch_broken.py").write_text(
        "import sys; import omni_batch.catalogue as c; from omni_batch.cli.main import main\n"
        "c.catalogue = lambda: 1 / 0\nsys.argv[1:] = ['models']\nmain()\n"
    )
    command = [sys.executable, "omni_batch_broken.py"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == (
        "Error: Unexpected error: ZeroDivisionError: division by zero. Rerun with `omni-batch "
        "--debug …` for the traceback and report it.\n"
    )


def completed(words: str) -> list[str]:
    """What bash offers for the last word, by the script that --install-completion sets up."""
    asked = {"COMP_WORDS": f"omni-batch {words}", "COMP_CWORD": str(len(words.split(" ")))}
    environment = {"_OMNI_BATCH_COMPLETE": "complete_bash", **asked}
    return CliRunner().invoke(app, env=environment, prog_name="omni-batch").stdout.split()


def test_the_shell_completes_runs_kinds_models_keys_and_endpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = ["data/runs/first", "data/runs/second"]
    for folder in map(Path, runs):
        folder.mkdir(parents=True)
        (folder / "run.json").touch()
    assert completed("status da") == ["data", *runs]
    assert completed("status data/") == ["data/runs", *runs]
    assert completed("compare data/runs/first data/runs/s") == runs[1:]
    assert completed("retry data/runs/first --error str") == ["stream_error"]
    assert "qwen3-omni-flash" in completed("models qwen3-omni-f")
    assert completed("run config.yaml --set quota.max") == ["quota.max_in_flight="]
    assert completed("run a.yaml --set endpoint.name=dashscope-be") == [
        "endpoint.name=dashscope-beijing"
    ]
    assert "model=qwen3-omni-flash" in completed("run config.yaml --set model=qwen3-omni-f")


def test_init_writes_files_that_run_as_they_are(tmp_path: Path) -> None:
    done = omni_batch("init", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check, run = done.stdout.splitlines()[-2:]
    assert "cd mine" in done.stdout
    checked = omni_batch(*check.split()[1:], cwd=tmp_path / "mine")
    assert checked.returncode == 0, checked.stderr
    ran = omni_batch(*run.split()[1:], "--no-prefect", cwd=tmp_path / "mine")
    assert "finished: 3 succeeded, 0 failed of 3 items" in ran.stdout
    config = (tmp_path / "mine" / "batch.yaml").read_text(encoding="utf-8")
    assert "DASHSCOPE_API_KEY" in config


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("mine")
    done = omni_batch("init", cwd=tmp_path)
    assert (done.returncode, "rows.csv exists" in done.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    assert (tmp_path / "rows.csv").read_text() == "mine"


def test_models_shows_all_that_is_known_within_80_columns(project: Path) -> None:
    shown = omni_batch("models", "qwen3-omni-flash", cwd=project)
    assert shown.returncode == 0, shown.stderr
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    for fact in ("10 MB, sides from 11 px", "32,768", "Dylan Beijing", "which snapshot", "regions"):
        assert fact in shown.stdout
    assert "* not stated by the vendor" in shown.stdout


def test_models_knows_short_names(project: Path) -> None:
    shown = omni_batch("models", "qwen-omni-turbo-0119", cwd=project)
    assert "qwen-omni-turbo-2025-01-19 (snapshot)" in shown.stdout
    assert "beijing" in shown.stdout
    assert "singapore, USD" not in shown.stdout
