"""Runs under everything that may happen to them, for as long as you like.

    python -m tests.soak --minutes 20 [--seed N] [--round K] [--jobs J]

Each round makes a run against a simulated service and strikes it: kill -9, signals, keys, full
disks, few descriptors, a service that fails or dies, files that go missing. Then it is resumed
until it is finished, and judged by what the service says that it has sent. Linux only.
"""

import argparse
import math
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.soak.disk import OwnDisk, enter_namespace
from tests.soak.faults import menu
from tests.soak.faults.by_means import faketime
from tests.soak.plan import draw
from tests.soak.process import end_all
from tests.soak.record import Record, as_table
from tests.soak.round import Round

PREFECT_SHARE = 0.12
"""Of processes: each start of a temporary server takes ten seconds."""
_COMPLAINTS_SHOWN = 10


def main() -> int:
    """Play rounds and print the table; 1 if one of them did not hold."""
    given = _arguments()
    enter_namespace()
    _hear_signals()
    folder, started_s = Path(tempfile.mkdtemp(prefix="omni-batch-soak-")), time.monotonic()
    has_disk = _has_disk(folder)
    until_s = started_s + given.minutes * 60 if given.round is None else math.inf
    print(f"seed {given.seed}, in {folder}", flush=True)

    def play(number: int) -> Record:
        if time.monotonic() > until_s:
            return Record()
        plan = draw(given.seed, number, menu(own_disk=has_disk), prefect_share=given.prefect)
        own = folder / f"round-{number}"
        return _told(Round(plan, own, folder / "prefect", own_disk=has_disk, until_s=until_s), own)

    # As many numbers as no soak comes to; those whose turn comes too late are not played.
    numbers = range(math.ceil(given.minutes * 60)) if given.round is None else [given.round]
    total = _sum_of(play, numbers, given.jobs)
    print(f"\n{as_table(total, given.seed, (time.monotonic() - started_s) / 60)}")
    if total.failed:
        print(f"what failed is kept in {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if total.failed else 0


def _sum_of(play: Callable[[int], Record], numbers: Iterable[int], jobs: int) -> Record:
    with ThreadPoolExecutor(jobs) as threads:
        try:
            return sum(threads.map(play, numbers), Record())
        except KeyboardInterrupt:
            end_all(f"{os.getpid()}-")
            os._exit(130)


def _hear_signals() -> None:
    """What is ignored is ignored by all processes that we start: under nohup, or behind `&`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--round", type=int, help="this one alone")
    parser.add_argument("--jobs", type=int, default=1, help="rounds side by side")
    parser.add_argument("--prefect", type=float, default=PREFECT_SHARE, metavar="SHARE")
    return parser.parse_args()


def _has_disk(folder: Path) -> bool:
    """Whether a disk of our own may be mounted; says what can't be drawn on this machine."""
    disk = OwnDisk(folder / "probe")
    disk.close()
    if not disk.is_own:
        print("no disk may be mounted: a limit on the size of files stands for a full one")
    if faketime() is None:
        print("libfaketime is not installed: no clock jumps")
    return disk.is_own


def _told(game: Round, folder: Path) -> Record:
    """Play a round and say how it went."""
    begun_s = time.monotonic()
    try:
        record = game.play()
    except Exception:  # of the soak itself: the other rounds go on
        game.complaints.append(traceback.format_exc())
        record = game.failed()
    print(
        f"{folder.name}: {record.faults.total()} faults in {record.lives} processes, "
        f"{record.rows} rows, {record.answered_twice} answered twice, "
        f"{time.monotonic() - begun_s:.0f} s{f'; kept in {folder}' if game.complaints else ''}",
        *game.complaints[:_COMPLAINTS_SHOWN],
        sep="\n  ",
        flush=True,
    )
    if not game.complaints:
        shutil.rmtree(folder)
    return record


if __name__ == "__main__":
    sys.exit(main())
