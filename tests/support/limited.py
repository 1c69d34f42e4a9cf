"""The command line in a process that may have little of something, over rows that are spoken."""

import resource
import subprocess
import sys
from pathlib import Path

from omni_batch.simulator import Simulator
from tests.conftest import KEY_ENV, prompts, write_csv


def write_spoken_rows(folder: Path, simulator: Simulator, rows: int, in_flight: int) -> Path:
    """A config over rows that are answered with speech, so many of them at once."""
    write_csv(folder / "rows.csv", prompts(rows))
    (folder / "config.yaml").write_text(
        f"manifest: {{path: rows.csv}}\noutput: runs\n"
        f"quota: {{max_in_flight: {in_flight}, requests_per_minute: 1e9, tokens_per_minute: 1e12}}"
        "\nrequest: {modalities: [text, audio], voice: Cherry}\n"
        f"endpoint: {{name: custom, base_url: '{simulator.base_url}', api_key_env: {KEY_ENV}}}\n"
    )
    return folder


def omni_batch_within(
    folder: Path, what: int, soft: int, hard: int, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """One command in a folder, below a limit of the system (`resource.RLIMIT_…`)."""
    return subprocess.run(
        [sys.executable, "-m", "omni_batch", *arguments],
        cwd=folder,
        preexec_fn=lambda: resource.setrlimit(what, (soft, hard)),
        capture_output=True,
        text=True,
        check=False,
    )
