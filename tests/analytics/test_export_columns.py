"""The user's own columns and the annotation's members are columns with types; splits are exact."""

import json
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import polars as pl
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from omni_batch.analytics.export.own_columns import find_own_columns
from omni_batch.analytics.export.splits import Splits, read_shares
from omni_batch.analytics.export.write import ExportOptions, Format, export_run
from omni_batch.cli.main import app
from omni_batch.errors import ConfigError
from omni_batch.store import RunDir
from tests.support.written_runs import Written, write_run

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"enum": ["cat", "dog"]},
        "score": {"type": "number"},
        "box": {"type": "object", "properties": {"w": {"type": "integer"}}},
        "tags": {"type": "array", "items": {"enum": ["small", "wet"]}},
        "day": {"type": "string", "format": "date"},
    },
}
CAT = {"label": "cat", "score": 0.5, "box": {"w": 3}, "tags": ["wet"], "day": "2026-01-02"}
OWN = {"lang": "de", "speaker": 7, "gain": 1.5, "ok": True, "spans": [1, 2], "label": "dog"}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    rows = [
        Written("full", annotation=CAT, columns={"source": OWN}),
        Written("bare", annotation={**CAT, "box": None}, columns={"source": {"lang": None}}),
        Written("lost", None, columns={"source": {"lang": "fr", "speaker": 2**53 + 1}}),
    ]
    return write_run(tmp_path / "run", rows, items=3, schema=SCHEMA)


def loaded(folder: Path, **how: Any) -> Any:
    found = datasets.load_dataset(str(folder), cache_dir=str(folder.parent / "hf"), **how)
    return found.remove_columns("audio")


# --- columns of their own, in every format ---


def test_a_hugging_face_dataset_has_typed_columns(run: RunDir, tmp_path: Path) -> None:
    export_run(run, "hf", tmp_path / "out")
    data = loaded(tmp_path / "out", split="train")
    assert "source" not in data.features
    assert {name: str(data.features[name]) for name in OWN} == {
        "lang": "Value('string')",
        "speaker": "Value('int64')",
        "gain": "Value('float64')",
        "ok": "Value('bool')",
        "spans": "List(Value('int64'))",
        "label": "Value('string')",
    }
    assert data.features["annotation"]["day"] == datasets.Value("date32")
    assert {name: data[0][name] for name in OWN} == OWN
    assert data[0]["annotation"]["label"] == "cat"
    assert [row["annotation"]["box"] for row in data] == [{"w": 3}, None]
    assert (data[1]["lang"], data[1]["speaker"]) == (None, None)


def test_json_lines_keep_types_and_whole_numbers_to_the_last_digit(
    run: RunDir, tmp_path: Path
) -> None:
    export_run(run, "jsonl", tmp_path / "out.jsonl")
    frame = pl.read_ndjson(tmp_path / "out.jsonl")
    assert frame["speaker"].to_list() == [7, None, 2**53 + 1]
    assert frame["annotation"].struct.field("tags").to_list() == [["wet"], ["wet"], None]
    assert frame["ok"].dtype == pl.Boolean
    assert set(OWN) <= set(frame.columns)


def test_csv_has_a_column_for_each_member(run: RunDir, tmp_path: Path) -> None:
    export_run(run, "csv", tmp_path / "out.csv")
    frame = pd.read_csv(tmp_path / "out.csv")
    assert list(frame["annotation.label"].fillna("none")) == ["cat", "cat", "none"]
    assert frame["annotation.box.w"][0] == 3
    assert frame["annotation.day"][0] == "2026-01-02"
    assert json.loads(frame["annotation.tags"][0]) == ["wet"]
    assert (frame["lang"][0], frame["gain"][0], frame["label"][0]) == ("de", 1.5, "dog")


def test_a_webdataset_has_them_in_its_json(run: RunDir, tmp_path: Path) -> None:
    export_run(run, "webdataset", tmp_path / "out")
    path = str(tmp_path / "out/shard-000000.tar")
    rows = [row["json"] for row in webdataset.WebDataset(path, shardshuffle=False).decode()]
    assert [row["speaker"] for row in rows] == [7, None]
    assert rows[0]["annotation"] == CAT


def test_a_name_that_the_results_have_and_a_column_of_several_types_are_said(
    tmp_path: Path,
) -> None:
    sources: list[dict[str, Any]] = [
        {"text": "mine", "cell": 1, "row": {"a": 1}, "label": 2**53 + 1, "none": None},
        {"text": "mine", "cell": "two", "row": {"b": []}, "label": 0.5, "none": None},
    ]
    rows = [Written(f"{n}", columns={"source": source}) for n, source in enumerate(sources)]
    run = write_run(tmp_path / "run", rows, items=2)
    found = CliRunner().invoke(
        app, ["export", str(run.root), "--to", "jsonl", str(tmp_path / "out.jsonl")]
    )
    assert "column text of the manifest is source.text" in found.stderr
    assert "column cell of the manifest holds values of several types" in found.stderr
    assert "column label of the manifest holds values of several types" in found.stderr
    assert found.stderr.count("note:") == 3
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert (first["text"], first["source.text"]) == ("answer", "mine")
    assert (first["cell"], second["cell"]) == ("1", "two")
    assert (first["row"], second["row"]) == ({"a": 1, "b": None}, {"a": None, "b": []})
    assert (first["label"], second["label"]) == ("9007199254740993", "0.5")


def test_rows_that_each_name_other_columns_stay_json(tmp_path: Path) -> None:
    columns = find_own_columns((f'{{"c{n}": {n}}}' for n in range(1200)), taken=())
    assert list(columns.names) == ["source"]
    assert "more than 1,000 columns" in columns.notes[0]
    assert columns.arrays(['{"c1":1}'])[0].to_pylist() == ['{"c1":1}']


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), json_values, max_size=3), max_size=4))
def test_any_cells_find_a_type_that_holds_them(rows: list[dict[str, Any]]) -> None:
    sources = [json.dumps(row) for row in rows]
    columns = find_own_columns(sources, taken=("a",))
    for field, array in zip(columns.fields(), columns.arrays(sources), strict=True):
        assert array.type == field.type
        assert len(array) == len(rows)


# --- splits ---


@pytest.fixture
def many(tmp_path: Path) -> RunDir:
    """600 items in two shards, of which every third failed."""
    asked = {"prompt": "How many?"}
    rows = [Written(f"i{n}", None if n % 3 == 0 else "yes", n, columns=asked) for n in range(600)]
    return write_run(tmp_path / "run", rows, items=600, schema={"type": "integer"})


def split(text: str, seed: int = 0) -> ExportOptions:
    return ExportOptions(shares=read_shares(text, seed))


def test_splits_are_splits_of_the_library(many: RunDir, tmp_path: Path) -> None:
    counts = export_run(many, "hf", tmp_path / "out", split("train=0.75,dev=0.1,test=0.15"))
    data = loaded(tmp_path / "out")
    assert {name: len(rows) for name, rows in data.items()} == counts.splits
    assert counts.splits == {"train": 300, "dev": 40, "test": 60}
    assert (counts.items, counts.left_out) == (400, 200)
    ids = [item_id for rows in data.values() for item_id in rows["item_id"]]
    assert len(set(ids)) == 400
    assert "| items of dev | 40 |" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize("to", ["jsonl", "csv", "messages", "webdataset", "label-studio"])
def test_splits_are_files_in_the_other_formats(many: RunDir, tmp_path: Path, to: Format) -> None:
    counts = export_run(many, to, tmp_path / "out", split("train=0.9,test=0.1"))
    all_rows = to in ("jsonl", "csv")
    assert counts.splits == ({"train": 540, "test": 60} if all_rows else {"train": 360, "test": 40})
    names = {path.stem.partition("-")[0] for path in (tmp_path / "out").iterdir()}
    assert names >= {"train", "test"}


def test_a_seed_gives_the_same_again_and_another_one_does_not(many: RunDir, tmp_path: Path) -> None:
    def tested(name: str, seed: int) -> str:
        export_run(many, "jsonl", tmp_path / name, split("train=0.9,test=0.1", seed))
        return (tmp_path / name / "test.jsonl").read_text()

    first = tested("a", 7)
    assert tested("b", 7) == first
    assert tested("c", 8) != first


@given(
    st.lists(st.text(max_size=5), unique=True, max_size=60),
    st.integers(),
    st.integers(1, 20),
    st.sampled_from(["a=1", "a=0.5,b=0.5", "a=0.9,b=0.1", "a=0.7,b=0.2,c=0.1", "a=0.001,b=0.999"]),
)
def test_shares_are_exact_and_batches_decide_nothing(
    ids: list[str], seed: int, batch: int, text: str
) -> None:
    shares = read_shares(text, seed)
    whole = Splits(shares, lambda: [ids]).numbers(ids).tolist()
    batches = [ids[start : start + batch] for start in range(0, len(ids), batch)]
    splits = Splits(shares, lambda: reversed(batches))
    assert [number for some in batches for number in splits.numbers(some).tolist()] == whole
    sizes = shares.sizes(len(ids))
    assert [whole.count(number) for number in range(len(sizes))] == sizes
    assert sum(sizes) == len(ids)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train=0.9,test=0.2", "are 1.1 together, not 1"),
        ("train=0.9", "are 0.9 together, not 1"),
        ("train=0.5,train=0.5", "train appears twice"),
        ("train=half,test=0.5", "'half' is not a share"),
        ("train=1.5,test=-0.5", "'1.5' is not a share"),
        ("train=nan,test=0.5", "'nan' is not a share"),
        ("train=1,test=0", "'0' is not a share"),
        ("train", "'train' is not name=share"),
        ("../up=1", "'../up=1' is not name=share"),
        ("", "'' is not name=share"),
    ],
)
def test_shares_that_are_none_are_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_shares(text)
    assert words in str(refused.value)


def test_the_command_says_how_many_went_where(many: RunDir, tmp_path: Path) -> None:
    def export(shares: str) -> Any:
        given = ["--to", "jsonl", str(tmp_path / "out"), "--split", shares, "--seed", "7"]
        return CliRunner().invoke(app, ["export", str(many.root), *given])

    refused = export("train=0.9,test=0.2")
    assert isinstance(refused.exception, ConfigError)
    seed_alone = ["export", str(many.root), "--to", "jsonl", str(tmp_path / "out"), "--seed", "7"]
    assert "--seed needs --split" in str(CliRunner().invoke(app, seed_alone).exception)
    assert not (tmp_path / "out").exists()
    assert "600 items (540 train, 60 test)" in export("train=0.9,test=0.1").stdout
