"""Separators, encodings and files as spreadsheets, pandas and Hugging Face write them."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omni_batch.config import ManifestConfig
from omni_batch.errors import ManifestError
from omni_batch.requests.manifest import Manifest
from omni_batch.types import Item
from tests.requests.manifest.support import items_of

ITEM = Item("a", 0, image=("1.jpg",), source={"price": "1,5"})


def manifest_of(path: Path, **config: Any) -> tuple[list[Item], list[str]]:
    """Items and what was said about them."""
    manifest = Manifest(ManifestConfig(path=str(path), **config), path.parent)
    items = [manifest.read(row, number)[0] for number, row in enumerate(manifest.rows())]
    return items, [f"{doubt.rule}: {doubt.message}" for doubt in manifest.doubts()]


def refusal(path: Path) -> str:
    with pytest.raises(ManifestError) as refused:
        items_of(path)
    return str(refused.value)


# --- separators ---


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", 'item_id,image,price\na,1.jpg,"1,5"\n'),
        ("r.csv", "item_id;image;price\na;1.jpg;1,5\n"),
        ("r.csv", "item_id\timage\tprice\na\t1.jpg\t1,5\n"),
        ("r.csv", "item_id|image|price\na|1.jpg|1,5\n"),
        ("r.csv", "sep=;\nitem_id;image;price\na;1.jpg;1,5\n"),
        ("r.csv", '"sep=;"\r\nitem_id;image;price\r\na;1.jpg;1,5\r\n'),
        ("r.csv", '\n\nitem_id,image,price\na,1.jpg,"1,5"\n'),
        ("r.csv", "\nsep=;\nitem_id;image;price\na;1.jpg;1,5\n"),
        ("r.csv", "SEP=~\nitem_id~image~price\na~1.jpg~1,5\n"),
        ("r.csv", "\ufeffsep=;\nitem_id;image;price\na;1.jpg;1,5\n"),
        ("r.csv", '"item_id";"image";"price"\n"a";"1.jpg";"1,5"\n'),
        ("r.csv", "Item_ID;Image;price\na;1.jpg;1,5\n"),
        ("r.tsv", "item_id\timage\tprice\na\t1.jpg\t1,5\n"),
        ("r.tsv", "item_id;image;price\na;1.jpg;1,5\n"),
    ],
)
def test_the_header_says_what_separates(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert items_of(tmp_path / name) == [ITEM]


def test_names_with_other_separators_in_them_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("item_id,image;or;nothing\na,1\n")
    assert items_of(path)[0].source == {"image;or;nothing": "1"}


def test_a_header_with_two_ways_to_read_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("a;b|c\n1;2|3\n")
    assert "line 1: the header may be separated by ';' and '|'; write sep=;" in refusal(path)


def test_lines_count_from_the_first_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("sep=;\nitem_id;prompt\na;x\nb\n")
    assert "line 4: 1 cells, but the header has 2" in refusal(path)
    path.write_text("\nitem_id;item_id\na;x\n")
    assert "line 2: duplicate column" in refusal(path)


# --- encodings ---


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", "item_id,prompt\r\na,Grüße\r\n"),
        ("r.tsv", "item_id\tprompt\r\na\tGrüße\r\n"),
        ("r.jsonl", '{"item_id": "a", "prompt": "Grüße"}\n'),
    ],
)
def test_text_is_read_by_its_mark(tmp_path: Path, name: str, content: str, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("e") else ""
    (tmp_path / name).write_bytes((mark + content).encode(encoding))
    assert items_of(tmp_path / name) == [Item("a", 0, prompt="Grüße")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("item_id,prompt\na,x\n".encode("utf-32"), "line 1: not UTF-8 but UTF-32"),
        ("\ufeffa,b\n1,2\n".encode("utf-16-le") + b"\x00\xd8\n\x00", "line 3: not UTF-16"),
        ("item_id,prompt\na,x\n".encode("utf-16-le"), "NUL"),
        (b"item_id,prompt\na,x\nb,caf\xe9\n", "line 3: not UTF-8"),
    ],
)
def test_other_encodings_are_refused_with_their_line(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "r.csv").write_bytes(content)
    assert said in refusal(tmp_path / "r.csv")


# --- pandas and spreadsheets ---


def test_the_index_of_pandas_is_left_aside_and_said(tmp_path: Path) -> None:
    frame = pd.DataFrame({"item_id": ["a", "b"], "image": ["1.jpg", "2.jpg"]})
    frame.to_csv(tmp_path / "once.csv")
    pd.read_csv(tmp_path / "once.csv").to_csv(tmp_path / "twice.csv", index=False)
    frame.set_index(pd.Index([7, 9])).to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "without.csv", index=False)
    plain = items_of(tmp_path / "without.csv")
    for name in ("once.csv", "twice.csv"):
        items, said = manifest_of(tmp_path / name)
        assert items == plain
        assert len(said) == 1
        assert "as pandas writes its index" in said[0]
    assert items_of(tmp_path / "rows.parquet") == plain


def test_empty_columns_at_the_end_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("item_id,prompt,,\na,x,,\nb,y, ,\n")
    assert items_of(path) == [Item("a", 0, prompt="x"), Item("b", 1, prompt="y")]
    path.write_text("item_id,prompt,,\na,x,,\nb,y,,z\n")
    assert "line 3: column 4 has no name, but this row has 'z' there" in refusal(path)


def test_lists_of_a_data_frame_come_back_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    pd.DataFrame({"item_id": [1], "image": [["1.jpg", "2.jpg"]]}).to_csv(path, index=False)
    assert items_of(path)[0].image == ("1.jpg", "2.jpg")


# --- JSON ---


def test_not_a_number_is_null_and_infinity_is_said(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    rows = [{"item_id": 7.0, "score": float("nan")}, {"item_id": "b", "score": float("-inf")}]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    items, said = manifest_of(path)
    assert items == [Item("7", 0, source={"score": None}), Item("b", 1, source={"score": None})]
    assert said == [f"infinity: Infinity is read as null ({path}, line 2)"]


def test_json_may_have_an_object_in_each_line_but_no_list(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"item_id": "a"}\n{"item_id": "b"}\n')
    assert [item.item_id for item in items_of(path)] == ["a", "b"]
    path.write_text('[{"item_id": "a"},\n{"item_id": "b"}]\n')
    assert "is one list; write one object in each line instead (.jsonl)" in refusal(path)


def test_a_bar_in_an_address_separates_nothing_where_lists_are_lists(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"item_id": "a", "image": "https://h/a.jpg?fit=1|crop=2"}\n')
    assert items_of(path)[0].image == ("https://h/a.jpg?fit=1|crop=2",)


# --- Hugging Face ---

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def test_media_of_a_data_set_are_references(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    columns = {
        "image": pa.array([{"bytes": b"\xff\xd8", "path": "x.jpg"}, None], STRUCT),
        "audio": pa.array([None, {"bytes": None, "path": "b.wav"}], STRUCT),
        "frames": pa.array([None, [{"bytes": b"1", "path": None}]], pa.list_(STRUCT)),
    }
    pq.write_table(pa.table({"item_id": [1.0, 2.0], **columns}), path)
    assert items_of(path) == [
        Item("1", 0, image=("data:;base64,/9g=",)),
        Item("2", 1, audio="b.wav", frames=("data:;base64,MQ==",)),
    ]


def test_binary_of_free_columns_is_not_copied_and_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    blobs, scores = [b"x" * 5000] * 3, [1.0, float("inf"), 2.0]
    pq.write_table(pa.table({"item_id": ["a", "b", "c"], "blob": blobs, "score": scores}), path)
    items, said = manifest_of(path)
    assert [item.source["blob"] for item in items] == ["<5,000 bytes>"] * 3
    assert [item.source["score"] for item in items] == [1.0, None, 2.0]
    assert sorted(text.partition(":")[0] for text in said) == ["cell-not-kept"] * 2
    assert any(f"(3 rows, first {path}, row 1)" in text for text in said)


def test_a_message_shows_no_binary(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"item_id": ["a"], "prompt": [b"\xff\xd8" * 99]}), path)
    assert "prompt is <198 bytes>; expected a text" in refusal(path)


def test_decoded_recordings_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    audio = [{"path": None, "array": [0.0, 0.5], "sampling_rate": 16_000}]
    pq.write_table(pa.table({"item_id": ["a"], "audio": audio}), path)
    assert "row 1: audio is a decoded recording" in refusal(path)


# --- what is no manifest ---


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("rows.xlsx", "is a spreadsheet (.xlsx); save it as CSV UTF-8"),
        ("rows.ods", "is a spreadsheet"),
        ("rows.txt", "has the ending '.txt'; use one of .csv, .json, .jsonl, .ndjson, .parquet"),
        ("rows", "has no ending"),
        ("nonsense://h/rows.csv", "can't be read: Protocol not known: nonsense"),
    ],
)
def test_one_clear_line_for_other_files(path: str, said: str) -> None:
    with pytest.raises(ManifestError) as refused:
        list(Manifest(ManifestConfig(path=path), Path.cwd()).rows())
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"manifest gone.csv does not exist in {tmp_path}" in refusal(Path("gone.csv"))


def test_a_stream_that_can_not_be_rewound_is_read_too(tmp_path: Path) -> None:
    """A compressed file has its mark of byte order inside."""
    import gzip

    buffer = io.BytesIO()
    with gzip.open(buffer, "wb") as file:
        file.write("item_id,prompt\na,é\n".encode("utf-16"))
    (tmp_path / "r.csv.gz").write_bytes(buffer.getvalue())
    assert items_of(tmp_path / "r.csv.gz") == [Item("a", 0, prompt="é")]


@pytest.mark.parametrize("name", ["photos", "photos.zip"])
def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path: Path, name: str) -> None:
    assert f"{name} does not exist, and has" in refusal(tmp_path / name)
