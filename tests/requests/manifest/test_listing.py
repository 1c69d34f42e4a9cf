"""A bucket, a folder of one or a pattern of keys is a manifest; and so is a file in it."""

from pathlib import Path

import pytest

from omni_batch.errors import ManifestError
from omni_batch.types import Item
from tests.requests.manifest.test_folder import read
from tests.support.object_store import Fault, ObjectServer

KEYS = (
    *("m/a b.png", "m/a#%20.JPG", "m/day/c.wav", "m/day/c.mp4", "m/notes.txt", "m/folder/"),
    *("m/.hidden.png", "m/day//d.png", "top.png"),
)


@pytest.fixture
def filled(object_server: ObjectServer) -> ObjectServer:
    for key in KEYS:
        object_server.put(key, b"x")
    return object_server


def image(item_id: str, number: int, key: str) -> Item:
    return Item(item_id, number, image=(f"s3://photos/{key}",))


@pytest.mark.usefixtures("filled")
def test_each_medium_of_a_folder_is_an_item_in_order() -> None:
    items, said = read("s3://photos/m/")
    assert items == [
        image("a b", 0, "m/a b.png"),
        image("a#%20", 1, "m/a#%20.JPG"),
        image("day//d", 2, "m/day//d.png"),
        Item("day/c", 3, video="s3://photos/m/day/c.mp4"),
        Item("day/c.wav", 4, audio="s3://photos/m/day/c.wav"),
    ]
    assert said == ["files-skipped: 1 objects in s3://photos/m/ are skipped: .txt (1)"]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("s3://photos", ("m/a b.png", "m/a#%20.JPG", "m/day//d.png", "top.png")),
        ("s3://photos/*", ("top.png",)),
        ("s3://photos/m/*.png", ("m/a b.png",)),
        ("s3://photos/m/a*", ("m/a b.png", "m/a#%20.JPG")),
        ("s3://photos/m/a?b.png", ("m/a b.png",)),
        ("s3://photos/m/[!b]#*.JPG", ("m/a#%20.JPG",)),
        ("s3://photos/**/*.png", ("m/a b.png", "m/day//d.png", "top.png")),
        ("s3://photos/m/**", ("m/a b.png", "m/a#%20.JPG", "m/day//d.png")),
    ],
)
def test_a_pattern_names_keys(path: str, keys: tuple[str, ...]) -> None:
    items, _ = read(path)
    assert [item.image for item in items if item.image] == [(f"s3://photos/{k}",) for k in keys]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("s3://photos/none/", r"s3://photos/none/ has no media"),
        ("s3://nobody/", "s3://nobody: there is no such bucket"),
        ("s3://photos/rows.csv", r"s3://photos/rows\.csv does not exist"),
    ],
)
@pytest.mark.usefixtures("filled")
def test_what_is_not_there_is_named(path: str, words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        read(path)


def test_only_the_pages_that_are_needed_are_asked_for(object_server: ObjectServer) -> None:
    for number in range(5):
        object_server.put(f"m/{number}.png", b"x")
    object_server.faults.append(Fault(500, "InternalError", method="LIST", key="x", times=0))
    assert len(read("s3://photos/m/")[0]) == 5
    assert object_server.asked == [("LIST", "m/")]


@pytest.mark.parametrize("name", ["m/rows.csv", "m/rows #1 50%.csv"])
def test_a_file_in_a_store_is_read_as_one_on_the_disk(
    object_server: ObjectServer, name: str
) -> None:
    object_server.put(name, b"item_id,image\na,1.png\n")
    assert read(f"s3://photos/{name}")[0] == [Item("a", 0, image=("1.png",))]


def test_shards_in_a_store_are_a_set(object_server: ObjectServer, tmp_path: Path) -> None:
    from tests.requests.manifest.test_web_dataset import pack_all

    for number in range(2):
        packed = pack_all(tmp_path / "a.tar", [(f"{number}.png", b"p")]).read_bytes()
        object_server.put(f"s/set-{number}.tar", packed)
    for pattern in ("s3://photos/s/set-{0..1}.tar", "s3://photos/s/*.tar"):
        items, _ = read(pattern)
        assert [item.image for item in items] == [
            (f"s3://photos/s/set-{n}.tar!/{n}.png",) for n in range(2)
        ]
