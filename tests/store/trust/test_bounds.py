"""Whatever numbers a run.json holds: it is read, or refused in one line, at once."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.analytics.compare import compare_runs
from omni_batch.analytics.export.write import export_run
from omni_batch.analytics.report import write_report
from omni_batch.analytics.verify import verify_run
from omni_batch.engine.retry_run import reopen_failed
from omni_batch.errors import ConfigError, StorageError
from omni_batch.planning.prepare import change_run
from omni_batch.progress.current import current_record
from omni_batch.store import RunDir
from omni_batch.store.record import read_record, write_record
from tests.store.test_record import RECORD
from tests.support.written_runs import Written, write_run

DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]
WRONG: dict[str, Any] = {
    "items": (0, -1, 10**12, 10**40, 1.5, "7", None, True, []),
    "shard_size": (0, -3, 10**9, 1e300),
    "run_id": ("x" * 300, 5, None),
    "created_at": (
        "2026-11-21T02:00:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "yesterday",
        5,
    ),
    "counts": (
        {"succeeded": 1, "reused": 2},
        {"requests": -1},
        {"prompt_tokens": 10**30},
        {"cost": {"CNY": 1e200}},
        {"failures": []},
        5,
    ),
    "config": (
        {"media": {"roots": "/"}},
        {"request": 5},
        {"endpoint": ["custom"]},
        {"endpoints": {"name": "custom"}},
        {"model": {"name": 1}},
        {"request": {"extra": DEEP}},
        {"variants": ["a"]},
        {"variants": {"a": "b"}},
        {"variants": {f"v{number}": {} for number in range(101)}},
        {"samples": "three"},
        [],
    ),
    "owner": ({"pid": 10**30, "host": "h", "since": "2026-01-01T00:00:00Z"},),
    "warnings": ("one", [1]),
    "state": ("dancing",),
}


def record_with(path: Path, **changes: Any) -> Path:
    write_record(path, RECORD)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in WRONG.items() for value in values]
)
def test_what_no_run_can_be_is_refused_in_one_line(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        read_record(record_with(tmp_path / "run.json", **{key: value}))
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / 'run.json'} can't be ")
    assert "\n" not in message
    assert len(message) < 500 + len(str(tmp_path))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 5_000, "", "nul", '{"run_id": NaN}'])
def test_what_is_no_record_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ConfigError, match="can't be read"):
        read_record(tmp_path / "run.json")


def test_a_file_larger_than_any_record_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "run.json").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(ConfigError, match="larger than any"):
        read_record(tmp_path / "run.json")


def test_shards_are_bounded_as_well(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="shards"):
        read_record(record_with(tmp_path / "run.json", items=10**9, shard_size=1))


@given(
    st.sampled_from(list(RECORD.__struct_fields__)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
)
def test_any_value_of_any_key_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any
) -> None:
    path = record_with(tmp_path_factory.getbasetemp() / "any.json", **{key: value})
    try:
        record = read_record(path)
    except ConfigError:
        return
    assert 1 <= len(record.shards) <= 2_000_000
    assert isinstance(record.endpoint_names, str)


def table_with(run: RunDir, table: str, **changes: Any) -> None:
    """The run's first part of a table, with other values in some columns."""
    path = getattr(run, table)(0)
    found = pq.read_table(path)
    for name, value in changes.items():
        at = found.schema.get_field_index(name)
        found = found.set_column(at, name, pa.array([value] * len(found)))
    pq.write_table(found, path)


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("results", {"latency_s": float("nan")}),
        ("results", {"latency_s": 1e300}),
        ("results", {"cost": -1e6}),
        ("results", {"prompt_tokens": 2**62}),
        ("results", {"audio_s": float("inf"), "audio_sample_rate_hz": 2**40}),
        ("results", {"row_number": -1}),
        ("results", {"cost": "free"}),
        ("results", {"started_at": datetime(9999, 12, 31, tzinfo=UTC)}),
        ("attempts", {"latency_s": float("nan")}),
        ("attempts", {"started_at": datetime(1, 1, 2, tzinfo=UTC)}),
        ("attempts", {"completion_tokens": 2**62}),
    ],
)
def test_numbers_of_tables_are_bounded_before_they_are_summed_up(
    tmp_path: Path, table: str, changes: dict[str, Any]
) -> None:
    run = write_run(tmp_path / "run", [Written("a", speech_s=0.1), Written("b")], items=2)
    other = write_run(tmp_path / "other", [Written("a"), Written("b")], items=2)
    table_with(run, table, **changes)
    works: list[Callable[[], Any]] = [lambda: write_report(run), lambda: compare_runs(run, other)]
    if table == "results":
        works.append(lambda: export_run(run, "jsonl", tmp_path / "out.jsonl"))
    for work in works:
        with pytest.raises(StorageError, match=r"can't be (used|read)"):
            work()


def test_a_run_json_of_other_items_than_the_manifest_has_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [Written("a"), Written("b")], items=2)
    tree = json.loads(run.record.read_text()) | {"items": 999_999_999}
    run.record.write_text(json.dumps(tree))
    works: list[Callable[[], Any]] = [
        lambda: current_record(run),
        lambda: write_report(run),
        lambda: verify_run(run),
        lambda: export_run(run, "csv", tmp_path / "out.csv"),
        lambda: reopen_failed(run),
        lambda: change_run(run, []),
    ]
    for work in works:
        with pytest.raises(StorageError, match=r"says 999,999,999 items, .*items.parquet has 2"):
            work()
