"""The figures that are kept:  python -m tests.benchmarks [--append]

Ratios to a baseline of the same run, beside what is wanted. --append adds them to figures.csv with
the commit and the machine; only figures of one machine can be compared.
"""

import csv
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import first_request, item_cpu
from tests.benchmarks.bench import Figure, show

TABLE = Path(__file__).parent / "figures.csv"
COLUMNS = ("day", "commit", "machine", "name", "value", "unit")
_KEPT = (first_request, item_cpu)


def append(figures: Iterable[Figure], table: Path = TABLE) -> None:
    """Add a row for each figure."""
    is_new = not table.exists()
    with table.open("a", newline="") as file:
        rows = csv.writer(file)
        if is_new:
            rows.writerow(COLUMNS)
        where = datetime.now(UTC).date().isoformat(), _commit(), _machine()
        rows.writerows((*where, each.name, f"{each.value:.3f}", each.unit) for each in figures)


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=TABLE.parent, capture_output=True, text=True
    )
    return said.stdout.strip() or "unknown"


def _machine() -> str:
    models = Path("/proc/cpuinfo")
    lines = models.read_text().splitlines() if models.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{os.cpu_count()} x {next(names, platform.machine())}"


def main() -> None:
    """Measure, print, and append where it is asked for."""
    figures = []
    for benchmark in _KEPT:
        found = benchmark.measure()
        show(found)
        figures += found
    if "--append" in sys.argv[1:]:
        append(figures)


if __name__ == "__main__":
    main()
