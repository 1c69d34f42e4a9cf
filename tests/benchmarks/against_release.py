"""Has an item become dearer since the last release?  python -m tests.benchmarks.against_release

The CPU of an item now and by the package of the last release (the last commit that set the
version), in turns on this machine. Warns above a tenth more, and ends with 0 all the same: a
machine may be busy.
"""

import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.benchmarks.item_cpu import costs_ms
from tests.conftest import ROOT

_ITEMS, _ROUNDS = 400, 3
_MOST = 1.1


def main() -> None:
    """Measure and print."""
    release = _git("log", "-1", "--format=%h", "--", "omni_batch/_version.py").decode().strip()
    if not release:
        print("no release to compare with: this is not a checkout with its history")
        return
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(_git("archive", release, "omni_batch"))) as packed:
            packed.extractall(folder, filter="data")
        for kind in ("text", "speech"):
            ways = [("ours", ROOT), ("ours", Path(folder))]
            now, before = costs_ms(ways, kind, _ITEMS, _ROUNDS)
            said = "WARNING: dearer than the release" if now > _MOST * before else "fine"
            print(
                f"CPU of an item, {kind}: {now:.2f} ms, at release {release} {before:.2f} ms, "
                f"ratio {now / before:.2f}: {said}"
            )


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    main()
