"""The checks to run before each commit, in under a minute.  python -m tests.check

Linter, formatting, types, and the fast tests: none that kills processes, starts Prefect or a
browser, or loads a benchmark. `pytest` runs everything.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SLOW = (
    "tests/analytics/test_report_page.py",  # a browser
    "tests/engine",  # kills, crashes at every step, hostile servers
    "tests/flows",  # a Prefect server
    "tests/simulator",
)
"""What only the whole suite runs."""


def main() -> int:
    """Run all checks, print how long each took, and return 1 if one failed."""
    python = [sys.executable, "-m"]
    ignored = [f"--ignore={path}" for path in SLOW]
    fast = ["pytest", "-x", "-m", "not prefect", "-p", "no:cacheprovider"]
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
    name = " ".join(command[2:])
    print(f"$ python -m {name}", flush=True)
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
