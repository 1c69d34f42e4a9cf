"""Every config that comes with the package runs as it is, over rows of the sample."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from shutil import copytree

import pytest

import omni_batch as ob
from omni_batch.analytics.truth import compare_with_truth
from omni_batch.cli.start import STARTER
from omni_batch.config import load_config
from omni_batch.engine.pipeline import execute
from omni_batch.nights import begin_night, plan_night
from omni_batch.store import RunDir
from tests.conftest import ROOT, SAMPLE, write_csv

CONFIGS = ROOT / "configs"
PHOTOS: list[Mapping[str, str]] = [
    {"item_id": name, "image": str(SAMPLE / "photos" / name)} for name in ("coffee.jpg",)
]
ROWS: dict[str, list[Mapping[str, str]]] = {
    "captions": [{**row, "subject": "the cup"} for row in PHOTOS],
    "transcribe": [{"item_id": "train", "audio": str(SAMPLE / "audio" / "announcement.mp3")}],
    "speak": [
        {"item_id": "one", "line": "Good evening.", "voice": ""},
        {"item_id": "two", "line": "Good night.", "voice": "Ethan"},
    ],
    "nightly": PHOTOS,
    "label-audio": [{"item_id": "train", "audio": str(SAMPLE / "audio" / "announcement.mp3")}],
    "describe-video": [{"item_id": "coffee", "video": str(SAMPLE / "video" / "espresso.mp4")}],
    "frames": [
        {"item_id": "cat", "frames": "|".join(map(str, sorted((SAMPLE / "frames").iterdir())))}
    ],
    "labels": PHOTOS,
    "prompts": PHOTOS,
    "few-shot": [{**row, "place": "in a kitchen"} for row in PHOTOS],
    "review": [
        {
            "item_id": "cup",
            "messages": json.dumps(
                [
                    {
                        "role": "user",
                        "content": [
                            {"image": str(SAMPLE / "photos" / "coffee.jpg")},
                            {"text": "Describe this photo."},
                        ],
                    },
                    {"role": "assistant", "content": "A bicycle."},
                ]
            ),
            "prompt": "Is this description right?",
        }
    ],
}
TYPED = ("few-shot", "label-audio", "labels", "prompts", "review")
"""Those that ask for typed answers."""
ASKED = {"prompts": 6}
"""How often they ask each row, where that is more than once."""


def test_every_config_is_tested() -> None:
    found = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert found - {"demo", "reference", "prefect", "automation"} == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_config_runs_as_it_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "rows.csv", ROWS[name])
    copytree(SAMPLE / "photos", tmp_path / "examples")
    run = ob.run(CONFIGS / f"{name}.yaml", overrides={"media.roots": [".", str(SAMPLE)]})
    assert run.record.reason is None
    assert run.counts.succeeded == len(ROWS[name]) * ASKED.get(name, 1)
    assert run.results()["audio_path"].notna().all() == (name == "speak")
    assert run.results()["annotation"].notna().all() == (name in TYPED)
    heeded_by_nights = [said for said in run.record.warnings if said.startswith("nights-only: ")]
    assert [*run.record.warnings] == heeded_by_nights
    assert bool(heeded_by_nights) == (name == "nightly")


def test_labels_are_held_against_the_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "rows.csv", ROWS["labels"])
    run = ob.run(CONFIGS / "labels.yaml", overrides={"media.roots": [".", str(SAMPLE)]})
    label = run.results()["annotation"][0]["label"]
    write_csv(tmp_path / "truth.csv", [{"item_id": "coffee.jpg", "label": label}])
    quality = compare_with_truth(RunDir(run.path), tmp_path / "truth.csv", "label")
    assert (quality.items, quality.accuracy) == (1, 1.0)


def test_the_second_night_pays_only_for_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    new: Mapping[str, str] = {"item_id": "cat", "image": str(SAMPLE / "photos" / "cat.webp")}
    sample = [f"media.roots=['.', '{SAMPLE}']"]
    for rows in (PHOTOS, [*PHOTOS, new]):
        write_csv(tmp_path / "rows.csv", rows)
        directory = begin_night(plan_night(load_config(CONFIGS / "nightly.yaml", sample)))
        counts = asyncio.run(execute(directory)).counts
        assert (counts.succeeded, counts.requests) == (len(rows), 1)


def test_the_starter_s_files_are_all_handed_out() -> None:
    handed_out = set(STARTER.values())
    starter = {f"configs/starter/{path.name}" for path in (CONFIGS / "starter").iterdir()}
    assert starter <= handed_out
