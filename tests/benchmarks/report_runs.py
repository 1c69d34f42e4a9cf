"""Runs to look at: mixed media with faults, and a large one whose rows are made up."""

import asyncio
import csv
import os
import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from omni_batch.config import parse_config
from omni_batch.endpoint_status import EndpointStatus, LimitsInForce
from omni_batch.engine.pipeline import execute
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.progress.counters import of_tables
from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.store import Counts, RunDir, RunRecord
from omni_batch.store.columns import ATTEMPT_COLUMNS, result_columns, table
from omni_batch.store.items import ItemsWriter
from omni_batch.store.record import write_record
from omni_batch.types import Item
from tests.benchmarks.bench import KEY_ENV

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
_PHOTOS = ("astronaut.jpg", "brick.jpg", "cat.webp", "coffee.jpg", "gravel.jpg", "photographer.png")
_FAULTS = {
    "error_503": 0.05,
    "cut": 0.05,
    "html_502": 0.01,
    "in_band_error": 0.01,
    "partial_response": 0.005,
}
_SHARD = 500


def mixed_run(folder: Path, items: int, *, speech_every: int = 3) -> RunDir:
    """A real run over the sample media: every modality, broken files, a service with faults."""
    shutil.copytree(SAMPLE, folder, dirs_exist_ok=True)
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("item_id", "prompt", "image", "audio", "video", "frames"))
        writer.writeheader()
        writer.writerows(_mixed_rows(items))
    os.environ[KEY_ENV] = "sk-benchmark"
    options = SimulatorOptions(
        seed=7,
        first_chunk_s=0.2,
        chunk_interval_s=0.01,
        faults=_FAULTS,
        keep_requests=0,
        requests_per_minute=600,
    )
    with Simulator(options) as simulator:
        config = parse_config(
            {
                "name": "mixed",
                "manifest": {"path": str(manifest)},
                "output": str(folder / "runs"),
                "endpoint": {
                    "name": "simulator",
                    "base_url": simulator.base_url,
                    "api_key_env": KEY_ENV,
                },
                "request": {"modalities": ["text", "audio"], "voice": "Cherry"},
                "quota": {
                    "requests_per_minute": 660,
                    "tokens_per_minute": 200_000,
                    "max_in_flight": 32,
                },
                "retry": {"first_wait_s": 0.1, "max_wait_s": 0.5, "max_attempts": 2},
            }
        )
        directory = prepare_run(make_plan(config))
        asyncio.run(execute(directory))
    return directory


def _mixed_rows(items: int) -> list[dict[str, str]]:
    draw = random.Random(7)
    frames = "|".join(f"frames/cat-{number}.jpg" for number in range(1, 7))
    kinds: list[dict[str, str]] = [
        *({"image": f"photos/{name}"} for name in _PHOTOS),
        {"audio": "audio/announcement.mp3"},
        {"video": "video/espresso.mp4"},
        {"frames": frames},
        {},
    ]
    rows = []
    for number in range(items):
        media = draw.choice(kinds)
        if draw.random() < 0.01:
            media = {"image": f"photos/{draw.choice(('broken-photo.jpg', 'gone.jpg'))}"}
        kind = next(iter(media), "text")
        prompt = f"Describe this {kind} in one sentence." if media else f"Say {number} in words."
        rows.append({"item_id": f"{kind}-{number:05}", "prompt": prompt, **media})
    return rows


LABELS = {
    "type": "object",
    "properties": {
        "label": {"enum": ["person", "animal", "food", "place", "other"]},
        "outdoors": {"type": "boolean"},
        "quality": {"enum": [1, 2, 3, 4, 5]},
        "score": {"type": "number"},
        "objects": {"type": "array", "items": {"type": "string"}},
        "caption": {"type": "string"},
        "box": {
            "type": "object",
            "properties": {"w": {"type": "integer"}, "h": {"type": "integer"}},
        },
    },
}


def synthetic_run(folder: Path, items: int, *, samples: int = 0) -> RunDir:
    """Tables as a run of that size would leave them; media and WAV files are named, not there.

    Args:
        samples: how often each question is asked, for typed answers by LABELS; 0 for plain text.
    """
    schema = LABELS if samples else None
    columns = result_columns(schema)
    directory = RunDir(folder / f"synthetic-{items}")
    directory.make_folders()
    draw = random.Random(7)
    started_at = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
    counts = Counts(elapsed_s=items * 0.1)
    with ItemsWriter(directory.items, _SHARD) as manifest:
        for shard in range(-(-items // _SHARD)):
            numbers = range(shard * _SHARD, min(items, (shard + 1) * _SHARD))
            rows = [_result(draw, number, started_at) for number in numbers]
            rows = [_typed(draw, row, samples) for row in rows] if samples else rows
            results = table(columns, rows)
            attempts = table(ATTEMPT_COLUMNS, [_attempt(row) for row in rows])
            pq.write_table(results, directory.results(shard))
            pq.write_table(attempts, directory.attempts(shard))
            counts += of_tables(results, attempts)
            for row in rows:
                manifest.add(Item(row["request_id"], row["row_number"], image=(row["media"][0],)))
        manifest.close()
    write_record(
        directory.record,
        RunRecord(
            run_id=directory.run_id,
            state="finished",
            items=items,
            shard_size=_SHARD,
            created_at=started_at,
            base_folder=str(SAMPLE),
            counts=counts,
            annotation_schema=schema,
            endpoints=(
                EndpointStatus(
                    "dashscope-singapore", limits=(LimitsInForce(started_at, 600, 400_000),)
                ),
            ),
            config={"quota": {"requests_per_minute": 600, "tokens_per_minute": 400_000}},
        ),
    )
    return directory


_WORDS = [
    "a",
    "the",
    "of",
    "an",
    "image",
    "shows",
    "person",
    "cup",
    "table",
    "light",
    "wooden",
    "street",
    "dog",
    "with",
    "two",
    "small",
    "red",
    "blue",
    "in",
    "background",
    "standing",
    "near",
    "window",
    "holding",
    "behind",
    "large",
    "old",
    "green",
    "soft",
    "shadow",
    "morning",
    "quiet",
]


def _result(draw: random.Random, number: int, started_at: datetime) -> dict[str, Any]:
    failed = draw.random() < 0.02
    prompt_tokens, completion_tokens = draw.randint(180, 900), draw.randint(20, 120)
    modality = draw.choice(("image", "image", "image", "audio", "video"))
    text = " ".join(draw.choices(_WORDS, k=draw.randint(20, 60)))
    row: dict[str, Any] = {
        "run_id": "synthetic",
        "item_id": f"photo-{number:07}",
        "row_number": number,
        "status": "failed" if failed else "succeeded",
        "model": "qwen3-omni-flash",
        "endpoint": "dashscope-singapore",
        "modality": modality,
        "prompt": "Describe the picture in one sentence.",
        "media": [f"photos/{number // 1000:03}/{draw.getrandbits(48):012x}.jpg"],
        "estimated_prompt_tokens": int(prompt_tokens * draw.uniform(0.9, 1.1)),
        "attempts": 1,
        "request_id": f"{draw.getrandbits(128):032x}",
        "started_at": started_at + timedelta(seconds=number * 0.1),
        "first_chunk_s": draw.lognormvariate(-0.5, 0.4),
        "latency_s": draw.lognormvariate(0.7, 0.5),
        "warnings": [],
        "source": "{}",
    }
    if failed:
        return row | {
            "error_kind": draw.choice(("rejected", "content_refused", "stream_error")),
            "error_message": f"the service refused item {number}: {text[:80]}",
            "http_status": 400,
        }
    return row | {
        "text": text,
        "finish_reason": "stop",
        "audio_path": f"audio/photo-{number:07}.wav",
        "audio_s": draw.uniform(2, 12),
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_image_tokens": prompt_tokens - 20,
        "prompt_text_tokens": 20,
        "completion_text_tokens": completion_tokens,
        "cost": prompt_tokens * 4.3e-7 + completion_tokens * 1.66e-6,
        "currency": "USD",
        "http_status": 200,
    }


def _typed(draw: random.Random, row: dict[str, Any], samples: int) -> dict[str, Any]:
    """The row as one of several samples, with an answer of LABELS in place of its text."""
    number = row["row_number"]
    row |= {"item_id": f"photo-{number // samples:07}", "sample": number % samples + 1}
    if row["status"] == "failed":
        return row | {
            "error_kind": "annotation_error",
            "error_message": draw.choice(
                ("label: 'hamster' is not one of cat, dog", "box.w: 'wide' is not a whole number")
            ),
        }
    annotation = {
        "label": draw.choice(("person", "animal", "food", "place")),
        "outdoors": draw.random() < 0.5,
        "quality": draw.randint(1, 5),
        "score": round(draw.random(), 3),
        "objects": draw.sample(_WORDS, 3),
        "caption": row["text"][:60],
        "box": {"w": draw.randint(1, 999), "h": draw.randint(1, 999)},
    }
    return row | {"annotation": annotation, "text": msgspec.json.encode(annotation).decode()}


def _attempt(row: dict[str, Any]) -> dict[str, Any]:
    names = {column.name for column in ATTEMPT_COLUMNS}
    return {**{name: value for name, value in row.items() if name in names}, "number": 1}


if __name__ == "__main__":
    import sys

    made = mixed_run(Path(sys.argv[1]), int(sys.argv[2]))
    print(made.root, msgspec.json.decode(made.record.read_bytes())["counts"])
