"""How fast is a run looked through?  python -m tests.benchmarks.verify [ROWS ...] [--speech-s S]

Runs of 10,000 and 100,000 rows, each with S (0.5) seconds of speech. Prints the time and the peak
of memory of `verify` beside the time of `cat` over all files, with a warm cache, and the same of
what a run looks at before it is called finished.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from omni_batch.analytics.verify import verify_run
from omni_batch.store import RunDir
from omni_batch.store.census import shortage_of_files
from omni_batch.store.record import read_record
from tests.support.written_runs import Written, write_run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--speech-s", type=float, default=0.5)
    given = parser.parse_args()
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            run = write_run(Path(folder, "run"), _rows(rows, given.speech_s), items=rows)
            print(f"{rows:,} rows with {given.speech_s:g} s of speech each", flush=True)
            _measure(run)


def _rows(count: int, speech_s: float) -> Iterator[Written]:
    # Lengths differ, so that files do.
    return (
        Written(f"item-{number}", speech_s=speech_s * (0.5 + number % 100 / 100))
        for number in range(count)
    )


def _measure(run: RunDir) -> None:
    read_s, read_cpu_s = min(_read_all(run.root) for _ in range(2))
    print(f"  cat of all files          {read_s:7.2f} s, {read_cpu_s:.2f} s of CPU", flush=True)
    for name in ("verify", "census"):
        command = [sys.executable, "-m", "tests.benchmarks.verify", name, str(run.root)]
        took_s, cpu_s, peak_mb = map(float, subprocess.check_output(command, text=True).split())
        print(
            f"  {name:<25} {took_s:7.2f} s ({took_s / read_s:.2f} of cat), "
            f"{cpu_s:.2f} s of CPU, {peak_mb:.0f} MB",
            flush=True,
        )


def _read_all(folder: Path) -> tuple[float, float]:
    begun_s, begun_cpu_s = time.perf_counter(), _children_s()
    command = f"find {folder} -type f -print0 | xargs -0 cat > /dev/null"
    subprocess.run(["sh", "-c", command], check=True)
    return time.perf_counter() - begun_s, _children_s() - begun_cpu_s


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _look(what: str, root: Path) -> None:
    """In a process of its own: seconds, of them CPU, and MB at most."""
    run = RunDir(root)
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    if what == "verify":
        assert verify_run(run).problems == 0
    else:
        assert shortage_of_files(run, read_record(run.record)) is None
    took_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - begun_cpu_s
    print(took_s, cpu_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    if sys.argv[1:2] in (["verify"], ["census"]):
        _look(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
