"""Rows of any format read back as the same items; a row that can't be used names its place."""

import bz2
import csv
import gzip
import json
import lzma
import string
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.config import ManifestConfig
from omni_batch.errors import ManifestError
from omni_batch.requests.manifest.names import UNSEEN
from omni_batch.types import Item
from tests.requests.manifest.support import items_of, read_items

Rows = list[dict[str, Any]]


def refusal(path: Path, content: bytes | None = None) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ManifestError) as refused:
        items_of(path)
    assert str(path) in str(refused.value)
    return str(refused.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifest")


# --- any format, the same items ---


def write_delimited(path: Path, rows: Rows, delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(
            {k: "|".join(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows
        )


def write_csv(path: Path, rows: Rows) -> None:
    write_delimited(path, rows, ",")


def write_tsv(path: Path, rows: Rows) -> None:
    write_delimited(path, rows, "\t")


def write_jsonl(path: Path, rows: Rows) -> None:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def write_parquet(path: Path, rows: Rows) -> None:
    fields = [
        (k, pa.list_(pa.string()) if isinstance(v, list) else pa.string())
        for k, v in rows[0].items()
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(fields)), path)


WRITERS: dict[str, Callable[[Path, Rows], None]] = {
    ".csv": write_csv,
    ".tsv": write_tsv,
    ".jsonl": write_jsonl,
    ".ndjson": write_jsonl,
    ".parquet": write_parquet,
}
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
FILLED = ANY_TEXT.filter(lambda text: text.strip(f"{string.whitespace}{UNSEEN}").strip())
TEXT = st.just("") | FILLED
NAME = st.just("") | FILLED.filter(lambda text: text == text.strip("\r\n") and "[" not in text)
REFERENCES = st.lists(st.from_regex(r"[a-zé中/.:]{1,8}", fullmatch=True), max_size=3)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "item_id": FILLED,
            "prompt": TEXT,
            "image": REFERENCES,
            "audio": NAME,
            "video": NAME,
            "frames": REFERENCES,
            "system": TEXT,
            "voice": TEXT,
            "subject": TEXT,
            "two words": TEXT,
        }
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize("ending", WRITERS)
@given(rows=ROWS)
@settings(max_examples=40, deadline=None)
def test_rows_of_any_text_read_back_as_they_were_written(
    folder: Path, ending: str, rows: Rows
) -> None:
    path = folder / f"rows{ending}"
    WRITERS[ending](path, rows)
    assert items_of(path) == [
        Item(
            item_id=row["item_id"],
            row_number=number,
            prompt=row["prompt"] or None,
            system=row["system"] or None,
            voice=row["voice"] or None,
            image=tuple(row["image"]),
            audio=row["audio"] or None,
            video=row["video"] or None,
            frames=tuple(row["frames"]),
            source={"subject": row["subject"], "two words": row["two words"]},
        )
        for number, row in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("ending", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
@pytest.mark.parametrize("inner", [".csv", ".jsonl", ".parquet"])
def test_a_compressed_manifest_reads_as_the_plain_one(
    tmp_path: Path, inner: str, ending: str, compress: Callable[[bytes], bytes]
) -> None:
    plain = tmp_path / f"rows{inner}"
    WRITERS[inner](plain, [{"item_id": "a", "subject": "x"}, {"item_id": "b", "subject": "y"}])
    packed = tmp_path / f"rows{inner}{ending}"
    packed.write_bytes(compress(plain.read_bytes()))
    assert items_of(packed) == items_of(plain)


def test_endings_are_read_without_regard_to_case(tmp_path: Path) -> None:
    path = tmp_path / "ROWS.CSV"
    path.write_bytes(b"item_id\na\n")
    assert [item.item_id for item in items_of(path)] == ["a"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", b"\xef\xbb\xbfitem_id,prompt\na,hello\n"),
        ("rows.csv", b"item_id,prompt\r\na,hello\r\n\r\n\r\n"),
        ("rows.csv", b"item_id,prompt\na,hello\n,\n,\n"),
        ("rows.csv", b" item_id , prompt \na,hello"),
        ("rows.csv", b"item_id,prompt\ra,hello\r"),
        ("rows.tsv", b"\xef\xbb\xbfitem_id\tprompt\na\thello\n\n"),
        ("rows.jsonl", b'\xef\xbb\xbf{"item_id": "a", "prompt": "hello"}\n\n  \n'),
    ],
)
def test_marks_of_byte_order_and_blank_last_lines_are_harmless(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert items_of(path) == [Item("a", 0, prompt="hello")]


def test_a_quoted_cell_may_hold_lines_and_separators(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'item_id,prompt\na,"one\r\ntwo, ""three"""\nb,x\n')
    assert [item.prompt for item in items_of(path)] == ['one\r\ntwo, "three"', "x"]


def test_bars_separate_references_and_spaces_around_them_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"item_id,image,frames,audio\na,1.jpg | 2.jpg,3.jpg,a|b.wav\n")
    (item,) = items_of(path)
    assert (item.image, item.frames) == (("1.jpg", "2.jpg"), ("3.jpg",))
    assert item.audio == "a|b.wav"


def test_messages_may_be_json_text_or_a_list(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hé"}]
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"messages": turns}, {"messages": json.dumps(turns)}])
    assert [json.loads(item.messages or "") for item in items_of(path)] == [turns, turns]


def test_free_columns_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    source = {"score": 0.5, "n": 2**70, "tags": ["a"], "box": {"x": 1}, "ok": True, "no": None}
    write_jsonl(path, [{"item_id": 7, **source}])
    assert items_of(path) == [Item("7", 0, source=source)]


# --- ids ---


def test_ids_made_of_content_are_stable(tmp_path: Path) -> None:
    """They stand in users' tables: a change of this value is a change of contract."""
    path = tmp_path / "rows.csv"
    path.write_bytes(b"prompt,subject\nhello,cat\n")
    assert items_of(path)[0].item_id == "b52f2b1373e8c06b"


def test_ids_made_of_content_depend_on_the_content_alone(tmp_path: Path) -> None:
    row = {"prompt": "hello", "subject": "cat"}
    ids = set()
    for ending, write in WRITERS.items():
        for number, cells in enumerate([row, dict(reversed(row.items()))]):
            path = tmp_path / f"rows{number}{ending}"
            write(path, [{"prompt": "first", "subject": ""}, cells])
            ids.add(items_of(path)[1].item_id)
    assert len(ids) == 1


def test_rows_with_different_content_get_different_ids(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"prompt,subject\na,b\nab,\n,ab\nb,a\n")
    assert len({item.item_id for item in items_of(path)}) == 4


def test_another_column_may_hold_the_ids(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"sku,prompt\ns-1,x\n")
    (item,) = items_of(path, id_column="sku")
    assert (item.item_id, item.source) == ("s-1", {"sku": "s-1"})


@pytest.mark.parametrize("value", [True, 1.5, ["a"], {"a": 1}])
def test_an_id_is_a_text_or_a_whole_number(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"item_id": "a"}, {"item_id": value}])
    assert "line 2: item_id is" in refusal(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", b"item_id,prompt\na,x\n,y\n"),
        (
            "rows.jsonl",
            b'{"item_id": "a"}\n\n{"item_id": null, "prompt": "y"}\n'.replace(b"\n\n", b"\n"),
        ),
        ("rows.jsonl", b'{"item_id": "a"}\n{"item_id": "", "prompt": "y"}\n'),
    ],
)
def test_an_empty_id_is_refused_in_its_line(tmp_path: Path, name: str, content: bytes) -> None:
    assert ": item_id is empty" in refusal(tmp_path / name, content)


# --- refusals ---


@pytest.mark.parametrize(
    ("name", "content", "line", "reason"),
    [
        ("r.csv", b"item_id,prompt\na,x\n\nb,y\n", 3, "the row is empty"),
        ("r.csv", b"item_id,prompt\na,x\n,\nb,y\n", 3, "the row is empty"),
        ("r.csv", b"item_id,prompt\na,x\nb\n", 3, "1 cells, but the header has 2"),
        ("r.csv", b"item_id,prompt\na,x\nb,y,z\n", 3, "3 cells, but the header has 2"),
        ("r.csv", b'item_id,prompt\na,"x\ny"\nb\n', 4, "1 cells"),
        ("r.csv", b"item_id,prompt,prompt\na,x,y\n", 1, "duplicate column 'prompt'"),
        ("r.csv", b"item_id,,prompt\na,x,y\n", 1, "column 2 has no name"),
        ("r.csv", b'item_id,prompt\na,"x"y\n', 2, "expected after"),
        ("r.csv", b'item_id,prompt\na,"x\n', 2, "unexpected end of data"),
        ("r.csv", b'item_id,"prompt\n', 1, "unexpected end of data"),
        ("r.csv", b"item_id,prompt\na,x\0y\n", 2, "NUL"),
        ("r.csv", "item_id,prompt\na,x\n".encode("utf-16-le"), 1, "NUL"),
        ("r.csv", b"item_id,prompt\na,x\nb,caf\xe9\n", 3, "not UTF-8"),
        ("r.csv", b"item_id,prompt\n" + b"a,x\n" * 9000 + b"b,\xff\n", 9002, "not UTF-8"),
        ("r.tsv", b"item_id\tprompt\na\n", 2, "1 cells, but the header has 2"),
        ("r.jsonl", b'{"item_id": "a"}\n\n{"item_id": "b"}\n', 2, "the row is empty"),
        ("r.jsonl", b'{"item_id": "a"}\n{}\n', 2, "the row is empty"),
        ("r.jsonl", b'{"item_id": "a"}\n{"prompt": "", "image": []}\n', 2, "the row is empty"),
        ("r.jsonl", b'{"item_id": "a"}\n{"item_id": "b"\n', 2, "not a JSON object"),
        ("r.jsonl", b'{"item_id": "a"}\n[1]\n', 2, "not a JSON object"),
        ("r.jsonl", b'{"item_id": "a"}\n"b"\n', 2, "not a JSON object"),
        ("r.jsonl", b'{"item_id": "a"}\n{"item_id": "b\xff"}\n', 2, "not a JSON object"),
        ("r.jsonl", b'{"item_id": "a"}\n{"item_id": "\\ud800"}\n', 2, "not a JSON object"),
        ("r.jsonl", b'{"item_id": "a"}\n{"item_id": "b\0"}\n', 2, "not a JSON object"),
        ("r.jsonl", b'{"prompt": 5}\n', 1, "prompt is 5; expected a text"),
        ("r.jsonl", b'{"audio": 7}\n', 1, "audio is 7; expected references"),
        ("r.jsonl", b'{"image": {"url": 1}}\n', 1, "expected bytes or a path in it"),
        ("r.jsonl", b'{"frames": ["a.jpg", 1]}\n', 1, "expected references"),
        ("r.jsonl", b'{"messages": {"role": 1}}\n', 1, "expected a text"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_names_file_line_and_reason(
    tmp_path: Path, name: str, content: bytes, line: int, reason: str
) -> None:
    message = refusal(tmp_path / name, content)
    assert f"{name}, line {line}: " in message
    assert reason in message


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (pa.table({"item_id": ["a", "b"], "prompt": pa.array([None, 1])}), "row 2: prompt is 1"),
        (pa.table({"item_id": ["a", None], "prompt": ["x", "y"]}), "row 2: item_id is empty"),
        (pa.table({"prompt": ["x", None]}), "row 2: the row is empty"),
        (
            pa.table([pa.array(["a"]), pa.array(["b"])], ["note", "note"]),
            "duplicate column 'note'",
        ),
    ],
)
def test_a_row_of_parquet_that_cannot_be_used_names_its_number(
    tmp_path: Path, table: pa.Table, reason: str
) -> None:
    pq.write_table(table, tmp_path / "rows.parquet")
    assert reason in refusal(tmp_path / "rows.parquet")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("r.csv", b"", "is empty"),
        ("r.tsv", b"\xef\xbb\xbf", "is empty"),
        ("r.parquet", b"", "can't be read"),
        ("r.parquet", b"PAR1 but not really PAR1", "can't be read"),
        ("r.csv.gz", b"item_id\na\n", "can't be read"),
        ("r.csv.gz", gzip.compress(b"item_id\na\n" * 99, mtime=0)[:-12], "can't be read"),
        ("r.csv.bz2", bz2.compress(b"item_id\na\n" * 99)[:-12], "can't be read"),
        ("r.csv.xz", lzma.compress(b"item_id\na\n" * 99)[:-12], "can't be read"),
        ("r.csv.gz", gzip.compress(b"item_id,prompt\na,\xff\n", mtime=0), "line 2: not UTF-8"),
        ("r.xlsx", b"PK", "is a spreadsheet (.xlsx); save it as CSV UTF-8"),
        ("rows", b"item_id\na\n", "has no ending"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    assert reason in refusal(tmp_path / name, content)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "gone.csv")
    assert "does not exist" in refusal(tmp_path / "gone" / "rows.jsonl")


def test_a_folder_or_an_unknown_scheme_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    assert "has no media files" in refusal(tmp_path / "folder.csv")
    with pytest.raises(ManifestError, match=r"nonsense://rows\.csv"):
        list(read_items(ManifestConfig(path="nonsense://rows.csv")))


def test_good_rows_come_before_the_bad_one_is_met(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"item_id\na\nb\nc,d\n")
    rows = read_items(ManifestConfig(path=str(path)))
    assert [next(rows)[1].item_id, next(rows)[1].item_id] == ["a", "b"]
    with pytest.raises(ManifestError, match="line 4"):
        next(rows)


# --- size ---


def test_memory_does_not_grow_with_the_manifest(tmp_path: Path) -> None:
    """200,000 rows in less than a hundredth of the memory that they would take together."""
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("item_id,image,subject\n")
        file.writelines(f"row-{number},photo-{number}.jpg,thing\n" for number in range(200_000))
    rows = read_items(ManifestConfig(path=str(path)))
    tracemalloc.start()
    try:
        for number, _ in enumerate(rows):
            if number == 5_000:  # all is open and warm; from here on, counting blocks is enough
                _, peak_bytes = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                blocks = sys.getallocatedblocks()
        grown_blocks = sys.getallocatedblocks() - blocks
    finally:
        tracemalloc.stop()
    assert number == 199_999
    assert peak_bytes < 1_000_000
    assert grown_blocks < 2_000
