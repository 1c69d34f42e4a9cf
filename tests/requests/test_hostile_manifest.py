"""Manifests and configs from somebody who means no good: one clear error each, and nothing more."""

import gzip
import io
import json
import os
import time
import tracemalloc
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from omni_batch import run_batch
from omni_batch.config import ManifestConfig
from omni_batch.errors import ManifestError, OmniBatchError
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.requests.manifest import rows
from omni_batch.requests.manifest.formats import parquet
from omni_batch.requests.manifest.formats.json_object import MAX_DEPTH
from omni_batch.requests.manifest.formats.source import read_rows
from omni_batch.requests.manifest.notes import Notes
from omni_batch.simulator import Simulator, reply
from omni_batch.sources import Sources
from omni_batch.store import RunDir
from omni_batch.text import display_name
from omni_batch.types import Item
from tests.conftest import MakeConfig, read_table
from tests.requests.manifest.support import items_of, read_items
from tests.support.bounded import check_in_bounds

IDS = (
    *("../../x", "/etc/passwd", "..", ".", "a/b", "a\\b", "C:\\x", "~root", "a" * 300, "图" * 300),
    *("line\nbreak", "tab\there", "esc\x1b[2J", "bell\x07", "rtl\u202eexe", "zero\u200bwidth"),
    *("Case", "case", "CASE", unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")),
    *(
        "con",
        "NUL",
        "aux.txt",
        "com1",
        "trailing.",
        "trailing ",
        "-rf",
        "=1+1",
        "@SUM(A1)",
        "$(id)",
    ),
    *("%2e%2e%2f", "{{ 7*7 }}", "'; drop table results; --", "<script>", "😀", "\u2028x"),
)


def read(path: Path) -> list[Item]:
    return items_of(path)


def refusal(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ManifestError) as refused:
        read(path)
    return str(refused.value)


@contextmanager
def room(most_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_bytes
    finally:
        tracemalloc.stop()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def nested(levels: int) -> str:
    return f'{{"x": {"[" * levels}{"]" * levels}}}'


# --- ids and references ---


async def test_no_id_writes_outside_its_folder_and_each_keeps_its_own_row(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    rows = [{"item_id": name, "prompt": "hi"} for name in IDS]
    speech = {"modalities": ["text", "audio"]}
    record = (await run_batch(make_config(rows, request=speech))).record
    run_dir = tmp_path / "runs" / record.run_id
    table = read_table(run_dir)
    assert [row["item_id"] for row in table] == list(IDS)
    assert {row["status"] for row in table} == {"succeeded"}
    names = [row["audio_path"] for row in table]
    assert len({unicodedata.normalize("NFC", name).lower() for name in names}) == len(IDS)
    assert all((run_dir / name).resolve().parent == run_dir / "audio" for name in names)
    assert names_in(tmp_path) == {"runs", "manifest.csv"}
    assert len(names_in(run_dir / "audio")) == len(IDS)


async def test_a_terminal_obeys_no_id_and_no_answer(
    make_config: MakeConfig, simulator: Simulator, tmp_path: Path
) -> None:
    from omni_batch.cli.render.pages import results_table
    from omni_batch.cli.render.run import summary

    evil = "[/]\x1b]0;x\x07\u202e"
    simulator.script(reply.text(evil), reply.status(400, code="invalid", message=evil))
    rows = [{"item_id": f"{evil}{number}", "prompt": "hi"} for number in range(2)]
    record = (await run_batch(make_config(rows, quota={"max_in_flight": 1}))).record
    console = Console(file=io.StringIO(), width=200)
    console.print(results_table(RunDir(tmp_path / "runs" / record.run_id)))
    console.print(summary(RunDir(tmp_path / "runs" / record.run_id), record))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert shown.count("[/]") >= 4
    assert not set(shown) & set("\x1b\x07\u202e")


async def test_no_reference_reads_outside_the_roots_or_blocks(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    secret = tmp_path.parent / f"{tmp_path.name}-secret.png"
    secret.write_bytes(b"top secret")
    (tmp_path / "link.png").symlink_to(secret)
    (tmp_path / "folder").symlink_to("/etc")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe.png")
    references = [
        *("../../x.png", f"../{secret.name}", str(secret), "/etc/passwd", "link.png"),
        *("folder/passwd", "loop", "pipe.png", "/dev/zero", "/dev/stdin", "/proc/self/environ"),
        *(
            "file:///etc/passwd",
            "ftp://u:hunter2@h/x.png",
            "gopher://x",
            "javascript:x",
            "\\\\h\\x",
        ),
        *(
            "a\x01b.png",
            "~/.netrc",
            "x" * 5000,
            ".",
            "data:image/png;base64,!!!!",
            "s3://b/k?sig=1",
        ),
    ]
    rows = [{"item_id": str(n), "image": text} for n, text in enumerate(references)]
    begun_s = time.process_time()
    record = (await run_batch(make_config(rows))).record
    assert time.process_time() - begun_s < 20
    table = read_table(tmp_path / "runs" / record.run_id)
    assert [row["error_kind"] for row in table] == ["media_error"] * len(references)
    assert [row["attempts"] for row in table] == [0] * len(references)
    said = json.dumps(table, default=str)
    assert "top secret" not in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:hunter2@h.example/a.png", "https://…@h.example/a.png"),
        ("https://h/a.png?Expires=17&Signature=hunter2", "https://h/a.png?Expires=17&Signature=…"),
        ("https://h/a?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2&id=7",
         "https://h/a?X-Amz-Credential=…&X-Amz-Signature=…&id=7"),
        ("https://h/a?OSSAccessKeyId=hunter2&security-token=hunter2",
         "https://h/a?OSSAccessKeyId=…&security-token=…"),
        ("https://h/a?sv=1&sig=hunter2#f", "https://h/a?sv=1&sig=…#f"),
        ("https://h/a?X%2DGoog%2DSignature=hunter2", "https://h/a?X%2DGoog%2DSignature=…"),
        ("https://h/design?w=100&page=2", "https://h/design?w=100&page=2"),
    ],
)  # fmt: skip
def test_what_a_url_keeps_secret_is_not_shown(url: str, shown: str) -> None:
    assert display_name(url) == shown


async def test_signatures_reach_the_service_and_no_table(
    make_config: MakeConfig, simulator: Simulator, tmp_path: Path
) -> None:
    url = "https://example.com/a.png?Expires=1&Signature=hunter2"
    record = (await run_batch(make_config([{"item_id": "a", "image": url}]))).record
    run_dir = tmp_path / "runs" / record.run_id
    assert url in json.dumps(simulator.requests[-1].body)
    (row,) = read_table(run_dir)
    assert row["media"] == ["https://example.com/a.png?Expires=1&Signature=…"]
    assert "hunter2" not in (run_dir / "run.json").read_text()


def test_a_manifest_behind_a_signed_url_is_not_named_whole(make_config: MakeConfig) -> None:
    config = make_config([{"item_id": "a", "prompt": "hi"}])
    local = config.manifest.model_copy(update={"path": f"file://{config.manifest.path}"})
    directory = prepare_run(make_plan(config.model_copy(update={"manifest": local})))
    assert RunDir(directory.root).record.read_text().count("manifest.csv") == 1
    with pytest.raises(ManifestError) as refused:
        list(read_items(ManifestConfig(path="memory://u:hunter2@gone?Signature=hunter2")))
    assert "hunter2" not in str(refused.value)


def test_the_signature_of_a_manifest_stands_in_no_file(make_config: MakeConfig) -> None:
    config = make_config([])
    fsspec.filesystem("memory").pipe("/d/a.csv?Signature=hunter2", b"item_id,prompt\na,hi\n")
    behind = config.manifest.model_copy(update={"path": "memory://d/a.csv?Signature=hunter2"})
    directory = prepare_run(make_plan(config.model_copy(update={"manifest": behind})))
    kept = directory.record.read_text()
    assert "memory://d/a.csv?Signature=…" in kept
    assert "hunter2" not in kept


# --- files ---


def test_a_cell_without_end_is_refused_in_its_line_and_memory_stays_flat(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w") as file:
        file.write("item_id,prompt\na,hi\nb,")
        for _ in range(100):
            file.write("x" * 2**20)
    with room(300_000_000), pytest.raises(ManifestError, match=r"line 3: .*33,554,432"):
        read(path)


def test_a_cell_over_the_bound_is_refused_in_its_line(tmp_path: Path) -> None:
    said = refusal(tmp_path / "rows.csv", "item_id,prompt\na," + "x" * (16 * 2**20 + 1))
    assert "line 2" in said
    assert "16777216" in said


def test_a_quote_that_is_never_closed_is_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MAX_ROW_CHARS", 10_000)
    assert "10,000" in refusal(tmp_path / "rows.csv", 'item_id,prompt\na,"' + "x\n" * 10_000)
    assert "10,000" in refusal(tmp_path / "rows.csv", "a,b\n" + '"\n",' * 10_000)


def test_a_json_line_without_end_is_refused_and_memory_stays_flat(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.write(b'{"item_id": "a", "prompt": "hi"}\n{"item_id": "')
        file.truncate(200_000_000)  # sparse: the disk is spared
    with room(150_000_000), pytest.raises(ManifestError, match=r"line 2: .*33,554,432"):
        read(path)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2"])
def test_a_packed_bomb_is_unpacked_to_its_bound(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bz2
    import lzma

    monkeypatch.setattr(rows, "MAX_ROW_CHARS", 1_000_000)
    packers: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress,
    }  # fmt: skip
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(packers[suffix](b"\0" * 60_000_000))
    with room(20_000_000), pytest.raises(ManifestError, match="1,000,000"):
        read(path)


def test_a_large_cell_of_parquet_is_refused_by_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"item_id": ["a"], "prompt": ["x" * 40_000_000]}), path)
    with pytest.raises(ManifestError, match=r"rows of .* bytes; 33,554,432 at most"):
        read(path)
    pq.write_table(pa.table({"item_id": ["a"], "prompt": ["x" * 20_000_000]}), path)
    with pytest.raises(ManifestError, match=r"row 1: prompt has 20,000,000 .*16,777,216"):
        read(path)


def test_a_header_of_very_many_columns_is_read_in_one_pass(tmp_path: Path) -> None:
    begun_s = time.process_time()
    said = refusal(tmp_path / "rows.csv", ",".join(map(str, range(300_000))) + ",7\n")
    assert "duplicate column '7'" in said
    assert time.process_time() - begun_s < 10


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"item_id": "a", "item_id": "b"}', "duplicate key 'item_id'"),
        ('{"prompt": "a", "\\u0070rompt": "b"}', "duplicate key 'prompt'"),
        (nested(MAX_DEPTH + 1), "100 levels deep"),
        (nested(100_000), "100 levels deep"),
        ('{"x": 1e999}', "not a JSON object"),
        (f'{{"x": {"9" * 10_000}}}', "not a JSON object"),
        ('{"x": "\\ud800"}', "not a JSON object"),
        ('{"x": "\0"}', "not a JSON object"),
        ("[1]", "not a JSON object"),
        ('{"x": 1} {"y": 2}', "not a JSON object"),
        ("\0\0\0", "not a JSON object"),
    ],
)
def test_json_that_means_two_things_or_none_is_refused_in_its_line(
    line: str, said: str, tmp_path: Path
) -> None:
    told = refusal(tmp_path / "rows.jsonl", f'\ufeff{{"prompt": "hi"}}\n{line}\n')
    assert "line 2" in told
    assert said in told


def test_a_key_that_only_looks_doubled_is_none(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": "\\"a\\" and \\u0041", "b": {"a": ["a", "b"]}}\n')
    (item,) = read(tmp_path / "rows.jsonl")
    assert item.source == {"a": '"a" and A', "b": {"a": ["a", "b"]}}


def test_as_deep_as_is_allowed_comes_back_from_the_run(
    tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config([{"prompt": "replaced"}])
    path = tmp_path / "deep.jsonl"
    deep = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    path.write_text(f'{{"prompt": "hi", "x": {deep}}}\n')
    local = config.manifest.model_copy(update={"path": str(path)})
    prepare_run(make_plan(config.model_copy(update={"manifest": local})))


@pytest.mark.parametrize(
    "messages", ["[" * 100_000, f'[{{"role": "user", "content": {nested(2000)}}}]']
)
def test_messages_of_any_depth_are_refused_by_their_row(
    messages: str, make_config: MakeConfig
) -> None:
    with pytest.raises(OmniBatchError, match="line 2"):
        prepare_run(make_plan(make_config([{"item_id": "a", "messages": messages}])))


# --- templates ---


async def test_a_template_in_a_rows_data_stays_text(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    attack = "{{ 7 * 7 }}{% for i in range(10**9) %}{% endfor %}{{ ''.__class__ }}"
    rows = [{"item_id": "a", "prompt": attack}, {"item_id": "b", "prompt": "", "x": attack}]
    record = (await run_batch(make_config(rows, request={"prompt": "Say {{ x }}"}))).record
    sent = [row["prompt"] for row in read_table(tmp_path / "runs" / record.run_id)]
    assert sent == [attack, f"Say {attack}"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_pipe_in_place_of_the_manifest_is_not_waited_for(tmp_path: Path, ending: str) -> None:
    pipe = tmp_path / f"rows.{ending}"
    os.mkfifo(pipe)
    with pytest.raises(ManifestError, match="is a pipe or a device; write it to a file first"):
        read(pipe)


# --- tables that unfold ---


def repeated(value: Any, rows: int) -> pa.Array:
    """A column that holds its one value once."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))


def table(prompt: pa.Array, name: str = "prompt") -> pa.Table:
    return pa.table({"item_id": [str(n) for n in range(len(prompt))], name: prompt})


LARGE = "x" * 8_000_000
BOMBS: dict[str, Callable[[], pa.Table]] = {
    "texts": lambda: table(repeated(LARGE, 400)),
    "bytes": lambda: table(repeated(LARGE.encode(), 400), "image"),
    "the longest cells": lambda: table(repeated("x" * 16_000_000, 100)),
    "many columns": lambda: pa.table(
        {"item_id": [str(n) for n in range(400)]}
        | {f"c{n}": repeated(LARGE[:200_000], 400) for n in range(40)}
    ),
    "places in a list": lambda: table(
        pa.ListArray.from_arrays(pa.array([0, 20_000_000], pa.int32()), pa.nulls(20_000_000)), "x"
    ),
    "nulls": lambda: pa.table({"item_id": pa.nulls(20_000_000), "prompt": pa.nulls(20_000_000)}),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_table_that_unfolds_without_end_is_refused_in_bounds(
    bomb: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(BOMBS[bomb](), path, compression="zstd")
    assert path.stat().st_size < 100_000
    said = check_in_bounds(tmp_path, "manifest: {path: rows.parquet}\n")
    assert f"manifest rows.parquet has {path.stat().st_size:,} bytes" in said or (
        f"20,000,000 rows in {path.stat().st_size:,} bytes" in said
    )
    assert "at most" in said


def test_a_page_that_unfolds_all_at_once_is_refused_before_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_PAGE_BYTES", 1_000_000)
    path = tmp_path / "rows.parquet"
    whole = {"use_dictionary": False, "data_page_size": 2**30, "compression": "gzip"}
    pq.write_table(table(pa.array(["x" * 1_000_000] * 40)), path, **whole)
    with pytest.raises(ManifestError, match=r"row group 0: prompt unfolds from .* to 40,"):
        read(path)


@pytest.mark.parametrize("nested", [False, True])
def test_a_long_prompt_that_is_repeated_is_read_and_memory_stays_flat(
    tmp_path: Path, *, nested: bool
) -> None:
    """4 MB of it at once, of 200."""
    prompt = repeated("x" * 4_000_000, 50)
    if nested:
        turns = pa.StructArray.from_arrays([repeated("user", 50), prompt], ["role", "content"])
        prompt = pa.ListArray.from_arrays(pa.array(range(51), pa.int32()), turns)
    unique = pa.array([f"{n} {os.urandom(20_000).hex()}" for n in range(50)])
    rows = table(prompt, "messages" if nested else "prompt").append_column("note", unique)
    path = tmp_path / "rows.parquet"
    pq.write_table(rows, path, compression="zstd")
    before = pa.default_memory_pool().bytes_allocated()
    with room(150_000_000):
        for number, row in enumerate(read_rows(str(path), Notes(), Sources())):
            assert row.cells["item_id"] == str(number)
            assert pa.default_memory_pool().bytes_allocated() - before < 100_000_000
    assert number == 49
