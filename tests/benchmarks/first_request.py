"""How long from the command to its first request?  python -m tests.benchmarks.first_request

Median of five `omni-batch run --no-prefect` processes, against a bare `import httpx` process.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from omni_batch.simulator import Simulator
from tests.benchmarks.bench import KEY_ENV, config

_ROUNDS = 5


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, Simulator() as simulator:
        settings = config(Path(folder), simulator.base_url, 3, speech=False, in_flight=16)
        path = Path(folder) / "config.yaml"
        path.write_text(json.dumps(settings.model_dump(mode="json")))
        ours = [_first_request_s(simulator, path) for _ in range(_ROUNDS)]
    bare = [_process_s("import httpx") for _ in range(_ROUNDS)]
    print(f"first request after {statistics.median(ours):.2f} s ({min(ours):.2f}-{max(ours):.2f})")
    print(f"ratio to a process that imports httpx: {min(ours) / min(bare):.1f}")


def _first_request_s(simulator: Simulator, path: Path) -> float:
    seen, started_s = len(simulator.requests), time.monotonic()
    command = [sys.executable, "-m", "omni_batch.cli.main", "run", str(path), "--no-prefect"]
    subprocess.run(command, check=True, capture_output=True, env={"PATH": "", KEY_ENV: "sk-test"})
    return simulator.requests[seen].arrived_at_s - started_s


def _process_s(code: str) -> float:
    started_s = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.monotonic() - started_s


if __name__ == "__main__":
    main()
