"""What do a million rows take?  python -m tests.benchmarks.large [ROWS …] [--only COMMAND …]

Each command over runs of ROWS (1000 100000 1000000), in a process of its own: CPU seconds of it and
its children, MB of memory at most, and seconds until the first request where it sends any. Finished
runs are made up (`large_runs.py`). `resume` has one hundredth of the rows left, `reuse` is a run
over a manifest of which one hundredth is new. Both, and `run`, are stopped by Ctrl-C after some of
their requests. The last columns hold CPU of the greatest size against that of the one before it,
which is the ratio of their rows where it is linear, and memory against that of the smallest.

--folder FOLDER keeps what was made there, and finds it again.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

SIZES = [1_000, 100_000, 1_000_000]
_PORT = 45_777  # as in large_runs.py, which is too large to be imported here
_STOP_AFTER = {"run": 5_000, "resume": 1_000, "reuse": 200}
"""Requests; all of them would be an hour's work, and the last ones tell nothing new."""
_LEFT = 0.01
_POLL_S = 0.02
_OMNI_BATCH = [sys.executable, "-m", "omni_batch.cli.main"]
COMMANDS: dict[str, list[str]] = {
    "check": ["check", "{config}"],
    "run": ["run", "{config}", "--no-prefect", "--output", "{folder}/begun"],
    "resume": ["resume", "{folder}/runs/c", "--no-prefect"],
    "reuse": ["run", "{folder}/tonight.yaml", "--no-prefect", "--run-id", "tonight"],
    "status": ["status", "{a}"],
    "verify": ["verify", "{a}"],
    "report": ["report", "{a}"],
    "sql, sums": [
        "sql",
        "{a}",
        "select modality, sum(cost), median(latency_s) from results group by 1",
    ],
    "sql, all rows": ["sql", "{a}", "from results", "--to", "csv", "--output", "{out}"],
    "export jsonl": ["export", "{a}", "--to", "jsonl", "{out}"],
    "export csv": ["export", "{a}", "--to", "csv", "{out}"],
    "export hf": ["export", "{a}", "--to", "hf", "{out}"],
    "compare": ["compare", "{a}", "{b}"],
}


@dataclass(frozen=True, slots=True)
class Taken:
    """What a process took."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    first_s: float | None = None
    """Until its first request; None where it sends none."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", type=int, default=SIZES)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    kept = nullcontext(str(asked.folder)) if asked.folder else tempfile.TemporaryDirectory()
    found: dict[str, dict[int, Taken]] = {name: {} for name in asked.only}
    with kept as folder, _simulator():
        for rows in asked.rows:
            for name in asked.only:
                found[name][rows] = _measured(Path(folder, str(rows)), rows, name)
                print(f"{rows:>9,} {name:13} {found[name][rows]}", file=sys.stderr, flush=True)
    print("\n".join(_table(found, asked.rows)))


def _measured(folder: Path, rows: int, name: str) -> Taken:
    """Make what the command needs, in a process whose memory is not counted, and run it."""
    _made(folder, rows, name)
    out = folder / "out" / name.replace(" ", "-")
    shutil.rmtree(out, ignore_errors=True)
    out.unlink(missing_ok=True)
    out.parent.mkdir(exist_ok=True)
    names = {"config": folder / "config.yaml", "folder": folder, "out": out}
    names |= {run: folder / "runs" / run for run in ("a", "b")}
    command = _OMNI_BATCH + [part.format(**names) for part in COMMANDS[name]]
    return taken(command, _stop_after(name, rows))


def _stop_after(name: str, rows: int) -> int | None:
    """None of commands that send nothing; of short manifests half of what they would send."""
    if name not in _STOP_AFTER:
        return None
    to_send = rows if name == "run" else rows // 100
    return max(1, min(_STOP_AFTER[name], to_send // 2))


def _made(folder: Path, rows: int, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    made = [sys.executable, "-m", "tests.benchmarks.large_runs", str(folder), str(rows), name]
    subprocess.run(made, check=True)


def taken(command: list[str], stop_after: int | None = None) -> Taken:
    """Run a command to its end.

    Args:
        stop_after: as many requests at the simulator, it is stopped as by Ctrl-C.
    """
    before, begun_s = _requests() if stop_after else 0, time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    first_s: list[float] = []
    watch = threading.Thread(target=_watch, args=(process, before, stop_after, begun_s, first_s))
    if stop_after:
        watch.start()
    said = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1, 130):  # some rows failed; or it was stopped
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{said.decode()}")
    wall_s, cpu_s = time.monotonic() - begun_s, usage.ru_utime + usage.ru_stime
    return Taken(cpu_s, wall_s, usage.ru_maxrss / 1024, first_s[0] if first_s else None)


def _watch(
    process: subprocess.Popen[bytes],
    before: int,
    stop_after: int | None,
    begun_s: float,
    first_s: list[float],
) -> None:
    while process.returncode is None:
        sent = _requests() - before
        if sent and not first_s:
            first_s.append(time.monotonic() - begun_s)
        if stop_after and sent >= stop_after:
            process.send_signal(signal.SIGINT)
            return
        time.sleep(_POLL_S if not first_s else 10 * _POLL_S)


def _requests() -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{_PORT}/simulator/counters") as reply:
        return int(json.load(reply)["requests"])


@contextmanager
def _simulator() -> Iterator[None]:
    """In a process of its own, which imports what this one is too small for: the peak of a child
    is never below that of whoever forked it."""
    begin = f"from tests.benchmarks.bench import serve; serve(port={_PORT}, scriptable=True)"
    process = subprocess.Popen([sys.executable, "-c", begin], stdout=subprocess.PIPE)
    if process.stdout:
        process.stdout.readline()
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


# --- the table ---


def _table(found: Mapping[str, Mapping[int, Taken]], sizes: list[int]) -> Iterator[str]:
    """In Markdown: CPU, memory, first request by size; and how they grow."""
    heads = [f"{rows:,} rows" for rows in sizes]
    yield f"| command | {' | '.join(heads)} | times | MB more |"
    yield "|---|" + "--:|" * (len(sizes) + 2)
    for name, by_size in found.items():
        cells = " | ".join(_cell(by_size[rows]) for rows in sizes)
        yield f"| {name} | {cells} | {_times(by_size, sizes)} | {_more_mb(by_size, sizes)} |"


def _cell(taken: Taken) -> str:
    first = "" if taken.first_s is None else f", first request {taken.first_s:.1f} s"
    return f"{taken.cpu_s:.1f} s, {taken.peak_mb:.0f} MB{first}"


def _times(by_size: Mapping[int, Taken], sizes: list[int]) -> str:
    if len(sizes) < 2:
        return ""
    before, last = (by_size[rows].cpu_s for rows in sizes[-2:])
    return f"{last / before:.1f}"


def _more_mb(by_size: Mapping[int, Taken], sizes: list[int]) -> str:
    return f"{by_size[sizes[-1]].peak_mb - by_size[sizes[0]].peak_mb:+.0f}"


if __name__ == "__main__":
    main()
