"""How fast are the answers of a job taken in?  python -m tests.benchmarks.by_file [LINES]

A run of LINES (50,000) text rows goes into one job; the simulator, another process, answers it.
Prints how long it took to write the file, to take in its output (from the end of the job to the end
of the run: fetch, sort, journals, parts), and resident memory on the way.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from omni_batch.config import parse_config
from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import Run
from omni_batch.jobs.view import ENDS
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from tests.benchmarks.bench import KEY_ENV, config, simulator

_SETTLED_AFTER = 5_000


def main(lines: int) -> None:
    """Run and print."""
    seen: dict[str, float] = {}
    samples: list[tuple[int, float]] = []

    async def watch(run: Run) -> None:
        while True:
            now_s = time.monotonic()
            if run.publisher.jobs:
                seen.setdefault("written", now_s)
                if run.publisher.jobs[0].status in ENDS:
                    seen.setdefault("ended", now_s)
                    seen.setdefault("cpu", time.process_time())
            samples.append((run.ledger.counts.done, _resident_mb()))
            await asyncio.sleep(0.1)

    with tempfile.TemporaryDirectory() as folder, simulator() as base_url:
        settings = config(Path(folder), base_url, lines, speech=False, in_flight=16)
        tree = {
            **settings.model_dump(mode="json"),
            "model": "qwen3.5-omni-plus",
            "endpoint": {
                "name": "dashscope-batch",
                "base_url": base_url,
                "api_key_env": KEY_ENV,
            },
        }
        directory = prepare_run(make_plan(parse_config(tree)))
        began_s = time.monotonic()
        record = asyncio.run(execute(directory, background=watch))
        over_s, cpu_s = time.monotonic(), time.process_time()
        jobs = len(record.jobs)
    settled = [sample for sample in samples if sample[0] >= min(_SETTLED_AFTER, lines // 2)]
    first, last = settled[0], settled[-1]
    print(
        f"{record.counts.succeeded:,} rows in {jobs} job(s): written in "
        f"{seen['written'] - began_s:.1f} s, taken in within {over_s - seen['ended']:.1f} s "
        f"({cpu_s - seen['cpu']:.1f} s of CPU)"
    )
    print(
        f"memory from {first[0]:,} to {last[0]:,} rows: {first[1]:.0f} to {last[1]:.0f} MB, "
        f"ratio {last[1] / first[1]:.2f}"
    )


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
