"""How fast are stored answers read again?  python -m tests.benchmarks.reparse [ROWS ...]

Runs of 10,000 and 100,000 rows whose texts hold an object of ten fields: as it should be, in a
fence, in prose, with a comma too many, as Python writes it. Prints the time and the peak of memory
of `reparse` beside the time of reading and writing the same tables, and of reading one answer.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from omni_batch.analytics.reparse import reparse_run
from omni_batch.annotation.read import read_annotation
from omni_batch.annotation.schema import read_schema
from omni_batch.store import RunDir
from omni_batch.store.read import read_part
from tests.support.written_runs import Written, write_run

_LABELS = ["cat", "dog", "bird", "other"]
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": _LABELS},
        "second": {"type": ["string", "null"], "enum": [*_LABELS, None]},
        "count": {"type": "integer", "minimum": 0},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "sure": {"type": "boolean"},
        "caption": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "seen_on": {"type": "string", "format": "date"},
        "box": {
            "type": "object",
            "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
        },
        "note": {"type": ["string", "null"]},
    },
    "required": ["label", "count", "score"],
}
FORMS: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "as it should be": json.dumps,
    "in a fence": lambda value: f"```json\n{json.dumps(value, indent=1)}\n```",
    "in prose": lambda value: f"Here it is:\n\n{json.dumps(value)}\n\nAnything else?",
    "a comma too many": lambda value: f"{json.dumps(value)[:-1]},}}",
    "as Python writes it": repr,
}


def main() -> None:
    """Measure and print."""
    schema = read_schema(SCHEMA)
    for name, form in FORMS.items():
        text, times = form(_value(1)), 2000
        begun_s = time.perf_counter()
        for _ in range(times):
            read_annotation(text, schema)
        print(f"one answer, {name:<20} {(time.perf_counter() - begun_s) / times * 1e6:6.0f} µs")
    for rows in map(int, sys.argv[1:] or ("10000", "100000")):
        with tempfile.TemporaryDirectory() as folder:
            write_run(Path(folder, "run"), _rows(rows), items=rows, schema=dict(SCHEMA))
            print(f"{rows:,} rows", flush=True)
            for what in ("tables", "reparse"):
                command = [sys.executable, "-m", "tests.benchmarks.reparse", what, f"{folder}/run"]
                print(f"  {what:<8} {subprocess.check_output(command, text=True)}", end="")


def _value(number: int) -> dict[str, Any]:
    return {
        "label": _LABELS[number % 4],
        "second": None,
        "count": number % 50,
        "score": number % 100 / 100,
        "sure": number % 3 > 0,
        "caption": f"Photo {number}: an animal looks at the camera, in front of it lies a ball.",
        "tags": ["animal", "ball", f"tag {number % 7}"],
        "seen_on": f"2026-03-{number % 28 + 1:02}",
        "box": {"x": number / 7, "y": 0.5},
        "note": "none",
    }


def _rows(count: int) -> Iterator[Written]:
    forms = list(FORMS.values())
    for number in range(count):
        yield Written(f"item-{number}", forms[number % len(forms)](_value(number)))


def _look(what: str, root: Path) -> None:
    """In a process of its own."""
    run = RunDir(root)
    begun_s = time.perf_counter()
    if what == "reparse":
        found = reparse_run(run, read_schema(SCHEMA))
        said = f"{found.answers:,} answers, {found.now_failed} became failures, "
    else:
        for part in sorted((root / "results").glob("*.parquet")):
            pq.write_table(read_part(part), root.parent / part.name, compression="zstd")
        said = ""
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{said}{time.perf_counter() - begun_s:.1f} s, {peak_mb:.0f} MB at most")


if __name__ == "__main__":
    if sys.argv[1:2] in (["reparse"], ["tables"]):
        _look(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
