"""Ctrl-C in a terminal, while a command works: it ends at once, says nothing and leaves nothing."""

import os
import sys
import time
from pathlib import Path

import pytest

from omni_batch.api import run
from tests.conftest import MakeConfig, prompts, write_csv
from tests.support.terminal import CTRL_C, Terminal

_ENDLESS = "select a.i + b.i as n from range(1000000) a(i), range(1000000) b(i)"


def omni_batch(*arguments: str, cwd: Path, **environment: str) -> Terminal:
    return Terminal(sys.executable, "-m", "omni_batch", *arguments, cwd=cwd, **environment)


def ends_at_once(terminal: Terminal) -> None:
    terminal.press(CTRL_C)
    assert terminal.ended_within(15) == 130, terminal.shown
    assert "Traceback" not in terminal.shown
    assert "Error" not in terminal.shown


@pytest.mark.parametrize(
    ("line", "sign"),
    [
        ("check config.yaml", "Checking: "),
        ("run config.yaml --no-prefect", "Reading the manifest: "),
    ],
)
def test_a_manifest_is_read(tmp_path: Path, line: str, sign: str) -> None:
    write_csv(tmp_path / "rows.csv", prompts(50_000))
    (tmp_path / "config.yaml").write_text(
        "manifest: {path: rows.csv}\noutput: runs\nendpoint: {name: simulator}\n"
    )
    with omni_batch(*line.split(), cwd=tmp_path) as terminal:
        terminal.until(rf"{sign}\d+,\d+ rows")
        ends_at_once(terminal)
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
@pytest.mark.parametrize("output", [[], ["--to", "csv", "--output", "answer.csv"]])
def test_a_query_that_never_ends(
    make_config: MakeConfig, tmp_path: Path, output: list[str]
) -> None:
    """Sorted, it keeps DuckDB busy; written as it comes, it leaves half a file."""
    handle = run(make_config(prompts(1)))
    spill = tmp_path / "spill"
    spill.mkdir()
    before = sorted(tmp_path.iterdir())
    line = ["sql", str(handle.path), _ENDLESS if output else f"{_ENDLESS} order by n", *output]
    with omni_batch(*line, cwd=tmp_path, TMPDIR=str(spill)) as terminal:
        while not list(spill.iterdir()):
            assert terminal.process.poll() is None, terminal.shown
            time.sleep(0.02)
        begun_s = busy_s(terminal.process.pid)
        while busy_s(terminal.process.pid) < begun_s + 2:
            assert terminal.process.poll() is None, terminal.shown
            time.sleep(0.02)
        assert bool(output) == (sorted(tmp_path.iterdir()) != before)
        ends_at_once(terminal)
    assert not list(spill.iterdir())
    assert sorted(tmp_path.iterdir()) == before


def busy_s(process: int) -> float:
    """The processor time that it has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
