"""Does memory grow with the number of items?  python -m tests.benchmarks.memory [ITEMS]

Prints resident memory while a run of ITEMS (2,000) text items with 64 in flight goes on, after 500
items and later. The simulator is another process.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import Run
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from tests.benchmarks.bench import config, simulator

_IN_FLIGHT = 64
_SETTLED_AFTER = 500


def main(items: int) -> None:
    """Run and print the curve."""
    samples: list[tuple[int, float]] = []

    async def sample(run: Run) -> None:
        while True:
            samples.append((run.ledger.counts.done, _resident_mb()))
            await asyncio.sleep(0.02)

    with tempfile.TemporaryDirectory() as folder, simulator(first_chunk_s=0.05) as base_url:
        settings = config(Path(folder), base_url, items, speech=False, in_flight=_IN_FLIGHT)
        directory = prepare_run(make_plan(settings))
        record = asyncio.run(execute(directory, background=sample))
    settled = [sample for sample in samples if sample[0] >= _SETTLED_AFTER]
    for done, resident_mb in settled[:: max(1, len(settled) // 10)]:
        print(f"{done:>9,} items done   {resident_mb:7.1f} MB resident")
    first, last = settled[0], settled[-1]
    print(
        f"{record.counts.succeeded:,} succeeded; from {first[0]:,} to {last[0]:,} items: "
        f"{last[1] - first[1]:+.1f} MB, ratio {last[1] / first[1]:.3f}"
    )


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
