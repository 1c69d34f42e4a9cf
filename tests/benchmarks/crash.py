"""Does a run survive kill -9 at any instant?

    python -m tests.benchmarks.crash [--kills N] [--seed S]

Kills `omni-batch resume --no-prefect` on spoken runs at random instants and checks the laws of a
run after each kill, until there were N kills (100). The simulator is a process of its own, with
latency and faults.
"""

import argparse
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq

from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.simulator import Recorded, Simulator, SimulatorOptions
from omni_batch.store import RunDir
from omni_batch.store.record import read_record
from tests.benchmarks.bench import config
from tests.support.laws import Rows, check_finished, rows_so_far

ITEMS = 120
IN_FLIGHT = 4
_BEGUN = 2 * IN_FLIGHT
_LONGEST_LIFE_S = 0.4  # after its first request
_FAULTS = {"cut": 0.04, "reset": 0.02, "error_500": 0.04}


class Process(Protocol):
    """What works on a run."""

    def kill(self) -> None:
        """SIGKILL."""

    def wait(self) -> int:
        """Its exit code."""

    def poll(self) -> int | None:
        """The same, None while it lives."""


@dataclass(slots=True)
class Report:
    """What happened."""

    kills: int = 0
    runs: int = 0
    requests: int = 0
    """That the service got."""
    exchanges: int = 0
    """Of them in the tables."""
    in_doubt: int = 0
    """Of these: their process was killed before they ended."""
    lost: int = 0
    """Items that had been sent and had no row when their process was killed."""
    most_lost: int = 0
    """By one kill."""
    paid_again: int = 0
    """Rows that stood in the journal and were sent again."""

    def __str__(self) -> str:
        return (
            f"{self.kills} kills in {self.runs} runs of {ITEMS} items, {IN_FLIGHT} in flight\n"
            f"{self.requests} requests, {self.exchanges} in the tables, {self.in_doubt} of them in "
            f"doubt; {self.lost} items were in flight, {self.most_lost} at most at one kill\n"
            f"journaled rows that were sent again: {self.paid_again}"
        )

    @property
    def unknown(self) -> int:
        """Requests that no table knows; below 0 where some were written down and never sent."""
        return self.requests - self.exchanges


class Service:
    """A simulator in another process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.base_url = str(pipe.recv())

    def requests(self) -> int:
        """How many have come."""
        self._pipe.send("count")
        return int(self._pipe.recv())

    def prompts(self, since: int) -> list[str]:
        """Of all requests after the first so many, in order."""
        self._pipe.send(since)
        prompts: list[str] = self._pipe.recv()
        return prompts


@contextmanager
def service() -> Iterator[Service]:
    """A simulator with latency and faults."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        yield Service(here)
    finally:
        here.send("stop")
        process.join(10)


def _serve(pipe: Connection) -> None:
    options = SimulatorOptions(
        keep_requests=1_000_000, first_chunk_s=0.02, chunk_interval_s=0.002, faults=_FAULTS
    )
    with Simulator(options) as server:
        pipe.send(server.base_url)
        while (asked := pipe.recv()) != "stop":
            if asked == "count":
                pipe.send(server.counters.requests)
            else:
                pipe.send([_prompt(request) for request in server.requests[asked:]])


def _prompt(request: Recorded) -> str:
    messages: Any = request.body["messages"]
    content = messages[-1]["content"]
    return content if isinstance(content, str) else str(content[-1]["text"])


def resume(root: Path) -> Process:
    """The command line, as a person starts it."""
    command = [sys.executable, "-m", "omni_batch.cli.main", "resume", "--no-prefect", str(root)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_at_random(
    folder: Path, kills: int, seed: int, start: Callable[[Path], Process] = resume
) -> Report:
    """Kill processes at random instants, check what they leave, and finish every run."""
    chance, report = random.Random(seed), Report()
    with service() as server:
        while report.kills < kills:
            settings = config(folder, server.base_url, ITEMS, speech=True, in_flight=IN_FLIGHT)
            changes = {"shard_size": 50, "retry": {"first_wait_s": 0, "max_wait_s": 0}}
            settings = settings.model_validate(settings.model_dump() | changes)
            directory = prepare_run(make_plan(settings), f"run-{report.runs}")
            report.runs += 1
            before = server.requests()
            kept: Rows = {}
            while read_record(directory.record).state != "finished":
                wait_s = chance.uniform(0, _LONGEST_LIFE_S) if report.kills < kills else None
                kept = _live(directory, server, start, wait_s, kept, report)
            check_finished(directory, kept)
            report.requests += server.requests() - before
            report.exchanges += pq.read_table(directory.root / "attempts").num_rows
            report.in_doubt += read_record(directory.record).counts.in_doubt
    return report


def _live(
    directory: RunDir,
    server: Service,
    start: Callable[[Path], Process],
    wait_s: float | None,
    kept: Rows,
    report: Report,
) -> Rows:
    """One life of a process; the rows that stand after it."""
    before = server.requests()
    process = start(directory.root)
    if wait_s is not None:
        while server.requests() == before and process.poll() is None:
            time.sleep(0.002)
        time.sleep(wait_s)
        report.kills += process.poll() is None
        process.kill()
    killed = process.wait() != 0
    rows = rows_so_far(directory)
    assert all(rows[number] == row for number, row in kept.items())
    sent = set(server.prompts(before))
    report.paid_again += len(sent & {row["prompt"] for row in kept.values()})
    lost = len(sent - {row["prompt"] for row in rows.values()})
    report.lost += lost
    report.most_lost = max(report.most_lost, lost)
    assert lost <= (_BEGUN if killed else 0)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    print(f"seed {given.seed}")
    with tempfile.TemporaryDirectory() as folder:
        print(kill_at_random(Path(folder), given.kills, given.seed))


if __name__ == "__main__":
    main()
