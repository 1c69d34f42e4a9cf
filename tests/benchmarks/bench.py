"""What the benchmarks share: a simulator in a process of its own, and manifests."""

import csv
import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from omni_batch.config import Config, parse_config
from omni_batch.simulator import Simulator, SimulatorOptions


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured."""

    name: str
    value: float
    unit: str
    """`x` is a ratio to a baseline of the same run."""
    at_most: float | None = None
    at_least: float | None = None


def show(figures: Iterable[Figure]) -> None:
    """Print figures, one a line, beside what is wanted of them."""
    for figure in figures:
        wanted = [
            f"{word} {bound:g}"
            for word, bound in (("at most", figure.at_most), ("at least", figure.at_least))
            if bound is not None
        ]
        print(f"{figure.name:48}{figure.value:10,.3f} {figure.unit:8}{' '.join(wanted)}")


KEY_ENV = "OMNI_BATCH_BENCHMARK_KEY"


def serve(**options: Any) -> None:
    """Serve as a process of its own until it is ended; says on its standard output when it does."""
    with Simulator(SimulatorOptions(keep_requests=0, **options)) as server:
        print(server.base_url, flush=True)
        signal.pause()


@contextmanager
def simulator(**options: Any) -> Iterator[str]:
    """The base URL of a simulator whose CPU and memory are not ours.

    Args:
        options: of `SimulatorOptions`, which refuses what it does not know.
    """
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(there, options), daemon=True
    )
    process.start()
    try:
        yield here.recv()
    finally:
        here.send("stop")
        process.join(10)


def _serve(pipe: Connection, options: dict[str, Any]) -> None:
    with Simulator(SimulatorOptions(keep_requests=0, **options)) as server:
        pipe.send(server.base_url)
        pipe.recv()


def config(folder: Path, base_url: str, items: int, *, speech: bool, in_flight: int) -> Config:
    """A run of short texts under a quota that never binds."""
    os.environ[KEY_ENV] = "sk-benchmark"
    manifest = folder / f"manifest-{items}.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "prompt"])
        for number in range(items):
            writer.writerow([f"row-{number:07d}", f"Say something about the number {number}."])
    return parse_config(
        {
            "name": "benchmark",
            "manifest": {"path": str(manifest)},
            "output": str(folder / "runs"),
            "endpoint": {"name": "custom", "base_url": base_url, "api_key_env": KEY_ENV},
            "request": {"modalities": ["text", "audio"] if speech else ["text"]},
            "quota": {
                "requests_per_minute": 10_000_000,
                "tokens_per_minute": 10_000_000_000,
                "max_in_flight": in_flight,
                "adaptive": False,
            },
        }
    )
