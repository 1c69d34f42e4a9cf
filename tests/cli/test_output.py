"""Where output can't be written: one line, or the quiet end of a pipe; the run is done."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import prompts, write_csv

FULL = Path("/dev/full")
RUN = "run", "c.yaml", "--no-prefect", "--output", ".", "--run-id"
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no full device")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run."""
    folder = tmp_path_factory.mktemp("project")
    write_csv(folder / "rows.csv", prompts(3))
    (folder / "c.yaml").write_text("manifest: {path: rows.csv}\nendpoint: {name: simulator}\n")
    assert start(folder, *RUN, "a") == 0
    return folder


def start(folder: Path, *arguments: str, shell: str = '"$@"', unbuffered: str = "") -> int:
    """The exit code of a line of the shell around the command; what it says is in `said`."""
    command = [sys.executable, "-m", "omni_batch", *arguments]
    with (folder / "said").open("w") as said:
        return subprocess.run(
            ["bash", "-c", shell, "bash", *command],
            cwd=folder,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=subprocess.DEVNULL,
            stderr=said,
            check=False,
        ).returncode


def said(folder: Path) -> str:
    return (folder / "said").read_text()


# One for each way in which commands print.
COMMANDS = [
    "sql a select/1",
    "sql a select/1 --to csv",
    "list . --json",
    "report a",
    "--version",
    "--help",
]


@needs_full
@pytest.mark.parametrize(
    ("line", "unbuffered"), [*((line, "") for line in COMMANDS), ("models", "1")]
)
def test_a_full_stdout_is_one_line(project: Path, line: str, unbuffered: str) -> None:
    arguments = [word.replace("/", " ") for word in line.split()]
    code = start(project, *arguments, shell='"$@" > /dev/full', unbuffered=unbuffered)
    assert (code, said(project)) == (3, "Error: stdout: no space left on device\n")


@pytest.mark.parametrize("line", ["models", "models --json", "--version", "--help"])
def test_a_reader_that_has_seen_enough_ends_nothing(project: Path, line: str) -> None:
    shell = '"$@" | exit 0; exit ${PIPESTATUS[0]}'
    assert (start(project, *line.split(), shell=shell), said(project)) == (0, "")


def test_a_query_without_end_ends_with_its_reader(project: Path) -> None:
    query = "select * from range(1000000000000)"
    code = start(project, "sql", "a", query, "--to", "csv", shell='"$@" | head -1')
    assert (code, said(project)) == (0, "")


def test_streams_that_are_closed_are_no_files_of_a_run(project: Path) -> None:
    assert start(project, *RUN, "all", shell='"$@" <&- >&- 2>&-') == 0
    assert start(project, "verify", "all") == 0


def test_a_locale_without_the_characters_of_names_ends_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}.items():
        monkeypatch.setenv(name, value)
    (project / "行.csv").write_text("item_id,prompt\n一,说\n", encoding="utf-8")
    (project / "配置.yaml").write_text(
        "manifest: {path: 行.csv}\nendpoint: {name: simulator}\n", encoding="utf-8"
    )
    line = "run", "配置.yaml", "--no-prefect", "--output", ".", "--run-id", "c"
    assert start(project, *line) == 0
    assert start(project, "sql", "c", "select item_id from results", "--to", "csv") == 0
    assert "Error" not in said(project)


def test_a_query_from_a_closed_stdin_is_none(project: Path) -> None:
    assert start(project, "sql", "a", "-", shell='"$@" <&-') == 2
    assert "write one SELECT" in said(project)


@needs_full
def test_a_log_that_fills_its_disk_costs_one_warning_and_no_run(project: Path) -> None:
    code = start(project, *RUN, "b", "--log", "/dev/full")
    assert code == 0
    warnings = [line for line in said(project).splitlines() if "/dev/full" in line]
    assert warnings == [
        "warning: --log /dev/full ends here: no space left on device; the run goes on"
    ]
    assert "Traceback" not in said(project)


@needs_full
def test_progress_that_cannot_be_shown_costs_no_run(project: Path) -> None:
    assert start(project, *RUN, "quiet", shell='"$@" 2> /dev/full') == 0


def test_an_error_shows_the_control_characters_of_a_name(project: Path) -> None:
    assert start(project, "check", "no\x1b]2;T\x07\u202e.yaml") == 2
    assert r"no\x1b]2;T\x07\u202e.yaml" in said(project)
