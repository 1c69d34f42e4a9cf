"""Four runs that share one account, as processes: python -m tests.benchmarks.quota_shared [--kill]

Two minutes against a simulator that counts 600 requests a minute strictly by seconds. With `--kill`
one of them is killed in the middle, and what the others do from then on is told.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from omni_batch.store.journal import read_journal
from tests.benchmarks.bench import config, simulator

_RUNS, _SECONDS, _PER_MINUTE, _ITEMS = 4, 120, 600, 2000
_BACK_S = 15
_WORK = "import sys, omni_batch; omni_batch.run(sys.argv[1])"


def main() -> int:
    """Run, print figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.quota_shared")
    parser.add_argument("--kill", action="store_true", help="kill one in the middle")
    parser.add_argument("--window", default="sliding-second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = folder
        limits = {"requests_per_minute": _PER_MINUTE, "window": options.window}
        with simulator(**limits, first_chunk_s=0.5) as base_url:
            print(json.dumps(_measure(Path(folder), base_url, kill=options.kill), indent=1))
    return 0


def _measure(folder: Path, base_url: str, *, kill: bool) -> dict[str, object]:
    files = [_config(folder / f"run-{number}", base_url) for number in range(_RUNS)]
    command = [sys.executable, "-c", _WORK]
    runs = [subprocess.Popen([*command, str(path)], stderr=subprocess.DEVNULL) for path in files]
    while not all(_served(path) for path in files):
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
    records = [next(path.parent.glob("runs/*/run.json")) for path in files]
    learned = [json.loads(path.read_text())["endpoints"][0]["learned"] for path in records]
    rows = [_times(path) for path in files]
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


def _config(folder: Path, base_url: str) -> Path:
    folder.mkdir()
    settings = config(folder, base_url, _ITEMS, speech=False, in_flight=64).model_dump(mode="json")
    settings["quota"] |= {"requests_per_minute": _PER_MINUTE, "adaptive": True}
    path = folder / "config.yaml"
    path.write_text(json.dumps(settings))
    return path


def _served(path: Path) -> bool:
    return any(path.parent.glob("runs/*/journal/*.jsonl"))


def _times(path: Path) -> list[tuple[float, bool]]:
    """When each attempt started, and whether it was answered."""
    return [
        (_seconds(attempt["started_at"]), attempt["error_kind"] is None)
        for journal in path.parent.glob("runs/*/journal/*.jsonl")
        for entry in read_journal(journal)
        for attempt in entry.attempts
        if attempt["error_kind"] in (None, "rate_limited")
    ]


def _seconds(at: datetime | str) -> float:
    return (datetime.fromisoformat(at) if isinstance(at, str) else at).timestamp()


if __name__ == "__main__":
    sys.exit(main())
