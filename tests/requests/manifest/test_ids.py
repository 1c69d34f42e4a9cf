"""Ids of rows that name none."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.requests.manifest.ids import NewIds
from tests.requests.manifest.support import items_of


def ids_of(path: Path, content: str) -> list[str]:
    path.write_text(content)
    return [item.item_id for item in items_of(path)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("image,label\nphotos/a.jpg,x\nphotos/b.jpg,y\n", ["photos/a", "photos/b"]),
        ("audio\n./a.b.wav\nc\\d.mp3\n", ["a.b", "c/d"]),
        ("video\n/data/a.mp4\nnoending\n", ["/data/a", "noending"]),
        ("image\na.jpg\na.png\n", ["a", "a.png"]),
    ],
)
def test_a_row_with_one_file_is_called_by_its_path(
    tmp_path: Path, content: str, expected: list[str]
) -> None:
    assert ids_of(tmp_path / "r.csv", content) == expected


def test_several_rows_of_one_file_get_ids_that_stay(tmp_path: Path) -> None:
    rows = "image,prompt\na.jpg,What?\na.jpg,Who?\na.jpg,Where?\n"
    ids = ids_of(tmp_path / "r.csv", rows)
    assert ids[:2] == ["a", "a.jpg"]
    assert ids[2].startswith("a.jpg-")
    assert ids_of(tmp_path / "r.csv", f"{rows}a.jpg,When?\n")[:3] == ids


@pytest.mark.parametrize(
    "cells", ["https://h/a.jpg,", "a.jpg|b.jpg,", "a.jpg,a.wav", "data:image/png;base64,AAAA,"]
)
def test_other_rows_are_called_by_their_content(tmp_path: Path, cells: str) -> None:
    cells = ",".join(f'"{cell}"' for cell in cells.rsplit(",", 1))
    (item_id,) = ids_of(tmp_path / "r.csv", f"image,audio\n{cells}\n")
    assert len(item_id) == 16
    assert int(item_id, 16)


def test_bytes_of_a_data_set_are_called_by_their_path(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    cells = [{"bytes": b"1", "path": "a.jpg"}, {"bytes": b"2", "path": None}]
    pq.write_table(pa.table({"image": cells}), path)
    first, second = (item.item_id for item in items_of(path))
    assert first == "a"
    assert len(second) == 16


@given(st.lists(st.sampled_from(["a.jpg", "a.png", "b.jpg", "a"]), max_size=40))
@settings(deadline=None)
def test_ids_differ_where_rows_do(paths: list[str]) -> None:
    new = NewIds()
    ids = [new.of_file(path, {"image": path, "n": n}) for n, path in enumerate(paths)]
    assert len(set(ids)) == len(ids)


def test_many_names_are_kept_apart() -> None:
    new = NewIds()
    ids = [new.of_file(f"{number}.jpg", {}) for number in range(20_000)]
    assert ids == [str(number) for number in range(20_000)]
    assert new.of_file("19999.jpg", {}) == "19999.jpg"
