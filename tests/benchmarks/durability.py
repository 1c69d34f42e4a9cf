"""What does durability: disk cost?  python -m tests.benchmarks.durability [ITEMS] [FOLDER]

Time and CPU per item of whole runs (prepare to Parquet) with `durability: disk` and with `process`,
in turns, and the time of one fsync of a line on the same disk. FOLDER lies on the disk to measure.
"""

import asyncio
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from omni_batch import run_batch
from tests.benchmarks.bench import config, simulator

_IN_FLIGHT = 64
_ROUNDS = 3
_FSYNCS = 100


def main(items: int, folder: Path | None) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        print(f"one line and its fsync: {_fsync_ms(Path(place)):.2f} ms")
    for speech in (False, True):
        measured: dict[str, list[tuple[float, float]]] = {"process": [], "disk": []}
        for _ in range(_ROUNDS):
            for durability, taken in measured.items():
                with tempfile.TemporaryDirectory(dir=folder) as place, simulator() as base_url:
                    taken.append(_per_item_ms(Path(place), base_url, items, speech, durability))
        kind = "with speech" if speech else "text only"
        wall_ms, cpu_ms = (
            [statistics.median(pair[which] for pair in taken) for taken in measured.values()]
            for which in (0, 1)
        )
        print(
            f"{kind:12} process {wall_ms[0]:5.2f} ms, disk {wall_ms[1]:5.2f} ms, "
            f"ratio {wall_ms[1] / wall_ms[0]:.2f}   "
            f"CPU {cpu_ms[0]:5.2f} ms and {cpu_ms[1]:5.2f} ms, ratio {cpu_ms[1] / cpu_ms[0]:.2f}   "
            f"({items:,} items, {_IN_FLIGHT} in flight)"
        )


def _per_item_ms(
    folder: Path, base_url: str, items: int, speech: bool, durability: str
) -> tuple[float, float]:
    settings = config(folder, base_url, items, speech=speech, in_flight=_IN_FLIGHT)
    settings = settings.model_copy(update={"durability": durability})
    started_s, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    asyncio.run(run_batch(settings))
    after, wall_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - started_s
    cpu_s = (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
    return 1000 * wall_s / items, 1000 * cpu_s / items


def _fsync_ms(folder: Path) -> float:
    file = os.open(folder / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    started_s = time.perf_counter()
    for _ in range(_FSYNCS):
        os.write(file, b"x" * 1000 + b"\n")
        os.fsync(file)
    os.close(file)
    return 1000 * (time.perf_counter() - started_s) / _FSYNCS


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 1000,
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
