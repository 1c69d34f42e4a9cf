"""What does Prefect cost?  python -m tests.benchmarks.with_prefect [ITEMS [ROUNDS [MINUTES]]]

Runs of short texts with a Prefect server and without, in turn, each in a process of its own: wall
time and CPU seconds, and what the server has kept of them. Then how long the command takes to its
first request, and how late the runs of `omni-batch schedule` begin that are due each minute.
"""

import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from omni_batch.simulator import Simulator
from tests.benchmarks.bench import KEY_ENV, config, simulator

_IN_FLIGHT = 64
_STARTS = 5
_LATENCY_S = 0.5
"""Of each answer's first chunk: a run of 10,000 then takes some 80 s, whatever the CPU does."""


@dataclass(frozen=True)
class Took:
    """One run."""

    wall_s: float
    cpu_s: float
    server_cpu_s: float


def main(items: int, rounds: int, minutes: int) -> None:
    """Measure and print."""
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as place, _server(Path(place)) as server:
        folder = Path(place)
        if items:
            _compare(folder, server, items, rounds)
        _first_requests(folder, server)
        if minutes:
            _punctuality(folder, server, minutes)
        said = (folder / "server.txt").read_text()
    print(f"server's log: {said.lower().count('dropping')} lines of dropped events")


# --- a long run ---


def _compare(folder: Path, server: "Server", items: int, rounds: int) -> None:
    with simulator(first_chunk_s=_LATENCY_S) as base_url:
        path = _write(folder, base_url, items)
        pairs = [(_run(path, server, "--no-prefect"), _run(path, server)) for _ in range(rounds)]
    for alone, with_prefect in pairs:
        print(
            f"{items:,} items: {alone.wall_s:6.1f} s alone, {with_prefect.wall_s:6.1f} s with "
            f"Prefect ({with_prefect.wall_s / alone.wall_s - 1:+.1%}); CPU {alone.cpu_s:.1f} s, "
            f"{with_prefect.cpu_s:.1f} s and {with_prefect.server_cpu_s:.1f} s of the server"
        )
    for run in server.ask("flow_runs/filter", {"sort": "START_TIME_DESC"}):
        print(f"{run['name']}: {run['state']['name']}, {_kept(server, run['id'])}")


def _kept(server: "Server", flow_run_id: str) -> str:
    """What the server knows of a flow run's tasks, once it has written down what it was told."""
    wanted = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
    tasks = server.ask("task_runs/filter", wanted)
    for _ in range(30):
        if all(task["state"]["type"] == "COMPLETED" for task in tasks):
            break
        time.sleep(1)
        tasks = server.ask("task_runs/filter", wanted)
    done = sum(task["state"]["type"] == "COMPLETED" for task in tasks)
    return f"{len(tasks)} task runs, {done} of them Completed"


def _run(path: Path, server: "Server", *options: str) -> Took:
    command = [sys.executable, "-m", "omni_batch.cli.main", "run", str(path), *options]
    server_s, before = server.cpu_s(), resource.getrusage(resource.RUSAGE_CHILDREN)
    started_s = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=server.environment)
    wall_s, after = time.monotonic() - started_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(wall_s, cpu_s, server.cpu_s() - server_s)


# --- starts ---


def _first_requests(folder: Path, server: "Server") -> None:
    with Simulator() as near:
        path = _write(folder, near.base_url, 3)
        for name, options in (("with a server", ()), ("without Prefect", ("--no-prefect",))):
            found = [_first_request_s(near, path, server, options) for _ in range(_STARTS)]
            print(
                f"first request {name}: after {statistics.median(found):.2f} s "
                f"({min(found):.2f}-{max(found):.2f})"
            )


def _first_request_s(
    near: Simulator, path: Path, server: "Server", options: Sequence[str]
) -> float:
    seen, started_s = len(near.requests), time.monotonic()
    _run(path, server, *options)
    return near.requests[seen].arrived_at_s - started_s


def _punctuality(folder: Path, server: "Server", minutes: int) -> None:
    with Simulator() as near:
        path = _write(folder, near.base_url, 3)
        command = ["-m", "omni_batch", "schedule", str(path), "--cron", "* * * * *"]
        serving = subprocess.Popen(
            [sys.executable, *command],
            env=server.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(60 * minutes + 30)
        serving.send_signal(signal.SIGTERM)
        serving.wait(30)
    late = [_late_s(run) for run in server.ask("flow_runs/filter", {}) if _was_due(run)]
    print(f"{len(late)} scheduled runs began late by " + ", ".join(f"{s:.1f} s" for s in late))


def _was_due(run: dict[str, Any]) -> bool:
    return bool(run["auto_scheduled"] and run["start_time"])


def _late_s(run: dict[str, Any]) -> float:
    begun, due = map(datetime.fromisoformat, (run["start_time"], run["expected_start_time"]))
    return (begun - due).total_seconds()


# --- what is measured, and where ---


def _write(folder: Path, base_url: str, items: int) -> Path:
    settings = config(folder, base_url, items, speech=False, in_flight=_IN_FLIGHT)
    path = folder / f"config-{items}.yaml"
    path.write_text(json.dumps(settings.model_dump(mode="json")))
    return path


@dataclass(frozen=True)
class Server:
    """A Prefect server with a database of its own."""

    url: str
    process: int
    environment: dict[str, str]

    def ask(self, question: str, body: dict[str, Any]) -> Any:
        """What its API answers."""
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(f"{self.url}/{question}", json.dumps(body).encode(), headers)) as got:
            return json.load(got)

    def cpu_s(self) -> float:
        """Of all its processes so far."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == self.process:  # its group
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def _server(folder: Path) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    own = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        KEY_ENV: "sk-benchmark",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with (folder / "server.txt").open("w") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **own}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        while not _answers(port):
            time.sleep(0.2)
        yield Server(url, process.pid, {**os.environ, **own})
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    given = [int(number) for number in sys.argv[1:]]
    main(*given, *(10_000, 2, 5)[len(given) :])
