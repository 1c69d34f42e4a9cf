"""The two tables: one stable schema, documented, and no value lost on the way through JSON."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from omni_batch.doubts import Doubt
from omni_batch.errors import RateLimited, Unavailable, error_kind, error_message
from omni_batch.store.columns import (
    ATTEMPT_COLUMNS,
    RESULT_COLUMNS,
    Column,
    RunFacts,
    attempt_rows,
    result_row,
    schema,
    table,
)
from omni_batch.types import (
    Answer,
    Attempt,
    Cost,
    Frames,
    Item,
    Media,
    Message,
    Request,
    Response,
    Result,
    Speech,
    Usage,
    WavFile,
)

FACTS = RunFacts("run-1", "qwen3-omni-flash", "dashscope-beijing")
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
USAGE = Usage(100, 50, 150, 10, 20, 30, 40, 12, 31, 7, 5, 3)
IMAGE = Media("image", "a.png", sha256="1")

UNSENT = Item("bare", 1, prompt="Why?", image=("b.png",), audio="data:" + "B" * 99)
FAILED = Result(UNSENT, WHEN, 0.5, error=ValueError("boom"))
FULL = Result(
    item=Item(
        *("full", 0),
        source={"lang": "de", "n": 1, "when": WHEN, "nothing": None},
        variant="terse",
        sample=2,
    ),
    started_at=WHEN,
    latency_s=3.0,
    attempts=(
        Attempt(1, WHEN, 1.0, http_status=429, error=RateLimited("slow", code="limit_requests")),
        Attempt(2, WHEN, 2.0, 0.25, 200, "chatcmpl-1", USAGE, 8, 1.5),
    ),
    request=Request(
        "qwen3-omni-flash",
        (
            Message("system", ("Be brief.",)),
            Message("user", (Frames((IMAGE, IMAGE)), "What", Media("audio", "data:" + "A" * 99))),
        ),
        "frames",
        wants_audio=True,
        voice="Cherry",
    ),
    answer=Answer(
        Response(
            "Grüße 世界",
            "Hmm",
            "stop",
            USAGE,
            Speech(36_000, 24_000),
            "chatcmpl-1",
            (Doubt("rule-w", "w"),),
        ),
        WavFile("audio/full.wav", Speech(36_000, 24_000), "ab12"),
        "Cherry",
    ),
    estimated_prompt_tokens=99,
    cost=Cost(0.25, "CNY"),
    fingerprint="f00d",
    doubts=(Doubt("rule-w", "w"), Doubt("rule-v", "v: x")),
)
TABLES = pytest.mark.parametrize("columns", [RESULT_COLUMNS, ATTEMPT_COLUMNS], ids=["r", "a"])
COUNTS = list(Usage.__slots__)


def through_json(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the journal keeps them."""
    return [msgspec.json.decode(msgspec.json.encode(row)) for row in rows]


@TABLES
def test_every_column_says_what_it_means(columns: tuple[Column, ...]) -> None:
    assert len({column.name for column in columns}) == len(columns)
    for field in schema(columns):
        metadata = field.metadata
        assert metadata[b"description"].strip()
        assert set(metadata) <= {b"description", b"unit"}
        assert field.nullable


def test_units_are_named_where_there_are_any() -> None:
    for field in [*schema(RESULT_COLUMNS), *schema(ATTEMPT_COLUMNS)]:
        unit = (field.metadata.get(b"unit") or b"").decode()
        assert (unit == "seconds") is field.name.endswith("_s")
        assert (unit == "hertz") is field.name.endswith("_hz")
        assert (unit == "tokens") is field.name.endswith("_tokens")
        assert (unit == "UTC") is field.name.endswith("_at")


RESULT_NAMES = """
run_id item_id row_number status text reasoning annotation finish_reason audio_path audio_s
audio_sample_rate_hz audio_sha256 model endpoint modality prompt media voice prompt_tokens
completion_tokens total_tokens prompt_text_tokens prompt_audio_tokens prompt_image_tokens
prompt_video_tokens completion_text_tokens completion_audio_tokens reasoning_tokens cached_tokens
cache_creation_tokens
estimated_prompt_tokens cost currency attempts error_kind error_code error_message http_status
request_id started_at first_chunk_s latency_s warnings fingerprint reused_from
variant sample sent_formats sent_bytes sent_sizes_px sent_s
window_begins_s window_ends_s window_texts reused_row source
"""


def test_the_names_of_the_result_columns_stand() -> None:
    assert schema(RESULT_COLUMNS).names == RESULT_NAMES.split()


@TABLES
def test_the_schema_is_the_same_whatever_the_rows_hold(columns: tuple[Column, ...]) -> None:
    rows = [result_row(FACTS, FULL), *attempt_rows(FACTS, FULL)]
    nothing = dict.fromkeys(schema(columns).names)
    tables: list[list[dict[str, Any]]]
    tables = [[], [nothing], [{}], rows, [nothing, *rows], through_json(rows)]
    for some in tables:
        found = table(columns, some)
        assert found.schema.equals(schema(columns), check_metadata=True)
        assert found.num_rows == len(some)


def test_rows_come_through_json_unchanged() -> None:
    results = [result_row(FACTS, FULL), result_row(FACTS, FAILED)]
    assert table(RESULT_COLUMNS, through_json(results)) == table(RESULT_COLUMNS, results)
    assert table(RESULT_COLUMNS, results).to_pylist() == results
    attempts = attempt_rows(FACTS, FULL)
    assert table(ATTEMPT_COLUMNS, through_json(attempts)).to_pylist() == attempts


@pytest.mark.parametrize(
    "when",
    [WHEN, WHEN.isoformat(), "2026-01-02T03:04:05.678901Z", "2026-01-02T04:04:05.678901+01:00"],
)
def test_a_time_is_the_same_moment_however_it_is_written(when: object) -> None:
    times = table(ATTEMPT_COLUMNS, [{"started_at": when}])["started_at"]
    assert (times.type, times[0].as_py()) == (pa.timestamp("us", tz="UTC"), WHEN)


def test_a_succeeded_item() -> None:
    row = result_row(FACTS, FULL)
    assert (row["status"], row["text"], row["reasoning"]) == ("succeeded", "Grüße 世界", "Hmm")
    assert (row["run_id"], row["model"], row["endpoint"]) == (
        "run-1",
        "qwen3-omni-flash",
        "dashscope-beijing",
    )
    assert (row["audio_path"], row["audio_s"]) == ("audio/full.wav", 1.5)
    assert (row["audio_sample_rate_hz"], row["audio_sha256"]) == (24_000, "ab12")
    assert (row["finish_reason"], row["fingerprint"], row["started_at"]) == ("stop", "f00d", WHEN)
    assert (row["prompt"], row["modality"], row["voice"]) == ("What", "frames", "Cherry")
    assert row["media"] == ["a.png", "a.png", f"data:{'A' * 35}… (104 characters)"]
    assert [row[name] for name in COUNTS] == [getattr(USAGE, name) for name in COUNTS]
    assert (row["cost"], row["currency"], row["estimated_prompt_tokens"]) == (0.25, "CNY", 99)
    assert (row["attempts"], row["http_status"], row["first_chunk_s"]) == (2, 200, 0.25)
    assert (row["request_id"], row["latency_s"]) == ("chatcmpl-1", 3.0)
    assert [row[name] for name in row if name.startswith("error")] == [None] * 3
    assert row["warnings"] == ["rule-w: w", "rule-v: v: x"]
    source = {"lang": "de", "n": 1, "when": "2026-01-02T03:04:05.678901Z", "nothing": None}
    assert msgspec.json.decode(row["source"]) == source


def test_an_item_that_was_never_sent_is_named_by_its_own_cells() -> None:
    row = result_row(FACTS, FAILED)
    given = {name: value for name, value in row.items() if value is not None}
    assert given == {
        "run_id": "run-1",
        "item_id": "bare",
        "row_number": 1,
        "status": "failed",
        "model": "qwen3-omni-flash",
        "endpoint": "dashscope-beijing",
        "modality": "image",
        "prompt": "Why?",
        "media": ["b.png", f"data:{'B' * 35}… (104 characters)"],
        "attempts": 0,
        "error_kind": "internal_error",
        "error_message": "ValueError: boom; this is a bug, please report it",
        "started_at": WHEN,
        "latency_s": 0.5,
        "warnings": [],
        "source": "{}",
    }


def test_each_attempt_is_a_row() -> None:
    first, second = attempt_rows(FACTS, FULL)
    shared = {"run_id": "run-1", "item_id": "full", "row_number": 0, "started_at": WHEN}
    shared |= {"model": "qwen3-omni-flash", "endpoint": "dashscope-beijing"}
    shared |= {"variant": "terse", "sample": 2}
    assert first == dict.fromkeys(schema(ATTEMPT_COLUMNS).names) | shared | {
        "number": 1,
        "latency_s": 1.0,
        "http_status": 429,
        "error_kind": "rate_limited",
        "error_code": "limit_requests",
        "error_message": "slow",
        "text_chars": 0,
        "audio_s": 0.0,
    }
    assert second == dict.fromkeys(schema(ATTEMPT_COLUMNS).names) | shared | {
        "number": 2,
        "latency_s": 2.0,
        "first_chunk_s": 0.25,
        "http_status": 200,
        "request_id": "chatcmpl-1",
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "text_chars": 8,
        "audio_s": 1.5,
    }
    assert attempt_rows(FACTS, FAILED) == []


def test_the_money_of_an_attempt_is_billed_or_estimated() -> None:
    billed = Attempt(1, WHEN, 1.0, cost=Cost(0.5, "CNY"))
    cut = Attempt(2, WHEN, 1.0, text="Hel", estimated_tokens=9, estimated_cost=Cost(0.1, "USD"))
    first, second = attempt_rows(FACTS, replace(FULL, attempts=(billed, cut)))
    names = ["cost", "estimated_tokens", "estimated_cost", "currency", "text"]
    assert [first[name] for name in names] == [0.5, None, None, "CNY", None]
    assert [second[name] for name in names] == [None, 9, 0.1, "USD", "Hel"]


def test_an_error_is_named_by_its_class() -> None:
    error = Unavailable("down; try later")
    assert (error_kind(error), error_message(error)) == ("unavailable", "down; try later")
    assert (error_kind(None), error_message(None)) == (None, None)
