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
from tests.benchmarks.bench import KEY_ENV, Figure, config, show

_ROUNDS = 5


def measure() -> list[Figure]:
    """Medians, and the ratio of the fastest ones."""
    with tempfile.TemporaryDirectory() as folder, Simulator() as simulator:
        settings = config(Path(folder), simulator.base_url, 3, speech=False, in_flight=16)
        path = Path(folder) / "config.yaml"
        path.write_text(json.dumps(settings.model_dump(mode="json")))
        ours = [_first_request_s(simulator, path) for _ in range(_ROUNDS)]
    bare = [_process_s("import httpx") for _ in range(_ROUNDS)]
    package = [_process_s("import omni_batch") - _process_s("pass") for _ in range(_ROUNDS)]
    return [
        Figure("first request without Prefect", statistics.median(ours), "s", at_most=1.2),
        Figure("first request to `import httpx`", min(ours) / min(bare), "x", at_most=3.0),
        Figure("import omni_batch", statistics.median(package), "s", at_most=0.4),
    ]


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
    show(measure())
