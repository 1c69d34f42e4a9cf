"""How much memory do large files in flight take?  python -m tests.benchmarks.uploads [FILES]

FILES (200) pictures of 7 MB, sent at once to a simulator in a process of its own: as base64 within
their requests, and through temporary storage. The peak of a process each, beside one with texts.
"""

import asyncio
import csv
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from omni_batch import run_batch
from omni_batch.config import Config, parse_config
from tests.benchmarks.bench import KEY_ENV, Figure, show, simulator
from tests.support.media_files import picture

_FILE_BYTES = 7_000_000
_MOST_MB = 600
_ANSWER_S = 30.0
"""By then all of them have arrived, so that none ends before the last one begins."""
_WAYS = ("text", "inline", "upload")


def measure(files: int = 200) -> list[Figure]:
    """Peaks of resident memory."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):
            _write_picture(Path(folder, f"{number}.png"), number)
        return [
            Figure(f"{files} in flight, {way}", _peak_mb(folder, way, files), "MB", at_most=most)
            for way, most in zip(_WAYS, (None, _MOST_MB, _MOST_MB), strict=True)
        ]


def _write_picture(path: Path, number: int) -> None:
    """Readers stop at the end of the picture; what follows makes each file another one."""
    head = picture()
    path.write_bytes(head + number.to_bytes(4, "big"))
    os.truncate(path, _FILE_BYTES)


def _peak_mb(folder: str, way: str, files: int) -> float:
    with simulator(first_chunk_s=_ANSWER_S) as base_url:
        command = [sys.executable, "-m", "tests.benchmarks.uploads", way, folder, base_url]
        done = subprocess.run([*command, str(files)], check=True, stdout=subprocess.PIPE)
    return float(done.stdout.split()[-1])


def _config(folder: Path, base_url: str, way: str, files: int) -> Config:
    os.environ[KEY_ENV] = "sk-benchmark"
    manifest = folder / f"{way}.csv"
    has_files = way != "text"
    with manifest.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "prompt", "image"])
        for number in range(files):
            rows.writerow([number, f"What is {number}?", f"{number}.png" if has_files else ""])
    return parse_config(
        {
            "name": way,
            "manifest": {"path": str(manifest)},
            "output": str(folder / "runs"),
            "endpoint": {"name": "custom", "base_url": base_url, "api_key_env": KEY_ENV},
            "media": {"transport": way if has_files else "auto"},
            "quota": {
                "requests_per_minute": 10_000_000,
                "tokens_per_minute": 10_000_000_000,
                "max_in_flight": files,
                "adaptive": False,
            },
        }
    )


def _run(way: str, folder: str, base_url: str, files: int) -> None:
    record = asyncio.run(run_batch(_config(Path(folder), base_url, way, files)))
    if record.counts.succeeded != files:
        raise SystemExit(f"{record.counts}")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    match sys.argv[1:]:
        case way, folder, base_url, files:
            _run(way, folder, base_url, int(files))
        case numbers:
            show(measure(*map(int, numbers)))
