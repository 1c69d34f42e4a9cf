"""Many answers with speech at once.  python -m tests.benchmarks.many_streams [N …]

Runs with N (1000 2000) requests in flight, two for each place, against a server that takes 15 s for
5 s of speech. Prints how late the event loop is, memory, open files, and the time beside that of
two rounds of answers.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import Run
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from tests.benchmarks.bench import config
from tests.benchmarks.canned import SPEECH_EVENTS, canned

_ANSWER_S = 15.0
_LOOKED_EVERY_S = 0.02


class Watch:
    """Looks at this process while a run goes on."""

    def __init__(self) -> None:
        self.late_s: list[float] = []
        self.most_files = 0
        self.most_mb = 0.0

    async def __call__(self, run: Run) -> None:
        """Until it is cancelled."""
        looks = 0
        while True:
            due_s = time.monotonic() + _LOOKED_EVERY_S
            await asyncio.sleep(_LOOKED_EVERY_S)
            self.late_s.append(time.monotonic() - due_s)
            looks += 1
            if looks % 50 == 0:
                self._look_around()

    def _look_around(self) -> None:
        self.most_files = max(self.most_files, sum(1 for _ in Path("/proc/self/fd").iterdir()))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.most_mb = max(self.most_mb, pages * 4096 / 2**20)


def main(places: int) -> None:
    """Measure and print."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder, canned(_ANSWER_S / SPEECH_EVENTS) as base_url:
        settings = config(Path(folder), base_url, 2 * places, speech=True, in_flight=places)
        directory = prepare_run(make_plan(settings))
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        record = asyncio.run(execute(directory, background=watch))
        took_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
    late_s = sorted(watch.late_s)
    print(
        f"{places:,} in flight, {record.counts.succeeded:,} of {2 * places:,} rows: {took_s:.0f} s "
        f"beside {2 * _ANSWER_S:.0f} s, {cpu_s:.0f} s of CPU; the loop is late by "
        f"{1000 * late_s[len(late_s) // 2]:.0f} ms (median), "
        f"{1000 * late_s[len(late_s) * 99 // 100]:.0f} ms (p99); "
        f"{watch.most_mb:.0f} MB, {watch.most_files:,} open files"
    )


if __name__ == "__main__":
    for number in map(int, sys.argv[1:] or ["1000", "2000"]):
        main(number)
