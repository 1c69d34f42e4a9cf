"""Tar archives are a manifest: one row a sample, by the rules of WebDataset."""

import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from omni_batch.config import ManifestConfig
from omni_batch.errors import ManifestError
from omni_batch.requests.manifest import Manifest, base_folder
from omni_batch.types import Item


def pack(path: Path, **files: bytes) -> Path:
    return pack_all(path, list(files.items()))


def pack_all(path: Path, files: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def read(path: object) -> tuple[list[Item], list[str]]:
    manifest = Manifest(ManifestConfig(path=str(path)), base_folder(str(path)))
    items = [manifest.read(row, number)[0] for number, row in enumerate(manifest.rows())]
    return items, [f"{doubt.rule}: {doubt.message}" for doubt in manifest.doubts()]


SET = [
    ("./a.json", b'{"label": 3, "lang": "de"}'),
    ("./a.JPG", b"picture"),
    ("./a.txt", "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n".encode()),
    ("22.0/1.seg.png", b"one"),
    ("22.0/1.png", b"two"),
    ("22.0/1.cls", b"4"),
    ("b.wav", b"sound"),
    ("c.mp4", b"film"),
    ("c.npy", b"numbers"),
    ("__meta__.json", b"{}"),
    ("._a.jpg", b"shadow"),
    ("__MACOSX/._a.jpg", b"shadow"),
    ("README", b"no ending"),
    (".hidden.png", b"no key"),
]


def test_files_with_one_key_are_one_row(tmp_path: Path) -> None:
    items, said = read(pack_all(tmp_path / "set.tar", SET))
    green = "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n"
    assert items == [
        Item("a", 0, image=("set.tar!/./a.JPG",), source={"label": 3, "lang": "de", "txt": green}),
        Item(
            "22.0/1",
            1,
            image=("set.tar!/22.0/1.seg.png", "set.tar!/22.0/1.png"),
            source={"cls": "4"},
        ),
        Item("b", 2, audio="set.tar!/b.wav"),
        Item("c", 3, video="set.tar!/c.mp4"),
    ]
    assert said == [
        "files-skipped: files .npy are skipped (set.tar!/c.npy)",
        "files-skipped: files without a key are skipped (3 rows, first set.tar!/__meta__.json)",
    ]


@pytest.mark.parametrize(
    "pattern", ["set-{000..002}.tar", "set-{000,001,002}.tar", "set-*.tar", "../?/set-00[0-2].tar"]
)
def test_shards_are_named_by_a_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    for number in range(3):
        pack_all(folder / f"set-{number:03}.tar", [(f"{number}.png", b"p"), ("same.png", b"p")])
    monkeypatch.chdir(folder)
    items, _ = read(pattern)
    assert len(items) == 6
    assert {item.item_id.rpartition("/")[2] for item in items} == {"0", "1", "2", "same"}
    assert len({item.item_id for item in items}) == 6
    for item in items:
        archive, _, _ = item.image[0].partition("!/")
        assert (base_folder(pattern) / archive).is_file()


def test_a_packed_set_is_read(tmp_path: Path) -> None:
    items, _ = read(pack_all(tmp_path / "set.tar.gz", [("a.png", b"p")], "w:gz"))
    assert items == [Item("a", 0, image=("set.tar.gz!/a.png",))]


def _cut(path: Path, size_bytes: int) -> Path:
    path.write_bytes(path.read_bytes()[:size_bytes])
    return path


def test_a_cut_set_is_refused_before_a_sample_that_may_lack_its_picture(tmp_path: Path) -> None:
    files = [(f"{n}.{kind}", bytes(700)) for n in range(3) for kind in ("png", "wav")]
    path = _cut(pack_all(tmp_path / "set.tar", files), 3 * (512 + 1024) + 100)
    manifest = Manifest(ManifestConfig(path=str(path)), tmp_path)
    rows = manifest.rows()
    assert next(rows).cells["item_id"] == "0"
    with pytest.raises(ManifestError, match=r"set\.tar is cut off or damaged"):
        next(rows)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([("a.png", b""), ("b.png", b""), ("a.txt", b"")], "sample a do not lie next to each"),
        ([("a.json", b"{")], "a.json: not JSON"),
        ([("a.txt", b"\xff\xfe\xff")], "a.txt: not UTF-8"),
    ],
)
def test_what_makes_no_samples_is_refused(
    tmp_path: Path, files: list[tuple[str, bytes]], words: str
) -> None:
    with pytest.raises(ManifestError, match=words):
        read(pack_all(tmp_path / "set.tar", files))


@pytest.mark.parametrize(
    ("path", "words"),
    [("gone.tar", "gone.tar does not exist"), ("set-{0..1}.tar", "set-0.tar does not exist")],
)
def test_an_archive_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ManifestError, match=words):
        read(path)


def test_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    path = pack_all(tmp_path / "set.tar", [(f"{n:05}.png", b"p") for n in range(2000)])
    manifest = Manifest(ManifestConfig(path=str(path)), tmp_path)
    tracemalloc.start()
    try:
        rows = manifest.rows()
        next(rows)
        before, _ = tracemalloc.get_traced_memory()
        assert sum(1 for _ in rows) == 1999
        assert tracemalloc.get_traced_memory()[0] - before < 200_000
    finally:
        tracemalloc.stop()
