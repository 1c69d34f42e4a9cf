"""What does an output at an object store cost?  python -m tests.benchmarks.object_output [ITEMS]

The same run into a folder and to a local S3 server (moto's, in a process of its own), in turn: wall
seconds and CPU seconds of the client process. Once against a service that takes a second for each
answer, as real ones do or longer, and once against one that takes no time at all.
"""

import asyncio
import os
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx

from omni_batch import run_batch
from omni_batch.config import Config
from tests.benchmarks.bench import config, simulator

_IN_FLIGHT = 64
_ROUNDS = 3
_SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=AKIABENCH/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
}


class Took(NamedTuple):
    """One run."""

    wall_s: float
    cpu_s: float


def main(items: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, object_server() as url:
        _use(url, Path(folder))
        for latency_s in (1.0, 0.0):
            with simulator(first_chunk_s=latency_s) as base_url:
                for speech in (False, True):
                    _compare(Path(folder), base_url, items, latency_s, speech=speech)


def _compare(folder: Path, base_url: str, items: int, latency_s: float, *, speech: bool) -> None:
    local = config(folder, base_url, items, speech=speech, in_flight=_IN_FLIGHT)
    remote = local.model_copy(update={"output": "s3://bench/out"})
    for warm in (local, remote):
        _took(warm.model_copy(update={"limit": 10, "manifest": warm.manifest}))
    rounds = [(_took(local), _took(remote)) for _ in range(_ROUNDS)]
    here, there = (
        Took(*(median(getattr(pair[side], name) for pair in rounds) for name in Took._fields))
        for side in (0, 1)
    )
    kind = "with speech" if speech else "text only"
    print(
        f"{latency_s:.0f} s an answer, {kind:11}  folder {here.wall_s:6.2f} s, CPU "
        f"{here.cpu_s:5.2f} s   store {there.wall_s:6.2f} s, CPU {there.cpu_s:5.2f} s   "
        f"wall {100 * (there.wall_s / here.wall_s - 1):+.1f} %, CPU "
        f"{100 * (there.cpu_s / here.cpu_s - 1):+.1f} %   ({items:,} items)"
    )


def _took(settings: Config) -> Took:
    async def measured() -> Took:
        began_s, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        run = await run_batch(settings, run_id=secrets.token_hex(6))
        after = resource.getrusage(resource.RUSAGE_SELF)
        assert run.record.state == "finished", run.record.reason
        cpu_s = (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
        return Took(time.monotonic() - began_s, cpu_s)

    return asyncio.run(measured())


@contextmanager
def object_server() -> Iterator[str]:
    """The address of an S3 server whose CPU is not ours, with one bucket."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=10), headers=_SIGNED) as client:
            client.put(f"{url}/bench", timeout=60)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _use(url: str, folder: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIABENCH", "AWS_SECRET_ACCESS_KEY": "bench"}
    where = {"AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1"}
    os.environ.update({**keys, **where, "OMNI_BATCH_COPIES": str(folder / "copies")})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
