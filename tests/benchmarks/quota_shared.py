"""Four runs that share one account, as processes: python -m tests.benchmarks.quota_shared [--kill]

Two minutes against a simulator that counts 600 requests a minute strictly by seconds. With `--kill`
one of them is killed in the middle, and what the others do from then on is told. With
`--partitions` they are the partitions of one run, which take turns by its storage.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from omni_batch.config import load_config
from omni_batch.fleet import partitioned
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.store.journal import read_journal
from omni_batch.store.record import read_record, write_record
from tests.benchmarks.bench import config, simulator

_RUNS, _SECONDS, _PER_MINUTE, _ITEMS = 4, 120, 600, 2000
_BACK_S = 15
_RUN = "import sys, omni_batch; omni_batch.run(sys.argv[1])"
_PARTITION = """
import asyncio, sys
from pathlib import Path
from omni_batch.engine.pipeline import execute
from omni_batch.store import RunDir
asyncio.run(execute(RunDir(Path(sys.argv[1])).part(int(sys.argv[2]))))
"""


def main() -> int:
    """Run, print figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.quota_shared")
    parser.add_argument("--kill", action="store_true", help="kill one in the middle")
    parser.add_argument("--partitions", action="store_true", help="of one run")
    parser.add_argument("--window", default="sliding-second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        limits = {"requests_per_minute": _PER_MINUTE, "window": options.window}
        with simulator(**limits, first_chunk_s=0.5) as base_url:
            shared = _partitions if options.partitions else _runs
            found = _measure(shared(Path(folder), base_url), kill=options.kill)
            print(json.dumps(found, indent=1))
    return 0


@dataclass(frozen=True)
class Sharer:
    """One of those that share the account."""

    command: tuple[str, ...]
    folder: Path
    record: str
    """Its run.json, by a glob in the folder."""
    journals: str
    """What it has sent, by another one."""


def _runs(folder: Path, base_url: str) -> list[Sharer]:
    files = [_config(folder / f"run-{number}", base_url, _ITEMS) for number in range(_RUNS)]
    return [
        Sharer((_RUN, str(path)), path.parent, "runs/*/run.json", "runs/*/journal/*.jsonl")
        for path in files
    ]


def _partitions(folder: Path, base_url: str) -> list[Sharer]:
    settings = load_config(_config(folder / "run", base_url, _RUNS * _ITEMS))
    directory = prepare_run(make_plan(settings), workers=_RUNS)
    record = read_record(directory.record)
    with partitioned(directory, _RUNS):
        pass  # one shard each
    write_record(directory.record, record)
    return [
        Sharer(
            (_PARTITION, str(directory.root), str(number)),
            directory.root,
            f"partitions/{number:03d}/run.json",
            f"journal/shard-{number:05d}.jsonl",
        )
        for number in range(_RUNS)
    ]


def _measure(sharers: list[Sharer], *, kill: bool) -> dict[str, object]:
    runs = [
        subprocess.Popen([sys.executable, "-c", *one.command], stderr=subprocess.DEVNULL)
        for one in sharers
    ]
    while not all(_times(one) for one in sharers):
        time.sleep(0.1)
    begun_s = time.time()
    time.sleep(_SECONDS / 2)
    killed_s = time.time()
    if kill:
        runs[0].kill()
    time.sleep(_SECONDS / 2)
    ended_s = time.time()
    for run in runs:
        run.kill()
        run.wait()
    records = [next(one.folder.glob(one.record)) for one in sharers]
    learned = [json.loads(path.read_text())["endpoints"][0]["learned"] for path in records]
    rows = [_times(one) for one in sharers]
    after = [sum(killed_s + _BACK_S <= at_s < ended_s for at_s, _ in one) for one in rows]
    served = [sum(begun_s <= at_s < ended_s and ok for at_s, ok in one) for one in rows]
    refused = sum(begun_s <= at_s < ended_s and not ok for one in rows for at_s, ok in one)
    return {
        "served": served,
        "learned": [found.get("requests_per_minute") for found in learned],
        "share_of_limit": sum(served) / (_PER_MINUTE / 60 * (ended_s - begun_s)),
        "refused_share": refused / (sum(served) + refused),
        "least_share": min(served) * _RUNS / sum(served),
        "after_kill": sum(after) / (_PER_MINUTE / 60 * (ended_s - killed_s - _BACK_S)),
    }


def _config(folder: Path, base_url: str, items: int) -> Path:
    folder.mkdir()
    settings = config(folder, base_url, items, speech=False, in_flight=256).model_dump(mode="json")
    settings["quota"] |= {"requests_per_minute": _PER_MINUTE, "adaptive": True}
    settings["shard_size"] = _ITEMS
    path = folder / "config.yaml"
    path.write_text(json.dumps(settings))
    return path


def _times(one: Sharer) -> list[tuple[float, bool]]:
    """When each attempt started, and whether it was answered."""
    return [
        (_seconds(attempt["started_at"]), attempt["error_kind"] is None)
        for journal in one.folder.glob(one.journals)
        for entry in read_journal(journal)
        for attempt in entry.attempts
        if attempt["error_kind"] in (None, "rate_limited")
    ]


def _seconds(at: datetime | str) -> float:
    return (datetime.fromisoformat(at) if isinstance(at, str) else at).timestamp()


if __name__ == "__main__":
    sys.exit(main())
