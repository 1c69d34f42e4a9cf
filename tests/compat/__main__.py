"""All cases with all clients: python -m tests.compat [client ...]."""

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omni_batch.simulator import Simulator, SimulatorOptions
from tests.compat import clients
from tests.compat.cases import Case, all_cases
from tests.compat.checks import OK, verdict

_WIDEST = 32
BUSY = SimulatorOptions(faults={"rate_limit": 1.0})


@dataclass(slots=True)
class Column:
    """One client's results."""

    name: str
    title: str
    cells: dict[str, str] = field(default_factory=dict)
    """Case to verdict."""


def main() -> int:
    """Print the table and what failed; 1 if anything did."""
    names = _names()
    with tempfile.TemporaryDirectory() as made, Simulator() as good, Simulator(BUSY) as busy:
        folder = Path(made)
        cases = all_cases(good.base_url, busy.base_url)
        listed = json.dumps([dataclasses.asdict(case) for case in cases])
        (folder / "cases.json").write_text(listed)
        columns = [_column(name, cases, folder, busy) for name in names]
    _print_table(cases, columns)
    failures = _failures(columns)
    for failure in failures:
        print(failure)
    print(f"{len(cases) * len(columns) - len(failures)} ok, {len(failures)} failed")
    return 1 if failures else 0


def _names() -> list[str]:
    parser = argparse.ArgumentParser(prog="python -m tests.compat", description=__doc__)
    known = list(clients.CLIENTS)
    parser.add_argument("client", nargs="*", help=f"out of {', '.join(known)}; by default all")
    asked: list[str] = parser.parse_args().client
    for name in asked:
        if name not in known:
            parser.error(f"unknown client {name!r}; choose from {', '.join(known)}")
    return asked or known


def _column(name: str, cases: Sequence[Case], folder: Path, busy: Simulator) -> Column:
    print(f"{name} …", file=sys.stderr)
    before = busy.counters.requests
    try:
        command = clients.install(name, folder)
        title, reports = clients.run(command, folder / "cases.json", folder / name)
    except RuntimeError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return Column(name, name, {case.name: "not run" for case in cases})
    cells = {case.name: verdict(case, reports.get(case.name)) for case in cases}
    return Column(name, title, _retried(cells, cases, busy.counters.requests - before))


def _retried(cells: dict[str, str], cases: Sequence[Case], tries: int) -> dict[str, str]:
    """Fail the case with retries if the busy service counted fewer or more of them."""
    for case in cases:
        if case.retries and tries != 1 + case.retries and cells[case.name] == OK:
            cells[case.name] = f"{tries} tries instead of {1 + case.retries}"
    return cells


def _print_table(cases: Sequence[Case], columns: Sequence[Column]) -> None:
    rows = [["case", *(column.title for column in columns)]]
    rows += [[case.name, *(_short(each.cells[case.name]) for each in columns)] for case in cases]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _short(cell: str) -> str:
    line = " ".join(cell.split())
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"


def _failures(columns: Sequence[Column]) -> list[str]:
    return [
        f"{column.name}: {case}: {cell}"
        for column in columns
        for case, cell in column.cells.items()
        if cell != OK
    ]


sys.exit(main())
