"""What does an item cost?  python -m tests.benchmarks.item_cpu [ITEMS [ROUNDS]]

CPU milliseconds per item, text only and with 5 s of speech (tests/benchmarks/canned.py): the whole
pipeline (manifest to Parquet and WAV), a script over OpenAI's SDK that writes a WAV for each,
and the least that Python can do: aiohttp, which decodes each event and writes nothing. They take
turns, each in a process of its own; what it takes to start is not counted.
"""

import asyncio
import base64
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.bench import Figure, config, show
from tests.benchmarks.canned import canned
from tests.conftest import ROOT

IN_FLIGHT = 64
_KEY = "sk-benchmark"
_MOST_TO_BARE = {"text": 3.0, "speech": 1.3}
_MOST_TO_SDK = 0.19


def measure(items: int = 1000, rounds: int = 3) -> list[Figure]:
    """The whole pipeline, and its ratios to the others."""
    figures = []
    for kind, most in _MOST_TO_BARE.items():
        ways = [(client, ROOT) for client in ("ours", "sdk", "bare")]
        ours, sdk, bare = costs_ms(ways, kind, items, rounds)
        figures += [
            Figure(f"CPU of an item, {kind}", ours, "ms"),
            Figure(f"CPU of an item, {kind}, to the SDK", ours / sdk, "x", at_most=_MOST_TO_SDK),
            Figure(f"CPU of an item, {kind}, to bare aiohttp", ours / bare, "x", at_most=most),
        ]
    return figures


def costs_ms(ways: list[tuple[str, Path]], kind: str, items: int, rounds: int) -> list[float]:
    """Medians of the CPU of an item.

    Args:
        ways: clients (ours, sdk, bare), each with the folder that the package is taken from.
        kind: text, or speech.
    """
    found: list[list[float]] = [[] for _ in ways]
    with canned() as base_url:
        for _ in range(rounds):
            for (client, place), costs in zip(ways, found, strict=True):
                costs.append(_in_a_process(client, place, base_url, kind, items))
    return [statistics.median(costs) for costs in found]


def _in_a_process(client: str, place: Path, base_url: str, kind: str, items: int) -> float:
    arguments = ["--client", client, base_url, kind, str(items)]
    with tempfile.TemporaryDirectory() as folder:  # where there is no package to import
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.item_cpu", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{ROOT}"},
            check=True,
            stdout=subprocess.PIPE,
        )
    return float(done.stdout.split()[-1])


def _cpu_ms(client: str, base_url: str, kind: str, items: int) -> float:
    async def measured(folder: Path) -> float:
        work, speech = _CLIENTS[client], kind == "speech"
        await work(base_url, 2 * IN_FLIGHT, speech, folder)  # connections, imports
        before = _cpu_s()
        await work(base_url, items, speech, folder)
        return _cpu_s() - before

    with tempfile.TemporaryDirectory() as folder:
        return 1000 * asyncio.run(measured(Path(folder))) / items


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _ours(base_url: str, items: int, speech: bool, folder: Path) -> None:
    from omni_batch import run_batch

    await run_batch(config(folder, base_url, items, speech=speech, in_flight=IN_FLIGHT))


async def _sdk(base_url: str, items: int, speech: bool, folder: Path) -> None:
    import numpy as np
    import openai
    import soundfile

    client = openai.AsyncOpenAI(base_url=base_url, api_key=_KEY)

    async def one(body: dict[str, Any], path: Path) -> None:
        text, sound = "", b""
        async for chunk in await client.chat.completions.create(**body):
            if chunk.choices and (delta := chunk.choices[0].delta):
                text += delta.content or ""
                audio: Any = getattr(delta, "audio", None)
                said = audio.get("data") if isinstance(audio, dict) else audio and audio.data
                sound += base64.b64decode(said or "")
        if speech:
            soundfile.write(path, np.frombuffer(sound, np.int16), 24_000)

    await _all(items, speech, lambda n, body: one(body, folder / f"{n}.wav"))
    await client.close()


async def _bare(base_url: str, items: int, speech: bool, _: Path) -> None:
    import aiohttp

    async def one(body: dict[str, Any]) -> None:
        text, sound = [], []
        async with session.post(f"{base_url}/chat/completions", json=body) as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        text.append(choice["delta"].get("content") or "")
                        audio = choice["delta"].get("audio") or {}
                        sound.append(base64.b64decode(audio.get("data") or ""))
        "".join(text), b"".join(sound)

    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    headers = {"Authorization": f"Bearer {_KEY}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await _all(items, speech, lambda _, body: one(body))


_CLIENTS: dict[str, Callable[[str, int, bool, Path], Awaitable[None]]] = {
    "ours": _ours,
    "sdk": _sdk,
    "bare": _bare,
}


async def _all(
    items: int, speech: bool, one: Callable[[int, dict[str, Any]], Awaitable[None]]
) -> None:
    limit = asyncio.Semaphore(IN_FLIGHT)

    async def limited(number: int) -> None:
        async with limit:
            await one(number, _body(number, speech))

    await asyncio.gather(*map(limited, range(items)))


def _body(number: int, speech: bool) -> dict[str, Any]:
    prompt = f"Say something about the number {number}."
    return {
        "model": "qwen3-omni-flash",
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "modalities": ["text", "audio"] if speech else ["text"],
        **({"audio": {"voice": "Cherry", "format": "wav"}} if speech else {}),
    }


if __name__ == "__main__":
    match sys.argv[1:]:
        case "--client", client, base_url, kind, items:
            print(_cpu_ms(client, base_url, kind, int(items)))
        case numbers:
            show(measure(*map(int, numbers)))
