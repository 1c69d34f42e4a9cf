"""How fast is a manifest of local photos checked?  python -m tests.benchmarks.check [N]

The real check of N rows (10,000), each with a JPEG of its own of 512 x 384 pixels and about 40 KB,
against Pillow that opens and decodes the same files one after the other.
"""

import asyncio
import csv
import io
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from omni_batch.config import parse_config
from omni_batch.planning.check import check_manifest
from omni_batch.planning.plan import make_plan

_PHOTOS = Path(__file__).parents[2] / "data" / "sample" / "photos"
_SIZE_PX = (512, 384)
_VARIANTS = 40
_BASELINE_FILES = 1_000


def main(rows: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        paths = make_photos(Path(folder), rows)
        size_kb = sum(path.stat().st_size for path in paths) / len(paths) / 1000
        print(f"{rows:,} photos of {size_kb:.0f} KB on {len(os.sched_getaffinity(0))} cores")
        baseline_s = plain_s(paths[:_BASELINE_FILES]) / len(paths[:_BASELINE_FILES])
        check_s = checked_s(Path(folder), paths) / rows
    print(f"check: {check_s * rows:.1f} s, {1 / check_s:,.0f} images a second")
    print(f"plain Pillow: {baseline_s * rows:.1f} s, {1 / baseline_s:,.0f} images a second")
    print(f"ratio: {check_s / baseline_s:.2f}")


def make_photos(folder: Path, count: int) -> list[Path]:
    """Real photos, moved and turned about, each file's bytes its own."""
    random.seed(7)
    contents = [_variant(number) for number in range(_VARIANTS)]
    paths = [folder / f"photo-{number:06}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        # What stands behind the end mark changes the file, and no decoder looks at it.
        path.write_bytes(contents[number % _VARIANTS] + str(number).encode())
    return paths


def _variant(number: int) -> bytes:
    names = ("astronaut.jpg", "coffee.jpg", "gravel.jpg")
    with Image.open(_PHOTOS / names[number % len(names)]) as photo:
        width, height = photo.size
        left, top = random.randrange(width // 8), random.randrange(height // 8)
        box = (left, top, left + width * 7 // 8, top + height * 7 // 8)
        small = photo.convert("RGB").resize(_SIZE_PX, box=box)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=78)
    return file.getvalue()


def plain_s(paths: list[Path]) -> float:
    """Seconds that Pillow alone takes, one file after the other."""
    started_s = time.perf_counter()
    for path in paths:
        with Image.open(path) as image:
            image.load()
    return time.perf_counter() - started_s


def checked_s(folder: Path, paths: list[Path]) -> float:
    """Seconds of the whole check."""
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "image", "prompt"])
        writer.writerows([path.stem, path.name, "What is seen here?"] for path in paths)
    config = parse_config({"manifest": {"path": str(manifest)}, "output": str(folder / "runs")})
    plan = make_plan(config, needs_key=False)
    started_s = time.perf_counter()
    report = asyncio.run(check_manifest(plan))
    took_s = time.perf_counter() - started_s
    if report.items != len(paths) or report.refused:
        raise SystemExit(f"of {report.items} rows {len(report.refused)} were refused")
    return took_s


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
