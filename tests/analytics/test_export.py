"""What is exported is read back with the libraries it is for."""

import io
import json
import math
import re
import tarfile
import wave
from pathlib import Path
from typing import Any, Literal, get_args

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from omni_batch.analytics.export.rows import ShardLimits
from omni_batch.analytics.export.web_dataset import sample_key
from omni_batch.analytics.export.write import ExportOptions, Format, export_run
from omni_batch.cli.main import app
from omni_batch.errors import ConfigError, StorageError
from omni_batch.store import RunDir
from tests.cli.test_cli import omni_batch as command
from tests.conftest import SAMPLE
from tests.support.written_runs import Written, write_run

PHOTO = "photos/coffee.jpg"
URL = "https://example.com/cat.webp"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Photos from disk, from the net and written out; one item failed, one id is a path."""
    schema = {"type": "object", "properties": {"cat": {"type": "boolean"}}}
    rows = [
        Written("cup", "a cup", speech_s=0.5, columns={"image": (PHOTO,), "source": {"n": 1}}),
        Written("lost", None, columns={"image": (PHOTO,)}),
        Written("../../etc/cat", "=1+1", {"cat": True}, columns={"image": (URL,)}),
        Written("dot.ted", "a pixel\r\nred", columns={"image": (PIXEL,)}),
        Written("gone", "gone", columns={"image": ("photos/gone.jpg",)}),
        Written("outside", "outside", columns={"image": ("../../README.md",)}),
    ]
    folder = tmp_path / "runs" / "night"
    return write_run(folder, rows, items=6, base_folder=SAMPLE, schema=schema)


def photo_size_px() -> tuple[int, int]:
    with Image.open(SAMPLE / PHOTO) as photo:
        width_px, height_px = photo.size
        return width_px, height_px


def restored(cell: str) -> str:
    """The exact text, as the README says it is restored."""
    return cell[1:] if re.match(r"'+[=+\-@\t\r]", cell) else cell


def load(folder: Path, **columns: Any) -> datasets.Dataset:
    loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(folder.parent / "hf"))
    for name, feature in columns.items():
        loaded = loaded.cast_column(name, feature)
    return loaded


# --- hf ---


def test_a_hugging_face_dataset_has_sound_and_images_inside(run: RunDir, tmp_path: Path) -> None:
    counts = export_run(run, "hf", tmp_path / "out")
    assert (counts.items, counts.left_out, counts.missing_files) == (5, 1, 2)
    data = load(tmp_path / "out", audio=datasets.Audio(decode=False))
    assert data.features["image"] == datasets.Image()
    assert [row["item_id"] for row in data.select_columns("item_id")] == [
        "cup", "../../etc/cat", "dot.ted", "gone", "outside",
    ]  # fmt: skip
    cup, pixel = data[0], data[2]
    assert (cup["text"], cup["status"], cup["media"], cup["cost"]) == (
        "a cup", "succeeded", [PHOTO], 0.001,
    )  # fmt: skip
    assert cup["image"].size == photo_size_px()
    assert pixel["image"].size == (1, 1)
    assert cup["audio"]["bytes"] == run.speech("cup").read_bytes()
    assert pixel["audio"] is None


def test_features_are_those_of_the_library(run: RunDir, tmp_path: Path) -> None:
    export_run(run, "hf", tmp_path / "out")
    schema = pq.read_schema(tmp_path / "out/data/train-00000.parquet")
    features = datasets.Features.from_arrow_schema(schema)
    assert features["audio"] == datasets.Audio()
    assert features["cost"] == datasets.Value("float64")
    assert features["warnings"] == datasets.List(datasets.Value("string"))
    assert features["started_at"] == datasets.Value("timestamp[us, tz=UTC]")


def test_urls_stay_urls_and_what_is_not_there_is_null(run: RunDir, tmp_path: Path) -> None:
    export_run(run, "hf", tmp_path / "out")
    images = load(tmp_path / "out", image=datasets.Image(decode=False))["image"]
    assert images[1] == {"bytes": None, "path": URL}
    assert list(images[3:]) == [None, None]  # a file that is gone, a file outside the roots


def test_several_images_frames_and_recordings(tmp_path: Path) -> None:
    recording = "audio/" + next((SAMPLE / "audio").iterdir()).name
    rows = [
        Written("two", columns={"image": (PHOTO, PHOTO)}),
        Written("film", columns={"frames": (PHOTO, PHOTO, PHOTO)}),
        Written("sound", columns={"audio": recording}),
    ]
    run = write_run(tmp_path / "run", rows, items=3, base_folder=SAMPLE)
    export_run(run, "hf", tmp_path / "out")
    data = load(tmp_path / "out", input_audio=datasets.Audio(decode=False))
    assert [len(images) for images in data["images"]] == [2, 0, 0]
    assert [len(images) for images in data["frames"]] == [0, 3, 0]
    assert data[2]["input_audio"]["bytes"] == (SAMPLE / recording).read_bytes()
    export_run(run, "webdataset", tmp_path / "tar")
    with tarfile.open(tmp_path / "tar/shard-000000.tar") as archive:
        names = archive.getnames()
    assert "00000000-two.1.jpg" in names
    assert "00000001-film.frame002.jpg" in names
    assert f"00000002-sound.input{Path(recording).suffix}" in names


def test_the_card_says_what_it_is_and_injects_nothing(run: RunDir, tmp_path: Path) -> None:
    record = json.loads(run.record.read_text())
    record["config"]["request"]["prompt"] = "Describe.\n```\n# Not a heading"
    record["config"]["request"]["examples"] = [{"prompt": "a", "answer": "b"}] * 3
    record["config"]["name"] = "a | b\n---\n<script>"
    run.record.write_text(json.dumps(record))
    export_run(run, "hf", tmp_path / "out", ExportOptions(licence="cc-by-4.0"))
    card = (tmp_path / "out/README.md").read_text()
    parsed = DatasetCard(card)
    assert parsed.data["license"] == "cc-by-4.0"
    assert parsed.data["pretty_name"] == "a | b\n---\n<script>"
    assert "````text\nDescribe.\n```\n# Not a heading\n````" in card
    assert "<script>" not in parsed.text.replace("\\<script\\>", "")
    facts = ("qwen3-omni-flash", "0.0050 USD", "| items here | 5 |", "left out | 1 |")
    for fact in (*facts, "3 examples with their answers went before each row"):
        assert fact in card


def test_files_end_at_a_number_of_items_or_bytes(tmp_path: Path) -> None:
    rows = [Written(f"item-{number}", "x" * 1000) for number in range(10)]
    run = write_run(tmp_path / "run", rows, items=10)
    for to, pattern in (("hf", "data/*.parquet"), ("webdataset", "*.tar")):
        export_run(run, to, tmp_path / f"{to}-4", ExportOptions(limits=ShardLimits(items=4)))  # type: ignore[arg-type]
        assert len(list((tmp_path / f"{to}-4").glob(pattern))) == 3
    limits = ShardLimits(size_bytes=4_000)
    export_run(run, "webdataset", tmp_path / "small", ExportOptions(limits=limits))
    assert len(list((tmp_path / "small").iterdir())) > 2
    assert len(load(tmp_path / "hf-4")) == 10


def test_a_run_in_which_all_failed_is_an_empty_dataset(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [Written("a", None)], items=1)
    assert export_run(run, "hf", tmp_path / "none").left_out == 1
    none = pq.read_table(tmp_path / "none/data")
    assert (none.num_rows, none.schema.field("audio").type.names) == (0, ["bytes", "path"])
    export_run(run, "hf", tmp_path / "all", ExportOptions(failed_too=True))
    assert load(tmp_path / "all")["error_message"][:] == ["=no"]


# --- webdataset ---


def samples(folder: Path) -> list[dict[str, Any]]:
    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    return list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))


def test_a_webdataset_has_one_sample_for_each_item(run: RunDir, tmp_path: Path) -> None:
    export_run(run, "webdataset", tmp_path / "out")
    found = samples(tmp_path / "out")
    assert [sample["json"]["item_id"] for sample in found] == [
        "cup", "../../etc/cat", "dot.ted", "gone", "outside",
    ]  # fmt: skip
    cup, cat, pixel = found[:3]
    assert cup["txt"] == "a cup"
    assert cup["json"]["n"] == 1
    assert cat["json"]["annotation"] == {"cat": True}
    assert cup["jpg"].size == photo_size_px()
    assert pixel["png"].size == (1, 1)
    with wave.open(io.BytesIO(cup["wav"])) as sound:
        assert sound.getnframes() == 12_000
    assert "jpg" not in cat


@given(st.lists(st.text(min_size=1, max_size=200), unique=True, max_size=5))
def test_keys_are_safe_and_differ(ids: list[str]) -> None:
    keys = [sample_key(number, item_id) for number, item_id in enumerate(ids)]
    assert len(set(keys)) == len(ids)
    for key in keys:
        assert key.isascii()
        assert not set(key) & set("./\\: ")


def test_the_same_run_makes_the_same_shards(run: RunDir, tmp_path: Path) -> None:
    for name in ("first", "second"):
        export_run(run, "webdataset", tmp_path / name)
    first, second = (tmp_path / name / "shard-000000.tar" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


# --- jsonl and csv ---


def test_jsonl_holds_all_rows_and_opens_in_pandas(run: RunDir, tmp_path: Path) -> None:
    counts = export_run(run, "jsonl", tmp_path / "out.jsonl")
    frame = pd.read_json(tmp_path / "out.jsonl", lines=True)
    assert (counts.items, len(frame)) == (6, 6)
    assert list(frame["status"]).count("failed") == 1
    assert frame["text"][3] == "a pixel\r\nred"
    assert frame["n"][0] == 1
    assert frame["annotation"][2] == {"cat": True}
    assert frame["media"][0] == [PHOTO]


def test_csv_gives_back_the_table_without_a_formula(run: RunDir, tmp_path: Path) -> None:
    export_run(run, "csv", tmp_path / "out.csv")
    frame = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    table = pq.read_table(run.results(0)).to_pylist()
    names = {"annotation": "annotation.cat", "source": "n"}
    assert list(frame.columns) == [names.get(name, name) for name in table[0]]
    assert (frame["n"][0], frame["annotation.cat"][2]) == ("1", "true")
    assert frame["text"][2] == "'=1+1"
    assert frame["error_message"][1] == "'=no"
    for column in ("item_id", "text", "error_message", "prompt"):
        assert [restored(cell) for cell in frame[column]] == [row[column] or "" for row in table]
    assert [json.loads(cell) for cell in frame["media"]] == [row["media"] for row in table]
    assert [float(cell or "nan") for cell in frame["cost"]] == pytest.approx(
        [math.nan if row["cost"] is None else row["cost"] for row in table], nan_ok=True
    )
    assert not frame.map(lambda cell: cell.startswith(tuple("=+-@\t\r"))).any(axis=None)


def test_rows_of_an_unfinished_shard_and_of_an_older_version_are_there(tmp_path: Path) -> None:
    rows = [Written(f"item-{number}") for number in range(502)]
    run = write_run(tmp_path / "run", rows, items=502, unfinished_shards=1)
    table = pq.read_table(run.results(0)).drop_columns(["voice"])
    pq.write_table(table, run.results(0))
    export_run(run, "jsonl", tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["row_number"] for line in lines] == list(range(502))
    assert json.loads(lines[0])["voice"] is None


# --- whole or not at all ---


@pytest.mark.parametrize("to", get_args(Format))
def test_what_exists_is_not_written_over(run: RunDir, tmp_path: Path, to: Any) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    file.write_text("mine")
    for dest in (folder, file):
        with pytest.raises(ConfigError):
            export_run(run, to, dest)
    assert (folder / "mine").read_text() == file.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "runs"]


def test_an_empty_folder_is_filled(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export_run(run, "hf", tmp_path / "out")
    assert (tmp_path / "out/README.md").exists()


@pytest.mark.parametrize("to", get_args(Format))
def test_a_broken_part_leaves_no_half_export(tmp_path: Path, to: Any) -> None:
    rows = [Written(f"item-{number}") for number in range(1000)]
    run = write_run(tmp_path / "run", rows, items=1000)
    part = run.results(1)
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(StorageError, match="part-00001"):
        export_run(run, to, tmp_path / "out" / "deep")
    assert not (tmp_path / "out" / "deep").exists()


def test_speech_outside_the_run_directory_is_not_embedded(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    table = pq.read_table(run.results(0)).to_pylist()
    schema = pq.read_schema(run.results(0))
    table[0]["audio_path"] = "../../secret"
    pq.write_table(pa.Table.from_pylist(table, schema=schema), run.results(0))
    counts = export_run(run, "webdataset", tmp_path / "out")
    assert "../../secret is not speech in the run directory" in counts.missing
    assert all("wav" not in sample for sample in samples(tmp_path / "out"))


@pytest.mark.parametrize("to", ["hf", "webdataset"])
def test_a_file_that_is_not_what_its_column_says_is_not_embedded(
    tmp_path: Path, to: Literal["hf", "webdataset"]
) -> None:
    (tmp_path / "notes.jpg").write_text("a secret of the folder")
    columns = {"image": ("notes.jpg", f"../{PHOTO}"), "audio": "notes.jpg"}
    rows = [Written("a", "an answer", columns=columns)]
    run = write_run(tmp_path / "run", rows, items=1, base_folder=tmp_path)
    counts = export_run(run, to, tmp_path / "out")
    assert (counts.embedded, counts.missing_files) == (0, 3)
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*.*"))
    assert b"a secret" not in written


def test_a_file_of_the_run_that_is_no_speech_is_not_embedded(run: RunDir, tmp_path: Path) -> None:
    table = pq.read_table(run.results(0)).to_pylist()
    schema = pq.read_schema(run.results(0))
    (run.root / "audio" / "x.wav").write_bytes(b"no sound")
    table[0]["audio_path"], table[2]["audio_path"] = "items.parquet", "audio/x.wav"
    pq.write_table(pa.Table.from_pylist(table, schema=schema), run.results(0))
    counts = export_run(run, "webdataset", tmp_path / "out")
    assert "items.parquet is not speech in the run directory" in counts.missing
    assert "audio/x.wav is not speech in the run directory" in counts.missing


# --- the command ---


def test_the_command_says_what_it_did(run: RunDir, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(run.root), "--to", "hf", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "5 items, 2 files embedded, 1 failed left out" in done.stdout
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out")
    assert "photos/gone.jpg does not exist" in done.stderr
    done = CliRunner().invoke(
        app, ["export", str(run.root), "--to", "csv", str(tmp_path / "out.csv"), "--json"]
    )
    assert json.loads(done.stdout)["items"] == 6


def test_a_wrong_destination_exits_with_2(run: RunDir, tmp_path: Path) -> None:
    done = command("export", str(run.root), "--to", "hf", str(run.root), cwd=tmp_path)
    assert done.returncode == 2
    assert "is not empty; name a new folder" in done.stderr
