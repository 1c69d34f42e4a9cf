"""What does the pipeline cost?  python -m tests.benchmarks.overhead [ITEMS]

CPU milliseconds per item of the client process, text only and with speech, for the whole pipeline
(manifest to Parquet and WAV) and for a bare httpx loop that only collects the same streams.
"""

import asyncio
import base64
import json
import resource
import sys
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import httpx

from omni_batch import run_batch
from tests.benchmarks.bench import config, simulator

_IN_FLIGHT = 64


def main(items: int) -> None:
    """Measure both and print the ratio."""
    for speech in (False, True):
        with tempfile.TemporaryDirectory() as folder, simulator() as base_url:
            settings = config(Path(folder), base_url, items, speech=speech, in_flight=_IN_FLIGHT)
            baseline = _cpu_ms(_bare_httpx(base_url, items, speech), items)
            ours = _cpu_ms(run_batch(settings), items)
        kind = "with speech" if speech else "text only"
        print(
            f"{kind:12} bare httpx {baseline:5.2f} ms   whole pipeline {ours:5.2f} ms   "
            f"ratio {ours / baseline:.2f}   ({items:,} items, {_IN_FLIGHT} in flight)"
        )


def _cpu_ms(work: Awaitable[Any], items: int) -> float:
    async def measured() -> float:
        before = resource.getrusage(resource.RUSAGE_SELF)
        await work
        after = resource.getrusage(resource.RUSAGE_SELF)
        return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)

    return 1000 * asyncio.run(measured()) / items


async def _bare_httpx(base_url: str, items: int, speech: bool) -> None:
    body: dict[str, Any] = {
        "model": "qwen3-omni-flash",
        "stream": True,
        "stream_options": {"include_usage": True},
        "modalities": ["text", "audio"] if speech else ["text"],
        **({"audio": {"voice": "Cherry", "format": "wav"}} if speech else {}),
    }
    limit = asyncio.Semaphore(_IN_FLIGHT)
    limits = httpx.Limits(max_connections=_IN_FLIGHT, max_keepalive_connections=_IN_FLIGHT)
    headers = {"Authorization": "Bearer sk-benchmark"}
    async with httpx.AsyncClient(timeout=60, limits=limits, headers=headers) as client:

        async def one(number: int) -> None:
            prompt = f"Say something about the number {number}."
            question = {**body, "messages": [{"role": "user", "content": prompt}]}
            url = f"{base_url}/chat/completions"
            async with limit, client.stream("POST", url, json=question) as response:
                await _collect(response)

        await asyncio.gather(*map(one, range(items)))


async def _collect(response: httpx.Response) -> None:
    text, sound = [], []
    async for line in response.aiter_lines():
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        for choice in json.loads(line[6:])["choices"]:
            delta = choice["delta"]
            text.append(delta.get("content") or "")
            sound.append(base64.b64decode((delta.get("audio") or {}).get("data", "")))
    "".join(text)
    b"".join(sound)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
