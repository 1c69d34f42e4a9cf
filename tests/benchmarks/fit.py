"""How fast are media made to fit?  python -m tests.benchmarks.fit [PHOTOS]

Photos of 12 megapixels, prepared and made to fit `media.max_image_tokens: 1000` as a run does it,
against plain Pillow in a pool of as many processes, which only opens, turns, scales and saves them.
Then eight videos over their limit, and how late the event loop is meanwhile.
"""

import asyncio
import csv
import io
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import aclosing, asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageOps

from omni_batch.config import parse_config
from omni_batch.planning.checked_items import CheckedItems
from omni_batch.planning.fitting.made import made_item
from omni_batch.planning.plan import Plan, make_plan
from omni_batch.planning.prepared_item import prepare_item

_SIZE_PX = (4000, 3000)
_TOKENS = 1000
_VARIANTS = 8
_AT_ONCE = 32
_VIDEOS = 8
_TICK_S = 0.005


def main(photos: int) -> None:
    """Measure and print."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        paths = _photos(folder, photos)
        size_mb = sum(path.stat().st_size for path in paths) / len(paths) / 1e6
        print(f"{photos:,} photos of 12 megapixels and {size_mb:.1f} MB, {cores} cores")
        plain_s = _plain_s(paths, cores)
        fit_s, _ = asyncio.run(_fitted(_plan(folder, "image", paths)))
        again_s, _ = asyncio.run(_fitted(_plan(folder, "image", paths)))
        print(f"plain Pillow: {plain_s:.1f} s, {photos / plain_s:.1f} photos a second")
        print(f"fit: {fit_s:.1f} s, {photos / fit_s:.1f} photos a second")
        print(f"ratio: {plain_s / fit_s:.2f}; a second time: {again_s:.1f} s")
        films = [_film(folder / f"film-{number}.mp4", number) for number in range(_VIDEOS)]
        for how in ("frames", "cut"):
            spent_s, late_s = asyncio.run(_fitted(_plan(folder, "video", films, fit_video=how)))
            p99_ms = 1000 * float(np.percentile(late_s, 99))
            most_ms = 1000 * max(late_s)
            print(
                f"{_VIDEOS} videos to {how}: {spent_s:.1f} s; the loop is late by {p99_ms:.1f} ms "
                f"(p99 of {len(late_s):,}), {most_ms:.1f} ms at most"
            )


def _plan(folder: Path, kind: str, paths: list[Path], **media: Any) -> Plan:
    manifest = folder / f"{kind}.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", kind, "prompt"])
        writer.writerows([path.stem, path.name, "What is seen here?"] for path in paths)
    config = {
        "name": "benchmark",
        "model": "qwen-omni-turbo",
        "manifest": {"path": str(manifest)},
        "output": str(folder / "runs"),
        "endpoint": {"name": "simulator"},
        "media": {"fit": "fit", "max_image_tokens": _TOKENS, **media},
    }
    return make_plan(parse_config(config))


async def _fitted(plan: Plan) -> tuple[float, list[float]]:
    """Seconds for all rows, and how late the loop was, again and again."""
    room = asyncio.Semaphore(_AT_ONCE)
    async with aclosing(plan.media_source(checking=False)) as source, _watched() as late_s:
        started_s = time.perf_counter()

        async def one(item: Any) -> None:
            async with room:
                prepared = await prepare_item(plan, source, item)
                async with made_item(plan, source, prepared) as made:
                    assert made.wanted

        await asyncio.gather(*(one(item) for item in CheckedItems(plan)))
        return time.perf_counter() - started_s, late_s


@asynccontextmanager
async def _watched() -> AsyncIterator[list[float]]:
    late_s: list[float] = []

    async def watch() -> None:
        while True:
            before_s = time.perf_counter()
            await asyncio.sleep(_TICK_S)
            late_s.append(time.perf_counter() - before_s - _TICK_S)

    task = asyncio.create_task(watch())
    try:
        yield late_s
    finally:
        task.cancel()


def _plain_s(paths: list[Path], cores: int) -> float:
    with ProcessPoolExecutor(cores) as pool:
        list(pool.map(_plain, paths[: 2 * cores]))  # its processes are there
        started_s = time.perf_counter()
        list(pool.map(_plain, paths))
        return time.perf_counter() - started_s


def _plain(path: Path) -> int:
    with Image.open(path) as image:
        image.draft("RGB", (1168, 876))
        upright = ImageOps.exif_transpose(image).convert("RGB")
        upright.thumbnail((1168, 876), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        upright.save(file, "JPEG", quality=90)
        return len(file.getvalue())


def _photos(folder: Path, count: int) -> list[Path]:
    random.seed(7)
    contents = [_photo(number) for number in range(_VARIANTS)]
    paths = [folder / f"photo-{number:05}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        # What stands behind the end mark changes the file, and no decoder looks at it.
        path.write_bytes(contents[number % _VARIANTS] + str(number).encode())
    return paths


def _photo(number: int) -> bytes:
    noise = np.random.default_rng(number)
    coarse = noise.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(_SIZE_PX, Image.Resampling.BICUBIC)
    grain = noise.normal(0, 6, (*_SIZE_PX[::-1], 3))
    grained = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    tags = Image.Exif()
    tags[0x0112] = (1, 6, 8, 3)[number % 4]
    Image.fromarray(grained).save(file, "JPEG", quality=88, exif=tags)
    return file.getvalue()


def _film(path: Path, number: int) -> Path:
    """60 s of 640 x 360 at 25 frames a second."""
    noise = np.random.default_rng(number)
    still = noise.integers(0, 256, (36, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for place in range(60 * 25):
            shown = np.roll(still, place // 5, axis=1).repeat(10, 0).repeat(10, 1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), "rgb24")
            frame.pts, frame.time_base = place, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
