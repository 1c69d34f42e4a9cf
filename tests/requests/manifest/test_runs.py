"""Folders and data sets go through a whole run, by what `items.parquet` keeps of them."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from omni_batch import run_batch
from omni_batch.config import Config
from tests.conftest import MakeConfig, read_table


def over(config: Config, path: Path, **keys: Any) -> Config:
    manifest = config.manifest.model_copy(update={"path": str(path), **keys})
    return config.model_copy(update={"manifest": manifest})


def picture(side_px: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side_px, side_px), "red").save(file, "JPEG")
    return file.getvalue()


async def results(config: Config, output: Path) -> list[tuple[str, str, str]]:
    record = (await run_batch(config)).record
    rows = read_table(output / "runs" / record.run_id)
    return [(row["item_id"], row["status"], row["modality"]) for row in rows]


async def test_a_folder_is_sent_file_by_file(make_config: MakeConfig, tmp_path: Path) -> None:
    for name in ("b/c.jpg", "a.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(64))
    config = make_config([{"prompt": "replaced"}], request={"prompt": "Describe {{ item_id }}."})
    assert await results(over(config, tmp_path / "photos"), tmp_path) == [
        ("a", "succeeded", "image"),
        ("b/c", "succeeded", "image"),
    ]


async def test_pictures_of_a_data_set_are_sent(make_config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "two.jpg").write_bytes(picture(80))
    cells = [{"bytes": picture(64), "path": "one.jpg"}, {"bytes": None, "path": "two.jpg"}]
    pq.write_table(pa.table({"picture": cells, "label": ["x", "y"]}), tmp_path / "rows.parquet")
    config = make_config([{"prompt": "replaced"}], request={"prompt": "Is it {{ label }}?"})
    config = over(config, tmp_path / "rows.parquet", columns={"image": "picture"})
    assert await results(config, tmp_path) == [
        ("one", "succeeded", "image"),
        ("two", "succeeded", "image"),
    ]
