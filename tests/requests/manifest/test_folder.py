"""A folder or a glob of media files is a manifest."""

from pathlib import Path

import pytest

from omni_batch.config import ManifestConfig
from omni_batch.errors import ManifestError
from omni_batch.requests.manifest import Manifest, base_folder
from omni_batch.types import Item


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    names = (
        *("b.JPG", "a.png", "notes.txt", "list.txt", "README", ".hidden.jpg"),
        *("day 2/c.wav", "day 2/d.mp4", "day 2/d.jpg", ".cache/e.jpg", "day 10/café.webp"),
    )
    for name in names:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def read(path: object) -> tuple[list[Item], list[str]]:
    manifest = Manifest(ManifestConfig(path=str(path)), base_folder(str(path)))
    items = [manifest.read(row, number)[0] for number, row in enumerate(manifest.rows())]
    return items, [f"{doubt.rule}: {doubt.message}" for doubt in manifest.doubts()]


def test_each_media_file_is_an_item_in_order(photos: Path) -> None:
    items, said = read(photos)
    assert items == [
        Item("a", 0, image=("a.png",)),
        Item("b", 1, image=("b.JPG",)),
        Item("day 10/café", 2, image=("day 10/café.webp",)),
        Item("day 2/c", 3, audio="day 2/c.wav"),
        Item("day 2/d.jpg", 4, image=("day 2/d.jpg",)),
        Item("day 2/d.mp4", 5, video="day 2/d.mp4"),
    ]
    assert said == [f"files-skipped: 3 files in {photos} are skipped: .txt (2), no ending (1)"]


def test_references_start_at_the_folder_however_it_is_named(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    for path in (photos, "photos", "photos/", "./photos", f"file://{photos}"):
        assert base_folder(str(path)) == photos.resolve()
        assert read(path)[0] == read(photos)[0]


@pytest.mark.parametrize(
    ("pattern", "base", "references"),
    [
        ("photos/*.png", "photos", ["a.png"]),
        ("photos/*.[pJ]*", "photos", ["a.png", "b.JPG"]),
        ("photos/**/*.jpg", "photos", ["day 2/d.jpg"]),
        ("**/*.w*", ".", ["photos/day 10/café.webp", "photos/day 2/c.wav"]),
        ("photos/day ?/d.*", "photos", ["day 2/d.jpg", "day 2/d.mp4"]),
    ],
)
def test_a_pattern_names_files(
    photos: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, base: str, references: list[str]
) -> None:
    monkeypatch.chdir(photos.parent)
    assert base_folder(pattern) == Path(base).resolve()
    items, said = read(pattern)
    assert [reference for item in items for reference in item.references()] == references
    assert said == []


def test_a_file_that_only_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows[1].csv"
    path.write_text("item_id,prompt\na,x\n")
    assert read(path)[0] == [Item("a", 0, prompt="x")]
    assert base_folder(str(path)) == tmp_path.resolve()


def test_the_table_of_an_image_folder_is_pointed_at(photos: Path) -> None:
    (photos / "metadata.csv").write_text("file_name,text\na.png,A\n")
    _, said = read(photos)
    assert f"metadata-not-read: {photos}/metadata.csv is not read; for its columns set" in said[0]


def test_links_to_folders_are_not_followed_and_said(photos: Path) -> None:
    (photos / "again").symlink_to(photos)
    items, said = read(photos)
    assert len(items) == 6
    assert "link-to-folder: links to folders are not followed (again)" in said


@pytest.mark.parametrize("path", ["empty", "empty/*.jpg", "texts"])
def test_no_media_at_all_are_refused(path: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    with pytest.raises(ManifestError, match="has no media files; their endings are 3g2, 3gp, aac"):
        read(tmp_path / path)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "caf\udce9.jpg").touch()
    with pytest.raises(ManifestError, match=r"'caf\\udce9\.jpg': the name is not UTF-8"):
        read(tmp_path)
