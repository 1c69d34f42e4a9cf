"""The checks to run before each commit, in under a minute.  python -m tests.check

Linter, formatting, types, and the fast tests, more than half of all: none that kills
processes, starts Prefect or a browser, or makes millions of cases. `pytest` runs everything.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SLOW = (
    "tests/analytics",  # DuckDB, a browser
    "tests/cli",  # processes, signals
    "tests/engine/test_crash_points.py",
    "tests/engine/test_disk_trouble.py",
    "tests/engine/test_hostile_server.py",
    "tests/engine/test_kills.py",
    "tests/engine/test_pipeline.py",
    "tests/engine/test_retry_command.py",
    "tests/engine/test_router.py",
    "tests/flows",  # a Prefect server
    "tests/planning/test_reuse.py",
    "tests/progress/test_telemetry.py",
    "tests/providers/test_upload.py",
    "tests/requests/test_hostile_manifest.py",
    "tests/simulator",
    "tests/soak",  # processes
    "tests/stream/test_hostile_streams.py",
    "tests/test_api.py",  # notebooks that are interrupted
    "tests/test_one_story.py",
    "tests/test_secrets.py",
    "tests/test_wheel.py",  # builds a wheel
)
"""What only the whole suite runs."""


def main() -> int:
    """Run all checks, print how long each took, and return 1 if one failed."""
    python = [sys.executable, "-m"]
    ignored = [f"--ignore-glob={ROOT / path}" for path in SLOW]
    fast = ["pytest", "--maxfail=10", "-m", "not prefect"]
    checks = (
        [*python, "ruff", "check", "."],
        [*python, "ruff", "format", "--check", "."],
        [*python, "mypy"],
        [*python, *fast, *ignored],
    )
    started_s = time.monotonic()
    failed = [command for command in checks if not passes(command)]
    took_s = time.monotonic() - started_s
    print(f"{'failed' if failed else 'passed'} in {took_s:.0f} s ({user_s():.0f} s of CPU)")
    return 1 if failed else 0


def passes(command: list[str]) -> bool:
    """Run one check; its output is shown."""
    print("$ python -m", *(word for word in command[2:] if "--ignore" not in word), flush=True)
    before_s, started_s = user_s(), time.monotonic()
    passed = subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    took_s, cpu_s = time.monotonic() - started_s, user_s() - before_s
    print(f"  {'passed' if passed else 'FAILED'} in {took_s:.1f} s ({cpu_s:.1f} s of CPU)\n")
    return passed


def user_s() -> float:
    """CPU seconds in user mode of all checks so far: wall time depends on what else runs."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


if __name__ == "__main__":
    sys.exit(main())
