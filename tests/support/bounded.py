"""Commands within limits of processor time and memory, which the system keeps."""

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

MOST_CPU_S = 5
MOST_ADDRESSES_BYTES = 4_000_000 * 1024
MOST_MEMORY_BYTES = 10**9


def check_in_bounds(folder: Path, config: str, options: Sequence[str] = ()) -> str:
    """What `omni-batch check` says of a config, in `folder` as config.yaml; it ends in bounds."""
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    command = [sys.executable, "-m", "omni_batch", "check", "config.yaml", *options]
    with subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_limit,
        env=_unmeasured() | {"COLUMNS": "1000"},
    ) as process:
        assert process.stdout is not None
        said = process.stdout.read().decode()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 1, 2), said
    assert used.ru_utime + used.ru_stime < MOST_CPU_S
    assert used.ru_maxrss * 1024 < MOST_MEMORY_BYTES
    assert "bug" not in said
    assert "Traceback" not in said
    return said


def _unmeasured() -> dict[str, str]:
    """The environment without coverage, which takes twice the processor time."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES_BYTES, MOST_ADDRESSES_BYTES))
