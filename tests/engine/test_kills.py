"""kill -9 at random instants; `python -m tests.benchmarks.crash` does the same for longer."""

from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.benchmarks.bench import KEY_ENV
from tests.benchmarks.crash import kill_at_random
from tests.support.crash_layer import begin, work_on

KILLS = 10


class Warm:
    """A process that was forked with all modules loaded, which saves most of its start."""

    def __init__(self, root: Path) -> None:
        self._process: BaseProcess = begin(work_on, root, {KEY_ENV: "sk-benchmark"})
        self.kill = self._process.kill

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int:
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode


def test_a_run_that_is_killed_again_and_again_pays_for_no_row_twice(tmp_path: Path) -> None:
    report = kill_at_random(tmp_path, KILLS, seed=7, start=Warm)
    assert report.kills >= KILLS
    assert report.paid_again == 0
    assert report.unknown <= 0  # every request is in the tables, or in doubt there
    assert report.lost > 0  # or nothing was killed in flight, and this has shown nothing
