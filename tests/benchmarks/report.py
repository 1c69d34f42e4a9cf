"""How large, how slow, how heavy is a report?  python -m tests.benchmarks.report [ITEMS [SAMPLES]]

A made-up run of ITEMS (100,000) against one of a tenth: seconds and peak memory of writing the page
(a process of its own), its size, and where there is a Chromium, seconds until it has every item.
With SAMPLES, rows have typed answers, so many to each question.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.report_runs import synthetic_run

_WRITE = """
import resource, sys, time
from pathlib import Path
from omni_batch.analytics.report import write_report
from omni_batch.store import RunDir
started_s = time.perf_counter()
write_report(RunDir(Path(sys.argv[1])))
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(time.perf_counter() - started_s, peak_mb)
"""


def main(items: int, samples: int = 0) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        small = measured(Path(folder), items // 10, samples)
        large = measured(Path(folder), items, samples)
    names = ("seconds to write", "peak memory, MB", "size, MB", "seconds to open", "to search")
    for name, one, other in zip(names, small, large, strict=True):
        print(f"{name:20} {one:8.2f} {other:8.2f}   ratio {other / one:.2f}")


def measured(folder: Path, items: int, samples: int) -> tuple[float, float, float, float, float]:
    """Of one run: seconds, MB of memory, MB of page, seconds to open, seconds to search."""
    directory = synthetic_run(folder, items, samples=samples)
    command = [sys.executable, "-c", _WRITE, str(directory.root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    took_s, peak_mb = map(float, done.stdout.split())
    page = directory.root / "report.html"
    return took_s, peak_mb, page.stat().st_size / 1e6, *opened_s(page)


def opened_s(page: Path) -> tuple[float, float]:
    """Seconds until the first items are shown and all can be searched; of a first search."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return float("nan"), float("nan")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        tab = browser.new_page()
        started_s = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-loaded=yes]")
        loaded_s = time.perf_counter() - started_s
        started_s = time.perf_counter()
        tab.fill("#search", "photo-0000042")
        tab.get_by_text("of 1 items").wait_for()
        searched_s = time.perf_counter() - started_s
        browser.close()
    return loaded_s, searched_s


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or ["100000"]))
