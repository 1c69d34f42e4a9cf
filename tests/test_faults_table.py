"""The table of faults names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLE = (ROOT / "tests" / "FAULTS.md").read_text(encoding="utf-8")
ROWS = [
    line.strip("|").split("|")
    for line in TABLE.splitlines()
    if line.startswith("| ") and not line.startswith("| fault |")
]


def test_every_row_names_its_fault_what_happens_and_a_test() -> None:
    assert len(ROWS) >= 45
    for fault, happens, tests in ROWS:
        assert fault.strip()
        assert happens.strip()
        assert re.search(r"`tests/[\w/]+\.py::test_\w+`", tests), fault
    faults = [fault for fault, *_ in ROWS]
    assert len(set(faults)) == len(faults)


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TABLE)
    for path, name in named:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), f"{path}::{name}"
