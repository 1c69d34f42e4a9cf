"""Rows of Python objects become a manifest, or are refused with their row and column."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from omni_batch.errors import ConfigError, ManifestError
from omni_batch.requests.python_rows import write_rows


def written(rows: Any, folder: Path) -> list[dict[str, Any]]:
    lines = write_rows(rows, folder).read_bytes().splitlines()
    return [msgspec.json.decode(line) for line in lines]


CELLS = {
    "text": ("Grüße", "Grüße"),
    "None": (None, None),
    "NaN": (float("nan"), None),
    "NaN of NumPy": (np.float32("nan"), None),
    "pandas' NA": (pd.NA, None),
    "pandas' NaT": (pd.NaT, None),
    "no NumPy time": (np.datetime64("NaT", "s"), None),
    "a NumPy integer": (np.int64(7), 7),
    "a NumPy truth value": (np.bool_(True), True),
    "a NumPy text": (np.str_("x"), "x"),
    "an array": (np.array(["a.jpg", "b.jpg"]), ["a.jpg", "b.jpg"]),
    "a tuple of paths": ((Path("a.jpg"), Path("b.jpg")), ["a.jpg", "b.jpg"]),
    "turns": ([{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Hi"}]),
    "a date": (date(2026, 11, 26), "2026-11-26"),
    "a time": (datetime(2026, 11, 26, 2, tzinfo=UTC), "2026-11-26T02:00:00+00:00"),
    "pandas' time": (pd.Timestamp("2026-11-26"), "2026-11-26T00:00:00"),
    "bytes": (b"\x89PNG", "data:;base64,iVBORw=="),
    "a picture of a data set": (
        {"bytes": b"\x89PNG", "path": None},
        {"bytes": "data:;base64,iVBORw==", "path": None},
    ),
    "a NumPy time": (
        np.datetime64("2026-11-26T02:00:00.000000000"),
        "2026-11-26T02:00:00.000000000",
    ),
}


@pytest.mark.parametrize("case", CELLS)
def test_a_cell_is_what_json_has_for_it(case: str, tmp_path: Path) -> None:
    value, expected = CELLS[case]
    assert written([{"prompt": "x", "cell": value}], tmp_path) == [
        {"prompt": "x", "cell": expected}
    ]


def test_a_data_frame_gives_the_rows_that_its_dicts_give(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": "one", "image": ["a.jpg", "b.jpg"], "count": 1},
        {"prompt": "two", "image": None, "count": None},
    ]
    frame = pd.DataFrame(rows, index=["x", "y"]).astype({"count": "Int64"})
    assert written(frame, tmp_path) == written(iter(rows), tmp_path) == rows


def test_equal_rows_are_one_file_and_nothing_else_is_left(tmp_path: Path) -> None:
    paths = {write_rows(rows, tmp_path) for rows in ([{"prompt": "a"}], [{"prompt": "a"}])}
    paths.add(write_rows([{"prompt": "b"}], tmp_path))
    assert set(tmp_path.iterdir()) == paths
    assert len(paths) == 2


REFUSED: dict[str, tuple[Any, str]] = {
    "no rows": ([], "rows is empty"),
    "one row alone": ({"prompt": "x"}, "rows is dict; expected a list of dicts or a DataFrame"),
    "a path": ("rows.csv", "rows is str"),
    "texts": (["x", "y"], "rows, row 1 is str; expected a dict"),
    "a column without a name": ([{"prompt": "x", 0: "y"}], "rows, row 1: column 0"),
    "bytes without end": ([{"image": bytes(13_000_000)}], "image has 13,000,000 bytes; 12,582,912"),
    "a decoded picture": ([{"image": Image.new("RGB", (2, 2))}], "expected a file or its bytes"),
    "an object in a list": ([{"image": [object()]}], "rows, row 1: image holds <object object"),
    "infinity": ([{"prompt": "x", "score": float("inf")}], "score holds inf"),
    "a duplicate column": (pd.DataFrame([["a", "b"]], columns=["prompt", "prompt"]), "'prompt'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_other_rows_are_refused_and_leave_nothing(case: str, tmp_path: Path) -> None:
    rows, message = REFUSED[case]
    with pytest.raises(ManifestError, match=message):
        write_rows(rows, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(ConfigError, match="taken can't be written"):
        write_rows([{"prompt": "x"}], tmp_path / "taken")
