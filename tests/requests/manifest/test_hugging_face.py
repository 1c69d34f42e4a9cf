"""A data set of Hugging Face is a manifest; its media columns are media, decoded by nobody."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest

from omni_batch.config import ManifestConfig
from omni_batch.errors import ManifestError
from omni_batch.requests.manifest import Manifest, base_folder
from omni_batch.types import Item
from tests.support.media_files import picture


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def read(path: str, columns: Mapping[str, str] | None = None) -> tuple[list[Item], list[str]]:
    config = ManifestConfig.model_validate({"path": path, "columns": columns or {}})
    manifest = Manifest(config, base_folder(path))
    items = [manifest.read(row, number)[0] for number, row in enumerate(manifest.rows())]
    return items, [doubt.message for doubt in manifest.doubts()]


def folder_of_pictures(folder: Path, *splits: str) -> Path:
    for split in splits:
        (folder / split).mkdir(parents=True)
        (folder / split / "a b.png").write_bytes(picture("PNG"))
        (folder / split / "metadata.csv").write_text("file_name,caption\na b.png,a cup\n")
    return folder


def test_a_folder_of_pictures_keeps_its_files(tmp_path: Path) -> None:
    folder = folder_of_pictures(tmp_path / "photos", "train")
    path = f"hf:{folder}"
    assert base_folder(path) == folder
    assert read(path)[0] == [
        Item("train/a b", 0, image=("train/a b.png",), source={"caption": "a cup"})
    ]


def test_of_several_splits_one_has_to_be_named(tmp_path: Path) -> None:
    folder = folder_of_pictures(tmp_path / "photos", "train", "test")
    with pytest.raises(ManifestError, match=r"has the splits train, test; write .*\?split=train"):
        read(f"hf:{folder}")
    items, _ = read(f"hf:{folder}?split=test")
    assert [item.image for item in items] == [("test/a b.png",)]


def saved(tmp_path: Path, column: str) -> str:
    rows: dict[str, Any] = {
        column: [{"bytes": picture("PNG"), "path": None}] * 2,
        "question": ["Which?", "How many?"],
    }
    features = datasets.Features({column: datasets.Image(), "question": datasets.Value("string")})
    datasets.Dataset.from_dict(rows, features).save_to_disk(str(tmp_path / "saved"))
    return f"hf:{tmp_path / 'saved'}"


@pytest.mark.parametrize(
    ("columns", "said"), [({}, ["column img is read as image"]), ({"image": "img"}, [])]
)
def test_a_column_of_pictures_is_read_whatever_its_name(
    tmp_path: Path, columns: dict[str, str], said: list[str]
) -> None:
    items, found = read(saved(tmp_path, "img"), columns)
    assert [len(item.image) for item in items] == [1, 1]
    assert all(item.image[0].startswith("data:;base64,iVBORw0") for item in items)
    assert [item.source for item in items] == [{"question": "Which?"}, {"question": "How many?"}]
    assert found == said


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("hf:nobody/nothing", "hf:nobody/nothing can't be read"),
        ("hf:x?what=y", "unknown option what; known: split, config, revision"),
    ],
)
def test_what_can_not_be_read_is_named(path: str, words: str) -> None:
    with pytest.raises(ManifestError, match=words.replace("?", r"\?")):
        read(path)
